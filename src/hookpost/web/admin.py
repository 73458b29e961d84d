"""The admin socket: the verbs of `services/verbs` over HTTP on a UNIX socket, JSON in and out.

Who may open the socket may do everything here (its mode and directory say who). Every change is
logged with the peer's uid. Errors are `{"error": …}` with 400, 404, 409 or 503.
"""

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
Shown = Mapping[str, Any]
Answer = Callable[[], Awaitable[Shown]]


def admin_app(operations: Operations, *, reload: Answer, status: Answer) -> web.Application:
    """`GET /status`, `POST /reload` and every verb."""
    app = web.Application(client_max_size=MAX_BODY)

    async def answer(request: web.Request) -> web.Response:
        if request.method == "POST":
            fields = {"path": request.path, "uid": _peer_uid(request)}
            log.info("admin.requested", extra={"fields": fields})
        try:
            if (request.method, request.path) == ("POST", "/reload"):
                return _rendered(await reload())
            if (request.method, request.path) == ("GET", "/status"):
                return _rendered(await status())
            parameters = await _parameters(request)
            return _rendered(await perform(operations, request.method, request.path, parameters))
        except BadRequest as error:
            return _rendered({"error": str(error)}, 400)
        except NotFound as error:
            return _rendered({"error": str(error)}, 404)
        except Conflict as error:
            return _rendered({"error": str(error)}, 409)
        except OutboxError as error:
            return _rendered({"error": str(error)}, 503)

    app.router.add_route("*", "/{path:.*}", answer)
    return app


async def _parameters(request: web.Request) -> Mapping[str, Any]:
    if request.method != "POST":
        return dict(request.query)
    try:
        body = json.loads(await request.read() or b"{}")
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
