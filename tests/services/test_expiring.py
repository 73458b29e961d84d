"""What is past `max_age` ends also while the gate is closed, and burns nothing that is limited."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.builders import FakeClock
from tests.dispatching import BROKEN, OK, RETRY, SECRET, Bench, ScriptedReceiver, an_endpoint, step

from hookpost.core.breaker import BreakerPolicy
from hookpost.core.model import DeadReason, Outcome, Result, State
from hookpost.core.ratelimit import RateLimit
from hookpost.core.retry import RetryPolicy
from hookpost.core.secrets import Secret
from hookpost.core.signing import standard_webhooks
from hookpost.services.endpoint_worker import EndpointWorker
from hookpost.storage.sqlite import SqliteOutbox

DAY = 86400.0
PATIENT = RetryPolicy(max_attempts=50, max_age=DAY, retry_after_max=30 * DAY)
DEAD_KEY = Secret(name="old", value=SECRET.encode(), not_after=1.0)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = FakeClock()
    bench = Bench(await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock), clock)
    yield bench
    await bench.end()
    assert bench.failures == []


@pytest.fixture
def receiver() -> ScriptedReceiver:
    return ScriptedReceiver()


class Claims:
    """Counts the claims of an outbox while letting them through."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limits: list[int] = []
        claim = bench.outbox.claim

        async def counted(endpoint: Any, limit: int, now: float) -> Any:
            self.limits.append(limit)
            return await claim(endpoint, limit, now)

        monkeypatch.setattr(bench.outbox, "claim", counted)


async def keyless(bench: Bench, receiver: ScriptedReceiver, **changes: Any) -> EndpointWorker:
    return await bench.worker(an_endpoint(signing=standard_webhooks(DEAD_KEY), **changes), receiver)


async def fate(bench: Bench, number: int) -> tuple[State, DeadReason | None, int]:
    detail = await bench.detail(number)
    assert detail.attempts == []
    return detail.view.state, detail.view.reason, detail.view.attempts


EXPIRED = (State.DEAD, DeadReason.EXPIRED, 0)
PENDING = (State.PENDING, None, 0)


