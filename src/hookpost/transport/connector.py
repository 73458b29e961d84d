"""aiohttp's connector with a guard at every socket, and its protocol with bounds.

What is added to aiohttp: every socket is judged before it is opened; an answer that is followed
by rubbish is still an answer; interim answers and bodies are cut off, not collected; bytes that
nobody asked for end the connection; and an attempt can find out what became of its connection.
aiohttp's session, request and response are gone around: they cost more than all else together.
"""

import asyncio
import functools
import socket
from math import inf
from ssl import SSLContext
from typing import Any, cast

from aiohttp import (
    ClientConnectionResetError,
    ClientPayloadError,
    ClientRequest,
    ClientTimeout,
    TCPConnector,
)
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.tracing import Trace

from hookpost.core.addresses import EgressPolicy, judge
from hookpost.transport.resolver import Refused, Resolver
from hookpost.transport.tunnel import Tunnel

ANSWER_READ = 4096  # bytes of an answer's body that are read at most
ANSWER_ROOM = 2 * ANSWER_READ  # the same on the wire, where chunks have heads of their own
INTERIM_MAX = 256  # 1xx answers before the final one
HEAD_LINE_MAX = 8190  # bytes of one line or field of an answer's head
HEAD_FIELDS_MAX = 128
WRITTEN_AT_ONCE = 1 << 16  # bytes of a body up to which copying it costs less than a second write
IDLE_OVER = 0.05  # seconds beyond `keepalive` that an idle connection may live: closed in batches
_END_OF_HEAD = b"\r\n\r\n"
_NO_TIMEOUT = ClientTimeout(total=None)  # the attempt's deadline is the only one, and cheaper
_NO_TRACES: list[Trace] = []


class Progress:
    """One attempt on its way: its deadline, its connection, its answer so far."""

    __slots__ = ("_lease", "_wire", "answer", "before", "connection", "expired", "response", "task")

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - attempts are made in tasks
        self.task = task
        self.before = task.cancelling()
        self.expired = False
        self.connection: AnswerProtocol | None = None
        self.response: RawResponseMessage | None = None
        self.answer = b""
        self._lease: Connection | None = None
        self._wire: asyncio.Transport | None = None

    def expire(self) -> None:
        """The time is over; the deadline's own cancellation, to be taken back by `settle`."""
        self.expired = True
        self.task.cancel()

    def settle(self) -> bool:
        """Take the deadline's cancellation back; True if someone else cancels the task too."""
        return self.task.uncancel() > self.before

    def send(self, lease: Connection, head: bytes, body: bytes) -> "AnswerProtocol":
        """Write the whole request on a connection, which is this attempt's until `rest` or `abort`.

        Raises ClientConnectionResetError where the connection is lost already.
        """
        self._lease = lease
        protocol = self.connection = cast("AnswerProtocol", lease.protocol)
        wire = self._wire = protocol.transport
        protocol.begin()
        if wire is None or wire.is_closing():
            raise ClientConnectionResetError
        if len(body) <= WRITTEN_AT_ONCE:
            wire.write(head + body)
        else:
            wire.write(head)
            wire.write(body)
        return protocol

    def catch(self) -> None:
        """Take an answer whose head came in the very tick in which the attempt was cancelled."""
        if self.response is None and self.connection is not None:
            self.response = self.connection.waiting()

    def rest(self) -> None:
        """The answer is read: give the connection back, unless the request is still being sent."""
        lease, wire, connection = self._lease, self._wire, self.connection
        if lease is None or wire is None or connection is None:
            return
        if wire.get_write_buffer_size():
            self.abort()
            return
        lease.release()
        connection.rest()

    def abort(self) -> None:
        """Drop the connection at once: a receiver that reads nothing would hold it for ever."""
        if self._lease is not None:
            self._lease.close()
        if self._wire is not None:
            self._wire.abort()


