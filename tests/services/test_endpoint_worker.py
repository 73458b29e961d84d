"""One endpoint, stepped: every promise about attempts and limits, on a real outbox."""

import asyncio
import datetime
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from tests.builders import FakeClock
from tests.dispatching import (
    BROKEN,
    OK,
    RETRY,
    SECRET,
    Bench,
    ScriptedReceiver,
    an_endpoint,
    step,
)

from hookpost.core.breaker import BreakerPolicy, Open
from hookpost.core.errors import StorageUnavailable
from hookpost.core.gate import Held, HeldBy
from hookpost.core.model import DeadReason, Format, Outcome, Result, State
from hookpost.core.ratelimit import RateLimit
from hookpost.core.retry import RetryPolicy
from hookpost.core.secrets import Secret
from hookpost.core.signing import standard_webhooks
from hookpost.storage.outbox import Selection
from hookpost.storage.sqlite import SqliteOutbox


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


# -- the road of a delivery ----------------------------------------------------------------------


async def test_an_accepted_event_reaches_its_receiver_signed_and_is_delivered(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(), receiver)
    await bench.put(worker.id)
    await step(worker)
    url, headers, body = receiver.received[0]
    assert url == "https://crm.example.com/hooks"
    assert json.loads(body)["data"] == {"amount": 1200}
    assert headers["webhook-id"] == json.loads(body)["eventId"] == "evt_1"
    assert (headers["hookpost-delivery"], headers["hookpost-attempt"]) == ("1", "1")
    assert await bench.state() is State.DELIVERED
    assert bench.metrics.of["crm"].attempts == {Result.SUCCESS: 1}
    assert bench.metrics.of["crm"].latencies == [0.0]


