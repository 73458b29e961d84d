"""Data is judged at once or in a thread; the publisher waits, within bounds, and others do not."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.ingest_rig import MemoryOutbox, Rig, a_rig, a_snapshot, a_source, stored

from hookpost.core.errors import StorageUnavailable
from hookpost.core.event_types import EventType, EventTypes
from hookpost.core.refusals import Refused
from hookpost.core.violations import Violation
from hookpost.services.taking import Batch
from hookpost.services.validation import INLINE, THREADS, WAITING

LARGE = b'"' + b"a" * INLINE + b'"'
WRONG = Violation("$.data", "is wrong")


@dataclass
class Gate:
    """A schema that judges when it is let: in threads only, or at once where it is open."""

    open: threading.Event = field(default_factory=threading.Event)
    threads: list[str] = field(default_factory=list)
    seen: list[bytes] = field(default_factory=list)
    failing: Exception | None = None

    def __call__(self, data: bytes, root: str) -> list[Violation]:
        self.threads.append(threading.current_thread().name)
        assert self.open.wait(30)
        self.seen.append(data)
        if self.failing is not None:
            raise self.failing
        return [WRONG] if b"wrong" in data else []


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that is open in the end, so that no thread stays."""
    gate = Gate()
    yield gate
    gate.open.set()


def a_gated_rig(gate: Gate, **options: Any) -> Rig:
    types = EventTypes({"judged": EventType(schema="s.json", validate=gate), "free": EventType()})
    return a_rig(a_snapshot(a_source(event_types=types)), **options)


def envelope(event_type: str = "judged", data: bytes = b"{}", event_id: str = "e") -> bytes:
    return b'{"eventType":"%b","eventId":"%b","data":%b}' % (
        event_type.encode(),
        event_id.encode(),
        data,
    )


def wrong(data: bytes) -> bytes:
    return data.replace(b"aa", b"wrong", 1)


async def test_small_data_is_judged_at_once_and_large_data_in_a_thread(gate: Gate) -> None:
    gate.open.set()
    rig = a_gated_rig(gate)
    assert await rig.send(envelope(event_id="small")) == stored("small", 1)
    assert await rig.send(envelope(data=LARGE, event_id="large")) == stored("large", 1)
    here, there = gate.threads
    assert here == threading.current_thread().name
    assert there.startswith("validation")
    assert gate.seen == [b"{}", LARGE]


async def test_other_types_are_refused_and_free_ones_not_judged(gate: Gate) -> None:
    rig = a_gated_rig(gate)
    refused = await rig.send(envelope("other"))
    assert (refused.code, rig.outbox.events) == ("type_unlisted", [])
    assert await rig.send(envelope("free", LARGE)) == stored("e", 1)
    assert gate.seen == []


@pytest.mark.parametrize("data", [b'"wrong"', wrong(LARGE)], ids=["small", "large"])
async def test_what_does_not_fit_is_not_stored(gate: Gate, data: bytes) -> None:
    gate.open.set()
    rig = a_gated_rig(gate)
    refused = await rig.send(envelope(data=data))
    assert (refused.code, refused.violations) == ("schema_invalid", (WRONG,))
    assert rig.outbox.events == []
    assert await rig.send(envelope()) == stored("e", 1), "its id is not remembered"


async def test_while_large_data_is_judged_others_are_answered(gate: Gate) -> None:
    rig = a_gated_rig(gate)
    large = asyncio.create_task(rig.send(envelope(data=LARGE, event_id="large")))
    assert await rig.send(envelope("free", event_id="small")) == stored("small", 1)
    assert not large.done()
    gate.open.set()
    assert await large == stored("large", 1)
    assert [event.id for event, _ in rig.outbox.events] == ["small", "large"]


