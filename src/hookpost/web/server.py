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
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from typing import Any, cast

from aiohttp import web

from hookpost.clock import Clock
from hookpost.core.refusals import Refused
from hookpost.core.settings import IngestListener, Tls
from hookpost.services.sparse_log import SparseLog
from hookpost.web.bounded import Bounded, accept
from hookpost.web.connection import Connection, Exchange
from hookpost.web.handshake import Handshake
from hookpost.web.problem import problem
from hookpost.web.request import Request

log = logging.getLogger("hookpost.ingest")

CUT = 0.5  # seconds that a connection which was cut off gets to end
READ_AHEAD = 1 << 14  # bytes of a body buffered before anybody asked for it

Count = Callable[[Refused], None]
Receive = Callable[[Request], Exchange]


class Listener:
    """Serves one listening socket: TCP or UNIX, bound here or passed in.

    `limits` is asked at each use, so that a reload changes them at once. `count` is told of each
    request that was refused before `receive` could see it.
    """

    def __init__(
        self, receive: Receive, limits: Callable[[], IngestListener], count: Count, clock: Clock
    ) -> None:
        self.limits = limits
        self.count = count
        self.connections: set[Bounded] = set()
        self.handshakes: set[Handshake] = set()
        self.stopping = False
        self.receive = receive
        self._clock = clock
        self._sparse = SparseLog(log, clock)
        self._date = (0, b"")
        self._server: asyncio.AbstractServer | None = None
        self._web: web.Server | None = None
        self._all_gone = asyncio.Event()

    async def start(self, sock: socket.socket) -> None:
        """Accept connections from a bound stream socket; it belongs to the listener now."""
        self._web = web.Server(cast(Any, self.receive))
        connection = partial(
            Connection,
            self._web,
            self,
            loop=asyncio.get_running_loop(),
            read_bufsize=READ_AHEAD,
            auto_decompress=False,
        )

        def arrived() -> asyncio.Protocol:
            tls = self.limits().tls
            return connection(None) if tls is None else Handshake(self, connection, tls)

        self._server = await accept(sock, arrived)

    def stop_accepting(self) -> None:
        """Close the socket; connections that are there go on, and end with their answers."""
        self.stopping = True
        if self._server is not None:
            self._server.close()
            self._server = None

    async def stop(self, grace: float) -> None:
        """Close idle connections, let the others finish in `grace` seconds, cut off the rest."""
        self.stop_accepting()
        for handshake in list(self.handshakes):
            handshake.cut()
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

    def admit(self, connection: Bounded, transport: asyncio.Transport) -> bool:
        """See Host.admit. Refused are those beyond `max_connections`, and all at the end."""
        refused = self._crowded()
        if refused is None:
            self.connections.add(connection)
            return True
        self.count(refused)
        transport.write(self.closing(refused))
        transport.close()
        return False

    def admit_handshake(self, handshake: Handshake) -> bool:
        """See handshake.Host. Nothing can be said to who is refused: it would not be understood."""
        refused = self._crowded()
        if refused is not None:
            self.count(refused)
            return False
        self.handshakes.add(handshake)
        return True

    def shaken(self, handshake: Handshake) -> None:
        """See handshake.Host."""
        self.handshakes.discard(handshake)

    def unshaken(self, peer: str | None, reason: str, error: str) -> None:
        """See handshake.Host."""
        fields = {"listener": "ingest", "reason": reason, "error": error, "peer": peer}
        self._sparse.write(logging.WARNING, "handshake.failed", reason, fields)

    def _crowded(self) -> Refused | None:
        """Why there is no place for one more."""
        if self.stopping:
            return Refused("draining", "come back in a moment", 1.0)
        if len(self.connections) + len(self.handshakes) >= self.limits().max_connections:
            return Refused("too_many_connections", "close idle ones, or come back", 1.0)
        return None

    def outdated(self, tls: Tls | None) -> bool:
        """Whether a connection that began under `tls` should end with its next answer."""
        return self.limits().tls != tls

    def head_time(self) -> float:
        """See Host.head_time."""
        return self.limits().header_timeout

    def taking_time(self) -> float:
        """See Host.taking_time: as long as a body may take to come may an answer take to go."""
        return self.limits().body_timeout

    def late(self, *, silent: bool) -> bytes:
        """See Host.late. Who has said nothing gets no answer: it would be taken for another's."""
        if silent:
            fields = {"listener": "ingest", "after": self.limits().header_timeout}
            self._sparse.write(logging.INFO, "connection.silent", None, fields)
            return b""
        refused = Refused("request_timeout", "the request's head did not arrive in time")
        self.count(refused)
        return self.closing(refused)

    def closing(self, refused: Refused) -> bytes:
        """A whole answer after which the connection ends."""
        answer = problem(refused)
        return b"".join((answer.head, self.date(), b"Connection: close\r\n\r\n", answer.body))

    def gone(self, connection: Bounded) -> None:
        """Told of each connection that ended."""
        self.connections.discard(connection)
        if not self.connections:
            self._all_gone.set()

    def failed(self, error: BaseException | None) -> None:
        """Log a mistake of our own, a bounded number of times."""
        fields = {"error": type(error).__name__}
        self._sparse.write(logging.ERROR, "request.failed", None, fields, failure=error)
