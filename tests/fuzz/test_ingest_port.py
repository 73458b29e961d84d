"""Raw bytes against the ingest port: an answer or the end, and the next good request is served.

There is no OpenAPI document yet that schemathesis could walk through.
"""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.bodies import any_bodies
from tests.fuzz.effort import count, fuzzed
from tests.fuzz.http_judge import End, requests
from tests.fuzz.http_requests import Case, cases, good
from tests.fuzz.sockets import LOOPS, Exchanged, Fuzzed, answered_well, looped
from tests.ingest_rig import MemoryOutbox, Reply, Rig, WebRig, a_rig, a_snapshot, a_source, served
from tests.ingest_rig import request as http

from hookpost.core.envelope import Envelope, parse
from hookpost.core.model import Format
from hookpost.core.refusals import REFUSALS
from hookpost.core.settings import Auth, Extractor
from hookpost.web import bounded, connection

STATUSES = frozenset({200, 202, 400, 401, 404, 405, 408, 413, 415, 422, 431})
_AT_ONCE = 0.02  # seconds


class Ingest:
    """The real listener over an outbox in memory, on a loop that stays."""

    def __init__(self, caplog: pytest.LogCaptureFixture, patch: pytest.MonkeyPatch) -> None:
        self.caplog = caplog
        self.patch = patch
        self.stack = AsyncExitStack()
        self.rig: Rig
        self.web: WebRig
        self.port: Fuzzed
        self._number = 0

    async def start(self) -> None:
        raw = a_source(
            "raw", format=Format.RAW, event_type=Extractor(value="raw.came"), path="/in/raw"
        )
        anyone = replace(raw, name="open", path="/in/open", auth=Auth())
        self.rig = a_rig(a_snapshot(a_source(), raw, anyone, max_body=4000, max_batch=5))
        self.web = await self.stack.enter_async_context(served(self.rig))
        listener = self.web.listener
        self.port = Fuzzed(
            self.web.connect, lambda: len(listener.connections), self._hurry, self.caplog
        )

    @property
    def outbox(self) -> MemoryOutbox:
        outbox: MemoryOutbox = self.rig.outbox
        return outbox

    def _hurry(self, at_once: bool) -> None:
        seconds = _AT_ONCE if at_once else 30.0
        self.web.limit(header_timeout=seconds, body_timeout=seconds)
        self.patch.setattr(bounded, "IDLE", seconds)

    def probe(self) -> bytes:
        """A good request with an id of its own, to an outbox that is empty."""
        self.outbox.events.clear()
        self._number += 1
        return good(f"good{self._number}")

    async def survived(self, result: Exchanged) -> None:
        """What must hold after a case, whatever it was."""
        answered_well(result, STATUSES)
        for one in result.final:
            if one.status >= 400 and one.body:
                _problem(one.status, one.body, one.all(b"content-type"))
        self._stored_is_answered(result)
        await self.port.quiet()
        reply = await self.web.once(self.probe())
        assert reply.status == 202
        assert len(self.outbox.events) == 1
        await self.port.quiet()
        self.rig.clock.advance(2.0)  # the log tells more again

    def _stored_is_answered(self, result: Exchanged) -> None:
        """What is stored was asked for in full, and said so unless the client had gone."""
        stored = [event for event, _ in self.outbox.events]
        bodies = [one.body for one in result.asked.messages]
        for event in stored:
            assert event.body in b"\n".join(bodies), "a strict reader sees no such request"
        assert len(stored) <= sum(body.count(b"\n") + 1 for body in bodies), result
        accepted = sum(_accepted(json.loads(one.body)) for one in result.final if one.status == 202)
        whole = result.answered.end is End.WHOLE and not result.reset
        if whole and len(result.final) >= len(result.asked.messages):
            assert accepted == len(stored), result
        assert accepted <= len(stored), "acknowledged and not stored"


def _accepted(body: dict[str, Any]) -> int:
    return int(body["accepted"]) if "accepted" in body else 1


def _problem(status: int, body: bytes, kind: list[bytes]) -> None:
    document = json.loads(body)
    assert kind == [b"application/problem+json"]
    assert REFUSALS[document["code"]].status == document["status"] == status
    assert document["title"] == REFUSALS[document["code"]].title
    assert document["detail"]


@pytest.fixture(params=sorted(LOOPS))
def ingest(
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Any, Ingest]]:
    """A loop and the listener that runs on it."""
    monkeypatch.setattr(connection, "LINGER", _AT_ONCE)
    with looped(request.param) as runner:
        made = Ingest(caplog, monkeypatch)
        runner.run(made.start())
        yield runner.run, made
        runner.run(made.stack.aclose())


@fuzzed(120)
@given(case=cases())
def test_any_bytes_are_answered_or_end_and_the_next_request_is_served(
    ingest: tuple[Any, Ingest], case: Case
) -> None:
    run, made = ingest

    async def fired() -> None:
        probe = made.probe()
        result = await made.port.exchange(case, probe)
        _served_in_order(result, case, probe)
        await made.survived(result)

    run(fired())


def _served_in_order(result: Exchanged, case: Case, probe: bytes) -> None:
    """Who asks properly and waits for the end gets all answers, until one says farewell."""
    asked = result.asked
    if result.reset or case.ending in ("reset", "half"):
        return
    if asked.end is End.WHOLE:
        farewell = bool(result.final) and result.final[-1].closes
        assert len(result.final) == len(asked.messages) or farewell, result
        last = requests(probe).messages[0]
        if asked.messages[-1:] == [last] and len(result.final) == len(asked.messages):
            assert result.final[-1].status == 202, "the good one on the same connection"
    elif asked.end is End.BAD:
        assert result.closed, "nothing can be read after what is not HTTP"


@fuzzed(80)
@given(body=any_bodies, chunked=st.booleans(), cut=st.integers(0, 4000))
def test_any_body_is_stored_as_it_came_or_refused(
    ingest: tuple[Any, Ingest], body: bytes, chunked: bool, cut: int
) -> None:
    run, made = ingest
    count("requests")
    made.outbox.events.clear()
    read = parse(body) if len(body) <= 4000 else None
    head = (("Transfer-Encoding", "chunked"),) if chunked else ()
    sent = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in (body[:cut], body[cut:]) if one)
    raw = http(sent + b"0\r\n\r\n" if chunked else body, *head)

    async def fired() -> Reply:
        client = await made.web.connect()
        reply = await client.ask(raw)
        await client.close()
        await made.port.quiet()
        return reply

    reply: Reply = run(fired())
    assert reply.status in (413,) if read is None else reply.status in (202, 400, 422)
    assert (reply.status == 202) == (len(made.outbox.events) == 1)
    if reply.status == 202:
        assert isinstance(read, Envelope)
        assert made.outbox.last.body == read.data
    made.rig.clock.advance(2.0)


@fuzzed(12)
@given(cut=st.integers(0, 200), byte=st.integers(1, 40))
def test_a_slow_sender_is_served_or_told(ingest: tuple[Any, Ingest], cut: int, byte: int) -> None:
    """Byte for byte up to a point, then nothing more."""
    run, made = ingest
    whole = made.probe()
    raw = whole[: min(cut, len(whole) - 1)]
    case = Case(raw, tuple(range(0, len(raw), byte)), "wait")

    async def fired() -> None:
        result = await made.port.exchange(case, b"")
        assert result.closed
        told = [one.status for one in result.final]
        assert told in ([408], []) if raw else not told  # a farewell may be lost on its way
        await made.survived(result)

    run(fired())
