"""Housekeeping on disk: what one step may cost, and that the file itself becomes smaller."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.builders import FakeClock, an_event
from tests.storage.steps import FOREVER, NOW, claim_all, delivered, endpoints, purge_all, settle

from hookpost.core.model import Duplicate, Event, State, Stored
from hookpost.storage.outbox import Purged, RetentionLimits, Selection
from hookpost.storage.sqlite import SqliteOutbox, retention
from hookpost.storage.sqlite.books import Tally
from hookpost.storage.sqlite.puts import put_entries
from hookpost.storage.sqlite.store import Store

EVERYTHING = replace(FOREVER, delivered=0, dead=0, cancelled=0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "outbox.db", synchronous="full", now=NOW)
    yield opened
    opened.close(checkpoint=True)


def stored(store: Store, count: int, size: int, first: int = 0) -> None:
    """Events that nobody is owed."""
    tally = Tally()
    store.begin()
    events = [an_event(id=f"e{first + n}", body=bytes(size)) for n in range(count)]
    put_entries(store, [(event, ()) for event in events], tally)
    store.commit(tally)


def step(store: Store, limits: RetentionLimits, monotonic: Iterator[float] | None = None) -> Purged:
    """One step of housekeeping at a clock that stands still, or goes as it is told."""
    ticks = monotonic or itertools.repeat(0.0)
    store.begin()
    tally = Tally()
    purged = retention.purge(
        store, frozenset(), tally, limits=limits, now=NOW + 1, monotonic=lambda: next(ticks)
    )
    store.commit(tally)
    return purged


def events(store: Store) -> int:
    (count,) = store.connection.execute("SELECT count(*) FROM event").fetchone()
    return int(count)


def test_a_step_takes_no_more_bytes_of_bodies_than_its_share(store: Store) -> None:
    stored(store, 12, 1 << 20)
    purged = step(store, EVERYTHING)
    assert 12 - events(store) == retention.BYTES >> 20
    assert purged.more


def test_a_body_larger_than_the_share_goes_alone(store: Store) -> None:
    stored(store, 2, retention.BYTES * 2)
    step(store, EVERYTHING)
    assert events(store) == 1


def test_a_step_ends_when_its_time_is_over(store: Store) -> None:
    stored(store, 400, 10)
    slow = itertools.count(0.0, retention.SECONDS / 8)  # what each look at the clock costs
    purged = step(store, EVERYTHING, slow)
    assert 0 < 400 - events(store) <= 5 * retention.PIECE
    assert purged.more


def test_a_step_without_haste_takes_all_its_rows(store: Store) -> None:
    stored(store, retention.ROWS + 100, 10)
    step(store, EVERYTHING)
    assert events(store) == 100


def test_a_step_gives_back_as_many_pages_as_it_may(store: Store) -> None:
    stored(store, 3000, 4000)
    store.connection.execute("DELETE FROM event WHERE seq > 100")
    before = store.connection.execute("PRAGMA page_count").fetchone()[0]
    step(store, FOREVER)
    after = store.connection.execute("PRAGMA page_count").fetchone()[0]
    assert retention.PAGES <= before - after < 2 * retention.PAGES


def test_free_pages_go_back_to_a_disk_that_is_nearly_full(store: Store) -> None:
    """A few are kept for reuse otherwise."""
    stored(store, 200, 4000)
    store.connection.execute("DELETE FROM event WHERE seq > 100")

    def free() -> int:
        return int(store.connection.execute("PRAGMA freelist_count").fetchone()[0])

    step(store, FOREVER)
    assert free() >= 100
    while step(store, replace(FOREVER, min_free=1 << 60)).more:
        pass
    assert free() == 0


async def test_the_file_is_smaller_after_a_purge(tmp_path: Path, clock: FakeClock) -> None:
    path = tmp_path / "outbox.db"
    outbox = await SqliteOutbox.open(path, clock=clock)
    try:
        (crm,) = await endpoints(outbox, "crm")
        for n in range(20):
            await outbox.put_many(
                [(an_event(id=f"e{n}-{m}", body=bytes(100_000)), [crm]) for m in range(10)]
            )
        for delivery in await claim_all(outbox, crm):
            assert await settle(outbox, delivered(delivery))
        await outbox.close()
        large = path.stat().st_size
        outbox = await SqliteOutbox.open(path, clock=clock)
        await purge_all(outbox, EVERYTHING, NOW + 1)
        assert await outbox.count(Selection(states=frozenset({State.DELIVERED}))) == 0
    finally:
        await outbox.close()
    assert large > 20_000_000
    assert path.stat().st_size < large / 4


def test_shrinking_begins_before_the_file_is_so_large_that_ingest_closes(store: Store) -> None:
    stored(store, 50, 100_000)
    size = store.pragma("page_count") * store.pragma("page_size")
    assert step(store, replace(FOREVER, max_size=int(size * 1.1))).events == {}
    assert step(store, replace(FOREVER, max_size=int(size * 1.02))).events["size"] > 0


async def test_events_that_go_for_the_files_size_are_counted_so(
    tmp_path: Path, clock: FakeClock
) -> None:
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock)
    try:
        await outbox.put_many([(an_event(id=f"e{n}", body=bytes(50_000)), ()) for n in range(20)])
        purged = await outbox.purge(replace(FOREVER, max_size=500_000), NOW + 1)
        assert set(purged.events) == {"size"}
        await outbox.put(an_event(id="old"), ())
        purged = await outbox.purge(EVERYTHING, NOW + 1)
        assert purged.events["age"] > 0
    finally:
        await outbox.close()


async def test_identities_go_for_the_files_size_when_nothing_finished_is_left(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Else what tells duplicates apart would keep events out until its window ends."""
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock)

    def event(n: int) -> Event:
        return an_event(id=f"e{n}", dedup_key=f"e{n}", dedup_window=1e6 + n, body=b"x")

    try:
        for start in range(0, 20_000, 1000):
            await outbox.put_many([(event(n), ()) for n in range(start, start + 1000)])
        size = outbox.sizes().database
        gone, more = 0, True
        while more:
            purged = await outbox.purge(replace(FOREVER, max_size=size // 2), NOW + 1)
            gone, more = gone + purged.identities, purged.more
        assert 0 < gone < 20_000
        newest, oldest = await outbox.put(event(19_999), ()), await outbox.put(event(0), ())
        assert isinstance(newest, Duplicate)
        assert isinstance(oldest, Stored)
    finally:
        await outbox.close()
    assert (tmp_path / "outbox.db").stat().st_size < size // 2
