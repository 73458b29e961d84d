"""What the outbox tells of itself, handed on to metrics and log."""

import logging
from collections.abc import Callable

from hookpost.clock import Clock
from hookpost.core.alerts import Operational
from hookpost.core.gate import HeldBy
from hookpost.core.model import DeadReason, EndpointId
from hookpost.metrics import Metrics
from hookpost.services.alerts import NOBODY, Teller
from hookpost.services.sparse_log import SparseLog
from hookpost.storage.outbox import Outbox

log = logging.getLogger("hookpost.storage")


class StorageObserver:
    """Counts commits, refills and purges, and the deliveries that were put dead.

    `refused` is called whenever the disk refused something: somebody should look at it.
    """

    def __init__(
        self,
        outbox: Outbox,
        metrics: Metrics,
        clock: Clock,
        refused: Callable[[], None],
        alerts: Teller = NOBODY,
    ) -> None:
        self._outbox = outbox
        self._metrics = metrics
        self._log = SparseLog(log, clock)
        self._refused = refused
        self._alerts = alerts

    def operated(self, operation: str, seconds: float) -> None:
        """An operation of the outbox took so long."""
        self._metrics.storage(operation, seconds)

    def erred(self, operation: str) -> None:
        """The disk refused an operation."""
        self._metrics.storage_error(operation)
        self._log.write(logging.ERROR, "storage.refused", operation, {"operation": operation})
        self._refused()

    def blocked(self, endpoint: EndpointId, count: int) -> None:
        """So many deliveries wait behind others of their lines."""
        name = self._outbox.endpoint(endpoint).name
        self._metrics.endpoint(name).throttled(HeldBy.ORDER.value, count)

    def put_dead(self, endpoint: EndpointId, reason: DeadReason, count: int, own: int) -> None:
        """So many deliveries were dead from the start: of a full endpoint, or not transformed."""
        name = self._outbox.endpoint(endpoint).name
        self._metrics.endpoint(name).dead(reason, count)
        fields = {"endpoint": name, "count": count, "reason": reason.value}
        self._log.write(logging.WARNING, "deliveries.dead", (name, reason), fields)
        if count > own:
            self._alerts.note(Operational.DELIVERY_DEAD, name, {**fields, "count": count - own})
