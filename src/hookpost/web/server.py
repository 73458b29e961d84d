"""The bounded listener that events come in by.

aiohttp's low-level server (parser, keep-alive, pipelining, flow control) with what it does not
have: a cap on connections, a time limit for a request's head apart from the one for idle
connections, a size and a time limit for bodies that are judged before they are read, and no
traceback that a stranger can cause. Answers are written whole, in one go.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import partial
from typing import Any, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import StreamReader

from hookpost.clock import Clock
from hookpost.core.refusals import Refused
from hookpost.core.settings import IngestListener
from hookpost.services.sparse_log import SparseLog
from hookpost.web.answer import Answer
from hookpost.web.problem import problem
from hookpost.web.request import Request

log = logging.getLogger("hookpost.ingest")

IDLE = 60.0  # seconds that a connection may rest between two requests
LINGER = 2.0  # seconds to read on after an early answer, so that the client gets to see it
CUT = 0.5  # seconds that a connection which was cut off gets to end
BACKLOG = 1024
LINE, HEADER, HEADERS = 8190, 8190, 128  # bytes, bytes, fields
READ_AHEAD = 1 << 14  # bytes of a body buffered before anybody asked for it

Count = Callable[[Refused], None]


Handle = Callable[[Request], Awaitable[Answer]]


class Connection(web.RequestHandler):
    """One client's connection: aiohttp's, counted and under limits."""

    __slots__ = ("_body", "_head_timer", "_refused", "listener")

    def __init__(self, server: "web.Server", *, listener: "Listener", **options: Any) -> None:
        super().__init__(server, **options)
        self.listener = listener
        self._refused = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._body: StreamReader | None = None

    # -- life ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        listener = self.listener
        if len(listener.connections) >= listener.limits().max_connections or listener.stopping:
            self._refused = True
            listener.turn_away(cast(asyncio.Transport, transport))
            return
        listener.connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._refused:
            return
        self._cancel_head_timer()
        super().connection_lost(exc)
        if self._body is not None and not self._body.is_eof():
            self._body.set_exception(ConnectionResetError("the client has gone"))
        self.listener.gone(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser. Bytes that complete no head, and belong to no body, start the clock."""
        if self._refused:
            return
        before = self._request_count
        between = self._body is None or self._body.is_eof()
        super().data_received(data)
        if self._request_count != before:
            self._body = self._messages[-1][1] if self._messages else None
            self._cancel_head_timer()
        elif data and between and self._head_timer is None and not self._force_close:
            seconds = self.listener.limits().header_timeout
            self._head_timer = self._loop.call_later(seconds, self._head_late)

    # -- limits --------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nothing of a request is here: not in work, not waiting, not half arrived."""
        return (
            not self._request_in_progress
            and not self._messages
            and self._head_timer is None
            and (self._body is None or self._body.is_eof())
        )

    def _head_late(self) -> None:
        self._head_timer = None
        if self._request_in_progress or self._messages:
            # the client pipelines: its next head waits for the answer to the one before
            seconds = self.listener.limits().header_timeout
            self._head_timer = self._loop.call_later(seconds, self._head_late)
            return
        refused = Refused("request_timeout", "the request's head did not arrive in time")
        self.listener.count(refused)
        self.write(self.listener.closing(refused))
        self.force_close()

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def write(self, data: bytes) -> None:
        """Write to the client if it is still there."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    async def drained(self) -> None:
        """Wait until the client has read enough; one that reads nothing is cut off."""
        transport = self.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        timer = self._loop.call_later(self.listener.limits().body_timeout, transport.abort)
        try:
            await self._drain_helper()
        finally:
            timer.cancel()

    # -- what aiohttp calls when something is wrong ----------------------------------------------

    def handle_error(
        self,
        request: Any,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> Any:
        """The answer to what is not HTTP, and to our own mistakes; counted, no traceback."""
        if isinstance(exc, LineTooLong):
            refused = Refused("header_too_large", f"at most {LINE} bytes a line are taken")
        elif isinstance(exc, HttpProcessingError):
            refused = Refused("malformed_http", "the request's head or framing is not valid")
        else:
            refused = Refused("internal_error", "the gateway's log says more")
            self.listener.failed(exc)
        self.listener.count(refused)
        answer = problem(refused)
        answer.keep_alive = False
        return answer

    def log_exception(self, *args: Any, **options: Any) -> None:
        """What aiohttp would log with a traceback; a client that went away is no failure."""
        error = options.get("exc_info")
        if not isinstance(error, OSError | web.RequestPayloadError):
            self.listener.failed(error if isinstance(error, BaseException) else None)


class Listener:
    """Serves one listening socket: TCP or UNIX, bound here or passed in.

    `limits` is asked at each use, so that a reload changes them at once. `count` is told of each
    request that was refused before `handle` could see it.
    """

    def __init__(
        self, handle: Handle, limits: Callable[[], IngestListener], count: Count, clock: Clock
    ) -> None:
        self.limits = limits
        self.count = count
        self.connections: set[Connection] = set()
        self.stopping = False
        self._handle = handle
        self._clock = clock
        self._sparse = SparseLog(log, clock)
        self._date = (0, b"")
        self._server: asyncio.AbstractServer | None = None
        self._web: web.Server | None = None
        self._all_gone = asyncio.Event()

    async def start(self, sock: socket.socket) -> None:
        """Accept connections from a bound stream socket; it belongs to the listener now."""
        loop = asyncio.get_running_loop()
        self._web = web.Server(cast(Any, self._handle), request_factory=cast(Any, _request))
        connection = partial(
            Connection,
            self._web,
            listener=self,
            loop=loop,
            keepalive_timeout=IDLE,
            access_log=None,
            max_line_size=LINE,
            max_field_size=HEADER,
            max_headers=HEADERS,
            lingering_time=LINGER,
            read_bufsize=READ_AHEAD,
            auto_decompress=False,
        )
        if sock.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(connection, sock=sock, backlog=BACKLOG)
        else:
            self._server = await loop.create_server(connection, sock=sock, backlog=BACKLOG)

    def stop_accepting(self) -> None:
        """Close the socket; connections that are there go on, and end with their answers."""
        self.stopping = True
        if self._server is not None:
            self._server.close()
            self._server = None

    async def stop(self, grace: float) -> None:
        """Close idle connections, let the others finish in `grace` seconds, cut off the rest."""
        self.stop_accepting()
        for connection in list(self.connections):
            if connection.idle:
                connection.force_close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self.connections:
                    self._all_gone.clear()
                    await self._all_gone.wait()
        for connection in list(self.connections):
            connection.force_close()
        if self._web is not None:
            await self._web.shutdown(CUT)
            self._web = None

    # -- what the connections ask for ------------------------------------------------------------

    def date(self) -> bytes:
        """The Date header's line (RFC 9110, 6.6.1), made once a second."""
        second = int(self._clock.wall())
        known, line = self._date
        if known != second:
            line = f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
            self._date = (second, line)
        return line

    def turn_away(self, transport: asyncio.Transport) -> None:
        """Refuse a connection at once: there are too many, or this is the end."""
        if self.stopping:
            refused = Refused("draining", "come back in a moment", 1.0)
        else:
            refused = Refused("too_many_connections", "close idle ones, or come back", 1.0)
        self.count(refused)
        transport.write(self.closing(refused))
        transport.close()

    def closing(self, refused: Refused) -> bytes:
        """A whole answer after which the connection ends."""
        answer = problem(refused)
        return b"".join((answer.head, self.date(), b"Connection: close\r\n\r\n", answer.body))

    def gone(self, connection: Connection) -> None:
        """Told of each connection that ended."""
        self.connections.discard(connection)
        if not self.connections:
            self._all_gone.set()

    def failed(self, error: BaseException | None) -> None:
        """Log a mistake of our own, a bounded number of times."""
        fields = {"error": type(error).__name__}
        self._sparse.write(logging.ERROR, "request.failed", None, fields, failure=error)


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    connection: Connection,
    _writer: AbstractStreamWriter,
    task: Any,
) -> Request:
    return Request(message, payload, connection, task)
