"""The admin socket: one route a verb, JSON in and out, over a UNIX socket only.

Who may open the socket may do everything here (mode and directory say who). Every change is
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
from hookpost.core.model import DeadReason, DeliveryId, State
from hookpost.services.operations import PAGE, Operations
from hookpost.storage.outbox import Selection

log = logging.getLogger("hookpost.admin")

MAX_BODY = 1 << 20
Shown = Mapping[str, Any]
Reload = Callable[[], Awaitable[Shown]]


class BadRequest(Exception):
    """The request's parameters do not fit; the text says which."""


def admin_app(
    operations: Operations, *, reload: Reload, status: Callable[[], Awaitable[Shown]]
) -> web.Application:
    """All routes of the admin socket."""
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_answers_errors])
    routes = _Routes(operations)
    app.router.add_get("/status", _plain(status))
    app.router.add_post("/reload", _plain(reload))
    app.router.add_get("/deliveries", routes.deliveries)
    app.router.add_get("/deliveries/{number:[0-9]+}", routes.delivery)
    app.router.add_post("/deliveries/retry", routes.retry)
    app.router.add_post("/deliveries/cancel", routes.cancel)
    app.router.add_get("/dead-letters", routes.dead_letters)
    app.router.add_get("/dead-letters/{number:[0-9]+}", routes.dead_letter)
    app.router.add_post("/dead-letters/replay", routes.replay)
    app.router.add_post("/dead-letters/purge", routes.purge)
    app.router.add_get("/endpoints", routes.endpoints)
    app.router.add_get("/endpoints/{name}", routes.endpoint)
    app.router.add_post("/endpoints/{name}/pause", routes.pause)
    app.router.add_post("/endpoints/{name}/resume", routes.resume)
    return app


class _Routes:
    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def deliveries(self, request: web.Request) -> web.Response:
        selection, before, limit = _query(request.query)
        return _answer(await self._operations.deliveries(selection, before, limit))

    async def delivery(self, request: web.Request) -> web.Response:
        return _answer(await self._operations.delivery(int(request.match_info["number"])))

    async def dead_letters(self, request: web.Request) -> web.Response:
        selection, before, limit = _query(request.query)
        return _answer(await self._operations.dead_letters(selection, before, limit))

    async def dead_letter(self, request: web.Request) -> web.Response:
        return _answer(await self._operations.dead_letter(int(request.match_info["number"])))

    async def retry(self, request: web.Request) -> web.Response:
        body = await _body(request)
        to = body.get("to")
        if to is not None and not isinstance(to, str):
            raise BadRequest("to is not an endpoint's name")
        selection = selection_of(body)
        return _answer(await self._operations.retry(selection, to=to, dry_run=_dry(body)))

    async def cancel(self, request: web.Request) -> web.Response:
        body = await _body(request)
        return _answer(await self._operations.cancel(selection_of(body), dry_run=_dry(body)))

    async def replay(self, request: web.Request) -> web.Response:
        body = await _body(request)
        return _answer(await self._operations.replay(selection_of(body), dry_run=_dry(body)))

    async def purge(self, request: web.Request) -> web.Response:
        body = await _body(request)
        return _answer(await self._operations.purge(selection_of(body), dry_run=_dry(body)))

    async def endpoints(self, request: web.Request) -> web.Response:
        return _answer(self._operations.endpoints())

    async def endpoint(self, request: web.Request) -> web.Response:
        return _answer(self._operations.endpoint(request.match_info["name"]))

    async def pause(self, request: web.Request) -> web.Response:
        return _answer(await self._operations.pause(request.match_info["name"]))

    async def resume(self, request: web.Request) -> web.Response:
        return _answer(await self._operations.resume(request.match_info["name"]))


def selection_of(body: Mapping[str, Any]) -> Selection:
    """A selection from its JSON form; BadRequest names what does not fit."""
    try:
        ids = body.get("ids")
        states = body.get("states")
        reason = body.get("reason")
        return Selection(
            ids=None if ids is None else tuple(DeliveryId(int(number)) for number in ids),
            endpoint=_text(body, "endpoint"),
            source=_text(body, "source"),
            event_id=_text(body, "eventId"),
            event_type=_text(body, "eventType"),
            states=None if states is None else frozenset(State(state) for state in states),
            reason=None if reason is None else DeadReason(reason),
            accepted_after=_number(body, "acceptedAfter"),
            accepted_before=_number(body, "acceptedBefore"),
            limit=None if body.get("limit") is None else int(body["limit"]),
        )
    except (TypeError, ValueError) as error:
        raise BadRequest(f"the selection does not fit: {error}") from None


def _query(query: Mapping[str, str]) -> tuple[Selection, int | None, int]:
    body: dict[str, Any] = dict(query)
    before, limit = body.pop("before", None), body.pop("limit", str(PAGE))
    if "states" in body:
        body["states"] = body["states"].split(",")
    try:
        return selection_of(body), None if before is None else int(before), int(limit)
    except ValueError as error:
        raise BadRequest(f"before and limit are whole numbers: {error}") from None


def _text(body: Mapping[str, Any], key: str) -> str | None:
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{key} is not text")
    return value


def _number(body: Mapping[str, Any], key: str) -> float | None:
    value = body.get(key)
    return None if value is None else float(value)


def _dry(body: Mapping[str, Any]) -> bool:
    return body.get("dryRun") is True


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("the body is not a JSON object")
    return body


def _answer(shown: Shown, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=json.dumps(shown, ensure_ascii=False).encode("utf-8", "surrogatepass"),
        content_type="application/json",
    )


def _plain(verb: Callable[[], Awaitable[Shown]]) -> Callable[..., Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        return _answer(await verb())

    return answer


@web.middleware
async def _answers_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if request.method == "POST":
        fields = {"method": request.method, "path": request.path, "uid": _peer_uid(request)}
        log.info("admin.requested", extra={"fields": fields})
    try:
        return await handler(request)
    except BadRequest as error:
        return _answer({"error": str(error)}, 400)
    except NotFound as error:
        return _answer({"error": str(error)}, 404)
    except Conflict as error:
        return _answer({"error": str(error)}, 409)
    except OutboxError as error:
        return _answer({"error": str(error)}, 503)


def _peer_uid(request: web.Request) -> int | None:
    """The uid behind a UNIX socket, as the kernel knows it (Linux SO_PEERCRED)."""
    transport = request.transport
    peer = transport.get_extra_info("socket") if transport is not None else None
    if peer is None or peer.family != socket.AF_UNIX:
        return None
    packed = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", packed)[1])
