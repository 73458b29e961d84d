"""Where Prometheus and people look: `/metrics`, `/livez`, `/readyz`, `/status`; only to read."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from hookpost.clock import Clock
from hookpost.metrics import CONTENT_TYPE, Metrics
from hookpost.services.health import Health

FRESH = {"Cache-Control": "no-store"}


def ops_app(
    *,
    metrics: Metrics,
    health: Health,
    status: Callable[[], Awaitable[Mapping[str, Any]]],
    clock: Clock,
    stuck: Callable[[], Sequence[str]] = tuple,
) -> web.Application:
    """The four pages.

    `stuck` names the parts that make no progress; while it names any, `/livez` answers 503.
    `/readyz` answers 503 with the reasons for which new events are refused; a reload, or an
    endpoint that fails, is none.
    """

    async def show_metrics(_: web.Request) -> web.Response:
        parts = []
        for chunk in metrics.chunks():
            parts.append(chunk)
            await clock.sleep(0)  # a long exposition must not hold the loop
        headers = {**FRESH, "Content-Type": CONTENT_TYPE}
        return web.Response(body=b"".join(parts), headers=headers)

    async def show_live(_: web.Request) -> web.Response:
        reasons = list(stuck())
        return _json({"live": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def show_ready(_: web.Request) -> web.Response:
        reasons = health.refusals()
        return _json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def show_status(_: web.Request) -> web.Response:
        return _json(await status(), 200)

    app = web.Application(client_max_size=1024)
    app.router.add_get("/metrics", show_metrics)
    app.router.add_get("/livez", show_live)
    app.router.add_get("/readyz", show_ready)
    app.router.add_get("/status", show_status)
    return app


def _json(value: Mapping[str, Any], status: int) -> web.Response:
    body = json.dumps(value, indent=2).encode() + b"\n"
    return web.Response(body=body, status=status, headers=FRESH, content_type="application/json")
