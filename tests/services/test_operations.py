"""What people ask for, on a real outbox: looking, changing, and what is refused in which words."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.builders import FakeClock, an_event

from hookpost.core.errors import Conflict, NotFound
from hookpost.core.model import EndpointId, State
from hookpost.core.settings import Endpoint
from hookpost.services.operations import Operations
from hookpost.storage.outbox import EndpointSpec, Selection
from hookpost.storage.sqlite import SqliteOutbox


class Bench:
    """Operations over an outbox with crm configured, and gone removed with one delivery each."""

    def __init__(self, outbox: SqliteOutbox, clock: FakeClock) -> None:
        self.outbox = outbox
        self.clock = clock
        self.changed: list[EndpointId] = []
        self.operations = Operations(
            outbox,
            clock,
            endpoints=lambda: {"crm": Endpoint(name="crm", url="https://x.test/h?token=canary")},
            live=lambda: {"crm": {"inFlight": 1, "breaker": "open", "heldBy": "breaker"}},
            changed=self.changed.append,
        )


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = FakeClock()
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock)
    specs = [EndpointSpec(name="crm"), EndpointSpec(name="gone")]
    rows = await outbox.apply_endpoints(specs, clock.now())
    for name in ("crm", "gone"):
        await outbox.put(an_event(id=f"evt_{name}"), [rows[name].id])
    await outbox.apply_endpoints(specs[:1], clock.now())
    yield Bench(outbox, clock)
    await outbox.close()


async def test_endpoints_are_shown_with_row_settings_and_live_state(bench: Bench) -> None:
    crm, gone = bench.operations.endpoints()["endpoints"]
    assert (crm["state"], crm["breaker"], crm["heldBy"]) == ("active", "open", "breaker")
    assert (crm["pending"], crm["inFlight"], crm["parked"]) == (0, 1, 0)
    assert crm["url"] == "https://x.test/h"
    assert (gone["state"], gone["parked"], gone["url"]) == ("removed", 1, None)
    assert (await bench.operations.endpoint("crm"))["settings"]["concurrency"] == 8
    with pytest.raises(NotFound, match='no endpoint named crn; did you mean "crm"'):
        await bench.operations.endpoint("crn")


async def test_a_hold_is_shown_until_its_time_has_passed(bench: Bench) -> None:
    crm = bench.outbox.endpoints()[0].id
    until = bench.clock.now() + 60
    await bench.outbox.update_endpoint(crm, bench.clock.now(), hold_until=until)
    assert (await bench.operations.endpoint("crm"))["holdUntil"] == "2025-06-15T15:07:40.000Z"
    bench.clock.advance(61)
    assert (await bench.operations.endpoint("crm"))["holdUntil"] is None
    await bench.outbox.update_endpoint(crm, bench.clock.now(), hold_until=until + 60)
    assert (await bench.operations.resume("crm"))["holdUntil"] is None
    assert [one["holdUntil"] for one in bench.operations.endpoints()["endpoints"]] == [None, None]


async def test_pause_and_resume_change_the_row_and_tell_the_worker(bench: Bench) -> None:
    shown = await bench.operations.pause("crm")
    assert (shown["state"], shown["pausedBy"]) == ("paused", ["operator"])
    shown = await bench.operations.resume("crm")
    assert (shown["state"], shown["pausedBy"]) == ("active", [])
    assert len(bench.changed) == 2
    with pytest.raises(Conflict, match="gone is not in the configuration"):
        await bench.operations.pause("gone")


async def test_a_verb_names_the_states_it_applies_to(bench: Bench) -> None:
    with pytest.raises(Conflict, match="dead deliveries only"):
        await bench.operations.replay(Selection(states=frozenset({State.PENDING})), dry_run=False)


async def test_parked_deliveries_move_to_a_configured_endpoint_only(bench: Bench) -> None:
    parked = Selection(endpoint="gone")
    with pytest.raises(Conflict, match="endpoint gone is not in the configuration"):
        await bench.operations.retry(parked, to="gone", dry_run=True)
    told = await bench.operations.retry(parked, to="crm", dry_run=False)
    assert told["retried"] == 1


async def test_what_is_cancelled_at_a_removed_endpoint_stays_listed(bench: Bench) -> None:
    await bench.operations.cancel(Selection(endpoint="gone"), dry_run=False)
    page = await bench.operations.deliveries(Selection(endpoint="gone"), None, 10)
    assert [each["state"] for each in page["deliveries"]] == ["cancelled"]
    with pytest.raises(NotFound, match="no endpoint named never"):
        await bench.operations.deliveries(Selection(endpoint="never"), None, 10)


async def test_what_is_no_dead_letter_is_told_so(bench: Bench) -> None:
    with pytest.raises(NotFound, match="delivery 1 is no dead letter but pending; see: hookpost"):
        await bench.operations.dead_letter(1)


@pytest.mark.parametrize("limit", [0, 501])
async def test_a_page_has_one_to_five_hundred_records(bench: Bench, limit: int) -> None:
    with pytest.raises(Conflict, match=f"limit {limit} is not between 1 and 500"):
        await bench.operations.deliveries(Selection(), None, limit)