class AnswerProtocol(ResponseHandler):
    """One connection. `uses` counts requests, `heard` says whether the last one got any byte."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        living: set["AnswerProtocol"],
        room: int = ANSWER_ROOM,
    ) -> None:
        super().__init__(loop=loop)
        self._most = room
        self.uses = 0
        self.heard = False
        self._living = living
        self._idle = False
        self._headed = False
        self._interim = 0
        self._room = 0
        self._edge = b""

    def begin(self) -> None:
        """A request begins on this connection; its answer gets a parser of its own."""
        self.uses += 1
        self.heard = self._idle = self._headed = False
        self._interim = 0
        self._room = self._most
        self._edge = b""
        self.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=HEAD_LINE_MAX,
            max_field_size=HEAD_LINE_MAX,
            max_headers=HEAD_FIELDS_MAX,
        )

    def waiting(self) -> RawResponseMessage | None:
        """The final head that has come and that nobody has read yet."""
        return self._buffer[0][0][0] if self._buffer else None

    def rest(self) -> None:
        """The answer is read: whatever comes now was not asked for."""
        self._idle = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._living.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._living.discard(self)

    def data_received(self, data: bytes) -> None:
        if self._idle:
            if data:
                self._drop()
            return
        self.heard = True
        if self._headed:
            self._feed_body(data)
        elif not self._edge and data.find(_END_OF_HEAD) == len(data) - len(_END_OF_HEAD):
            ResponseHandler.data_received(self, data)  # one head and nothing else: the usual case
        else:
            self._feed_heads(data)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """The parser has read a head. Interim ones are dropped, a second final one is a fault."""
        code = data[0].code
        if code < 200 and code >= 100 and code != 101:
            self._interim += 1
        elif self._headed:
            self.force_close()
        else:
            self._headed = True
            ResponseHandler.feed_data(self, data, size)

    def _feed_heads(self, data: bytes) -> None:
        """Feed head by head: rubbish after a head must not take the head with it."""
        while not self._headed and self._exception is None:
            found = (
                (self._edge + data).find(_END_OF_HEAD) if self._edge else data.find(_END_OF_HEAD)
            )
            if found < 0:
                self._edge = (self._edge + data)[-3:]
                super().data_received(data)
                return
            end = found + len(_END_OF_HEAD) - len(self._edge)
            self._edge = b""
            if end == len(data):
                super().data_received(data)
                return
            super().data_received(data[:end])
            data = data[end:]
            if self._interim > INTERIM_MAX:
                self.set_exception(ClientPayloadError(f"over {INTERIM_MAX} interim answers"))
                self._drop()
        if self._headed:
            self._feed_body(data)

    def _feed_body(self, data: bytes) -> None:
        """Feed what there is room for; then the body ends here, and with it the connection.

        It ends here too where it cannot be parsed: aiohttp would let its reader wait for ever.
        """
        fitting = data[: self._room]
        self._room -= len(fitting)
        if fitting or not data:
            super().data_received(fitting)
        if len(fitting) == len(data) and self._exception is None:
            return
        self.force_close()
        payload = self._payload
        if payload is not None and not payload.is_eof():
            payload.feed_eof()
        self._drop()

    def _drop(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class GuardedConnector(TCPConnector):
    """The connections of one endpoint. Lives on the loop that it was made on."""

    def __init__(
        self,
        policy: EgressPolicy,
        resolver: Resolver,
        *,
        limit: int,
        keepalive: float,
        ssl_context: SSLContext | None,
        tunnel: Tunnel | None = None,
        room: int = ANSWER_ROOM,
    ) -> None:
        self._egress = policy
        self._tunnel = tunnel
        self._living: set[AnswerProtocol] = set()
        reuse: dict[str, Any] = (
            {"keepalive_timeout": keepalive} if keepalive > 0 else {"force_close": True}
        )
        self._keepalive = keepalive
        super().__init__(
            resolver=resolver,
            use_dns_cache=False,
            limit=limit,
            timeout_ceil_threshold=inf,  # no rounding up
            socket_factory=self._open,
            # True is aiohttp's own verifying context: made once a process, shared by all
            ssl=True if ssl_context is None else ssl_context,
            **reuse,
        )
        self._factory = cast(
            "functools.partial[ResponseHandler]",
            functools.partial(AnswerProtocol, loop=self._loop, living=self._living, room=room),
        )

    async def lease(self, request: ClientRequest, key: ConnectionKey) -> Connection:
        """A connection for `request`, whose key is `key`: one that rests, or a new one."""
        connection = await self._get(key, _NO_TRACES)
        if connection is None:
            connection = await self.connect(request, _NO_TRACES, _NO_TIMEOUT)
        return connection

    async def dial(self, request: ClientRequest) -> Connection:
        """A new connection for `request`. Those that rest may have been closed, too: they end."""
        while True:
            connection = await self.connect(request, _NO_TRACES, _NO_TIMEOUT)
            if not cast("AnswerProtocol", connection.protocol).uses:
                return connection
            connection.close()

    async def _create_connection(
        self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout
    ) -> ResponseHandler:
        """A new connection: through the proxy where there is one."""
        tunnel = self._tunnel
        if tunnel is None:
            return await super()._create_connection(req, traces, timeout)
        context = self._get_ssl_context(req)
        if context is None:
            return await tunnel.plain(self._factory)
        return await tunnel.secure(self._factory, req.host, req.port or 443, context)

    def _cleanup(self) -> None:
        """Close what has rested long enough; come again when the next has, not a period later."""
        super()._cleanup()
        if self._cleanup_handle is None:
            return
        self._cleanup_handle.cancel()
        oldest = min(waiting[0][1] for waiting in self._conns.values())
        left = oldest + self._keepalive - self._loop.time()
        self._cleanup_handle = self._loop.call_later(max(left, 0.0) + IDLE_OVER, self._cleanup)

    def _open(self, address: Any) -> socket.socket:
        """Make the socket for one address, which is then dialled as it stands, or refuse."""
        family, kind, proto, _, target = address
        reason = judge(target[0], target[1], self._egress)
        if reason is not None:
            raise Refused(reason)
        return socket.socket(family, kind, proto)

    def retire(self) -> None:
        """Close what is idle now, and everything else as it is given back."""
        self._force_close = True
        for waiting in self._conns.values():
            for protocol, _ in waiting:
                protocol.abort()
        self._conns.clear()

    async def ended(self) -> None:
        """Wait until the last connection has let go of its descriptor."""
        for protocol in list(self._living):
            protocol.abort()
            closed = protocol.closed
            if closed is not None:
                await asyncio.gather(closed, return_exceptions=True)
