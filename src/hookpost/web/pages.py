"""Serves the small applications (ops, admin) on sockets that are bound already, under limits."""

import asyncio
import logging
import socket
from contextlib import AsyncExitStack
from functools import partial

from aiohttp import web

from hookpost.clock import Clock, SystemClock
from hookpost.services.sparse_log import SparseLog
from hookpost.web.bounded import Bounded, accept

log = logging.getLogger("hookpost.pages")

ENDING = 2.0  # seconds that a page gets to end
HEAD = 10.0  # seconds for the head of a request: those who ask are near, and ask at once
TAKING = 10.0  # seconds that a client may leave an answer unread
CONNECTIONS = 128  # of each: a few scrapers, probes and people; descriptors are the deliveries'

_BODY = b'{"error": "%b"}\n'
_ANSWER = (
    b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"%bConnection: close\r\n\r\n%b"
)


class Pages:
    """Applications at work, until closed together."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._served = AsyncExitStack()
        self._sparse = SparseLog(log, clock or SystemClock())

    async def serve(self, app: web.Application, sock: socket.socket) -> None:
        """Serve `app` on a listening socket."""
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=ENDING)
        await runner.setup()
        self._served.push_async_callback(runner.cleanup)
        requests = runner.server
        assert requests is not None  # noqa: S101 - it is set up
        page = _Page(_shown(sock), self._sparse)
        loop = asyncio.get_running_loop()
        server = await accept(sock, partial(_PageConnection, requests, host=page, loop=loop))
        self._served.callback(server.close)

    async def close(self) -> None:
        """End them all, the last first."""
        await self._served.aclose()


class _PageConnection(Bounded):
    """aiohttp's loop over requests, whose end is bounded, too."""

    __slots__ = ()

    async def start(self) -> None:
        await super().start()
        self.force_close()


class _Page:
    """One listener's connections and their limits (see bounded.Host); the log says who broke one.

    Sparsely, by listener: whoever can connect could fill the disk otherwise.
    """

    def __init__(self, listener: str, sparse: SparseLog) -> None:
        self._listener = listener
        self._sparse = sparse
        self._connections: set[Bounded] = set()

    def admit(self, connection: Bounded, transport: asyncio.Transport) -> bool:
        if len(self._connections) < CONNECTIONS:
            self._connections.add(connection)
            return True
        self._tell(logging.WARNING, "connection.refused", connections=CONNECTIONS)
        words = b"too many connections; close idle ones, or come back"
        transport.write(_closing(b"503 Service Unavailable", words, b"Retry-After: 1\r\n"))
        transport.close()
        return False

    def head_time(self) -> float:
        return HEAD

    def taking_time(self) -> float:
        return TAKING

    def late(self, *, silent: bool) -> bytes:
        if silent:
            self._tell(logging.INFO, "connection.silent", after=HEAD)
            return b""
        self._tell(logging.WARNING, "connection.late", after=HEAD)
        return _closing(b"408 Request Timeout", b"the request's head did not arrive in time")

    def gone(self, connection: Bounded) -> None:
        self._connections.discard(connection)

    def failed(self, error: BaseException | None) -> None:
        self._tell(logging.ERROR, "request.failed", error, error=type(error).__name__)

    def _tell(
        self, level: int, name: str, failure: BaseException | None = None, **fields: object
    ) -> None:
        shown = {"listener": self._listener, **fields}
        self._sparse.write(level, name, self._listener, shown, failure=failure)


def _closing(status: bytes, words: bytes, headers: bytes = b"") -> bytes:
    """A whole answer after which the connection ends."""
    body = _BODY % words
    return _ANSWER % (status, len(body), headers, body)


def _shown(sock: socket.socket) -> str:
    name = sock.getsockname()
    return f"unix:{name}" if sock.family == socket.AF_UNIX else "{}:{}".format(*name[:2])
