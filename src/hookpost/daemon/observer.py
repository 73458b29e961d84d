"""What the outbox tells of itself, handed on to metrics and log."""

import logging

from hookpost.core.model import DeadReason, EndpointId
from hookpost.metrics import Metrics
from hookpost.storage.outbox import Outbox

log = logging.getLogger("hookpost.storage")


class StorageObserver:
    """Counts commits, refills and purges, and the deliveries that were put dead."""

    def __init__(self, outbox: Outbox, metrics: Metrics) -> None:
        self._outbox = outbox
        self._metrics = metrics

    def operated(self, operation: str, seconds: float) -> None:
        """An operation of the outbox took so long."""
        self._metrics.storage(operation, seconds)

    def erred(self, operation: str) -> None:
        """The disk refused an operation."""
        self._metrics.storage_error(operation)
        log.error("storage.refused", extra={"fields": {"operation": operation}})

    def overflowed(self, endpoint: EndpointId, count: int) -> None:
        """So many deliveries were put dead, because the endpoint owes max_pending already."""
        name = self._outbox.endpoint(endpoint).name
        self._metrics.endpoint(name).dead(DeadReason.OVERFLOW, count)
        fields = {"endpoint": name, "count": count, "reason": "overflow"}
        log.warning("deliveries.dead", extra={"fields": fields})
