"""How many may start in a time: a token bucket as a value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """`rate` tokens a second, at most `burst` saved up."""

    rate: float
    burst: int
