"""Delays stay inside what the policy says, at any attempt number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookpost.core.retry import STANDARD, Backoff, Jitter, RetryPolicy


def test_backoff_multiplies_up_to_its_maximum() -> None:
    policy = RetryPolicy(
        backoff=Backoff(initial=5.0, multiplier=3.0, max=100.0), jitter=Jitter.NONE
    )
    assert [policy.delay(n, 0.5) for n in range(1, 6)] == [5.0, 15.0, 45.0, 100.0, 100.0]


def test_a_schedule_is_used_in_order_and_allows_one_attempt_more_than_it_has_entries() -> None:
    policy = RetryPolicy(schedule=(1.0, 10.0, 60.0), jitter=Jitter.NONE)
    assert [policy.delay(n, 0.0) for n in (1, 2, 3)] == [1.0, 10.0, 60.0]
    assert policy.attempts_allowed == 4


def test_max_attempts_can_only_shorten_a_schedule() -> None:
    assert RetryPolicy(schedule=(1.0, 1.0), max_attempts=2).attempts_allowed == 2
    assert RetryPolicy(schedule=(1.0, 1.0), max_attempts=9).attempts_allowed == 3


def test_the_standard_policy_is_bounded_by_age_alone() -> None:
    assert STANDARD.attempts_allowed is None
    assert STANDARD.max_age == 3 * 86400.0


def test_the_standard_policy_makes_about_24_attempts_the_last_after_66_hours() -> None:
    at, attempts = 0.0, 1
    while at + STANDARD.delay(attempts, 0.5) <= 3 * 86400.0:
        at += STANDARD.delay(attempts, 0.5)
        attempts += 1
    assert 18 <= attempts <= 26
    assert 64 * 3600.0 < at <= 72 * 3600.0


@pytest.mark.parametrize(
    ("jitter", "dice", "expected"),
    [
        (Jitter.NONE, 0.0, 8.0),
        (Jitter.NONE, 0.99, 8.0),
        (Jitter.FULL, 0.0, 0.0),
        (Jitter.FULL, 0.5, 4.0),
        (Jitter.EQUAL, 0.0, 4.0),
        (Jitter.EQUAL, 0.5, 6.0),
    ],
)
def test_jitter_spreads_the_delay(jitter: Jitter, dice: float, expected: float) -> None:
    assert RetryPolicy(schedule=(8.0,), jitter=jitter).delay(1, dice) == expected


@given(
    attempt=st.integers(1, 10**6),
    initial=st.floats(0.001, 86400.0),
    multiplier=st.floats(1.0, 1e6),
    most=st.floats(0.001, 604800.0),
    jitter=st.sampled_from(Jitter),
    dice=st.floats(0.0, 1.0, exclude_max=True),
)
def test_no_attempt_number_overflows_or_leaves_the_bounds(
    attempt: int, initial: float, multiplier: float, most: float, jitter: Jitter, dice: float
) -> None:
    backoff = Backoff(initial=initial, multiplier=multiplier, max=most)
    delay = RetryPolicy(backoff=backoff, jitter=jitter).delay(attempt, dice)
    assert 0.0 <= delay <= most


@given(attempt=st.integers(1, 10**4), dice=st.floats(0.0, 1.0, exclude_max=True))
def test_without_jitter_a_later_attempt_never_waits_less(attempt: int, dice: float) -> None:
    policy = RetryPolicy(backoff=Backoff(), jitter=Jitter.NONE)
    assert policy.delay(attempt, dice) <= policy.delay(attempt + 1, dice)
