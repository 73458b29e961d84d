"""Serves the small applications (ops, admin) on sockets that are bound already."""

import socket
from contextlib import AsyncExitStack

from aiohttp import web

ENDING = 2.0  # seconds that a page gets to end


class Pages:
    """Applications at work, until closed together."""

    def __init__(self) -> None:
        self._served = AsyncExitStack()

    async def serve(self, app: web.Application, sock: socket.socket) -> None:
        """Serve `app` on a listening socket."""
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=ENDING)
        await runner.setup()
        self._served.push_async_callback(runner.cleanup)
        await web.SockSite(runner, sock).start()

    async def close(self) -> None:
        """End them all, the last first."""
        await self._served.aclose()
