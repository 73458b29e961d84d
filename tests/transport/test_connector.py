"""The guard at the socket holds by itself, and nothing is left behind."""

import asyncio
import os
import re
import resource
import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientConnectorError, ClientSession
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st
from tests.transport.receiver import (
    OK,
    Open,
    Peer,
    Receiver,
    answering,
    answering_then_hanging,
)
from yarl import URL

from hookpost.core.addresses import EgressPolicy, url_mistake
from hookpost.core.model import Result
from hookpost.transport.connector import (
    ANSWER_ROOM,
    AnswerProtocol,
    GuardedConnector,
    Progress,
)
from hookpost.transport.failures import ERROR_KEPT, failed, one_line, outcome_of
from hookpost.transport.resolver import Refused


class Lying(AbstractResolver):
    """A resolver that judges nothing."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self._addresses
        ]

    async def close(self) -> None:
        return None


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("127.0.0.1", "127.0.0.2"), ("localhost",)])
async def test_no_socket_is_opened_to_an_address_that_the_resolver_let_slip(
    addresses: tuple[str, ...],
) -> None:
    async with Receiver(answering(OK)) as receiver:
        connector = GuardedConnector(
            EgressPolicy(name="strict", require_https=False),
            Lying(*addresses),  # type: ignore[arg-type]
            limit=2,
            keepalive=1.0,
            ssl_context=None,
        )
        async with ClientSession(connector=connector) as session:
            progress = Progress()
            with pytest.raises(ClientConnectorError) as caught:
                await session.post(receiver.url(host="crm.example"), data=b"x")
            outcome = outcome_of(caught.value, progress, "crm.example:1")
        assert receiver.connections == 0
    assert (outcome.result, outcome.permanent) == (Result.BLOCKED, False)


async def test_a_literal_that_aiohttp_would_dial_by_itself_meets_the_guard() -> None:
    async with Receiver(answering(OK)) as receiver:
        connector = GuardedConnector(
            EgressPolicy(name="strict", require_https=False),
            Lying(),  # type: ignore[arg-type]
            limit=2,
            keepalive=1.0,
            ssl_context=None,
        )
        async with ClientSession(connector=connector) as session:
            with pytest.raises(ClientConnectorError) as caught:
                await session.post(receiver.url(), data=b"x")
            assert isinstance(caught.value.os_error, Refused)
        assert receiver.connections == 0


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_close_leaves_no_descriptor_whatever_the_attempts_came_to(
    open_transport: Open,
) -> None:
    turn = 0

    async def script(peer: Peer) -> None:
        nonlocal turn
        turn += 1
        match turn % 4:
            case 0:
                await peer.request()
                await peer.send(OK)
                await peer.gone()
            case 1:
                await peer.gone()
            case 2:
                await peer.request()
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + b"x" * 9999)
                await peer.gone()
            case _:
                peer.reset()

    async with Receiver(script) as receiver:
        before = open_files()
        transport = open_transport(receiver.url(), timeout=0.2, concurrency=16)
        outcomes = await asyncio.gather(
            *(transport.post(receiver.url(), (), b"x" * 100_000) for _ in range(16))
        )
        assert {outcome.result for outcome in outcomes} >= {Result.SUCCESS, Result.TIMEOUT}
        await transport.close()
        assert not transport._connector._living
        async with asyncio.timeout(5):
            while receiver.scripts_left < receiver.connections:
                await asyncio.gather(*receiver._tasks)
        for peer in receiver.peers:
            peer.writer.transport.abort()
            await peer.writer.wait_closed()
        assert open_files() <= before


async def test_endless_answers_do_not_make_the_process_grow(open_transport: Open) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await peer.send(b"x" * 65536)

    async with Receiver(script) as receiver:
        transport = open_transport(receiver.url(), timeout=5.0)
        for _ in range(5):
            await transport.post(receiver.url(), (), b"x")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(40):
            outcome = await transport.post(receiver.url(), (), b"x")
            assert outcome.ok
            assert len(outcome.answer) == 1024
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 16 * 1024  # KiB


async def test_slots_are_given_back_by_attempts_that_end_badly(open_transport: Open) -> None:
    async with Receiver(
        answering_then_hanging(b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nhalf")
    ) as receiver:
        transport = open_transport(receiver.url(), timeout=0.05, concurrency=1)
        for _ in range(4):
            assert (await transport.post(receiver.url(), (), b"x")).status == 500


class Wire(asyncio.Transport):
    """A transport that only remembers whether it was dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped = False

    def abort(self) -> None:
        self.dropped = True

    def close(self) -> None:
        self.dropped = True

    def pause_reading(self) -> None:
        return None


