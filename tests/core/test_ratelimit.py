"""A bucket bounds the receiver in every window, through reloads and odd clocks."""

import math

from hypothesis import given
from hypothesis import strategies as st

from hookpost.core import ratelimit
from hookpost.core.ratelimit import Bucket, RateLimit, take

LIMIT = RateLimit(rate=10.0, burst=5)


def test_a_full_bucket_gives_its_burst_and_then_one_token_each_tenth_of_a_second() -> None:
    bucket = ratelimit.full(LIMIT, 100.0)
    for _ in range(5):
        bucket, wait = take(bucket, LIMIT, 100.0)
        assert wait == 0.0
    bucket, wait = take(bucket, LIMIT, 100.0)
    assert wait == 0.1
    bucket, wait = take(bucket, LIMIT, 100.1)
    assert wait == 0.0
    assert take(bucket, LIMIT, 100.1)[1] > 0.09


def test_a_refused_take_changes_nothing() -> None:
    empty = Bucket(0.0, 100.0)
    assert take(empty, LIMIT, 100.0)[0] is empty


def test_more_than_the_burst_can_never_be_taken() -> None:
    assert take(ratelimit.full(LIMIT, 0.0), LIMIT, 1e9, 6)[1] == math.inf


def test_waiting_exactly_as_long_as_told_is_enough_at_todays_date() -> None:
    at = 1_750_000_000.0
    bucket, wait = take(Bucket(0.3, at), LIMIT, at)
    assert wait > 0.0
    assert take(bucket, LIMIT, at + wait)[1] == 0.0


def test_a_clock_that_goes_back_adds_nothing_and_does_not_stop_the_flow() -> None:
    bucket = Bucket(0.0, 1000.0)
    back = ratelimit.refilled(bucket, LIMIT, 10.0)
    assert back == Bucket(0.0, 10.0)
    assert take(back, LIMIT, 10.1)[1] == 0.0


def test_a_raised_burst_is_no_gift() -> None:
    bucket = ratelimit.resized(Bucket(2.0, 0.0), LIMIT, RateLimit(rate=10.0, burst=500), 0.0)
    assert bucket.tokens == 2.0


def test_a_lowered_burst_takes_the_surplus_away() -> None:
    bucket = ratelimit.resized(Bucket(5.0, 0.0), LIMIT, RateLimit(rate=10.0, burst=2), 0.0)
    assert bucket.tokens == 2.0


def test_a_returned_token_never_exceeds_the_burst() -> None:
    assert ratelimit.given_back(Bucket(5.0, 0.0), LIMIT).tokens == 5.0
    assert ratelimit.given_back(Bucket(3.5, 0.0), LIMIT).tokens == 4.5


STEPS = st.lists(
    st.one_of(
        st.floats(0.0, 0.5).map(lambda seconds: ("pass", seconds)),
        st.just(("take", 1.0)),
        st.integers(1, 40).map(lambda burst: ("reload", float(burst))),
    ),
    max_size=200,
)


@given(steps=STEPS)
def test_no_window_sees_more_than_rate_times_its_length_plus_burst_through_reloads(
    steps: list[tuple[str, float]],
) -> None:
    limit = RateLimit(rate=10.0, burst=5)
    bucket, now, largest = ratelimit.full(limit, 0.0), 0.0, 5
    starts: list[float] = []
    for what, amount in steps:
        match what:
            case "pass":
                now += amount
            case "take":
                bucket, wait = take(bucket, limit, now)
                if wait == 0.0:
                    starts.append(now)
            case _:
                new = RateLimit(rate=10.0, burst=int(amount))
                bucket = ratelimit.resized(bucket, limit, new, now)
                limit, largest = new, max(largest, new.burst)
    for first in range(len(starts)):
        for last in range(first, len(starts)):
            window = starts[last] - starts[first]
            assert last - first + 1 <= 10.0 * window + largest + 1e-3
