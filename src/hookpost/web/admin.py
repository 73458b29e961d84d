"""The admin socket: the verbs of `services/verbs` over HTTP on a UNIX socket, JSON in and out.

Who may open the socket may do everything here (its mode and directory say who). Every change is
logged with the peer's uid. Errors are `{"error": …}` with 400, 404, 408, 409, 413 or 503.
"""

import asyncio
import json
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from hookpost.core.errors import Conflict, NotFound, OutboxError
from hookpost.services.operations import Operations
from hookpost.services.verbs import BadRequest, perform

log = logging.getLogger("hookpost.admin")

MAX_BODY = 1 << 20
BODY = 10.0  # seconds for the body of a request: its sender is on this machine, and has it whole
Shown = Mapping[str, Any]
Answer = Callable[[], Awaitable[Shown]]


def admin_app(operations: Operations, *, reload: Answer, status: Answer) -> web.Application:
    """`GET /status`, `POST /reload` and every verb."""
    app = web.Application(client_max_size=MAX_BODY)

    async def asked(request: web.Request) -> Shown:
        match request.method, request.path:
            case "POST", "/reload":
                return await reload()
            case "GET", "/status":
                return await status()
            case method, path:
                return await perform(operations, method, path, await _parameters(request))

    async def answer(request: web.Request) -> web.Response:
        if request.method == "POST":
            fields = {"path": request.path, "uid": _peer_uid(request)}
            log.info("admin.requested", extra={"fields": fields})
        try:
            return _rendered(await asked(request))
        except (BadRequest, NotFound, Conflict, OutboxError, _BadBody) as error:
            return _rendered({"error": str(error)}, _status(error))

    app.router.add_route("*", "/{path:.*}", answer)
    return app


class _BadBody(Exception):
    """A body that is not taken, and the status that says so."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _status(error: Exception) -> int:
    match error:
        case _BadBody(status=status):
            return status
        case NotFound():
            return 404
        case Conflict():
            return 409
        case OutboxError():
            return 503
    return 400


async def _parameters(request: web.Request) -> Mapping[str, Any]:
    if request.method != "POST":
        return dict(request.query)
    try:
        async with asyncio.timeout(BODY):
            body = json.loads(await request.read() or b"{}")
    except TimeoutError:
        raise _BadBody(408, f"the body did not arrive within {BODY:g} seconds") from None
    except web.HTTPRequestEntityTooLarge:
        raise _BadBody(413, f"the body has more than {MAX_BODY} bytes") from None
    except web.RequestPayloadError:
        raise _BadBody(400, "the body's framing is not valid, or it broke off") from None
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("the body is not a JSON object")
    return body


def _rendered(shown: Shown, status: int = 200) -> web.Response:
    text = json.dumps(shown, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return web.Response(status=status, body=text, content_type="application/json")


def _peer_uid(request: web.Request) -> int | None:
    """The uid behind a UNIX socket, as the kernel knows it (Linux SO_PEERCRED)."""
    transport = request.transport
    peer = transport.get_extra_info("socket") if transport is not None else None
    if peer is None or peer.family != socket.AF_UNIX:
        return None
    packed = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", packed)[1])
