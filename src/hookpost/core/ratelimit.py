"""How many may start in a time: a token bucket as a value.

`rate` tokens a second flow in, at most `burst` are saved, one leaves for each start. In any time
of w seconds no more than rate * w + burst can start. Readings of `now` come from one clock; one
that goes backwards adds nothing and the flow goes on from there.
"""

import math
from dataclasses import dataclass

SLACK = 1e-6  # seconds: float readings of UNIX time are no finer; borrowed, never given


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """`rate` tokens a second, at most `burst` saved up."""

    rate: float
    burst: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """`tokens` saved at moment `at`."""

    tokens: float
    at: float


def full(limit: RateLimit, now: float) -> Bucket:
    """A bucket that nobody has taken from."""
    return Bucket(float(limit.burst), now)


def refilled(bucket: Bucket, limit: RateLimit, now: float) -> Bucket:
    """The bucket with what has flowed in until `now`."""
    flowed = max(0.0, now - bucket.at) * limit.rate
    return Bucket(min(float(limit.burst), bucket.tokens + flowed), now)


def available(bucket: Bucket, limit: RateLimit, now: float) -> int:
    """How many whole tokens could be taken now."""
    tokens = refilled(bucket, limit, now).tokens
    return max(0, math.floor(tokens + limit.rate * SLACK))


def wait(bucket: Bucket, limit: RateLimit, now: float, n: int = 1) -> float:
    """Seconds until `n` tokens can be taken; 0.0: now, inf: never (n exceeds the burst)."""
    if n > limit.burst:
        return math.inf
    missing = n - refilled(bucket, limit, now).tokens
    if missing <= limit.rate * SLACK:
        return 0.0
    return missing / limit.rate


def take(bucket: Bucket, limit: RateLimit, now: float, n: int = 1) -> tuple[Bucket, float]:
    """Take `n` tokens: (what is left, 0.0), or (the same bucket, seconds to wait)."""
    seconds = wait(bucket, limit, now, n)
    if seconds > 0.0:
        return bucket, seconds
    filled = refilled(bucket, limit, now)
    return Bucket(filled.tokens - n, now), 0.0


def given_back(bucket: Bucket, limit: RateLimit, n: int = 1) -> Bucket:
    """Return `n` tokens of starts that did not happen."""
    return Bucket(min(float(limit.burst), bucket.tokens + n), bucket.at)


def resized(bucket: Bucket, old: RateLimit, new: RateLimit, now: float) -> Bucket:
    """The bucket under a changed limit: what was saved stays, no more than the new burst.

    A raised burst fills up by the new rate alone: a reload gives nothing away.
    """
    return Bucket(min(float(new.burst), refilled(bucket, old, now).tokens), now)
