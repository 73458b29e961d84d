"""Through a real HTTP proxy: it is told addresses that were judged, and looks up no name."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trustme
from tests.transport.receiver import (
    NO_CONTENT,
    OK,
    Open,
    Peer,
    Receiver,
    Script,
    answering,
)

from hookpost.core.addresses import EgressPolicy
from hookpost.core.model import Result
from hookpost.core.settings import TcpAddress

PRIVATE = "10.1.2.3"


@dataclass
class Proxy:
    """What a proxy was asked; CONNECT leads to `to`, whatever address is named."""

    to: int
    heads: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def address(self) -> TcpAddress:
        return TcpAddress("127.0.0.1", self.port)

    async def serve(self, peer: Peer) -> None:
        while True:
            head = await peer.reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode())
            if not head.startswith(b"CONNECT "):
                size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                await peer.reader.readexactly(size)
                await peer.send(OK)
                continue
            reader, writer = await asyncio.open_connection("127.0.0.1", self.to)
            try:
                await peer.send(b"HTTP/1.1 200 Connection established\r\nVia: tests\r\n\r\n")
                await asyncio.gather(pipe(peer.reader, writer), pipe(reader, peer.writer))
            finally:
                writer.transport.abort()
            return


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def a_proxy(to: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(to)
    async with Receiver(proxy.serve) as receiver:
        proxy.port = receiver.port
        yield proxy


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def serving(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("crm.example").configure_cert(context)
    return context


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def public(host: str) -> list[str]:
    """8.8.8.8 is public, and never dialled: the proxy leads elsewhere."""
    return ["8.8.8.8"]


async def test_https_goes_by_connect_to_a_judged_address_and_tls_with_the_name(
    open_transport: Open, serving: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with Receiver(answering(NO_CONTENT), tls=serving) as crm, a_proxy(crm.port) as proxy:
        url = "https://crm.example/hooks"
        transport = open_transport(
            url, proxy=proxy.address, lookup=public, ssl_context=trusting, egress=EgressPolicy()
        )
        for _ in range(3):
            outcome = await transport.post(url, (), b"x")
            assert outcome.status == 204
        assert proxy.heads == ["CONNECT 8.8.8.8:443 HTTP/1.1\r\nHost: 8.8.8.8:443\r\n\r\n"]
        assert crm.connections == 1
        head, body = crm.requests[0]
        assert head.startswith(b"POST /hooks HTTP/1.1\r\nHost: crm.example\r\n")
        assert body == b"x"


async def test_http_is_asked_for_by_a_judged_address(open_transport: Open) -> None:
    async with a_proxy(0) as proxy:
        url = "http://crm.example:8080/hooks?a=b"
        egress = EgressPolicy(require_https=False)
        transport = open_transport(url, proxy=proxy.address, lookup=public, egress=egress)
        for _ in range(2):
            assert (await transport.post(url, (), b"x")).answer == b"ok"
    for head in proxy.heads:
        assert head.startswith(
            "POST http://8.8.8.8:8080/hooks?a=b HTTP/1.1\r\nHost: crm.example:8080\r\n"
        )
    assert len(proxy.heads) == 2


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["crm.example", PRIVATE])
async def test_a_denied_address_is_blocked_and_the_proxy_hears_nothing(
    open_transport: Open, scheme: str, host: str
) -> None:
    async with a_proxy(0) as proxy:
        url = f"{scheme}://{host}/hooks"
        egress = EgressPolicy(require_https=False)
        transport = open_transport(
            url, proxy=proxy.address, lookup=lambda _: ["8.8.8.8", PRIVATE], egress=egress
        )
        outcome = await transport.post(url, (), b"x")
    assert outcome.result is Result.BLOCKED
    assert PRIVATE in outcome.error
    assert outcome.permanent is (host == PRIVATE)
    assert proxy.heads == []


async def test_a_name_without_an_address_is_dns(open_transport: Open) -> None:
    def nowhere(host: str) -> list[str]:
        raise OSError(-2, "Name or service not known")

    url = "https://crm.example/"
    transport = open_transport(url, proxy=TcpAddress("127.0.0.1", 9), lookup=nowhere)
    outcome = await transport.post(url, (), b"x")
    assert (outcome.result, outcome.error) == (
        Result.DNS,
        "cannot look up crm.example:443: Name or service not known",
    )


async def test_the_proxy_itself_may_be_anywhere_and_have_a_name(
    open_transport: Open, serving: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    def lookup(host: str) -> list[str]:
        return ["127.0.0.1"] if host == "proxy.internal" else ["8.8.8.8"]

    async with Receiver(answering(NO_CONTENT), tls=serving) as crm, a_proxy(crm.port) as proxy:
        url = "https://crm.example/"
        transport = open_transport(
            url,
            proxy=TcpAddress("proxy.internal", proxy.port),
            lookup=lookup,
            ssl_context=trusting,
            egress=EgressPolicy(),
        )
        assert (await transport.post(url, (), b"x")).status == 204


def saying(data: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(data)
        if not data:
            peer.finish()
        await peer.gone()

    return script


@pytest.mark.parametrize(
    ("said", "result", "says"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", Result.CONNECT, "answers 403 to CONNECT"),
        (b"HTTP/1.1 407 Who are you\r\n\r\n", Result.AUTH, "answers 407 to CONNECT"),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 3\r\n\r\nbad", Result.CONNECT, "answers 502"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", Result.CONNECT, "its answer to CONNECT is not HTTP/1.1"),
        (b"x" * 10_000, Result.CONNECT, "its answer to CONNECT is not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\n\r\nsurplus", Result.CONNECT, "something speaks before TLS begins"),
        (b"", Result.CONNECT, "it closed the connection instead of an answer"),
    ],
)
async def test_a_proxy_that_does_not_let_us_through_is_told(
    open_transport: Open, said: bytes, result: Result, says: str
) -> None:
    async with Receiver(saying(said)) as proxy:
        url = "https://crm.example/"
        address = TcpAddress("127.0.0.1", proxy.port)
        transport = open_transport(url, proxy=address, lookup=public)
        outcome = await transport.post(url, (), b"x")
    assert outcome.result is result
    assert says in outcome.error


async def test_a_proxy_that_is_not_there_is_connect_and_one_that_hangs_a_timeout(
    open_transport: Open,
) -> None:
    url = "https://crm.example/"
    async with Receiver(saying(b"HTTP/1.1 ")) as proxy:
        address = TcpAddress("127.0.0.1", proxy.port)
        transport = open_transport(url, proxy=address, lookup=public, timeout=0.2)
        assert (await transport.post(url, (), b"x")).result is Result.TIMEOUT
    transport = open_transport(url, proxy=address, lookup=public)
    outcome = await transport.post(url, (), b"x")
    assert outcome.result is Result.CONNECT
    assert outcome.error.startswith(f"cannot connect to proxy 127.0.0.1:{address.port}: ")


async def test_a_wrong_certificate_behind_the_proxy_is_tls(
    open_transport: Open, serving: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with Receiver(answering(NO_CONTENT), tls=serving) as crm, a_proxy(crm.port) as proxy:
        url = "https://other.example/"
        transport = open_transport(
            url, proxy=proxy.address, lookup=public, ssl_context=trusting, egress=EgressPolicy()
        )
        outcome = await transport.post(url, (), b"x")
        assert crm.requests == []
    assert outcome.result is Result.TLS
    assert "certificate not accepted" in outcome.error


async def test_another_address_is_tried_where_the_proxy_cannot_reach_the_first(
    open_transport: Open, serving: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with Receiver(answering(NO_CONTENT), tls=serving) as crm, a_proxy(crm.port) as proxy:
        refused: list[str] = []
        through = proxy.serve

        async def script(peer: Peer) -> None:
            if not refused:
                refused.append((await peer.reader.readuntil(b"\r\n\r\n")).decode())
                await peer.send(b"HTTP/1.1 504 Gateway Timeout\r\n\r\n")
                return
            await through(peer)

        async with Receiver(script) as picky:
            url = "https://crm.example/"
            transport = open_transport(
                url,
                proxy=TcpAddress("127.0.0.1", picky.port),
                lookup=lambda _: ["8.8.8.8", "2001:4860::8"],
                ssl_context=trusting,
                egress=EgressPolicy(),
            )
            assert (await transport.post(url, (), b"x")).status == 204
    assert refused[0].startswith("CONNECT 8.8.8.8:443 ")
    assert proxy.heads[0].startswith("CONNECT [2001:4860::8]:443 ")
