"""Group commit: how many commits many callers cost, and what they hear when the disk says no."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.builders import FakeClock, an_event
from tests.storage.steps import (
    FOREVER,
    NOW,
    claim_all,
    delivered,
    endpoints,
    failed,
    purge_all,
    settle,
)

from hookpost.core.errors import StorageFull, StorageUnavailable
from hookpost.core.model import Duplicate, EndpointId, State, Stored
from hookpost.storage.outbox import EndpointSpec, RetentionLimits, Selection
from hookpost.storage.sqlite import SqliteOutbox, group, store, waiting, writer
from hookpost.storage.sqlite.files import BALLAST
from hookpost.storage.sqlite.transaction import Batch, Done


class Disk(sqlite3.Connection):
    """A connection that counts commits and fails as it is told."""

    commits = 0
    fail: dict[str, int] = {}  # noqa: RUF012 - shared with the test on purpose

    def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        Disk.commits += statement == "COMMIT"
        for start, code in Disk.fail.items():
            if statement.startswith(start):
                error = sqlite3.OperationalError(f"injected {code}")
                error.sqlite_errorcode = code
                raise error
        return super().execute(statement, parameters)


@pytest.fixture
async def outbox(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SqliteOutbox]:
    def connect(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, cached_statements=512, factory=Disk)

    monkeypatch.setattr(store, "connect", connect)
    monkeypatch.setattr(Disk, "commits", 0)
    monkeypatch.setattr(Disk, "fail", {})
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock)
    yield outbox
    Disk.fail.clear()
    await outbox.close()


async def test_two_hundred_concurrent_puts_share_few_commits(outbox: SqliteOutbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    before = Disk.commits
    await asyncio.gather(*(outbox.put(an_event(id=f"e{n}"), [crm]) for n in range(200)))
    assert Disk.commits - before <= 3


async def test_settlements_ride_with_puts(outbox: SqliteOutbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put_many([(an_event(id=f"e{n}"), [crm]) for n in range(50)])
    claimed = await outbox.claim(crm, 50, NOW)
    before = Disk.commits
    settled = [settle(outbox, delivered(delivery)) for delivery in claimed]
    await outbox.put(an_event(), [crm])
    assert await asyncio.gather(*settled) == [True] * 50
    assert Disk.commits - before == 1


async def test_nobody_is_answered_before_the_commit_returned(outbox: SqliteOutbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    Disk.fail = {"COMMIT": sqlite3.SQLITE_FULL}
    answers = await asyncio.gather(
        *(outbox.put(an_event(id=f"e{n}"), [crm]) for n in range(20)), return_exceptions=True
    )
    assert {type(answer) for answer in answers} == {StorageFull}
    Disk.fail.clear()
    assert await outbox.count(Selection()) == 0
    assert outbox.endpoint(crm).counts.created == 0


async def test_a_full_disk_refuses_events_and_keeps_settlements(
    outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "RETRY_WAIT", 1e6)  # room again is noticed without it
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put_many([(an_event(id=f"e{n}"), [crm]) for n in range(2)])
    (one,) = await outbox.claim(crm, 1, NOW)
    rung = asyncio.Event()
    outbox.watch(crm, rung.set)
    Disk.fail = {"COMMIT": sqlite3.SQLITE_FULL}
    settled = settle(outbox, delivered(one))
    with pytest.raises(StorageFull, match="free some space"):
        await outbox.put(an_event(), [crm])
    assert not settled.done()
    assert await outbox.claim(crm, 1, NOW) == []  # nothing is sent whose end cannot be stored
    assert not outbox.failed.done()
    Disk.fail.clear()
    rung.clear()
    await outbox.put(an_event(id="after"), [crm])
    assert await settled
    assert rung.is_set()
    assert len(await claim_all(outbox, crm)) == 2


async def test_refused_settlements_are_tried_again_by_themselves(
    outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "RETRY_WAIT", 0.001)
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(), [crm])
    (one,) = await outbox.claim(crm, 1, NOW)
    Disk.fail = {"BEGIN": sqlite3.SQLITE_BUSY}
    settled = settle(outbox, delivered(one))
    with pytest.raises(StorageUnavailable, match="held by someone else"):
        await outbox.put(an_event(), [crm])
    Disk.fail.clear()
    assert await settled
    assert outbox.endpoint(crm).counts.delivered == 1


@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_CORRUPT]
)
async def test_a_failed_sync_ends_the_outbox_and_is_never_tried_again(
    outbox: SqliteOutbox, code: int
) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(), [crm])
    (one,) = await outbox.claim(crm, 1, NOW)
    Disk.fail = {"COMMIT": code}
    answers = await asyncio.gather(
        outbox.put(an_event(), [crm]),
        settle(outbox, delivered(one)),
        outbox.update_endpoint(crm, NOW, gone=True),
        return_exceptions=True,
    )
    assert {type(answer) for answer in answers} == {StorageUnavailable}
    assert "check the disk" in str(outbox.failed.result())
    Disk.fail.clear()
    before = Disk.commits
    for call in (
        outbox.put(an_event(), [crm]),
        settle(outbox, delivered(one)),
        outbox.put_many([(an_event(), [crm])]),
        outbox.update_endpoint(crm, NOW, gone=True),
    ):
        with pytest.raises(StorageUnavailable, match="check the disk"):
            await call
    assert await outbox.claim(crm, 1, NOW) == []
    assert Disk.commits == before
    assert not outbox.endpoint(crm).gone


async def test_what_waits_while_the_sync_fails_hears_of_it_too(outbox: SqliteOutbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    Disk.fail = {"COMMIT": sqlite3.SQLITE_IOERR_FSYNC}
    first = asyncio.ensure_future(outbox.put(an_event(), [crm]))
    while outbox._group._sent is None:  # until the batch is on its way
        await asyncio.get_running_loop().run_in_executor(None, int)
    second = outbox.put(an_event(), [crm])
    with pytest.raises(StorageUnavailable):
        await first
    with pytest.raises(StorageUnavailable):
        await second


async def test_too_many_waiting_puts_are_refused_at_once(
    outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "MAX_PUTS", 5)
    answers = await asyncio.gather(
        *(outbox.put(an_event(id=f"e{n}"), []) for n in range(8)), return_exceptions=True
    )
    assert [type(a) for a in answers] == [Stored] * 5 + [StorageUnavailable] * 3
    assert isinstance(await outbox.put(an_event(), []), Stored)


async def test_waiting_bodies_are_bounded_in_bytes(
    outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "MAX_BYTES", 1000)
    answers = await asyncio.gather(
        *(outbox.put(an_event(body=bytes(600)), []) for _ in range(2)), return_exceptions=True
    )
    assert [type(a) for a in answers] == [Stored, StorageUnavailable]


async def test_nothing_is_claimed_while_too_many_settlements_wait(
    outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "MAX_SETTLEMENTS", 2)
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put_many([(an_event(id=f"e{n}"), [crm]) for n in range(5)])
    claimed = await outbox.claim(crm, 4, NOW)
    settled = [settle(outbox, failed(delivery, 60.0)) for delivery in claimed[:3]]
    assert await outbox.claim(crm, 1, NOW) == []
    assert list(outbox.claim_ready(crm, 1, NOW)) == []
    await asyncio.gather(*settled)
    assert len(await outbox.claim(crm, 1, NOW)) == 1


async def test_a_file_at_its_limit_recovers_by_purging(outbox: SqliteOutbox) -> None:
    """max_page_count stands in for the disk: the same SQLITE_FULL, from SQLite itself."""
    (crm,) = await endpoints(outbox, "crm")

    def limit(pages: str) -> None:
        outbox._group.command(lambda s, *_: s.connection.execute(f"PRAGMA max_page_count={pages}"))

    limit("200")
    answers = [
        (await asyncio.gather(outbox.put(event, [crm]), return_exceptions=True))[0]
        for event in (an_event(id=f"e{n}", body=bytes(20_000)) for n in range(60))
    ]
    stored = sum(isinstance(answer, Stored) for answer in answers)
    assert stored > 10
    assert {type(answer) for answer in answers} == {Stored, StorageFull}
    claimed = await claim_all(outbox, crm)
    assert await asyncio.gather(*(settle(outbox, delivered(d)) for d in claimed)) == [True] * stored
    everything = RetentionLimits(delivered=0, dead=0, cancelled=0, parked=0, max_size=1 << 40)
    await purge_all(outbox, everything, NOW + 1)
    assert isinstance(await outbox.put(an_event(body=bytes(20_000)), [crm]), Stored)
    assert await outbox.count(Selection(states=frozenset({State.DELIVERED}))) == 0


async def test_the_ballast_is_given_up_for_settlements_and_laid_down_again(
    outbox: SqliteOutbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ballast = tmp_path / "outbox.db.ballast"
    assert ballast.stat().st_size == BALLAST
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(), [crm])
    (one,) = await outbox.claim(crm, 1, NOW)
    original = Disk.execute

    def execute(self: Disk, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if statement == "COMMIT" and ballast.exists():
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return original(self, statement, parameters)

    monkeypatch.setattr(Disk, "execute", execute)
    assert await settle(outbox, delivered(one))
    monkeypatch.undo()
    assert outbox.endpoint(crm).counts.delivered == 1
    await purge_all(outbox, FOREVER, NOW)
    assert ballast.stat().st_size == BALLAST


async def test_large_bodies_are_stored_in_several_batches(
    outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "BATCH_BYTES", 1000)
    before = Disk.commits
    answers = await asyncio.gather(
        *(outbox.put(an_event(id=f"e{n}", body=bytes(400)), []) for n in range(7)),
        outbox.put_many([(an_event(id=f"g{n}", body=bytes(900)), []) for n in range(2)]),
        outbox.put_many([(an_event(id=f"h{n}", body=bytes(900)), []) for n in range(2)]),
    )
    assert [answer.sequence for answer in answers[:7] if isinstance(answer, Stored)] == [
        *range(1, 8)
    ]
    assert Disk.commits - before == 4  # 3 puts, 3 puts, a put and a group, a group
    assert outbox._group._waiting.bytes == 0


async def test_those_just_answered_are_waited_for_on_a_slow_disk(clock: FakeClock) -> None:
    """Else two cohorts of clients take turns, with half the rows a commit."""
    batches, group_commit = slow_group()
    first = hand_in(group_commit, "a", 10)
    await turns(3)
    second = hand_in(group_commit, "b", 10)
    answer(group_commit, batches, seconds=1.0)
    assert all(put.done() for put in first)
    await turns(3)
    assert len(batches) == 1  # the second cohort waits
    back = hand_in(group_commit, "c", 10)
    await turns(3)  # and goes with the first as soon as all of it is back
    assert len(batches[1].entries) == 20
    answer(group_commit, batches, seconds=0.0)
    await asyncio.gather(*second, *back)


async def test_nobody_is_waited_for_longer_than_a_few_milliseconds(clock: FakeClock) -> None:
    batches, group_commit = slow_group()
    first = hand_in(group_commit, "a", 10)
    await turns(3)
    second = hand_in(group_commit, "b", 10)
    answer(group_commit, batches, seconds=0.002)
    async with asyncio.timeout(5):
        while len(batches) < 2:
            await turns(1)
    assert len(batches[1].entries) == 10
    answer(group_commit, batches, seconds=0.0)
    await asyncio.gather(*first, *second)


@pytest.mark.parametrize(("puts", "seconds"), [(2, 1.0), (10, 0.0005)])
async def test_few_clients_and_a_quick_disk_wait_for_nobody(puts: int, seconds: float) -> None:
    batches, group_commit = slow_group()
    first = hand_in(group_commit, "a", puts)
    await turns(3)
    second = hand_in(group_commit, "b", puts)
    answer(group_commit, batches, seconds=seconds)
    await turns(3)
    assert len(batches) == 2
    answer(group_commit, batches, seconds=0.0)
    await asyncio.gather(*first, *second)


async def test_who_comes_while_the_loop_is_busy_goes_with_the_others() -> None:
    """Each turn that brings somebody is followed by another, up to a number."""
    batches, group_commit = slow_group()
    puts = hand_in(group_commit, "a", 1)
    loop = asyncio.get_running_loop()

    def come(names: str) -> None:
        puts.extend(hand_in(group_commit, names[0], 1))
        if names[1:]:
            loop.call_soon(come, names[1:])

    loop.call_soon(come, "bcd")
    await turns(8)
    assert [len(batch.entries) for batch in batches] == [4]
    answer(group_commit, batches, seconds=0.0)
    await asyncio.gather(*puts)


async def test_turns_that_always_bring_somebody_do_not_hold_a_batch_for_ever() -> None:
    batches, group_commit = slow_group()
    puts = hand_in(group_commit, "a", 1)
    for _ in range(group.TURNS + 2):
        await turns(1)
        puts += hand_in(group_commit, "b", 1)
    assert len(batches) == 1
    answer(group_commit, batches, seconds=0.0)
    await turns(3)
    answer(group_commit, batches, seconds=0.0)
    await asyncio.gather(*puts)


async def test_a_batch_goes_at_once_when_all_who_came_together_are_back() -> None:
    batches, group_commit = slow_group()
    puts = hand_in(group_commit, "a", 10)
    await turns(3)
    answer(group_commit, batches, seconds=0.0)
    puts += hand_in(group_commit, "b", 10)
    await turns(1)
    assert len(batches) == 2
    answer(group_commit, batches, seconds=0.0)
    await asyncio.gather(*puts)


async def test_who_is_told_may_hand_in_the_next_at_once() -> None:
    batches, group_commit = slow_group()
    puts = hand_in(group_commit, "a", 1)

    class Next(asyncio.Future[Any]):
        def set_result(self, result: Any, /) -> None:
            super().set_result(result)
            puts.extend(hand_in(group_commit, "b", 1))

    told = Next()
    group_commit.put((an_event(id="c"), ()), told)
    await turns(3)
    answer(group_commit, batches, seconds=0.0)
    await turns(3)
    assert [len(batch.entries) for batch in batches] == [2, 1]
    answer(group_commit, batches, seconds=0.0)
    await asyncio.gather(*puts, told)


def hand_in(group_commit: group.GroupCommit, name: str, count: int) -> "list[asyncio.Future[Any]]":
    futures: list[asyncio.Future[Any]] = [
        asyncio.get_running_loop().create_future() for _ in range(count)
    ]
    for number, future in enumerate(futures):
        group_commit.put((an_event(id=f"{name}{number}"), ()), future)
    return futures


def slow_group() -> tuple[list[Batch], group.GroupCommit]:
    """A group commit whose writer is this test: its batches, and itself."""
    batches: list[Batch] = []
    return batches, group.GroupCommit(batches.append, lambda *_: None, frozenset)


def answer(group_commit: group.GroupCommit, batches: list[Batch], seconds: float) -> None:
    puts = [Stored(event.id, 1, 0) for event, _ in batches[-1].entries]
    group_commit.answered(Done(puts=puts, seconds=seconds))


async def turns(count: int) -> None:
    """Let the loop turn so many times."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        turned: asyncio.Future[None] = loop.create_future()
        loop.call_soon(turned.set_result, None)
        await turned


