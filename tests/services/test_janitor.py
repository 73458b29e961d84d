"""Housekeeping: what it counts, when it closes ingest, and what wakes it."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.builders import Ear, FakeClock

from hookpost.core.errors import OutboxError
from hookpost.core.model import DeadReason, EndpointId, State
from hookpost.core.routing import Routes
from hookpost.core.settings import (
    AdminListener,
    Config,
    Listen,
    Retention,
    Storage,
    UnixAddress,
)
from hookpost.services.health import Health
from hookpost.services.janitor import (
    PURGE_EVERY,
    PURGE_PAUSE,
    PURGE_SOONER,
    TELL_EVERY,
    Janitor,
)
from hookpost.services.snapshot import Current, Snapshot
from hookpost.storage.outbox import PendingAge, Purged, RetentionLimits, StorageSizes

NOTHING = Purged()


@dataclass
class Shelf:
    """The part of an outbox that a janitor sees."""

    free: int = 1000
    database: int = 10
    short: bool = False
    purges: list[Purged | OutboxError] = field(default_factory=list)
    asked: list[RetentionLimits] = field(default_factory=list)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def purge(self, limits: RetentionLimits, now: float) -> Purged:
        self.asked.append(limits)
        self.woken.set()
        done = self.purges.pop(0) if self.purges else NOTHING
        if isinstance(done, OutboxError):
            raise done
        return done

    async def pending_ages(self) -> Mapping[EndpointId, PendingAge]:
        self.woken.set()
        return {EndpointId(1): PendingAge(5.0, 6.0)}

    def sizes(self) -> StorageSizes:
        return StorageSizes(database=self.database, wal=0, free=self.free, short=self.short)

    async def seen(self) -> None:
        """Until the janitor has asked again."""
        async with asyncio.timeout(5):
            await self.woken.wait()
        self.woken.clear()


class Counts:
    """Counts like the metrics."""

    def __init__(self) -> None:
        self.rows: Counter[tuple[str, str]] = Counter()
        self.ended: Counter[tuple[str, DeadReason]] = Counter()
        self._name = ""

    def purged(self, kind: str, cause: str, n: int = 1) -> None:
        self.rows[kind, cause] += n

    def endpoint(self, name: str) -> "Counts":
        self._name = name
        return self

    def dead(self, reason: DeadReason, n: int = 1) -> None:
        self.ended[self._name, reason] += n


@dataclass
class Rig:
    shelf: Shelf = field(default_factory=Shelf)
    counts: Counts = field(default_factory=Counts)
    health: Health = field(default_factory=lambda: Health(starting=False))
    clock: FakeClock = field(default_factory=FakeClock)
    ear: Ear = field(default_factory=Ear)

    def __post_init__(self) -> None:
        self.snapshot = a_snapshot()
        self.current = Current(self.snapshot)
        self.janitor = Janitor(
            self.current,
            self.shelf,
            self.health,
            self.counts,
            self.clock,  # type: ignore[arg-type]
            self.ear,
        )


def a_snapshot(**retention: float) -> Snapshot:
    config = Config(
        path=Path("gateway.yaml"),
        listen=Listen(admin=AdminListener(address=UnixAddress(Path("a")))),
        storage=Storage(path=Path("outbox.db"), min_free=100),
        retention=Retention(max_size=500, **retention),  # type: ignore[arg-type]
    )
    return Snapshot(config=config, endpoint_ids={}, routes=Routes(()))


async def test_too_little_free_space_closes_ingest_and_a_little_more_opens_it() -> None:
    rig = Rig()
    rig.janitor.look()
    assert rig.health.refusals() == []
    rig.shelf.free = 99
    rig.janitor.look()
    assert rig.health.refusals() == ["storage_low"]
    rig.shelf.free = 105  # more than min_free, but ingest must not flap
    rig.janitor.look()
    assert rig.health.refusals() == ["storage_low"]
    rig.shelf.free = 111
    rig.janitor.look()
    assert rig.health.refusals() == []


async def test_a_file_at_its_limit_closes_ingest() -> None:
    rig = Rig()
    rig.shelf.database = 500
    rig.janitor.look()
    assert rig.health.storage_low
    rig.shelf.database = 499
    rig.janitor.look()
    assert not rig.health.storage_low


async def test_a_full_disk_closes_ingest_and_begins_a_round_of_retention_at_once() -> None:
    rig = Rig()
    running = asyncio.create_task(rig.janitor.retain())
    await rig.shelf.seen()
    await settle()
    rig.shelf.short = True  # whatever min_free says
    rig.janitor.look()
    assert rig.health.refusals() == ["storage_low"]
    await rig.shelf.seen()
    await settle()
    rig.shelf.short = False
    rig.clock.advance(PURGE_SOONER)
    await rig.shelf.seen()
    await settle()
    assert rig.health.refusals() == []  # seen at once, not at the next look
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_what_was_purged_is_counted_by_state_and_cause() -> None:
    rig = Rig()
    deliveries = {(State.DELIVERED, "age"): 3, (State.DEAD, "size"): 2}
    rig.shelf.purges = [Purged(deliveries=deliveries, events={"age": 4, "size": 1}, more=True)]
    assert await rig.janitor.purge_step() is True
    assert rig.counts.rows == {
        ("delivered", "age"): 3,
        ("dead", "size"): 2,
        ("event", "age"): 4,
        ("event", "size"): 1,
    }
    assert await rig.janitor.purge_step() is False


async def test_parked_deliveries_that_expire_count_as_dead_removed() -> None:
    rig = Rig()
    rig.shelf.purges = [Purged(expired={"crm": 7}, cancelled={"audit": 2})]
    await rig.janitor.purge_step()
    assert rig.counts.ended == {("crm", DeadReason.REMOVED): 7}


async def test_retention_goes_on_soon_while_there_is_more_and_rests_otherwise() -> None:
    rig = Rig()
    rig.shelf.purges = [Purged(more=True), NOTHING]
    running = asyncio.create_task(rig.janitor.retain())
    await rig.shelf.seen()
    await settle()
    rig.clock.advance(PURGE_PAUSE)
    await rig.shelf.seen()
    await settle()
    rig.clock.advance(PURGE_EVERY - 0.1)
    await settle()
    assert len(rig.shelf.asked) == 2
    rig.clock.advance(0.1)
    await rig.shelf.seen()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_reload_begins_a_round_at_once_with_the_new_limits() -> None:
    rig = Rig()
    running = asyncio.create_task(rig.janitor.retain())
    await rig.shelf.seen()
    await settle()
    rig.current.snapshot = a_snapshot(dead=7.0)
    rig.janitor.apply(rig.current.snapshot)
    await rig.shelf.seen()
    assert rig.shelf.asked[-1].dead == 7.0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_purge_that_the_disk_refuses_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig()
    rig.shelf.purges = [OutboxError("no room")]
    running = asyncio.create_task(rig.janitor.retain())
    await rig.shelf.seen()
    await settle()
    assert "retention.failed" in caplog.text
    rig.clock.advance(PURGE_EVERY)
    await rig.shelf.seen()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_ages_are_read_in_the_background() -> None:
    rig = Rig()
    running = asyncio.create_task(rig.janitor.refresh_ages())
    await rig.shelf.seen()
    await settle()
    assert rig.janitor.ages == {EndpointId(1): PendingAge(5.0, 6.0)}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def settle() -> None:
    """Let everything that is due on the loop happen."""
    loop = asyncio.get_running_loop()
    for _ in range(5):
        turned: asyncio.Future[None] = loop.create_future()
        loop.call_soon(turned.set_result, None)
        await turned


async def test_a_low_disk_is_told_of_and_its_end_too() -> None:
    rig = Rig()
    rig.shelf.free = 99
    rig.janitor.look()
    rig.janitor.look()
    rig.shelf.free = 111
    rig.janitor.look()
    same = {"minFree": 100, "database": 10, "maxSize": 500}
    assert rig.ear.heard == [
        ("hookpost.storage.pressure", {"low": True, "free": 99, **same}),
        ("hookpost.storage.pressure", {"low": False, "free": 111, **same}),
    ]


async def test_what_goes_before_its_time_is_told_of_once_in_a_while() -> None:
    rig = Rig()
    early = Purged(deliveries={(State.DELIVERED, "size"): 3}, events={"size": 2})
    usual = Purged(deliveries={(State.DELIVERED, "age"): 9}, events={"age": 9})
    rig.shelf.purges = [usual, early, early, early, NOTHING]
    for _ in range(4):
        await rig.janitor.purge_step()
    assert len(rig.ear.heard) == 1
    rig.clock.advance(TELL_EVERY)
    await rig.janitor.purge_step()
    counts = [[(one["kind"], one["count"]) for one in data["purged"]] for _, data in rig.ear.heard]
    assert counts == [[("delivered", 3), ("event", 2)], [("delivered", 6), ("event", 4)]]


async def test_parked_deliveries_that_die_are_told_of_without_those_of_our_own_events() -> None:
    rig = Rig()
    rig.shelf.purges = [Purged(expired={"crm": 5, "ops": 2}, own={"crm": 1, "ops": 2})]
    await rig.janitor.purge_step()
    data = {"endpoint": "crm", "count": 4, "reason": "removed"}
    assert rig.ear.heard == [("hookpost.delivery.dead", data)]