async def test_the_signature_is_of_the_wall_clock_and_verifies_independently(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    real = datetime.datetime.now(datetime.UTC).timestamp()  # noqa: TID251 - the library's clock
    worker = await bench.worker(an_endpoint(), receiver)
    bench.clock.wall_offset = real - bench.clock.now()
    await bench.put(worker.id)
    await step(worker)
    _, headers, body = receiver.received[0]
    assert headers["webhook-timestamp"] == str(int(real))
    Webhook(SECRET).verify(body, headers)


async def test_a_retry_sends_the_same_bytes_and_id_under_a_new_timestamp(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(), receiver)
    receiver.answers(BROKEN, OK)
    await bench.put(worker.id, format=Format.RAW, content_type="x/y", body=b"\x00\xff {} ")
    assert await step(worker) is None
    bench.clock.advance(9.9)
    assert await step(worker) == pytest.approx(0.1, abs=1e-5)
    assert receiver.hits == 1
    bench.clock.advance(0.11)
    await step(worker)
    (_, first, one), (_, second, other) = receiver.received
    assert one == other == b"\x00\xff {} "
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 10
    assert second["hookpost-attempt"] == "2"
    assert await bench.state() is State.DELIVERED


async def test_every_attempt_is_recorded(bench: Bench, receiver: ScriptedReceiver) -> None:
    worker = await bench.worker(an_endpoint(), receiver)
    answer = Outcome(result=Result.HTTP_5XX, status=502, answer=b"<html>", error="502")
    receiver.answers(answer, OK)
    await bench.put(worker.id)
    await step(worker)
    bench.clock.advance(10)
    await step(worker)
    recorded = (await bench.detail()).attempts
    assert [(attempt.number, attempt.outcome.status) for attempt in recorded] == [
        (1, 502),
        (2, 204),
    ]
    assert recorded[0].outcome.answer == b"<html>"


async def test_a_delivery_that_fails_as_often_as_allowed_is_a_dead_letter(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(), receiver)
    receiver.answers(BROKEN)
    await bench.put(worker.id)
    for _ in range(6):
        await step(worker)
        bench.clock.advance(60)
    view = (await bench.detail()).view
    assert (view.state, view.reason, view.attempts) == (State.DEAD, DeadReason.EXHAUSTED, 3)
    assert receiver.hits == 3
    assert bench.metrics.of["crm"].deaths == {DeadReason.EXHAUSTED: 1}


async def test_a_replay_begins_a_new_round(bench: Bench, receiver: ScriptedReceiver) -> None:
    worker = await bench.worker(an_endpoint(retry=RetryPolicy(max_attempts=1)), receiver)
    receiver.answers(BROKEN, OK)
    await bench.put(worker.id)
    await step(worker)
    assert await bench.state() is State.DEAD
    assert await bench.outbox.replay(Selection(endpoint="crm"), bench.clock.now()) == 1
    await step(worker)
    assert await bench.state() is State.DELIVERED
    assert receiver.received[1][1]["hookpost-attempt"] == "2"


async def test_what_is_too_old_dies_without_an_attempt(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(), receiver)
    await bench.put(worker.id)
    bench.clock.advance(86400.5)
    await bench.put(worker.id)
    await step(worker)
    view = (await bench.detail(1)).view
    assert (view.state, view.reason, view.attempts) == (State.DEAD, DeadReason.EXPIRED, 0)
    assert await bench.state(2) is State.DELIVERED
    assert receiver.hits == 1


async def test_the_time_that_an_endpoint_was_paused_does_not_age_a_round(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(), receiver)
    await bench.put(worker.id)
    await bench.outbox.update_endpoint(worker.id, bench.clock.now(), paused_by_operator=True)
    worker.refresh()
    bench.clock.advance(10 * 86400)
    await step(worker)
    assert receiver.hits == 0
    await bench.outbox.update_endpoint(worker.id, bench.clock.now(), paused_by_operator=False)
    worker.refresh()
    await step(worker)
    assert await bench.state() is State.DELIVERED


async def test_a_410_kills_the_delivery_and_pauses_the_endpoint_as_gone(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(concurrency=1), receiver)
    receiver.answers(Outcome(result=Result.GONE, status=410, error="410"))
    await bench.put(worker.id, 2)
    await step(worker)
    await step(worker)
    assert (await bench.detail(1)).view.reason is DeadReason.GONE
    assert await bench.state(2) is State.PENDING
    assert receiver.hits == 1
    assert bench.outbox.endpoint(worker.id).gone


async def test_a_denied_literal_address_is_dead_blocked(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(), receiver)
    receiver.answers(Outcome(result=Result.BLOCKED, permanent=True, error="10.0.0.1 is private"))
    await bench.put(worker.id)
    await step(worker)
    assert (await bench.detail()).view.reason is DeadReason.BLOCKED


async def test_a_stale_connection_is_tried_again_soon_and_opens_no_breaker(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    policy = BreakerPolicy(consecutive_failures=1)
    worker = await bench.worker(an_endpoint(circuit_breaker=policy), receiver)
    receiver.answers(Outcome(result=Result.REUSED_CONNECTION, error="closed"), OK)
    await bench.put(worker.id)
    await step(worker)
    bench.clock.advance(0.11)
    await step(worker)
    assert await bench.state() is State.DELIVERED


async def test_what_failed_on_a_used_connection_is_tried_again_over_a_new_one(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(concurrency=1), receiver)
    receiver.answers(Outcome(result=Result.REUSED_CONNECTION, error="closed"), OK, BROKEN, OK)
    await bench.put(worker.id)
    await step(worker)
    bench.clock.advance(0.11)
    await step(worker)
    await bench.put(worker.id, 1)
    await step(worker)
    bench.clock.advance(3600.0)
    await step(worker)
    assert receiver.fresh == [False, True, False, False]


async def test_a_lane_goes_on_by_itself_after_a_success_and_rests_after_a_failure(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(concurrency=1), receiver)
    receiver.answers(OK, OK, BROKEN, OK)
    await bench.put(worker.id, 5)
    await worker.tick()
    await worker.idle()
    assert receiver.hits == 3
    assert receiver.most_at_once == 1
    await step(worker)
    assert receiver.hits == 5


async def test_a_lane_that_goes_on_attempts_nothing_that_is_too_old(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(concurrency=1), receiver)
    receiver.hang()
    await bench.put(worker.id, 2)
    await worker.tick()
    await receiver.hit(1)
    bench.clock.advance(86400.5)
    receiver.answer(OK)
    await worker.idle()
    await step(worker)
    assert (await bench.detail(2)).view.reason is DeadReason.EXPIRED
    assert receiver.hits == 1


async def test_a_delivery_that_fell_due_behind_full_lanes_is_not_forgotten(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(concurrency=1), receiver)
    worker.start()
    receiver.hang()
    await bench.put(worker.id, 2)
    await receiver.hit(1)
    receiver.answer(BROKEN)
    await receiver.hit(2)
    while len((await bench.detail(1)).attempts) < 1:
        await asyncio.get_running_loop().run_in_executor(None, int)
    receiver.answer(OK)
    async with asyncio.timeout(10):
        while not bench.clock._sleepers:  # until the feeder has set its alarm for the retry
            await asyncio.get_running_loop().run_in_executor(None, int)
    bench.clock.advance(10.5)
    await receiver.hit(3)
    receiver.answer(OK)


async def test_a_counter_that_breaks_is_told_and_holds_nobody_up(
    bench: Bench, receiver: ScriptedReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await bench.worker(an_endpoint(), receiver)

    def broken(latency: float) -> None:
        raise KeyError(latency)

    monkeypatch.setattr(bench.metrics.of["crm"], "delivered", broken)
    await bench.put(worker.id, 2)
    await step(worker)
    assert [type(error) for error in bench.failures] == [KeyError, KeyError]
    bench.failures.clear()
    assert bench.outbox.endpoint(worker.id).counts.delivered == 2


async def test_an_event_id_that_cannot_be_signed_dies_alone_and_visibly(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(), receiver)
    await bench.put(worker.id, id="not.signable")
    await bench.put(worker.id)
    await step(worker)
    view = (await bench.detail(1)).view
    assert (view.state, view.reason) == (State.DEAD, DeadReason.BLOCKED)
    assert "not.signable" in (view.last_error or "")
    assert await bench.state(2) is State.DELIVERED


# -- limits (P4) -----------------------------------------------------------------------------


async def test_no_more_attempts_than_the_concurrency_are_in_flight(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(concurrency=3), receiver)
    receiver.hang()
    await bench.put(worker.id, 10)
    for ended in range(10):
        await worker.tick()
        await receiver.hit(min(10, 3 + ended))
        assert receiver.at_once == min(3, 10 - ended)
        receiver.answer(OK)
        await receiver_quiet(receiver, min(3, 9 - ended))
    await step(worker)
    assert receiver.most_at_once == 3
    assert bench.outbox.endpoint(worker.id).counts.delivered == 10


async def receiver_quiet(receiver: ScriptedReceiver, at_once: int) -> None:
    """Until no more than so many attempts wait at the receiver."""
    async with asyncio.timeout(10):
        while receiver.at_once > at_once:
            await asyncio.get_running_loop().run_in_executor(None, int)


async def test_a_rate_holds_and_what_it_holds_back_burns_no_attempt(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    limited = an_endpoint(rate_limit=RateLimit(rate=2.0, burst=3), concurrency=10)
    worker = await bench.worker(limited, receiver)
    await bench.put(worker.id, 8)
    assert await step(worker) == pytest.approx(0.5, abs=1e-5)
    assert receiver.hits == 3
    for hits in (4, 5):
        bench.clock.advance(0.5)
        await step(worker)
        assert receiver.hits == hits
    assert (await bench.detail(6)).view.attempts == 0
    assert bench.metrics.of["crm"].throttles["rate"] >= 1


async def test_an_open_breaker_holds_everything_and_probes_one_at_a_time(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    policy = BreakerPolicy(consecutive_failures=2, open_for=30.0, probes=1)
    fast = RetryPolicy(schedule=(1.0,) * 50, jitter=RETRY.jitter)
    worker = await bench.worker(
        an_endpoint(circuit_breaker=policy, concurrency=1, retry=fast), receiver
    )
    receiver.answers(BROKEN)
    await bench.put(worker.id, 5)
    for _ in range(3):
        await step(worker)
    assert receiver.hits == 2
    assert bench.outbox.endpoint(worker.id).breaker is not None
    bench.clock.advance(29)
    assert await step(worker) == pytest.approx(1.0, abs=1e-5)
    assert receiver.hits == 2
    bench.clock.advance(1.01)
    await step(worker)
    await step(worker)
    assert receiver.hits == 3
    assert (await bench.detail(5)).view.attempts == 0
    receiver.answers(OK)
    bench.clock.advance(60.01)
    for _ in range(6):
        await step(worker)
    assert bench.outbox.endpoint(worker.id).counts.delivered == 5


async def test_each_move_of_the_breaker_is_one_line_also_when_only_time_moves_it(
    bench: Bench, receiver: ScriptedReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hookpost.dispatch")
    policy = BreakerPolicy(consecutive_failures=1, open_for=30.0, probes=1)
    receiver.answers(BROKEN, BROKEN, OK)
    worker = await bench.worker(an_endpoint(circuit_breaker=policy, concurrency=1), receiver)
    caplog.clear()  # a new endpoint's own lines
    await bench.put(worker.id, 5)
    for wait in (0, 29, 1.01, 59, 1.01, 0):
        bench.clock.advance(wait)
        await step(worker)
        await step(worker)
    lines = [one.getMessage() for one in caplog.records if "breaker" in one.getMessage()]
    assert lines == [
        "breaker.opened", "breaker.half_opened", "breaker.opened", "breaker.half_opened",
        "breaker.closed",
    ]  # fmt: skip


async def test_a_lane_that_goes_on_as_the_probe_says_so(
    bench: Bench, receiver: ScriptedReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hookpost.dispatch")
    policy = BreakerPolicy(consecutive_failures=1, open_for=30.0, probes=1)
    worker = await bench.worker(an_endpoint(circuit_breaker=policy, concurrency=2), receiver)
    await step(worker)
    receiver.hang()
    await bench.put(worker.id, 3)
    await worker.tick()
    await receiver.hit(2)
    receiver.answer(BROKEN)
    async with asyncio.timeout(10):
        while "breaker.opened" not in caplog.messages:
            turned = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(turned.set_result, None)
            await turned
    caplog.clear()
    bench.clock.advance(31)
    receiver.answer(OK)
    await receiver.hit(3)  # without a round by the feeder
    assert "breaker.half_opened" in caplog.messages
    receiver.answer(OK)
    receiver.answers(OK)
    await worker.idle()


async def test_retry_after_with_429_holds_the_whole_endpoint_over_a_restart(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    asked = Outcome(result=Result.RATE_LIMITED, status=429, retry_after=120.0, error="429")
    receiver.answers(asked, OK)
    worker = await bench.worker(an_endpoint(concurrency=1), receiver)
    await bench.put(worker.id, 2)
    assert await step(worker) is None
    assert await step(worker) == pytest.approx(120.0)
    successor = await bench.worker(an_endpoint(concurrency=1), receiver)
    bench.clock.advance(119)
    assert await step(successor) == pytest.approx(1.0)
    assert receiver.hits == 1
    bench.clock.advance(1.01)
    await step(successor)
    assert receiver.hits >= 2


async def test_an_endpoint_without_a_live_key_is_held_and_sends_nothing_unsigned(
    bench: Bench, receiver: ScriptedReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    later = Secret(name="new", value=SECRET.encode(), not_before=bench.clock.wall() + 60)
    worker = await bench.worker(an_endpoint(signing=standard_webhooks(later)), receiver)
    await bench.put(worker.id)
    assert await step(worker) == 60.0
    assert receiver.hits == 0
    assert "endpoint.held" in caplog.messages
    bench.clock.advance(60)
    await step(worker)
    assert receiver.received[0][1]["webhook-signature"].startswith("v1,")


async def test_a_gate_that_closes_between_claim_and_start_releases_what_was_claimed(
    bench: Bench, receiver: ScriptedReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await bench.worker(an_endpoint(), receiver)
    await bench.put(worker.id, 3)
    claim = bench.outbox.claim

    async def claim_while_the_receiver_asks_for_peace(*given: Any) -> Any:
        claimed = await claim(*given)
        assert len(claimed) == 3
        worker.gate.hold(bench.clock.now() + 5)
        return claimed

    monkeypatch.setattr(bench.outbox, "claim", claim_while_the_receiver_asks_for_peace)
    await step(worker)
    assert receiver.hits == 0
    monkeypatch.undo()
    bench.clock.advance(5.01)
    await step(worker)
    assert receiver.hits == 3
    assert (await bench.detail()).view.attempts == 1


async def test_a_pause_takes_hold_even_between_start_and_attempt(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(), receiver)
    await bench.put(worker.id)
    await worker.tick()
    worker.gate.paused = True
    await worker.idle()
    assert receiver.hits == 0
    assert worker.gate.in_flight == 0
    worker.gate.paused = False
    await step(worker)
    assert (await bench.detail()).view.attempts == 1


# -- shutdown ------------------------------------------------------------------------------------


async def test_an_interrupted_attempt_is_recorded_released_and_not_counted(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(retry=RetryPolicy(max_attempts=1)), receiver)
    receiver.hang()
    await bench.put(worker.id)
    await worker.tick()
    await receiver.hit(1)
    worker.interrupt()
    await worker.close()
    detail = await bench.detail()
    assert detail.view.state is State.PENDING
    assert [attempt.outcome.result for attempt in detail.attempts] == [Result.INTERRUPTED]
    receiver = ScriptedReceiver()
    successor = await bench.worker(an_endpoint(retry=RetryPolicy(max_attempts=1)), receiver)
    await step(successor)
    assert await bench.state() is State.DELIVERED


async def test_a_closed_worker_claims_nothing_and_closes_its_transport(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(), receiver)
    worker.start()
    await worker.close()
    await bench.put(worker.id)
    assert await step(worker) is None
    assert receiver.hits == 0
    assert receiver.closed


async def test_tokens_are_kept_at_a_clean_stop_and_trusted_once(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    limited = an_endpoint(rate_limit=RateLimit(rate=0.001, burst=5))
    worker = await bench.worker(limited, receiver)
    await bench.put(worker.id, 2)
    await step(worker)
    await worker.close()
    assert bench.outbox.endpoint(worker.id).tokens == pytest.approx(3.0)
    bench.clock.advance(10_000)
    successor = await bench.worker(limited, ScriptedReceiver())
    assert successor.gate.tokens(bench.clock.now()) == pytest.approx(3.0)
    successor.start()
    await successor.idle()
    assert bench.outbox.endpoint(worker.id).tokens is None


# -- faults --------------------------------------------------------------------------------------


async def test_an_attempt_cancelled_by_nobody_knows_whom_is_released_and_told(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(), receiver)
    receiver.hang()
    await bench.put(worker.id)
    await worker.tick()
    await receiver.hit(1)
    lane = next(task for task in asyncio.all_tasks() if task.get_name() == "lane of crm")
    lane.cancel()
    await worker.idle()
    assert [str(failure) for failure in bench.failures] == [
        "an attempt of endpoint crm was cancelled"
    ]
    bench.failures.clear()
    assert (await bench.detail()).attempts[0].outcome.result is Result.INTERRUPTED


async def test_an_exception_nobody_expects_is_told_and_never_lost(
    bench: Bench, receiver: ScriptedReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def explode(*_: Any, **__: Any) -> Outcome:
        raise ZeroDivisionError

    worker = await bench.worker(an_endpoint(), receiver)
    monkeypatch.setattr(receiver, "post", explode)
    await bench.put(worker.id)
    await worker.tick()
    lanes = [task for task in asyncio.all_tasks() if task.get_name() == "lane of crm"]
    await asyncio.wait(lanes)
    await asyncio.get_running_loop().run_in_executor(None, int)
    assert [type(failure) for failure in bench.failures] == [ZeroDivisionError]
    bench.failures.clear()
    worker.gate.in_flight = 0  # the process would end here; the bench goes on


# -- seen from outside ---------------------------------------------------------------------------


async def test_each_attempt_is_one_canonical_line(
    bench: Bench, receiver: ScriptedReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hookpost.dispatch")
    worker = await bench.worker(an_endpoint(), receiver)
    receiver.answers(BROKEN, OK)
    await bench.put(worker.id, body=b'"canary-body"')
    await step(worker)
    bench.clock.advance(10)
    await step(worker)
    lines = [record for record in caplog.records if record.message == "attempt.finished"]
    assert [record.levelname for record in lines] == ["WARNING", "INFO"]
    assert lines[0].fields == {  # type: ignore[attr-defined]
        "endpoint": "crm",
        "delivery": 1,
        "event": "evt_1",
        "attempt": 1,
        "result": "http_5xx",
        "status": 500,
        "duration": 0.0,
        "next_in": 10.0,
        "error": "500 from the receiver",
    }
    shown = repr([record.__dict__ for record in caplog.records])
    assert "canary-body" not in shown
    assert SECRET not in shown


async def test_the_feeder_delivers_by_doorbell_and_by_timer(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(), receiver)
    receiver.answers(BROKEN, OK)
    worker.start()
    await bench.put(worker.id)
    await receiver.hit(1)
    await worker.idle()
    while receiver.hits == 1:
        await asyncio.get_running_loop().run_in_executor(None, int)
        bench.clock.advance(1.0)
    await worker.idle()
    assert await bench.state() is State.DELIVERED


async def test_an_open_breaker_survives_a_restart_and_another_url_probes_at_once(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    policy = BreakerPolicy(consecutive_failures=1, open_for=300.0)
    failing = an_endpoint(circuit_breaker=policy)
    worker = await bench.worker(failing, receiver)
    receiver.answers(BROKEN)
    await bench.put(worker.id)
    await step(worker)
    successor = await bench.worker(failing, receiver)
    assert isinstance(successor.gate.breaker, Open)
    held = successor.gate.admit(bench.clock.now(), bench.clock.wall())
    assert held == Held(HeldBy.BREAKER, pytest.approx(300.0))
    moved = an_endpoint(circuit_breaker=policy, url="https://new.example.com/")
    third = await bench.worker(moved, ScriptedReceiver())
    third.start()
    assert third.gate.admit(bench.clock.now(), bench.clock.wall()) != held


async def test_a_restart_with_another_url_clears_gone(
    bench: Bench, receiver: ScriptedReceiver
) -> None:
    worker = await bench.worker(an_endpoint(), receiver)
    receiver.answers(Outcome(result=Result.GONE, status=410))
    await bench.put(worker.id)
    await step(worker)
    same = await bench.worker(an_endpoint(), ScriptedReceiver())
    same.start()
    assert same.gate.paused
    moved = await bench.worker(an_endpoint(url="https://new.example.com/"), ScriptedReceiver())
    moved.start()
    assert not moved.gate.paused
    await moved.idle()
    assert not bench.outbox.endpoint(worker.id).gone


# -- the end, where the disk has failed ----------------------------------------------------------


async def test_what_the_end_could_not_save_is_told_once_with_the_reason(
    bench: Bench,
    receiver: ScriptedReceiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise StorageUnavailable("disk I/O error")

    worker = await bench.worker(an_endpoint(), receiver)
    monkeypatch.setattr(bench.outbox, "update_endpoint", refuse)
    await worker.close(patience=0.0)
    (told,) = [each.fields for each in caplog.records if each.msg == "endpoint.unsaved"]  # type: ignore[attr-defined]
    assert told == {"endpoint": "crm", "error": "disk I/O error", "again_in": None}
    monkeypatch.undo()
    await worker.close()


async def test_a_row_that_is_saved_is_not_told_as_unsaved_because_a_settlement_is_late(
    bench: Bench,
    receiver: ScriptedReceiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def at_once(*_: Any, **__: Any) -> None:
        return None

    worker = await bench.worker(an_endpoint(), receiver)
    monkeypatch.setattr(bench.outbox, "update_endpoint", at_once)
    worker._settling.open += 1
    await worker.close(patience=0.0)
    worker._settling.open -= 1
    assert not [each for each in caplog.records if each.msg == "endpoint.unsaved"]
