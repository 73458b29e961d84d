"""Connections through an HTTP proxy, which is never asked to look a name up.

The name is looked up here and every address judged, as without a proxy; the proxy is told a judged
address: by CONNECT for https, TLS then being with the name; in the request's own target for http.
The proxy's own address is the operator's word and is not judged.
"""

import asyncio
import re
from collections.abc import Callable
from ipaddress import ip_network
from ssl import SSLContext, SSLError
from typing import cast

from aiohttp.client_proto import ResponseHandler

from hookpost.clock import Clock
from hookpost.core.addresses import Allowance, EgressPolicy, judge, literal
from hookpost.core.model import Result
from hookpost.core.settings import TcpAddress
from hookpost.transport.resolver import Lookup, LookupFailed, Refused, Resolver

HEAD_MAX = 8190  # bytes of a proxy's answer to CONNECT
ADDRESSES_TRIED = 4

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: |\r)")
_ANYWHERE = EgressPolicy(
    name="of the proxy",
    allow=tuple(Allowance(network=ip_network(one)) for one in ("0.0.0.0/0", "::/0")),
)
Factory = Callable[[], ResponseHandler]


class ProxyFailed(Exception):
    """The way through the proxy ended; `result` is that of the attempt."""

    def __init__(self, result: Result, text: str) -> None:
        super().__init__(text)
        self.result = result


class Tunnel:
    """The way through one proxy. Lives on the loop that it was made on."""

    def __init__(
        self,
        proxy: TcpAddress,
        policy: EgressPolicy,
        resolver: Resolver,
        *,
        timeout: float,
        clock: Clock,
        lookup: Lookup,
    ) -> None:
        self._proxy = proxy
        self._policy = policy
        self._resolver = resolver
        self._own = Resolver(_ANYWHERE, timeout=timeout, clock=clock, lookup=lookup)
        self._loop = asyncio.get_running_loop()

    async def addresses(self, host: str, port: int) -> list[str]:
        """The judged addresses of a receiver; raises Refused or LookupFailed."""
        if literal(host) is not None:
            reason = judge(host, port, self._policy)
            if reason is not None:
                raise Refused(reason)
            return [host]
        found = await self._resolver.resolve(host, port)
        return [one["host"] for one in found[:ADDRESSES_TRIED]]

    async def plain(self, factory: Factory) -> ResponseHandler:
        """A connection to the proxy, for requests that name their receiver's address."""
        _, protocol = await self._dial(factory)
        return cast("ResponseHandler", protocol)

    async def secure(
        self, factory: Factory, host: str, port: int, context: SSLContext
    ) -> ResponseHandler:
        """TLS with `host` through the proxy."""
        failure: ProxyFailed | None = None
        for address in await self.addresses(host, port):
            try:
                wire = await self._connect(address, port)
            except ProxyFailed as mistake:
                failure = mistake
                continue
            return await self._shake_hands(wire, factory, host, context)
        assert failure is not None  # noqa: S101 - a name has an address
        raise failure

    async def _connect(self, address: str, port: int) -> asyncio.Transport:
        wire, protocol = await self._dial(lambda: _Connecting(self._loop))
        connecting = cast("_Connecting", protocol)
        where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        try:
            wire.write(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
            status = await connecting.answer
            if not 200 <= status <= 299:
                result = Result.AUTH if status == 407 else Result.CONNECT
                raise ProxyFailed(result, f"proxy {self._proxy} answers {status} to CONNECT")
        except BaseException:
            wire.abort()
            raise
        return wire

    async def _shake_hands(
        self, wire: asyncio.Transport, factory: Factory, host: str, context: SSLContext
    ) -> ResponseHandler:
        protocol = factory()
        try:
            secure = await self._loop.start_tls(wire, protocol, context, server_hostname=host)
        except SSLError:
            wire.abort()
            raise
        except OSError:
            wire.abort()
            raise ProxyFailed(Result.TLS, f"TLS by proxy {self._proxy} was broken off") from None
        except BaseException:
            wire.abort()
            raise
        if secure is None:
            raise ProxyFailed(Result.TLS, f"TLS by proxy {self._proxy} was broken off")
        protocol.connection_made(secure)
        return protocol

    async def _dial(
        self, factory: Callable[[], asyncio.BaseProtocol]
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        host, port = self._proxy.host, self._proxy.port
        why = "it has no address"
        try:
            found = (
                [host]
                if literal(host)
                else [one["host"] for one in await self._own.resolve(host, port)]
            )
        except LookupFailed as mistake:
            raise ProxyFailed(
                Result.CONNECT, f"cannot look up proxy {self._proxy}: {mistake}"
            ) from None
        for address in found[:ADDRESSES_TRIED]:
            try:
                return await self._loop.create_connection(factory, address, port)
            except OSError as mistake:
                why = mistake.strerror or type(mistake).__name__
        raise ProxyFailed(Result.CONNECT, f"cannot connect to proxy {self._proxy}: {why}")


class _Connecting(asyncio.Protocol):
    """Waits for the answer to CONNECT."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[int] = loop.create_future()
        self._head = b""

    def data_received(self, data: bytes) -> None:
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end and len(self._head) <= HEAD_MAX:
            return
        found = _STATUS.match(head + b"\r")
        if not end or found is None:
            self._fail("its answer to CONNECT is not HTTP/1.1")
        elif rest and found[1].startswith(b"2"):
            self._fail("something speaks before TLS begins")
        elif not self.answer.done():
            self.answer.set_result(int(found[1]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("it closed the connection instead of an answer to CONNECT")

    def _fail(self, why: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(ProxyFailed(Result.CONNECT, f"the proxy does not do: {why}"))
