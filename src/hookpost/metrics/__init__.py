"""What is counted and what Prometheus is told.

`Metrics` takes the verbs (`accepted`, `attempted`, `reloaded`, …); plain integers kept by
`series` make a verb cost well under a microsecond, and `families` turns them into samples
when somebody scrapes. Verbs and scrapes belong on the event loop's thread.
"""

from hookpost.metrics.looplag import LoopLag
from hookpost.metrics.readings import EndpointState, PendingAge, Readings, Sizes
from hookpost.metrics.registry import CONTENT_TYPE, Metrics
from hookpost.metrics.series import (
    BREAKER_STATES,
    REJECTIONS,
    RELOADS,
    STORAGE_OPERATIONS,
    THROTTLES,
    UNKNOWN_SOURCE,
    EndpointMetrics,
    SourceMetrics,
)

__all__ = [
    "BREAKER_STATES",
    "CONTENT_TYPE",
    "REJECTIONS",
    "RELOADS",
    "STORAGE_OPERATIONS",
    "THROTTLES",
    "UNKNOWN_SOURCE",
    "EndpointMetrics",
    "EndpointState",
    "LoopLag",
    "Metrics",
    "PendingAge",
    "Readings",
    "Sizes",
    "SourceMetrics",
]