async def test_the_lines_of_a_batch_are_judged_each_alone(gate: Gate) -> None:
    gate.open.set()
    rig = a_gated_rig(gate)
    for large in (b"{}", LARGE):
        lines = [
            envelope(event_id="one", data=large),
            envelope("other"),
            envelope(data=b'"wrong"'),
            b"{",
            envelope("free", event_id="two"),
        ]
        taken = await rig.send(b"\n".join(lines), content_type="application/x-ndjson")
        assert isinstance(taken, Batch)
        codes = [one.code if isinstance(one, Refused) else one.event_id for one in taken.results]
        assert codes == ["one", "type_unlisted", "schema_invalid", "malformed", "two"]
    assert [event.id for event, _ in rig.outbox.events] == ["one", "two"]
    assert gate.threads[-1].startswith("validation")


async def test_a_batch_without_a_good_line_stores_nothing(gate: Gate) -> None:
    gate.open.set()
    rig = a_gated_rig(gate)
    lines = [envelope(data=wrong(LARGE)), envelope("other")]
    taken = await rig.send(b"\n".join(lines), content_type="application/x-ndjson")
    assert [one.code for one in taken.results] == ["schema_invalid", "type_unlisted"]
    assert rig.outbox.transactions == 0


async def test_more_than_may_wait_is_refused_and_told_when_to_come_back(gate: Gate) -> None:
    rig = a_gated_rig(gate)
    waiting = [
        asyncio.create_task(rig.send(envelope(data=LARGE, event_id=f"e{number}")))
        for number in range(WAITING)
    ]
    busy = asyncio.create_task(rig.send(envelope(data=LARGE)))
    refused = await busy
    assert (refused.code, refused.status, refused.reason) == ("validation_busy", 503, "rate")
    assert refused.retry_after
    assert await rig.send(envelope("free")) == stored("e", 1), "what needs no thread is taken"
    gate.open.set()
    assert {answer.event_id for answer in await asyncio.gather(*waiting)} == {
        f"e{number}" for number in range(WAITING)
    }
    assert await rig.send(envelope(data=LARGE, event_id="later")) == stored("later", 1)
    assert len(set(gate.threads)) <= THREADS


async def test_who_has_waited_too_long_is_answered_and_nothing_is_stored(gate: Gate) -> None:
    rig = a_gated_rig(gate, patience=0.05)
    refused = await rig.send(envelope(data=LARGE))
    assert refused.code == "validation_busy"
    gate.open.set()
    assert await rig.send(envelope(data=LARGE, event_id="next")) == stored("next", 1)
    assert [event.id for event, _ in rig.outbox.events] == ["next"]


async def test_a_commit_that_is_slow_behind_it_is_a_doubt(gate: Gate) -> None:
    gate.open.set()
    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    rig = a_gated_rig(gate, outbox=MemoryOutbox(held=held), patience=0.2)
    refused = await rig.send(envelope(data=LARGE))
    assert refused.code == "storage_slow"
    held.set_result(None)


async def test_a_reload_meanwhile_does_not_matter(gate: Gate) -> None:
    rig = a_gated_rig(gate)
    large = asyncio.create_task(rig.send(envelope(data=LARGE)))
    await rig.send(envelope("free", event_id="small"))
    rig.reload(a_snapshot(a_source(event_types=EventTypes({"else": EventType()}))))
    assert (await rig.send(envelope("judged"))).code == "type_unlisted"
    gate.open.set()
    assert await large == stored("e", 1)


async def test_a_mistake_of_ours_leaves_nobody_waiting(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    gate.failing = KeyError("hunter2")
    gate.open.set()
    rig = a_gated_rig(gate)
    refused = await rig.send(envelope(data=LARGE))
    assert (refused.code, refused.status) == ("internal_error", 500)
    assert "validation.failed" in caplog.text
    assert "hunter2" not in refused.detail


async def test_an_outbox_that_refuses_after_the_judgement_is_told(gate: Gate) -> None:
    gate.open.set()

    class Closed(MemoryOutbox):
        def submit(self, *_: Any) -> None:
            raise StorageUnavailable("closing")

    rig = a_gated_rig(gate, outbox=Closed())
    assert (await rig.send(envelope(data=LARGE))).code == "storage_unavailable"
