"""A connection under limits: one of so many, and with so long to ask and to take its answer.

What every listener needs and aiohttp's connection lacks. There are three clocks. The time for a
request's *head* runs from the connect, and again from the first byte after an answer; in between a
connection may rest as aiohttp has it (`keepalive_timeout`). The time to *take an answer* runs while
the client reads too little of it. What else a request may take is for its face to say.
"""

import asyncio
import gc
import socket
from collections.abc import Callable
from typing import Any, Protocol, cast

from aiohttp import web
from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import _ErrInfo

IDLE = 60.0  # seconds that a connection may rest between two requests
LINGER = 2.0  # seconds to read on after an early answer, so that the client gets to see it
BACKLOG = 1024
LINE, HEADER, HEADERS = 8190, 8190, 128  # bytes, bytes, fields
SPOKEN = (HttpVersion11, HttpVersion10)


class Host(Protocol):
    """What a connection asks of the listener that it came by. Times in seconds."""

    def admit(self, connection: "Bounded", transport: asyncio.Transport) -> bool:
        """Take the connection in; False: it was refused on its transport, and closed."""
        ...

    def head_time(self) -> float:
        """How long the head of a request may take."""
        ...

    def taking_time(self) -> float:
        """How long a client may leave an answer unread."""
        ...

    def late(self, *, silent: bool) -> bytes:
        """A head did not arrive in time (`silent`: no byte of it); the answer, if there is one."""
        ...

    def gone(self, connection: "Bounded") -> None:
        """Told of each connection that ended."""
        ...

    def failed(self, error: BaseException | None) -> None:
        """A mistake of our own has ended a request."""
        ...


class Bounded(web.RequestHandler):
    """aiohttp's connection, counted and under limits."""

    __slots__ = ("_before", "_begun", "_body", "_head_timer", "_link", "_taking_timer", "host")

    def __init__(self, server: "web.Server", *, host: Host, **options: Any) -> None:
        super().__init__(
            server,
            keepalive_timeout=IDLE,
            lingering_time=LINGER,
            access_log=cast(Any, None),
            max_line_size=LINE,
            max_field_size=HEADER,
            max_headers=HEADERS,
            **options,
        )
        self.host = host
        self._link: asyncio.Transport | None = None  # None: refused, or not connected
        self._begun = False  # whether a byte of the awaited head has come
        self._before = 0  # requests that came before the awaited head
        self._body: StreamReader | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._taking_timer: asyncio.TimerHandle | None = None

    # -- life ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        link = cast(asyncio.Transport, transport)
        if not self.host.admit(self, link):
            return
        self._link = link
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._link is None:
            return
        super().connection_lost(exc)
        self._cancel_head_timer()
        self._cancel_taking_timer()
        if self._body is not None and not self._body.is_eof():
            self._body.set_exception(ConnectionResetError("the client has gone"))
        self.host.gone(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser. Bytes that complete no head, and belong to no body, begin one."""
        if self._link is None:
            return
        before = self._request_count
        between = self._body is None or self._body.is_eof()
        super().data_received(data)
        if self._request_count != before:
            if not between and self._body is not None and not self._body.is_eof():
                # the parser has refused what came, and lets go of a body that somebody reads
                self._body.set_exception(web.RequestPayloadError("the framing is not valid"))
            self._body = self._judge_last() if self._messages else None
            self._cancel_head_timer()
        elif data and between and not self._force_close:
            self._begun = True
            if self._head_timer is None:
                self._await_head()

    def _judge_last(self) -> StreamReader:
        """Judge the last message; no other can be what must not be followed by a request."""
        message, body = self._messages[-1]
        if not isinstance(message, RawRequestMessage):
            self._rescue()
        elif message.version not in SPOKEN or message.method == "CONNECT":
            self._messages[-1] = (_judged(message), body)
        return body

    def _rescue(self) -> None:
        """Put the requests that came whole, just before what the parser refused, in its front.

        The parser hands out what it has read when a feed ends well; after a mistake it keeps that,
        and only the collector of garbage sees it.
        """
        mistake = self._messages.pop()
        read = [
            one for held in gc.get_referents(self._parser) if type(held) is list for one in held
        ]
        for one in read:
            if type(one) is tuple and type(one[0]) is RawRequestMessage and one[1].is_eof():
                self._messages.append((_judged(one[0]), one[1]))
                self._request_count += 1
        self._messages.append(mistake)

    def force_close(self) -> None:
        """Close; what is written already is still sent, to a client that takes it in time."""
        link = None if self.transport is None else self._link
        owed = link is not None and link.get_write_buffer_size()  # closed TLS cannot tell
        super().force_close()
        if owed:
            self._expect_taking()

    # -- limits --------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nothing of a request is here: not in work, not waiting, not half arrived."""
        return (
            not self._request_in_progress
            and not self._messages
            and not self._begun
            and (self._body is None or self._body.is_eof())
        )

    def _await_head(self) -> None:
        self._before = self._request_count
        self._head_timer = self._loop.call_later(self.host.head_time(), self._head_late)

    def _head_late(self) -> None:
        self._head_timer = None
        if self._request_in_progress or self._messages:
            # the client pipelines: its next head waits for the answer to the one before
            self._await_head()
            return
        if self._request_count != self._before:  # it came with an upgrade that was declined
            self._begun = False
            return
        self.write(self.host.late(silent=not self._begun))
        self.force_close()

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
            self._begun = False

    def _process_keepalive(self) -> None:
        if self._head_timer is not None:  # not at rest: the time for the head is what counts
            self._keepalive_handle = None
            return
        super()._process_keepalive()

    def pause_writing(self) -> None:
        """The client reads less than it is sent: from now on the time to take it runs."""
        super().pause_writing()
        self._expect_taking()

    def resume_writing(self) -> None:
        """The client has read on."""
        super().resume_writing()
        if self._link is not None and not self._link.is_closing():
            self._cancel_taking_timer()

    def _expect_taking(self) -> None:
        if self._taking_timer is None and self._link is not None:
            seconds = self.host.taking_time()
            self._taking_timer = self._loop.call_later(seconds, self._link.abort)

    def _cancel_taking_timer(self) -> None:
        if self._taking_timer is not None:
            self._taking_timer.cancel()
            self._taking_timer = None

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002
        """Asked for after each read of a body, most of which have paused nothing."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    # -- what else aiohttp leaves open -----------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Write to the client if it is still there."""
        if data and self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def log_exception(self, *args: Any, **options: Any) -> None:
        """What aiohttp would log with a traceback; what strangers cause is no failure of ours."""
        error = options.get("exc_info")
        if not isinstance(error, OSError | web.RequestPayloadError | HttpProcessingError):
            self.host.failed(error if isinstance(error, BaseException) else None)


def _judged(message: RawRequestMessage) -> Any:
    """Refuse other versions of HTTP, which the parser takes, and close after a CONNECT.

    Neither is followed by a request: what comes behind could be read in two ways.
    """
    if message.version not in SPOKEN:
        error = BadHttpMessage("only HTTP/1.0 and HTTP/1.1 are spoken here")
        return _ErrInfo(error.code, error, error.message)
    return message._replace(should_close=True) if message.method == "CONNECT" else message


async def accept(sock: socket.socket, connection: Callable[[], asyncio.Protocol]) -> asyncio.Server:
    """Accept connections from a bound stream socket, TCP or UNIX; it belongs to the server now."""
    loop = asyncio.get_running_loop()
    if sock.family == socket.AF_UNIX:
        return await loop.create_unix_server(connection, sock=sock, backlog=BACKLOG)
    return await loop.create_server(connection, sock=sock, backlog=BACKLOG)
