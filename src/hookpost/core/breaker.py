"""The circuit breaker of one endpoint, as values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When a circuit opens and for how long. Times in seconds.

    It opens after `consecutive_failures` in a row, or when at least `min_attempts` were finished in
    the last `window` and `failure_ratio` of them or more failed. `open_for` doubles at each failed
    probe round, up to `max_open_for`; half-open admits `probes` attempts at a time.
    """

    window: float = 60.0
    min_attempts: int = 20
    failure_ratio: float = 0.5
    consecutive_failures: int = 10
    open_for: float = 30.0
    max_open_for: float = 600.0
    probes: int = 1
