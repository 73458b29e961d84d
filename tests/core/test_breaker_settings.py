"""Each number of a circuit breaker decides, and not only the usual one."""

import pytest

from hookpost.core.breaker import Breaker, BreakerPolicy, Closed, Open, record

DEAF = {"min_attempts": 1000, "consecutive_failures": 1000}
"""What leaves it closed whatever happens."""


def after(policy: BreakerPolicy, verdicts: str, step: float = 0.0) -> Breaker:
    """`+` well, `-` ill, one after the other, `step` seconds apart, until it opens."""
    breaker: Breaker = Closed()
    for number, verdict in enumerate(verdicts):
        if isinstance(breaker, Closed):
            ok = verdict == "+"
            breaker = record(breaker, policy, era=breaker.era, ok=ok, now=number * step)
    return breaker


@pytest.mark.parametrize("number", [1, 3, 12])
def test_it_opens_at_as_many_failures_in_a_row_as_are_said(number: int) -> None:
    policy = BreakerPolicy(**(DEAF | {"consecutive_failures": number}))
    assert isinstance(after(policy, "-" * (number - 1)), Closed)
    assert isinstance(after(policy, "-" * number), Open)


@pytest.mark.parametrize("number", [2, 10, 40])
def test_the_ratio_counts_from_as_many_attempts_on_as_are_said(number: int) -> None:
    policy = BreakerPolicy(**(DEAF | {"min_attempts": number}))
    assert isinstance(after(policy, "+-" * (number // 2 - 1) + "+"), Closed)
    assert isinstance(after(policy, "+-" * (number // 2)), Open)


@pytest.mark.parametrize(
    ("ratio", "closed", "opened"),
    [(0.25, "+++++++-", "++++++--"), (0.75, "+++-----", "++------"), (1.0, "+-------", "--------")],
)
def test_it_opens_at_the_ratio_that_is_said(ratio: float, closed: str, opened: str) -> None:
    policy = BreakerPolicy(**(DEAF | {"min_attempts": 8}), failure_ratio=ratio)
    assert isinstance(after(policy, closed), Closed)
    assert isinstance(after(policy, opened), Open)


@pytest.mark.parametrize("window", [5.0, 600.0])
def test_attempts_count_for_as_long_as_is_said(window: float) -> None:
    policy = BreakerPolicy(**(DEAF | {"min_attempts": 4}), window=window)
    assert isinstance(after(policy, "-" * 4, step=window / 4), Open)
    assert isinstance(after(policy, "-" * 40, step=window / 2), Closed)


@pytest.mark.parametrize("seconds", [0.5, 90.0])
def test_it_stays_open_for_as_long_as_is_said(seconds: float) -> None:
    policy = BreakerPolicy(**(DEAF | {"consecutive_failures": 1}), open_for=seconds)
    assert after(policy, "-") == Open(seconds, seconds, 1)
