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
from hookpost.web.bounded import LINE, LINGER, Bounded
from hookpost.web.problem import problem
from hookpost.web.request import Request

if TYPE_CHECKING:
    from hookpost.web.server import Listener


class Connection(Bounded):
    """One publisher's connection; its requests are handled and answered in one coroutine."""

    __slots__ = ()
    host: "Listener"

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
            self.force_close()

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
            return await self.host.handle(request)
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

    async def drained(self) -> None:
        """Wait until the client has read enough; one that reads nothing was cut off."""
        if self.transport is None:
            raise ConnectionResetError("the client has gone")
        await self._drain_helper()

    # -- when something is wrong -----------------------------------------------------------------

    def _mistaken(self, exc: BaseException) -> Answer:
        """The answer to what is not HTTP, and to our own mistakes; counted, no traceback."""
        if isinstance(exc, LineTooLong):
            refused = Refused("header_too_large", f"at most {LINE} bytes a line are taken")
        elif isinstance(exc, HttpProcessingError):
            refused = Refused("malformed_http", "the request's head or framing is not valid")
        else:
            refused = Refused("internal_error", "the gateway's log says more")
            self.host.failed(exc)
        self.host.count(refused)
        answer = problem(refused)
        answer.keep_alive = False
        return answer
