"""One publisher's connection: aiohttp's parser and flow control, under limits, in fewer steps."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import ERROR

from hookpost.core.refusals import Refused
from hookpost.web.answer import Answer
from hookpost.web.bounded import HEADERS, LINE, LINGER, Bounded
from hookpost.web.handshake import Handshake
from hookpost.web.problem import problem
from hookpost.web.request import BodyEnd, Limits, Request

if TYPE_CHECKING:
    from hookpost.web.server import Listener


class Exchange(Protocol):
    """What becomes of one request. Asked in this order, until there is an answer."""

    def judge(self) -> Answer | Limits:
        """Judge the head; the limits of the body, where it shall be read."""
        ...

    def take(self, body: bytes | BodyEnd, told: Callable[[], None]) -> Answer | None:
        """Take the body; None: `told` will be called when there is an answer to ask for."""
        ...

    def conclude(self) -> Answer:
        """The answer that was told of."""
        ...


class Connection(Bounded):
    """One publisher's connection: its requests are handled one after the other.

    aiohttp's own loop wakes a task for each request, runs the handler in another, and answers
    through its response objects; together that costs more than all that a small request needs
    here. So a request is handled in the call that brought its last byte, and answered in the one
    that says it is stored. There is a task only where a body, or the client, keeps us waiting.
    """

    __slots__ = ("_exchange", "_handshake", "_heard")
    host: "Listener"

    def __init__(
        self,
        server: "web.Server",
        host: "Listener",
        handshake: Handshake | None = None,
        **options: Any,
    ) -> None:
        super().__init__(server, host=host, **options)
        self._exchange: Exchange | None = None
        self._handshake = handshake  # None: plain HTTP
        self._heard = False  # whether the client has said that it sends nothing more

    @property
    def ending(self) -> bool:
        """Whether no request may follow.

        The listener closes, or has another certificate by now, or the client has sent its last.
        """
        shook = self._handshake
        if self._heard and not self._messages:
            return True
        return self.host.stopping or self.host.outdated(None if shook is None else shook.tls)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the handshake's place."""
        if self._handshake is not None:
            self.host.shaken(self._handshake)
        super().connection_made(transport)

    async def start(self) -> None:
        """aiohttp's loop over requests, of which nothing is needed."""

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and handle what it has read."""
        super().data_received(data)
        if self._messages and not self._request_in_progress:
            self._go_on()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client sends nothing more; True: stay, until it has its answers.

        A body that was cut off by it is broken. TLS ends in both directions at once.
        """
        if self._handshake is not None or not (self._request_in_progress or self._messages):
            return None
        self._heard = True
        if self._body is not None and not self._body.is_eof():
            self._body.set_exception(web.RequestPayloadError("the client has sent its last"))
        return True

    # -- one request ---------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Handle the requests that have come, until one has to wait."""
        messages: deque[tuple[Any, StreamReader]] = self._messages
        while messages and not self._request_in_progress and not self._force_close:
            message, payload = messages.popleft()
            if self._parser is not None:
                self._parser.message_consumed()
            unread = not isinstance(message, RawRequestMessage)  # what the parser refused
            request = Request(ERROR if unread else message, payload, self)
            self._request_in_progress = True
            self._current_request = request  # type: ignore[assignment]
            if self._buffer_paused and len(messages) <= self._msg_queue_resume_size:
                self._resume_reading_if_drained()
            if unread:
                self._answer(request, self._mistaken(message.exc))
            else:
                self._handle(request)

    def _handle(self, request: Request) -> None:
        answer: Answer | None
        try:
            exchange = self.host.receive(request)
            judged = exchange.judge()
            if isinstance(judged, Answer):
                answer = judged
            elif request.body_ended:
                answer = self._take(exchange, request.whole(judged[0]))
            else:
                self._task_handler = self._loop.create_task(self._read(request, exchange, judged))
                return
        except Exception as error:
            answer = self._mistaken(error)
        if answer is not None:
            self._answer(request, answer)

    async def _read(self, request: Request, exchange: Exchange, limits: Limits) -> None:
        """Wait for the body."""
        try:
            answer = self._take(exchange, await request.read(limits))
        except Exception as error:
            answer = self._mistaken(error)
        if answer is not None:
            self._answer(request, answer)
            self._go_on()

    def _take(self, exchange: Exchange, body: bytes | BodyEnd) -> Answer | None:
        """The answer, or None where the disk has it first."""
        self._exchange = exchange
        return exchange.take(body, self._concluded)

    def _concluded(self) -> None:
        request: Any = self._current_request
        exchange = self._exchange
        assert exchange is not None  # noqa: S101 - which has told so
        try:
            answer = exchange.conclude()
        except Exception as error:
            answer = self._mistaken(error)
        self._answer(request, answer)
        if self._messages:
            self._go_on()

    # -- its answer ------------------------------------------------------------------------------

    def _answer(self, request: Request, answer: Answer) -> None:
        """Write the answer, and see to what keeps the next request waiting."""
        if not self._upgraded:
            try:
                answer.write(request)
            except ConnectionError:  # the client has gone
                self._finish(keep_alive=False)
                return
        if self._upgraded or self._paused or not (answer.keep_alive or request.body_ended):
            self._task_handler = self._loop.create_task(self._take_leave(request, answer))
        else:
            self._finish(keep_alive=answer.keep_alive)

    async def _take_leave(self, request: Request, answer: Answer) -> None:
        """The rest of an exchange in which the client still has to do something."""
        keep_alive = False
        try:
            if self._upgraded:  # declined by answering: what came behind is ordinary again
                await self.finish_response(cast(Any, request), cast(Any, answer), None)
            elif self.writing_paused:
                await self.drained()
            if not request.body_ended:
                await self._linger(request)
            keep_alive = answer.keep_alive
        except ConnectionError:
            keep_alive = False  # the client has gone
        finally:
            self._finish(keep_alive=keep_alive)
        self._go_on()

    async def _linger(self, request: Request) -> None:
        """Read on for a while after an early answer, so that the client gets to see it."""
        try:
            async with asyncio.timeout(LINGER):
                while not self._force_close and await request.read_some():
                    continue
        except (TimeoutError, OSError, RuntimeError, web.RequestPayloadError, HttpProcessingError):
            self.close()
        if not request.body_ended:
            self.close()

    async def drained(self) -> None:
        """Wait until the client has read enough; one that reads nothing was cut off."""
        if self.transport is None:
            raise ConnectionResetError("the client has gone")
        await self._drain_helper()

    def _finish(self, *, keep_alive: bool) -> None:
        """The next request may come, or the connection ends."""
        self._current_request = self._exchange = None
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        if self._force_close:
            return
        if self._close or not keep_alive or (self._heard and not self._messages):
            self._task_handler = None
            self.force_close()
            return
        self._next_keepalive_close_time = at = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(at, self._process_keepalive)

    def _process_keepalive(self) -> None:
        """Close what has been at rest for so long; where a head is awaited, its time counts."""
        self._keepalive_handle = None
        if self._force_close or self._head_timer is not None or not self.idle:
            return
        if self._loop.time() < self._next_keepalive_close_time:
            at = self._next_keepalive_close_time
            self._keepalive_handle = self._loop.call_at(at, self._process_keepalive)
        else:
            self.force_close()

    # -- when something is wrong -----------------------------------------------------------------

    def _mistaken(self, exc: BaseException) -> Answer:
        """The answer to what is not HTTP, and to our own mistakes; counted, no traceback."""
        if isinstance(exc, HttpProcessingError):
            refused = _unparsed(exc)
        else:
            refused = Refused("internal_error", "the gateway's log says more")
            self.host.failed(exc)
        self.host.count(refused)
        answer = problem(refused)
        answer.keep_alive = False
        return answer


def _unparsed(error: HttpProcessingError) -> Refused:
    """What is wrong with what the parser refused."""
    if isinstance(error, LineTooLong):
        return Refused("header_too_large", f"at most {LINE} bytes a line are taken; send less")
    if error.message.startswith("Too many headers"):
        return Refused("header_too_large", f"at most {HEADERS} header fields are taken; send fewer")
    reason = error.message.partition("\n")[0]
    if "Content-Length" in reason and "Transfer-Encoding" in reason:
        return Refused("malformed_http", "send Content-Length or Transfer-Encoding, not both")
    if "Content-Length" in reason:
        wanted = "the Content-Length is not the number of bytes of one body: digits, below 2^64"
        return Refused("malformed_http", wanted)
    return Refused("malformed_http", "the request's head or framing is not valid")
