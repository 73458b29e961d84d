"""The hot series: plain integers and lists, one object for each source and endpoint.

Label values are the closed sets below. A verb handed anything else raises KeyError: a label that
was not declared must be found by a test and not by a Prometheus server that runs out of memory.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import TypeVar

from hookpost.core.gate import HeldBy
from hookpost.core.model import DeadReason, Result
from hookpost.core.refusals import REFUSALS

Label = TypeVar("Label")

UNKNOWN_SOURCE = "_unknown"  # no configured name can begin with an underscore

CODES = tuple(sorted({200, 201, 202, 204, *(refusal.status for refusal in REFUSALS.values())}))
PAYLOAD_CODES = (200, 304, 404, 405, 410, 413, 503)  # of links to payloads
REJECTIONS = (
    "auth",
    "address",
    "schema",
    "type",
    "id",
    "malformed",
    "stale",
    "too_large",
    "encoding",
    "rate",
    "storage",
    "draining",
)
THROTTLES = tuple(held_by.value for held_by in HeldBy)
BREAKER_STATES = ("closed", "open", "half_open")
STORAGE_OPERATIONS = ("commit", "refill", "purge")
OUTCOMES = ("delivered", "dead", "cancelled")
PURGES = (  # what, why
    *((kind, cause) for kind in (*OUTCOMES, "event") for cause in ("age", "size")),
    ("identity", "size"),
)
RELOADS = ("applied", "unchanged", "invalid", "restart_required", "error")

REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
BODY_BYTES = (256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0)
ATTEMPT_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0)
LATENCY_SECONDS = (
    *(0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
    *(15.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0, 259200.0),
)
STORAGE_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0)
LAG_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Histogram:
    """Counts by upper bound (inclusive) and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value, in the unit of the series."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values were observed."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """The mean of what was observed, None before the first value."""
        count = self.count
        return self.total / count if count else None


def zeros(labels: Iterable[Label]) -> dict[Label, int]:
    """One counter at 0 for each label of a closed set."""
    return dict.fromkeys(labels, 0)


class SourceMetrics:
    """What one source sent, since the process started."""

    __slots__ = (
        "body_bytes",
        "codes",
        "name",
        "rejections",
        "request_seconds",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.codes = zeros(CODES)
        self.request_seconds = Histogram(REQUEST_SECONDS)
        self.body_bytes = Histogram(BODY_BYTES)
        self.rejections = zeros(REJECTIONS)

    def answered(self, code: int, seconds: float, size: int) -> None:
        """One request was answered with `code`, after `seconds`; its body had `size` bytes."""
        self.codes[code] += 1
        self.request_seconds.observe(seconds)
        self.body_bytes.observe(size)

    def rejected(self, reason: str) -> None:
        """One event was refused, for a reason out of REJECTIONS."""
        self.rejections[reason] += 1


class EndpointMetrics:
    """What became of one endpoint's deliveries, since the process started."""

    __slots__ = (
        "_now",
        "attempt_seconds",
        "attempts",
        "dead_reasons",
        "last_finished_at",
        "latency_seconds",
        "name",
        "throttles",
    )

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        self.name = name
        self._now = now
        self.attempts = zeros(Result)
        self.attempt_seconds = Histogram(ATTEMPT_SECONDS)
        self.latency_seconds = Histogram(LATENCY_SECONDS)
        self.dead_reasons = zeros(DeadReason)
        self.throttles = zeros(THROTTLES)
        self.last_finished_at = 0.0

    def attempted(self, result: Result, seconds: float) -> None:
        """One attempt ended with `result` after `seconds`."""
        self.attempts[result] += 1
        self.attempt_seconds.observe(seconds)

    def delivered(self, latency: float) -> None:
        """One delivery was taken by the receiver, `latency` seconds after its acceptance."""
        self.latency_seconds.observe(latency)
        self.last_finished_at = self._now()

    def dead(self, reason: DeadReason, n: int = 1) -> None:
        """`n` deliveries became dead letters."""
        self.dead_reasons[reason] += n
        self.last_finished_at = self._now()

    def throttled(self, by: str, n: int = 1) -> None:
        """The endpoint was held back although a delivery was due; `by` out of THROTTLES.

        By order `n` deliveries joined lines behind others.
        """
        self.throttles[by] += n
