"""The two tables of a delivery's life, row by row."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import an_event

from hookpost.core.model import (
    TRANSITIONS,
    Cause,
    DeadReason,
    Delivery,
    DeliveryId,
    EndpointId,
    Outcome,
    Result,
    State,
)
from hookpost.core.retry import MINIMUM_DELAY, Backoff, Jitter, RetryPolicy
from hookpost.core.settle import expired, hold, settle

POLICY = RetryPolicy(
    max_attempts=4,
    max_age=1000.0,
    backoff=Backoff(initial=10.0, multiplier=2.0, max=600.0),
    jitter=Jitter.NONE,
    reject_on=frozenset({400, 422}),
    retry_after_max=300.0,
)


def a_delivery(**overrides: Any) -> Delivery:
    fields: dict[str, Any] = {
        "id": DeliveryId(1),
        "endpoint": EndpointId(1),
        "sequence": 1,
        "event": an_event(),
        "round_started": 100.0,
    }
    fields.update(overrides)
    return Delivery(**fields)


def after(
    outcome: Outcome, *, now: float = 100.0, policy: RetryPolicy = POLICY, **overrides: Any
) -> tuple[State, Cause, DeadReason | None]:
    moved = settle(a_delivery(**overrides), outcome, policy, active_now=now, dice=0.5)
    return moved.state, moved.cause, moved.reason


FAILURE = Outcome(result=Result.HTTP_5XX, status=500, error="500")


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome(result=Result.SUCCESS, status=204), (State.DELIVERED, Cause.SUCCEEDED, None)),
        (Outcome(result=Result.TIMEOUT), (State.PENDING, Cause.FAILED, None)),
        (Outcome(result=Result.DNS), (State.PENDING, Cause.FAILED, None)),
        (Outcome(result=Result.CONNECT), (State.PENDING, Cause.FAILED, None)),
        (Outcome(result=Result.TLS), (State.PENDING, Cause.FAILED, None)),
        (Outcome(result=Result.HTTP_3XX, status=301), (State.PENDING, Cause.FAILED, None)),
        (Outcome(result=Result.HTTP_4XX, status=404), (State.PENDING, Cause.FAILED, None)),
        (Outcome(result=Result.AUTH, status=401), (State.PENDING, Cause.FAILED, None)),
        (Outcome(result=Result.RATE_LIMITED, status=429), (State.PENDING, Cause.FAILED, None)),
        (FAILURE, (State.PENDING, Cause.FAILED, None)),
        (Outcome(result=Result.BLOCKED), (State.PENDING, Cause.FAILED, None)),
        (
            Outcome(result=Result.BLOCKED, permanent=True),
            (State.DEAD, Cause.BLOCKED, DeadReason.BLOCKED),
        ),
        (Outcome(result=Result.GONE, status=410), (State.DEAD, Cause.GONE, DeadReason.GONE)),
        (
            Outcome(result=Result.HTTP_4XX, status=422),
            (State.DEAD, Cause.REJECTED, DeadReason.REJECTED),
        ),
        (Outcome(result=Result.REUSED_CONNECTION), (State.PENDING, Cause.FAILED, None)),
        (Outcome(result=Result.INTERRUPTED), (State.PENDING, Cause.RELEASED, None)),
    ],
)
def test_each_outcome_has_its_verdict(
    outcome: Outcome, expected: tuple[State, Cause, DeadReason | None]
) -> None:
    assert after(outcome) == expected


def test_the_last_allowed_attempt_exhausts_and_the_one_before_does_not() -> None:
    assert after(FAILURE, round_attempts=2)[0] is State.PENDING
    assert after(FAILURE, round_attempts=3) == (
        State.DEAD,
        Cause.EXHAUSTED,
        DeadReason.EXHAUSTED,
    )


def test_attempts_of_earlier_rounds_do_not_count() -> None:
    assert after(FAILURE, attempts=50, round_attempts=0)[0] is State.PENDING


def test_a_listed_policy_allows_one_attempt_more_than_it_lists() -> None:
    policy = RetryPolicy(schedule=(1.0,), jitter=Jitter.NONE)
    assert after(FAILURE, policy=policy)[0] is State.PENDING
    assert after(FAILURE, policy=policy, round_attempts=1)[1] is Cause.EXHAUSTED


def test_a_retry_that_would_come_too_late_expires_at_once() -> None:
    assert after(FAILURE, now=1090.0)[0] is State.PENDING
    assert after(FAILURE, now=1090.5) == (State.DEAD, Cause.EXPIRED, DeadReason.EXPIRED)


def test_the_delay_grows_with_the_attempts_of_the_round() -> None:
    delays = [
        settle(a_delivery(round_attempts=n), FAILURE, POLICY, active_now=100.0, dice=0.5).delay
        for n in (0, 1, 2)
    ]
    assert delays == [10.0, 20.0, 40.0]


@pytest.mark.parametrize(("asked", "delay"), [(0.0, 10.0), (5.0, 10.0), (45.0, 45.0), (1e9, 300.0)])
def test_retry_after_raises_the_delay_up_to_its_cap_and_never_lowers_it(
    asked: float, delay: float
) -> None:
    outcome = Outcome(result=Result.HTTP_5XX, status=500, retry_after=asked)
    moved = settle(a_delivery(), outcome, POLICY, active_now=100.0, dice=0.5)
    assert moved.delay == delay


def test_a_stale_connection_is_retried_after_the_minimum_delay() -> None:
    outcome = Outcome(result=Result.REUSED_CONNECTION)
    moved = settle(a_delivery(round_attempts=2), outcome, POLICY, active_now=100.0, dice=0.5)
    assert (moved.delay, moved.counted) == (MINIMUM_DELAY, True)


def test_an_interrupted_attempt_is_not_counted_and_due_at_once() -> None:
    moved = settle(
        a_delivery(round_attempts=3),
        Outcome(result=Result.INTERRUPTED),
        POLICY,
        active_now=100.0,
        dice=0.5,
    )
    assert (moved.delay, moved.counted) == (0.0, False)


def test_a_claimed_delivery_that_is_too_old_is_not_attempted() -> None:
    assert expired(a_delivery(), POLICY, active_now=1100.0) is None
    late = expired(a_delivery(), POLICY, active_now=1100.1)
    assert late is not None
    assert (late.state, late.reason) == (State.DEAD, DeadReason.EXPIRED)
    assert expired(a_delivery(), RetryPolicy(), active_now=9e9) is None


@pytest.mark.parametrize(
    ("status", "asked", "seconds"),
    [(429, 7.0, 7.0), (503, 7.0, 7.0), (500, 7.0, None), (429, None, None), (503, 1e12, 300.0)],
)
def test_only_429_and_503_with_retry_after_hold_the_endpoint(
    status: int, asked: float | None, seconds: float | None
) -> None:
    outcome = Outcome(result=Result.HTTP_5XX, status=status, retry_after=asked)
    assert hold(outcome, POLICY) == seconds


@given(
    result=st.sampled_from(Result),
    status=st.none() | st.integers(100, 599),
    asked=st.none() | st.floats(0.0, 1e12),
    permanent=st.booleans(),
    round_attempts=st.integers(0, 10),
    now=st.floats(0.0, 1e10),
    dice=st.floats(0.0, 1.0, exclude_max=True),
)
def test_whatever_happens_is_in_the_table_and_within_the_policy(
    result: Result,
    status: int | None,
    asked: float | None,
    permanent: bool,
    round_attempts: int,
    now: float,
    dice: float,
) -> None:
    outcome = Outcome(result=result, status=status, retry_after=asked, permanent=permanent)
    delivery = a_delivery(round_attempts=round_attempts)
    moved = settle(delivery, outcome, POLICY, active_now=now, dice=dice)
    assert TRANSITIONS[State.IN_FLIGHT, moved.cause] is moved.state
    assert (moved.reason is not None) == (moved.state is State.DEAD)
    assert 0.0 <= moved.delay <= 600.0
    if moved.cause is Cause.FAILED:
        assert round_attempts + 1 < 4
        assert now + moved.delay - 100.0 <= 1000.0
