"""One publisher's connection: aiohttp's parser and flow control, under limits, in fewer steps."""

import asyncio
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import ERROR

from hookpost.core.refusals import Refused
from hookpost.web.answer import Answer
from hookpost.web.problem import problem
from hookpost.web.request import Request

if TYPE_CHECKING:
    from hookpost.web.server import Listener

LINGER = 2.0  # seconds to read on after an early answer, so that the client gets to see it
LINE, HEADER, HEADERS = 8190, 8190, 128  # bytes, bytes, fields


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

    # -- requests ------------------------------------------------------------------------------

    async def start(self) -> None:
        """One request after the other, each handled in this coroutine.

        aiohttp's own loop makes a task for each request, in a copy of the context, and answers
        through its response objects. Neither is used here, and both together cost a quarter of
        the time that a small request takes.
        """
        loop, messages, manager = self._loop, self._messages, self._manager
        assert manager is not None  # noqa: S101 - there is one until the connection is lost
        while not self._force_close:
            if not messages:
                self._waiter = loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            message, payload = messages.popleft()
            if self._parser is not None:
                self._parser.message_consumed()
            if self._buffer_paused and len(messages) <= self._msg_queue_resume_size:
                self._resume_reading_if_drained()
            manager.requests_count += 1
            if not await self._serve(message, payload):
                break
            self._next_keepalive_close_time = at = loop.time() + self._keepalive_timeout
            if self._keepalive_handle is None:
                self._keepalive_handle = loop.call_at(at, self._process_keepalive)
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    async def _serve(self, message: Any, payload: StreamReader) -> bool:
        """Handle and answer one request; whether another may follow."""
        unread = not isinstance(message, RawRequestMessage)  # what the parser refused
        request = Request(ERROR if unread else message, payload, self)
        self._request_in_progress = True
        self._current_request = cast(Any, request)
        try:
            if unread:
                answer = self._mistaken(message.exc)
            else:
                answer = await self._handled(request)
            self._current_request = None
            if self._upgraded:  # declined by answering: what came behind is ordinary again
                await self.finish_response(cast(Any, request), cast(Any, answer), None)
            else:
                answer.write(request)
                if self.writing_paused:
                    await self.drained()
        except ConnectionError:
            return False  # the client has gone
        finally:
            self._current_request = None
            self._request_in_progress = False
            if self._handler_waiter is not None and not self._handler_waiter.done():
                self._handler_waiter.set_result(None)
        self._keepalive = answer.keep_alive
        if not payload.is_eof():
            await self._linger(payload)
        return self._keepalive and not self._close and not self._force_close

    async def _handled(self, request: Request) -> Answer:
        try:
            return await self.listener.handle(request)
        except Exception as error:
            return self._mistaken(error)

    async def _linger(self, payload: StreamReader) -> None:
        """Read on for a while after an early answer, so that the client gets to see it."""
        try:
            async with asyncio.timeout(LINGER):
                while not self._force_close and await payload.readany():
                    continue
        except (TimeoutError, OSError, RuntimeError, web.RequestPayloadError, HttpProcessingError):
            self.close()
        if not payload.is_eof():
            self.close()

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

    # -- when something is wrong -----------------------------------------------------------------

    def _mistaken(self, exc: BaseException) -> Answer:
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