async def test_an_idle_writer_folds_the_log_into_the_database(
    outbox: SqliteOutbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "IDLE", 0.001)
    await outbox.put(an_event(), [])
    async with asyncio.timeout(5):
        while outbox.sizes().wal:
            await asyncio.get_running_loop().run_in_executor(None, int)
    await outbox.purge(FOREVER, NOW)
    assert outbox.sizes().wal == 0  # nothing was to be done, and nothing was written


async def test_housekeeping_alone_does_not_keep_the_log_from_being_folded(
    outbox: SqliteOutbox, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a file that retention made smaller would stay large, and ingest closed."""
    monkeypatch.setattr(writer, "IDLE", 1000.0)
    await outbox.put(an_event(), [])
    await outbox.purge(FOREVER, NOW)  # by then the writer's thread has seen the end of the put
    clock.advance(1000.0)
    await outbox.purge(FOREVER, NOW)
    async with asyncio.timeout(5):
        while outbox.sizes().wal:
            await asyncio.get_running_loop().run_in_executor(None, int)


async def test_a_sync_that_fails_while_nothing_is_written_ends_the_outbox_too(
    outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "IDLE", 0.001)
    Disk.fail = {"PRAGMA wal_checkpoint": sqlite3.SQLITE_IOERR_FSYNC}
    await outbox.put(an_event(), [])
    async with asyncio.timeout(5):
        assert "check the disk" in str(await outbox.failed)
    with pytest.raises(StorageUnavailable, match="check the disk"):
        await outbox.put(an_event(), [])


async def test_a_bug_in_the_effects_ends_the_outbox_rather_than_stall_it(
    outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(outbox._claims, "committed", broken)
    assert isinstance(await outbox.put(an_event(), []), Stored)
    assert "lost track" in str(outbox.failed.result())
    assert "effects.failed" in caplog.messages


async def test_a_cancelled_verb_still_tells_memory(outbox: SqliteOutbox) -> None:
    call = asyncio.ensure_future(outbox.apply_endpoints([EndpointSpec(name="crm")], NOW))
    while not outbox._group._waiting.commands and outbox._group._sent is None:
        await asyncio.get_running_loop().run_in_executor(None, int)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert isinstance(await outbox.put(an_event(), []), Stored)
    assert [record.name for record in outbox.endpoints()] == ["crm"]


async def test_a_verb_that_the_disk_refuses_leaves_its_deliveries_claimable(
    outbox: SqliteOutbox,
) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put_many([(an_event(id=f"e{n}"), [crm]) for n in range(3)])
    Disk.fail = {"UPDATE delivery SET state = 3": sqlite3.SQLITE_FULL}
    with pytest.raises(StorageFull):
        await outbox.cancel(Selection(), NOW)
    Disk.fail.clear()
    assert len(await claim_all(outbox, crm)) == 3


async def test_what_is_claimed_while_a_verb_looks_for_candidates_is_left_alone(
    outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put_many([(an_event(id=f"e{n}"), [crm]) for n in range(3)])
    candidates = outbox._people._candidates
    claimed = []

    async def overtaken(*arguments: Any) -> Any:
        found = await candidates(*arguments)
        claimed.extend(await outbox.claim(crm, 1, NOW))
        return found

    monkeypatch.setattr(outbox._people, "_candidates", overtaken)
    assert await outbox.cancel(Selection(endpoint="crm"), NOW) == 2
    assert await settle(outbox, delivered(claimed[0]))
    assert outbox.endpoint(crm).counts.delivered == 1


async def test_duplicates_survive_the_slow_path_too(outbox: SqliteOutbox) -> None:
    event = an_event(id="k", dedup_key="k", dedup_window=60.0)
    answers = await asyncio.gather(
        outbox.put(event, []),
        outbox.put(an_event(), [EndpointId(9)]),
        outbox.put(event, []),
        return_exceptions=True,
    )
    assert isinstance(answers[0], Stored)
    assert answers[2] == Duplicate("k", 0, False)
