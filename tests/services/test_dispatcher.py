"""All endpoints together: reloads that lose nothing, isolation, drain."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.builders import FakeClock
from tests.dispatching import (
    BROKEN,
    OK,
    Bench,
    ScriptedReceiver,
    a_snapshot,
    an_endpoint,
)

from hookpost.core.breaker import BreakerPolicy
from hookpost.core.errors import StorageUnavailable
from hookpost.core.model import EndpointId, Outcome, Result, State
from hookpost.core.ratelimit import RateLimit
from hookpost.core.retry import RetryPolicy
from hookpost.core.settings import Endpoint
from hookpost.services.dispatcher import EndpointState
from hookpost.services.snapshot import Snapshot
from hookpost.storage.sqlite import SqliteOutbox


class Receivers:
    """One receiver for each transport that is made, newest last."""

    def __init__(self) -> None:
        self.made: dict[str, list[ScriptedReceiver]] = {}
        self.script: tuple[Outcome, ...] = (OK,)

    def __call__(self, endpoint: Endpoint) -> ScriptedReceiver:
        receiver = ScriptedReceiver(*self.script)
        self.made.setdefault(endpoint.name, []).append(receiver)
        return receiver

    def of(self, name: str) -> ScriptedReceiver:
        return self.made[name][-1]


class Daemon:
    """A dispatcher in service on the bench."""

    def __init__(self, bench: Bench, receivers: Receivers, snapshot: Snapshot) -> None:
        self.bench = bench
        self.receivers = receivers
        self.ids = snapshot.endpoint_ids
        self.dispatcher = bench.dispatcher(snapshot, receivers)

    async def reload(self, *endpoints: Endpoint) -> None:
        snapshot = await a_snapshot(self.bench.outbox, self.bench.clock, *endpoints)
        self.ids = snapshot.endpoint_ids
        self.dispatcher.apply(snapshot)

    async def put(self, name: str, count: int = 1) -> None:
        await self.bench.put(self.ids[name], count)

    def state(self, name: str) -> EndpointState:
        return self.dispatcher.states()[name]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = FakeClock()
    bench = Bench(await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock), clock)
    yield bench
    await bench.end()


@pytest.fixture
def receivers() -> Receivers:
    return Receivers()


async def serving(bench: Bench, receivers: Receivers, *endpoints: Endpoint) -> Daemon:
    daemon = Daemon(bench, receivers, await a_snapshot(bench.outbox, bench.clock, *endpoints))
    await daemon.dispatcher.start()
    return daemon


async def turn() -> None:
    """Let the loop, and whatever is ready on it, go on."""
    await asyncio.get_running_loop().run_in_executor(None, int)


async def until(true: Any) -> None:
    async with asyncio.timeout(10):
        while not true():
            await turn()


def delivered(bench: Bench, endpoint: EndpointId) -> int:
    return bench.outbox.endpoint(endpoint).counts.delivered


# -- serving -----------------------------------------------------------------------------------


async def test_each_endpoint_gets_its_own(bench: Bench, receivers: Receivers) -> None:
    daemon = await serving(bench, receivers, an_endpoint("crm"), an_endpoint("erp"))
    await daemon.put("crm", 3)
    await daemon.put("erp", 2)
    await receivers.of("crm").hit(3)
    await receivers.of("erp").hit(2)
    await daemon.dispatcher.idle()
    assert [delivered(bench, daemon.ids[name]) for name in ("crm", "erp")] == [3, 2]
    await daemon.dispatcher.drain(0.0)


async def test_an_endpoint_that_hangs_costs_the_others_nothing(
    bench: Bench, receivers: Receivers
) -> None:
    daemon = await serving(bench, receivers, an_endpoint("hung"), an_endpoint("well"))
    receivers.of("hung").hang()
    await daemon.put("hung", 50)
    await receivers.of("hung").hit(4)
    await daemon.put("well", 50)
    await until(lambda: delivered(bench, daemon.ids["well"]) == 50)
    assert receivers.of("hung").hits == 4
    await daemon.dispatcher.drain(0.0)


async def test_a_backlog_from_before_the_start_is_delivered_without_a_doorbell(
    bench: Bench, receivers: Receivers
) -> None:
    snapshot = await a_snapshot(bench.outbox, bench.clock, an_endpoint())
    await bench.put(snapshot.endpoint_ids["crm"], 20)
    daemon = Daemon(bench, receivers, snapshot)
    await daemon.dispatcher.start()
    await until(lambda: delivered(bench, daemon.ids["crm"]) == 20)
    await daemon.dispatcher.drain(0.0)


async def test_a_refusing_outbox_is_asked_again_and_costs_no_worker(
    bench: Bench, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = await serving(bench, receivers, an_endpoint())
    refusals = 0

    async def refuse(*_: Any) -> Any:
        nonlocal refusals
        refusals += 1
        raise StorageUnavailable("the outbox has a bad day")

    monkeypatch.setattr(bench.outbox, "claim", refuse)
    await daemon.put("crm")
    await until(lambda: refusals)
    monkeypatch.undo()
    bench.clock.advance(1.01)
    await receivers.of("crm").hit(1)
    await daemon.dispatcher.idle()
    assert not daemon.dispatcher.failed.done()
    await daemon.dispatcher.drain(0.0)


async def test_a_fault_in_a_worker_ends_in_failed(
    bench: Bench, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = await serving(bench, receivers, an_endpoint())

    async def explode(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(bench.outbox, "claim", explode)
    await daemon.put("crm")
    async with asyncio.timeout(10):
        with pytest.raises(ZeroDivisionError):
            await daemon.dispatcher.failed
    await daemon.dispatcher.drain(0.0)


# -- reloads (P4, P6) ----------------------------------------------------------------------------


async def test_an_attempt_in_flight_ends_under_the_snapshot_it_began_with(
    bench: Bench, receivers: Receivers
) -> None:
    strict = an_endpoint(retry=RetryPolicy(max_attempts=1))
    daemon = await serving(bench, receivers, strict)
    old = receivers.of("crm")
    old.hang()
    await daemon.put("crm")
    await old.hit(1)
    await daemon.reload(
        an_endpoint(retry=RetryPolicy(max_attempts=9), url="https://new.example.com/")
    )
    assert receivers.of("crm") is not old
    assert not old.closed
    old.answer(BROKEN)
    await daemon.dispatcher.idle()
    assert await bench.state() is State.DEAD
    await until(lambda: old.closed)
    await daemon.put("crm")
    await receivers.of("crm").hit(1)
    assert receivers.of("crm").received[0][0] == "https://new.example.com/"
    await daemon.dispatcher.drain(0.0)


@pytest.mark.parametrize(
    ("change", "replaced"),
    [
        ({"url": "https://other.example.com/"}, True),
        ({"timeout": 9.0}, True),
        ({"keepalive": 9.0}, True),
        ({"concurrency": 9}, True),
        ({"success": frozenset({200})}, True),
        ({"headers": (("X-New", "1"),)}, False),
        ({"retry": RetryPolicy(max_attempts=7)}, False),
        ({"rate_limit": RateLimit(rate=1.0, burst=1)}, False),
    ],
)
async def test_a_transport_is_replaced_only_when_what_it_is_made_of_changes(
    bench: Bench, receivers: Receivers, change: dict[str, Any], replaced: bool
) -> None:
    daemon = await serving(bench, receivers, an_endpoint())
    first = receivers.of("crm")
    await daemon.reload(an_endpoint(**change))
    assert (receivers.of("crm") is not first) is replaced
    if replaced:
        await until(lambda: first.closed)
    await daemon.dispatcher.drain(0.0)


async def test_limits_hold_at_every_instant_through_reloads(
    bench: Bench, receivers: Receivers
) -> None:
    daemon = await serving(bench, receivers, an_endpoint(concurrency=4))
    first = receivers.of("crm")
    first.hang()
    await daemon.put("crm", 20)
    await first.hit(4)
    await daemon.reload(an_endpoint(concurrency=6))
    second = receivers.of("crm")
    second.hang()
    await second.hit(2)
    await turn()
    assert (first.at_once, second.at_once) == (4, 2)
    await daemon.reload(an_endpoint(concurrency=1))
    third = receivers.of("crm")
    third.hang()
    for _ in range(4):
        first.answer(OK)
    second.answer(OK)
    await until(lambda: daemon.state("crm").in_flight == 1)
    assert third.hits == 0
    second.answer(OK)
    await third.hit(1)
    assert third.at_once == 1
    await daemon.dispatcher.drain(0.0)


async def test_a_reload_refills_no_bucket(bench: Bench, receivers: Receivers) -> None:
    daemon = await serving(bench, receivers, an_endpoint(rate_limit=RateLimit(rate=0.001, burst=2)))
    receiver = receivers.of("crm")
    await daemon.put("crm", 50)
    await receiver.hit(2)
    for burst in (50, 2, 50, 2):
        await daemon.reload(an_endpoint(rate_limit=RateLimit(rate=0.001, burst=burst)))
        await daemon.reload(an_endpoint(rate_limit=RateLimit(rate=0.001, burst=burst)))
        await turn()
    await daemon.dispatcher.idle()
    assert receiver.hits == 2
    assert daemon.state("crm").held_by == "rate"
    await daemon.dispatcher.drain(0.0)


async def test_a_removed_endpoint_finishes_its_attempts_and_then_stops(
    bench: Bench, receivers: Receivers
) -> None:
    daemon = await serving(bench, receivers, an_endpoint("crm", concurrency=1), an_endpoint("erp"))
    receiver = receivers.of("crm")
    receiver.hang()
    await daemon.put("crm", 3)
    await receiver.hit(1)
    number = daemon.ids["crm"]
    await daemon.reload(an_endpoint("erp"))
    assert set(daemon.dispatcher.states()) == {"erp"}
    receiver.answer(OK)
    await until(lambda: receiver.closed)
    assert receiver.hits == 1
    assert bench.outbox.endpoint(number).counts.delivered == 1
    assert await bench.state(2) is State.PARKED
    await daemon.dispatcher.drain(0.0)


async def test_an_endpoint_that_comes_back_while_its_attempts_end_keeps_its_limits(
    bench: Bench, receivers: Receivers
) -> None:
    both = (an_endpoint("crm", concurrency=1), an_endpoint("erp"))
    daemon = await serving(bench, receivers, *both)
    receiver = receivers.of("crm")
    receiver.hang()
    await daemon.put("crm", 2)
    await receiver.hit(1)
    await daemon.reload(both[1])
    await daemon.reload(*both)
    assert daemon.state("crm").held_by == "concurrency"
    receiver.answer(OK)
    await receiver.hit(2)
    assert receiver.most_at_once == 1
    receiver.answer(OK)
    await daemon.dispatcher.idle()
    assert delivered(bench, daemon.ids["crm"]) == 2
    await daemon.dispatcher.drain(0.0)


async def test_an_endpoint_that_leaves_twice_while_its_attempts_end_ends_once(
    bench: Bench, receivers: Receivers
) -> None:
    both = (an_endpoint("crm", concurrency=1), an_endpoint("erp"))
    daemon = await serving(bench, receivers, *both)
    receiver = receivers.of("crm")
    receiver.hang()
    await daemon.put("crm", 1)
    await receiver.hit(1)
    for _ in range(2):
        await daemon.reload(*both)
        await daemon.reload(both[1])
    receiver.answer(OK)
    await until(lambda: receiver.closed)
    await turn()
    assert not daemon.dispatcher.failed.done()
    await daemon.dispatcher.drain(0.0)


async def test_an_endpoint_that_comes_back_later_delivers_what_was_parked(
    bench: Bench, receivers: Receivers
) -> None:
    both = (an_endpoint("crm"), an_endpoint("erp"))
    daemon = await serving(bench, receivers, *both)
    number = daemon.ids["crm"]
    await daemon.reload(both[1])
    await until(lambda: receivers.of("crm").closed)
    await bench.put(number)
    assert await bench.state() is State.PARKED
    await daemon.reload(*both)
    await until(lambda: delivered(bench, number) == 1)
    await daemon.dispatcher.drain(0.0)


async def test_a_renamed_endpoint_keeps_its_worker_and_backlog(
    bench: Bench, receivers: Receivers
) -> None:
    daemon = await serving(bench, receivers, an_endpoint("old", url="https://a.example.com/"))
    receiver = receivers.of("old")
    receiver.hang()
    await daemon.put("old", 1)
    await receiver.hit(1)
    number = daemon.ids["old"]
    await daemon.reload(an_endpoint("new", url="https://a.example.com/", renamed_from="old"))
    assert daemon.ids["new"] == number
    assert daemon.state("new").in_flight == 1
    receiver.answer(OK)
    await daemon.dispatcher.idle()
    assert bench.metrics.of["new"].latencies == [0.0]
    await daemon.dispatcher.drain(0.0)


async def test_a_changed_url_clears_gone_and_sets_the_breaker_half_open(
    bench: Bench, receivers: Receivers
) -> None:
    guarded = {"circuit_breaker": BreakerPolicy(), "concurrency": 2}
    daemon = await serving(bench, receivers, an_endpoint(**guarded))
    receivers.of("crm").answers(Outcome(result=Result.GONE, status=410, error="410"))
    await daemon.put("crm")
    await until(lambda: bench.outbox.endpoint(daemon.ids["crm"]).gone)
    assert daemon.state("crm").held_by == "paused"
    await daemon.reload(an_endpoint(url="https://new.example.com/", **guarded))
    state = daemon.state("crm")
    assert (state.paused, state.breaker) == (False, "half_open")
    await daemon.put("crm")
    await receivers.of("crm").hit(1)
    await daemon.dispatcher.idle()
    assert daemon.state("crm").breaker == "closed"
    assert not bench.outbox.endpoint(daemon.ids["crm"]).gone
    await daemon.dispatcher.drain(0.0)


ASKED = Outcome(result=Result.RATE_LIMITED, status=429, retry_after=600.0, error="429")


async def held(bench: Bench, receivers: Receivers) -> Daemon:
    """One endpoint whose receiver has asked everybody to wait, as its row knows."""
    daemon = await serving(bench, receivers, an_endpoint())
    receivers.of("crm").answers(ASKED)
    await daemon.put("crm")
    await until(lambda: bench.outbox.endpoint(daemon.ids["crm"]).hold_until is not None)
    await daemon.dispatcher.idle()
    assert daemon.state("crm").held_by == "hold"
    return daemon


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_changed_url_owes_the_old_ones_wait_nothing(
    bench: Bench, receivers: Receivers, restarted: bool
) -> None:
    daemon = await held(bench, receivers)
    moved = an_endpoint(url="https://new.example.com/")
    if restarted:  # as after a kill: nothing was said at an end
        daemon = await serving(bench, receivers, moved)
    else:
        await daemon.reload(moved)
    assert daemon.state("crm").held_by is None
    await daemon.dispatcher.idle()
    assert bench.outbox.endpoint(daemon.ids["crm"]).hold_until is None
    await daemon.dispatcher.drain(0.0)


async def test_the_same_url_is_waited_for_over_reloads_and_restarts(
    bench: Bench, receivers: Receivers
) -> None:
    daemon = await held(bench, receivers)
    await daemon.reload(an_endpoint(concurrency=2))
    assert daemon.state("crm").held_by == "hold"
    assert (await serving(bench, receivers, an_endpoint())).state("crm").held_by == "hold"


async def test_resume_lifts_a_hold(bench: Bench, receivers: Receivers) -> None:
    daemon = await held(bench, receivers)
    await daemon.dispatcher.resume(daemon.ids["crm"])
    assert daemon.state("crm").held_by is None
    assert bench.outbox.endpoint(daemon.ids["crm"]).hold_until is None
    await daemon.dispatcher.drain(0.0)


async def test_an_old_urls_late_410_says_nothing_of_the_new_one(
    bench: Bench, receivers: Receivers
) -> None:
    daemon = await serving(bench, receivers, an_endpoint())
    old = receivers.of("crm")
    old.hang()
    await daemon.put("crm")
    await old.hit(1)
    await daemon.reload(an_endpoint(url="https://new.example.com/"))
    old.answer(Outcome(result=Result.GONE, status=410, error="410"))
    await daemon.dispatcher.idle()
    assert daemon.state("crm").held_by is None
    await daemon.dispatcher.drain(0.0)


# -- people ----------------------------------------------------------------------------------


async def test_pause_and_resume_take_hold_at_once(bench: Bench, receivers: Receivers) -> None:
    daemon = await serving(bench, receivers, an_endpoint())
    await daemon.dispatcher.pause(daemon.ids["crm"])
    assert daemon.state("crm").held_by == "paused"
    await daemon.put("crm")
    await turn()
    assert receivers.of("crm").hits == 0
    assert daemon.dispatcher.live()["crm"] == {
        "inFlight": 0,
        "breaker": "closed",
        "heldBy": "paused",
    }
    await daemon.dispatcher.resume(daemon.ids["crm"])
    await receivers.of("crm").hit(1)
    await daemon.dispatcher.drain(0.0)


async def test_resume_undoes_a_410_but_not_what_the_file_pauses(
    bench: Bench, receivers: Receivers
) -> None:
    daemon = await serving(bench, receivers, an_endpoint(paused=True))
    await daemon.dispatcher.resume(daemon.ids["crm"])
    assert daemon.state("crm").held_by == "paused"
    await daemon.reload(an_endpoint())
    receivers.of("crm").answers(Outcome(result=Result.GONE, status=410, error="410"))
    await daemon.put("crm")
    await until(lambda: daemon.state("crm").paused)
    await daemon.dispatcher.idle()
    await daemon.dispatcher.resume(daemon.ids["crm"])
    assert daemon.state("crm").held_by is None
    await daemon.dispatcher.drain(0.0)


# -- drain ---------------------------------------------------------------------------------------


async def test_drain_lets_attempts_finish_within_its_grace_and_starts_no_more(
    bench: Bench, receivers: Receivers
) -> None:
    daemon = await serving(bench, receivers, an_endpoint(concurrency=2))
    receiver = receivers.of("crm")
    receiver.hang()
    await daemon.put("crm", 5)
    await receiver.hit(2)
    draining = asyncio.ensure_future(daemon.dispatcher.drain(30.0))
    await turn()
    receiver.answer(OK)
    receiver.answer(OK)
    async with asyncio.timeout(10):
        await draining
    assert receiver.hits == 2
    assert receiver.closed
    counts = bench.outbox.endpoint(daemon.ids["crm"]).counts
    assert (counts.delivered, counts.pending) == (2, 3)


async def test_after_the_grace_the_rest_is_released_uncounted(
    bench: Bench, receivers: Receivers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "hookpost.dispatch")
    daemon = await serving(bench, receivers, an_endpoint(concurrency=2))
    receivers.of("crm").hang()
    await daemon.put("crm", 3)
    await receivers.of("crm").hit(2)
    await daemon.dispatcher.drain(0.01)
    states = [await bench.state(number) for number in (1, 2, 3)]
    assert states == [State.PENDING] * 3
    results = [(await bench.detail(number)).attempts for number in (1, 2, 3)]
    assert [len(attempts) for attempts in results] == [1, 1, 0]
    assert bench.metrics.of["crm"].attempts == {Result.INTERRUPTED: 2}
    spent: dict[int, int] = {}
    async with asyncio.timeout(10):
        while len(spent) < 3:
            claimed = await bench.outbox.claim(daemon.ids["crm"], 10, bench.clock.now())
            spent.update({delivery.id: delivery.round_attempts for delivery in claimed})
            await turn()
    assert spent == {1: 0, 2: 0, 3: 0}


async def test_a_second_drain_cuts_the_first_one_short(bench: Bench, receivers: Receivers) -> None:
    daemon = await serving(bench, receivers, an_endpoint())
    receivers.of("crm").hang()
    await daemon.put("crm")
    await receivers.of("crm").hit(1)
    patient = asyncio.ensure_future(daemon.dispatcher.drain(600.0))
    await turn()
    patient.cancel()
    await asyncio.wait({patient})
    async with asyncio.timeout(10):
        await daemon.dispatcher.drain(0.0)
    assert await bench.state() is State.PENDING
    left = [task for task in asyncio.all_tasks() if "of crm" in task.get_name()]
    assert left == []


async def test_a_drained_dispatcher_ignores_a_late_reload(
    bench: Bench, receivers: Receivers
) -> None:
    daemon = await serving(bench, receivers, an_endpoint())
    await daemon.dispatcher.drain(0.0)
    await daemon.reload(an_endpoint(), an_endpoint("late"))
    assert "late" not in receivers.made
