"""When a failed delivery is tried again."""

from dataclasses import dataclass
from enum import StrEnum


class Jitter(StrEnum):
    """How a delay is spread: full = [0, d), equal = [d/2, d), none = d."""

    FULL = "full"
    EQUAL = "equal"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential delays, seconds: initial * multiplier ** (attempt - 1), at most `max`."""

    initial: float = 5.0
    multiplier: float = 3.0
    max: float = 21600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """One retry policy. Times in seconds. Exactly one of `backoff` and `schedule` is not None.

    `schedule` allows len(schedule) + 1 attempts. `reject_on` are statuses that make a delivery
    dead at once. `retry_after_max` caps what a receiver may ask for.
    """

    max_attempts: int | None = None
    max_age: float | None = None
    backoff: Backoff | None = None
    schedule: tuple[float, ...] | None = None
    jitter: Jitter = Jitter.EQUAL
    retry_after_max: float = 3600.0
    reject_on: frozenset[int] = frozenset()


STANDARD = RetryPolicy(max_age=3 * 86400.0, backoff=Backoff())