async def test_without_a_live_key_the_old_end_and_the_young_stay(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    limited = {"rate_limit": RateLimit(rate=0.001, burst=5)}
    worker = await keyless(bench, receiver, **limited)
    await bench.put(worker.id)
    bench.clock.advance(3600)
    await bench.put(worker.id)
    await step(worker)
    bench.clock.advance(DAY - 3599)
    assert await step(worker) is not None
    assert await fate(bench, 1) == EXPIRED
    assert await fate(bench, 2) == PENDING
    assert receiver.hits == 0
    assert worker.gate.tokens(bench.clock.now()) == 5.0
    assert bench.metrics.of["crm"].deaths == {DeadReason.EXPIRED: 1}
    assert bench.metrics.of["crm"].attempts == {}
    assert bench.outbox.endpoint(worker.id).counts.pending == 1


async def test_a_hold_keeps_nothing_alive(bench: Bench, receiver: ScriptedReceiver) -> None:
    asked = Outcome(result=Result.RATE_LIMITED, status=429, retry_after=9 * DAY, error="429")
    receiver.answers(asked)
    worker = await bench.worker(an_endpoint(retry=PATIENT, concurrency=1), receiver)
    await bench.put(worker.id, 3)
    await step(worker)
    bench.clock.advance(DAY + 1)
    assert await step(worker) is not None
    assert await fate(bench, 2) == await fate(bench, 3) == EXPIRED
    assert receiver.hits == 1
    assert worker.gate.hold_until is not None


async def test_an_open_breaker_keeps_nothing_alive_and_stays_as_it_is(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    policy = BreakerPolicy(consecutive_failures=1, open_for=9 * DAY, max_open_for=9 * DAY)
    receiver.answers(BROKEN)
    worker = await bench.worker(
        an_endpoint(retry=PATIENT, circuit_breaker=policy, concurrency=1), receiver
    )
    await bench.put(worker.id, 3)
    await step(worker)
    before = worker.gate.breaker
    bench.clock.advance(DAY + 1)
    await step(worker)
    assert await fate(bench, 2) == await fate(bench, 3) == EXPIRED
    assert worker.gate.breaker == before
    assert receiver.hits == 1


async def test_the_head_is_judged_while_the_probe_hangs(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    policy = BreakerPolicy(consecutive_failures=1, open_for=60.0)
    receiver.answers(BROKEN)
    worker = await bench.worker(
        an_endpoint(retry=PATIENT, circuit_breaker=policy, concurrency=1), receiver
    )
    await bench.put(worker.id, 2)
    await step(worker)
    bench.clock.advance(61)
    receiver.hang()
    await worker.tick()
    await receiver.hit(2)
    bench.clock.advance(DAY + 1)
    await worker.tick()
    receiver.answer(OK)
    await worker.idle()
    assert (await bench.detail(1)).view.reason is DeadReason.EXPIRED
    assert (await bench.detail(2)).view.state is State.DELIVERED


async def test_nothing_ends_while_the_endpoint_is_paused(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await keyless(bench, receiver)
    await bench.put(worker.id)
    await bench.outbox.update_endpoint(worker.id, bench.clock.now(), paused_by_operator=True)
    worker.refresh()
    bench.clock.advance(10 * DAY)
    assert await step(worker) is None
    assert await fate(bench, 1) == PENDING
    await bench.outbox.update_endpoint(worker.id, bench.clock.now(), paused_by_operator=False)
    worker.refresh()
    bench.clock.advance(3600)
    await step(worker)
    assert await fate(bench, 1) == PENDING  # the ten days do not count
    bench.clock.advance(DAY)
    await step(worker)
    assert await fate(bench, 1) == EXPIRED


async def test_a_pause_that_comes_during_the_look_is_obeyed(
    bench: Bench, receiver: ScriptedReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await keyless(bench, receiver)
    await bench.put(worker.id)
    bench.clock.advance(DAY + 1)
    claim = bench.outbox.claim

    async def claim_while_somebody_pauses(*given: Any) -> Any:
        worker.gate.paused = True
        return await claim(*given)

    monkeypatch.setattr(bench.outbox, "claim", claim_while_somebody_pauses)
    await step(worker)
    assert await fate(bench, 1) == PENDING


async def test_a_long_backlog_ends_page_by_page_in_order(
    bench: Bench, receiver: ScriptedReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await keyless(bench, receiver)
    await bench.put(worker.id, 230)
    bench.clock.advance(DAY + 1)
    await bench.put(worker.id, 3)
    claims = Claims(bench, monkeypatch)
    for pending in (133, 33, 3):
        await step(worker)
        assert bench.outbox.endpoint(worker.id).counts.pending == pending
    assert claims.limits == [100, 100, 100]
    worker.apply(an_endpoint(), bench.metrics.of["crm"], lambda _: ScriptedReceiver())
    await step(worker)
    assert bench.outbox.endpoint(worker.id).counts.delivered == 3


async def test_the_young_are_left_in_peace_until_they_could_be_too_old(
    bench: Bench, receiver: ScriptedReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await keyless(bench, receiver)
    await bench.put(worker.id, 5)
    claims = Claims(bench, monkeypatch)
    for _ in range(20):  # as the doorbell does for every event
        await step(worker)
        await bench.put(worker.id)
    assert claims.limits == [100]
    bench.clock.advance(DAY - 30)
    assert await step(worker) == pytest.approx(30.0, abs=1e-3)
    bench.clock.advance(29)
    assert await step(worker) == pytest.approx(1.0, abs=1e-3)
    assert len(claims.limits) == 2
    bench.clock.advance(1.01)
    await step(worker)
    assert bench.outbox.endpoint(worker.id).counts.pending == 0


async def test_a_reload_that_shortens_max_age_takes_hold_at_once(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await keyless(bench, receiver)
    await bench.put(worker.id)
    bench.clock.advance(120)
    await step(worker)
    short = an_endpoint(signing=standard_webhooks(DEAD_KEY), retry=RetryPolicy(max_age=60.0))
    worker.apply(short, bench.metrics.of["crm"], lambda _: receiver)
    await step(worker)
    assert await fate(bench, 1) == EXPIRED


async def test_what_is_due_only_later_is_looked_at_only_then(
    bench: Bench, receiver: ScriptedReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await bench.worker(an_endpoint(), receiver)
    receiver.answers(BROKEN)
    await bench.put(worker.id)
    await step(worker)
    worker.apply(
        an_endpoint(signing=standard_webhooks(DEAD_KEY)),
        bench.metrics.of["crm"],
        lambda _: receiver,
    )
    claims = Claims(bench, monkeypatch)
    assert await step(worker) == pytest.approx(10.0, abs=1e-3)
    assert claims.limits == []


async def test_where_nothing_is_ever_too_old_nothing_is_claimed(
    bench: Bench, receiver: ScriptedReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await keyless(bench, receiver, retry=RetryPolicy(max_attempts=3))
    await bench.put(worker.id)
    claims = Claims(bench, monkeypatch)
    bench.clock.advance(99 * DAY)
    assert await step(worker) is None
    assert claims.limits == []


async def test_the_feeder_ends_them_by_its_timer_and_stops_when_told(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await keyless(bench, receiver)
    worker.start()
    await bench.put(worker.id)
    async with asyncio.timeout(10):
        while bench.outbox.endpoint(worker.id).counts.pending:
            await asyncio.get_running_loop().run_in_executor(None, int)
            bench.clock.advance(600)
    assert await fate(bench, 1) == EXPIRED
    await bench.put(worker.id)
    await worker.close()
    assert await fate(bench, 2) == PENDING
    assert receiver.closed


async def test_a_stop_during_the_look_gives_everything_back(
    bench: Bench, receiver: ScriptedReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await keyless(bench, receiver)
    await bench.put(worker.id)
    bench.clock.advance(DAY + 1)
    claim = bench.outbox.claim

    async def claim_while_the_daemon_stops(*given: Any) -> Any:
        worker.stop_claiming()
        return await claim(*given)

    monkeypatch.setattr(bench.outbox, "claim", claim_while_the_daemon_stops)
    await step(worker)
    assert await fate(bench, 1) == PENDING


async def test_a_key_that_comes_alive_finds_the_young_ready(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    later = Secret(name="new", value=SECRET.encode(), not_before=bench.clock.wall() + 90)
    worker = await bench.worker(
        an_endpoint(signing=standard_webhooks(later), retry=RETRY), receiver
    )
    await bench.put(worker.id, 3)
    await step(worker)
    bench.clock.advance(90)
    await step(worker)
    assert receiver.hits == 3
    assert [await bench.state(number) for number in (1, 2, 3)] == [State.DELIVERED] * 3