def receiving() -> tuple[AnswerProtocol, Wire]:
    """A connection on which a request was just sent."""
    protocol, wire = AnswerProtocol(asyncio.get_running_loop(), set()), Wire()
    protocol.connection_made(wire)
    protocol.set_response_params(read_until_eof=True, auto_decompress=False)
    protocol.begin()
    return protocol, wire


async def test_a_body_that_comes_in_one_piece_is_cut_before_it_is_parsed() -> None:
    protocol, wire = receiving()
    protocol.data_received(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (1 << 20))
    _, payload = await protocol.read()
    assert payload.total_bytes == ANSWER_ROOM
    assert payload.is_eof()
    assert wire.dropped


async def test_a_flood_of_answers_is_not_parsed_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol, wire = receiving()
    heads = 0
    original = AnswerProtocol.feed_data

    def counted(self: AnswerProtocol, data: object, size: int = 0) -> None:
        nonlocal heads
        heads += 1
        original(self, data, size)

    monkeypatch.setattr(AnswerProtocol, "feed_data", counted)
    protocol.data_received(b"HTTP/1.1 204 A\r\n\r\n" * 50_000)
    assert heads < 1000
    assert wire.dropped
    message, _ = await protocol.read()
    assert message.code == 204
    assert len(protocol) == 0  # the others are not kept for anybody


HOSTS = st.one_of(
    st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{1,8}){0,3}\.?", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.text(alphabet="a0.:[]@%\\/①x-", max_size=12),
)
PATHS = st.text(alphabet="/ab%0?&=[];#@:\\ .", max_size=12)


@given(HOSTS, st.one_of(st.just(""), st.integers(0, 70000).map(lambda n: f":{n}")), PATHS)
def test_every_parser_reads_one_host_and_port_out_of_an_honest_url(
    host: str, port: str, path: str
) -> None:
    url = f"https://{host}{port}{path}"
    if url_mistake(url) is not None:
        return
    read = URL(url, encoded=True)
    split = urlsplit(url)
    ours = re.fullmatch(r"https://(\[[^\]]*\]|[^:/?]*)(?::([0-9]+))?(?:[/?].*)?", url)
    assert ours is not None
    bare = ours[1].strip("[]")
    assert (read.raw_host or "").lower() == bare.lower() == split.hostname
    assert read.port == int(ours[2] or 443) == (split.port or 443)
    assert read.user is None
    assert read.fragment == ""
    assert str(read.raw_path_qs).startswith("/")
    if ours[1].startswith("["):
        assert ip_address(bare).version == 6


@given(st.text(max_size=400))
def test_text_of_strangers_becomes_one_printable_line(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= ERROR_KEPT
    if len(text) <= ERROR_KEPT and text.isprintable():
        assert line == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\r\nb", "a\\r\\nb"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202eabc", "\\u202eabc"),
        ("a\u2028b", "a\\u2028b"),
        ("\udcff", "\\udcff"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_control_bidi_and_surrogate_characters_are_escaped(text: str, line: str) -> None:
    assert one_line(text) == line


def test_a_failure_without_an_answer_has_no_status() -> None:
    outcome = failed(Result.DNS, str(Refused("why")))
    assert (outcome.status, outcome.answer, outcome.error) == (None, b"", "why")
