"""Retention as the file has it, on the real outbox: what goes, and what stays."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.builders import FakeClock, an_event
from tests.storage.steps import FOREVER, NOW, claim_all, delivered, died, endpoints, settle

from hookpost.config import load
from hookpost.core.model import State
from hookpost.core.routing import Routes
from hookpost.metrics import Metrics
from hookpost.services.health import Health
from hookpost.services.janitor import Janitor
from hookpost.services.snapshot import Current, Snapshot
from hookpost.storage.outbox import Selection
from hookpost.storage.sqlite import SqliteOutbox

ONE_OF_EACH = Counter({State.DELIVERED: 1, State.DEAD: 1, State.CANCELLED: 1, State.PARKED: 1})


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[SqliteOutbox]:
    opened = await SqliteOutbox.open(tmp_path / "outbox.db", clock=FakeClock(NOW))
    yield opened
    await opened.close()


async def retained(outbox: SqliteOutbox, tmp_path: Path, retention: str, seconds: float) -> Any:
    """What is left after so many seconds, by state."""
    file = tmp_path / "gateway.yaml"
    file.write_text(f"version: 1\nretention: {{{retention}}}\n")
    snapshot = Snapshot(config=load(file).sound(), endpoint_ids={}, routes=Routes(()))
    clock = FakeClock(NOW + seconds)
    janitor = Janitor(Current(snapshot), outbox, Health(), Metrics(clock), clock)
    while await janitor.purge_step():
        pass
    return Counter(view.state for view in await outbox.deliveries(Selection(), limit=500))


async def one_of_each(outbox: SqliteOutbox) -> None:
    """One delivery in each state that retention ends."""
    crm, left = await endpoints(outbox, "crm", "left")
    for number in range(3):
        await outbox.put(an_event(id=f"e{number}"), [crm])
    first, second, third = await claim_all(outbox, crm)
    await settle(outbox, delivered(first))
    await settle(outbox, died(second))
    outbox.release([third])
    await outbox.cancel(Selection(states=frozenset({State.PENDING})), NOW)
    await outbox.put(an_event(id="e3"), [left])
    await endpoints(outbox, "crm")


@pytest.mark.parametrize("state", [State.DELIVERED, State.DEAD, State.CANCELLED])
async def test_what_is_finished_goes_after_the_time_of_its_state(
    outbox: SqliteOutbox, tmp_path: Path, state: State
) -> None:
    await one_of_each(outbox)
    retention = f"{state.value}: 60s"
    assert await retained(outbox, tmp_path, retention, 59) == ONE_OF_EACH
    assert await retained(outbox, tmp_path, retention, 61) == ONE_OF_EACH - Counter([state])


async def test_what_is_parked_dies_after_the_time_of_the_parked(
    outbox: SqliteOutbox, tmp_path: Path
) -> None:
    await one_of_each(outbox)
    assert await retained(outbox, tmp_path, "parked: 60s", 59) == ONE_OF_EACH
    left = ONE_OF_EACH - Counter([State.PARKED]) + Counter([State.DEAD])
    assert await retained(outbox, tmp_path, "parked: 60s", 61) == left


async def test_the_oldest_finished_go_when_the_file_is_as_large_as_it_may_be(
    outbox: SqliteOutbox, tmp_path: Path
) -> None:
    (crm,) = await endpoints(outbox, "crm")
    for number in range(30):
        await outbox.put(an_event(id=f"e{number}", body=bytes(100_000)), [crm])
    for number, delivery in enumerate(await claim_all(outbox, crm)):
        await settle(outbox, delivered(delivery, NOW + number))
    assert await retained(outbox, tmp_path, "max_size: 8MiB", 60) == {State.DELIVERED: 30}
    left = (await retained(outbox, tmp_path, "max_size: 2MiB", 60))[State.DELIVERED]
    assert 15 <= left <= 20


async def test_parked_deliveries_of_our_own_events_are_told_apart(
    outbox: SqliteOutbox,
) -> None:
    crm, left = await endpoints(outbox, "crm", "left")
    await outbox.put(an_event(id="e1"), [left])
    await outbox.put(an_event(id="e2", source="hookpost", type="hookpost.x"), [left, crm])
    await endpoints(outbox, "crm")
    purged = await outbox.purge(replace(FOREVER, parked=1.0), NOW + 2)
    assert (purged.expired, purged.own) == ({"left": 2}, {"left": 1})
