"""Raw bytes against the ops port: an answer or the end, and the pages are served to the next."""

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.effort import fuzzed
from tests.fuzz.http_judge import End, Stream, answers, requests
from tests.fuzz.http_requests import Case, cases
from tests.fuzz.sockets import LOOPS, Exchanged, Fuzzed, answered_well, looped
from tests.ingest_rig import Client

from hookpost.clock import SystemClock
from hookpost.metrics import Metrics
from hookpost.services.health import Health
from hookpost.web import bounded, pages
from hookpost.web.ops import ops_app
from hookpost.web.pages import Pages

STATUSES = frozenset({200, 400, 404, 405, 408, 413, 417})
_AT_ONCE = 0.02  # seconds
_PAGES = (b"/livez", b"/readyz", b"/status", b"/metrics")


def page(target: bytes, method: bytes = b"GET") -> bytes:
    """A request that is served."""
    return method + b" " + target + b" HTTP/1.1\r\nHost: gateway\r\n\r\n"


async def _status() -> dict[str, Any]:
    return {"totalReceived": 3}


class Ops:
    """The real pages behind their real listener, on a loop that stays."""

    def __init__(self, caplog: pytest.LogCaptureFixture, patch: pytest.MonkeyPatch) -> None:
        self.pages = Pages(SystemClock())
        self.caplog = caplog
        self.open: set[object] = set()
        self.patch = patch
        self.address: tuple[str, int]
        self.port = Fuzzed(self.connect, lambda: len(self.open), self._hurry, caplog)

    async def start(self) -> None:
        clock = SystemClock()
        metrics = Metrics(clock)
        metrics.configure(sources=["billing"], endpoints=["crm"], secrets={})
        health = Health(starting=False)
        app = ops_app(metrics=metrics, health=health, status=_status, clock=clock)
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        self.address = sock.getsockname()
        self._count()
        await self.pages.serve(app, sock)

    def _count(self) -> None:
        """Know the connections as the listener does."""
        admit, gone = pages._Page.admit, pages._Page.gone

        def counted(host: Any, one: Any, transport: asyncio.Transport) -> bool:
            self.open.add(one)
            return admit(host, one, transport)

        def ended(host: Any, one: Any) -> None:
            self.open.discard(one)
            gone(host, one)

        self.patch.setattr(pages._Page, "admit", counted)
        self.patch.setattr(pages._Page, "gone", ended)

    def _hurry(self, at_once: bool) -> None:
        seconds = _AT_ONCE if at_once else 30.0
        self.patch.setattr(pages, "HEAD", seconds)
        self.patch.setattr(bounded, "IDLE", seconds)

    async def connect(self) -> Client:
        return Client(*await asyncio.open_connection(*self.address))

    async def survived(self, result: Exchanged) -> None:
        """What must hold after a case, whatever it was."""
        answered_well(result, STATUSES)
        for one in result.final:
            kind = one.all(b"content-type")
            if one.status == 200 and kind and kind[0].startswith(b"application/json") and one.body:
                assert isinstance(json.loads(one.body), dict)
        await self.port.quiet()
        client = await self.connect()
        for target in _PAGES:
            assert (await client.ask(page(target))).status == 200
        await client.close()
        await self.port.quiet()


@pytest.fixture(params=sorted(LOOPS))
def ops(
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Any, Ops]]:
    """A loop and the pages that are served on it."""
    monkeypatch.setattr(bounded, "LINGER", _AT_ONCE)
    with looped(request.param) as runner:
        made = Ops(caplog, monkeypatch)
        runner.run(made.start())
        yield runner.run, made
        runner.run(made.pages.close())


@fuzzed(80)
@given(case=cases(), target=st.sampled_from(_PAGES), method=st.sampled_from([b"GET", b"HEAD"]))
def test_any_bytes_are_answered_or_end_and_the_pages_are_served(
    ops: tuple[Any, Ops], case: Case, target: bytes, method: bytes
) -> None:
    run, made = ops
    probe = page(target, method)

    async def fired() -> None:
        result = await made.port.exchange(case, probe)
        asked = result.asked
        last = requests(probe).messages[0]
        if case.ending == "probe" and asked.messages[-1:] == [last]:
            whole = len(result.final) == len(asked.messages)
            farewell = bool(result.final) and result.final[-1].closes
            assert whole or farewell or result.reset, result
            if whole:
                assert result.final[-1].status == 200
        await made.survived(result)

    run(fired())


@fuzzed(8)
@given(cut=st.integers(0, 30), byte=st.integers(1, 9))
def test_a_slow_asker_is_served_or_told(ops: tuple[Any, Ops], cut: int, byte: int) -> None:
    run, made = ops
    raw = page(b"/livez")[:cut]
    case = Case(raw, tuple(range(0, len(raw), byte)), "wait")

    async def fired() -> None:
        result = await made.port.exchange(case, b"")
        assert result.closed
        told = [one.status for one in result.final]
        assert told in ([408], []) if raw else not told  # a farewell may be lost on its way
        await made.survived(result)

    run(fired())


@pytest.mark.parametrize(
    ("raw", "end", "count"),
    [
        (page(b"/a") + page(b"/b"), End.WHOLE, 2),
        (page(b"/a")[:-1], End.PARTIAL, 0),
        (page(b"/a") + b"GET /\r\n", End.BAD, 1),
        (b"GET / HTTP/1.1\nHost: x\n\n", End.BAD, 0),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", End.BAD, 0),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", End.BAD, 0),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", End.BAD, 0),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked"
         b"\r\n\r\n0\r\n\r\n", End.BAD, 0),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na", End.BAD, 0),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", End.BAD, 0),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
         End.WHOLE, 1),
    ],
)  # fmt: skip
def test_the_judge_reads_requests_strictly(raw: bytes, end: End, count: int) -> None:
    read = requests(raw)
    assert (read.end, len(read.messages)) == (end, count)


@pytest.mark.parametrize(
    ("raw", "methods", "end"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", [b"GET"], End.WHOLE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", [b"HEAD"], End.WHOLE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", [b"GET"], End.PARTIAL),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokk", [b"GET"], End.PARTIAL),
        (b"HTTP/1.1 200 OK\r\n\r\n", [b"GET"], End.BAD),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", [b"GET"], End.BAD),
        (b"HTTP/1.1 99 OK\r\nContent-Length: 0\r\n\r\n", [b"GET"], End.BAD),
    ],
)
def test_the_judge_reads_answers_strictly(raw: bytes, methods: list[bytes], end: End) -> None:
    read: Stream = answers(raw, methods)
    assert read.end is end
