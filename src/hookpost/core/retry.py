"""When a failed delivery is tried again."""

import math
from dataclasses import dataclass
from enum import StrEnum

MINIMUM_DELAY = 0.1  # seconds; after a failure on a reused connection: it says nothing of anybody


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

    def delay(self, attempt: int) -> float:
        """Seconds after failed attempt `attempt` (1-based), before any jitter."""
        if self.initial <= 0.0 or self.max <= 0.0:
            return 0.0
        # Compared as logarithms: 3.0 ** 5000 would raise OverflowError.
        growth = (attempt - 1) * math.log(self.multiplier)
        if growth >= math.log(self.max) - math.log(self.initial):
            return self.max
        return min(self.max, self.initial * self.multiplier ** (attempt - 1))


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

    @property
    def attempts_allowed(self) -> int | None:
        """Attempts in one round; None: only `max_age` ends it."""
        if self.schedule is None:
            return self.max_attempts
        listed = len(self.schedule) + 1
        return listed if self.max_attempts is None else min(listed, self.max_attempts)

    def delay(self, attempt: int, dice: float) -> float:
        """Seconds to wait after failed attempt `attempt` of the round (1-based).

        `dice` in [0, 1) is the caller's. A schedule's last entry is used for any attempt past it.
        """
        if self.schedule is not None:
            base = self.schedule[min(attempt, len(self.schedule)) - 1] if self.schedule else 0.0
        else:
            base = (self.backoff or Backoff()).delay(attempt)
        match self.jitter:
            case Jitter.FULL:
                return base * dice
            case Jitter.EQUAL:
                return base / 2 + base / 2 * dice
            case Jitter.NONE:
                return base


STANDARD = RetryPolicy(max_age=3 * 86400.0, backoff=Backoff())
