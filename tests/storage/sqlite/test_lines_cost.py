"""What lines cost: nothing that waits in one is read before its turn, however many wait."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.builders import FakeClock, an_event
from tests.storage.steps import NOW, claim_all, delivered, endpoints, failed, settle

from hookpost.core.model import EndpointId
from hookpost.storage.sqlite import SqliteOutbox
from hookpost.storage.sqlite.reader import Reader

MANY = 3000


class Reading:
    """Counts the rows that are read from disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows = self.queries = 0
        original = Reader.rows

        async def counted(reader: Reader, *arguments: object) -> list[sqlite3.Row]:
            found = list(await original(reader, *arguments))  # type: ignore[arg-type]
            self.rows += len(found)
            self.queries += 1
            return found

        monkeypatch.setattr(Reader, "rows", counted)


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[SqliteOutbox]:
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=FakeClock())
    yield outbox
    await outbox.close()


async def put(outbox: SqliteOutbox, crm: EndpointId, lines: int) -> None:
    events = [an_event(id=f"e{n}", keys={crm: n % lines}) for n in range(MANY)]
    await outbox.put_many([(event, [crm]) for event in events])


async def test_a_stuck_head_with_everything_behind_it_is_all_that_is_read(
    outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading(monkeypatch)
    (crm,) = await endpoints(outbox, "crm")
    await put(outbox, crm, lines=1)
    assert len(outbox._claims._windows[crm].waiting) == 1
    for attempt in range(30):
        (head,) = await claim_all(outbox, crm, NOW + 10 * attempt)
        assert await settle(outbox, failed(head, 10.0, NOW + 10 * attempt))
        assert await outbox.claim(crm, 100, NOW + 10 * attempt + 5) == []
        assert outbox._claims._windows[crm].bytes == 0
    assert outbox.next_due(crm) == NOW + 300
    assert reading.rows <= 30 * 4


async def test_a_line_is_read_as_its_turns_come(
    outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await put(outbox, crm, lines=100)
    reading = Reading(monkeypatch)
    taken = 0
    while claimed := await claim_all(outbox, crm):
        assert len(claimed) <= 100
        told = [settle(outbox, delivered(one)) for one in claimed]
        for each in told:
            assert await each
        taken += len(claimed)
    assert taken == MANY
    assert reading.rows <= 4 * MANY


async def test_what_is_blocked_stays_so_when_the_clock_is_set_back(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = await SqliteOutbox.open(path, clock=FakeClock(NOW))
    (crm,) = await endpoints(outbox, "crm")
    for n in range(3):
        await outbox.put(an_event(id=f"e{n}", keys={crm: 1}), [crm])
    await outbox.close()
    outbox = await SqliteOutbox.open(path, clock=FakeClock(NOW - 1e6))
    try:
        assert [one.event.id for one in await claim_all(outbox, crm, NOW - 1e6)] == ["e0"]
        assert await outbox.blocked(crm) == 2
    finally:
        await outbox.close()


async def test_an_endpoint_without_order_writes_nothing_for_it(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = await SqliteOutbox.open(path, clock=FakeClock(NOW))
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(), [crm])
    await outbox.close()
    connection = sqlite3.connect(path)
    row = connection.execute("SELECT order_key, place FROM delivery").fetchone()
    connection.close()
    assert row == (None, None)
