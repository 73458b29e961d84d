"""Settlements on their way to the outbox: nobody waits for them, each is observed.

Counted as delivered or dead is what is committed, so that the counters agree with the outbox.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

from hookpost.core.errors import OutboxError
from hookpost.core.model import Attempt, DeadReason, Delivery, Result, Settlement, State, Transition
from hookpost.services import attempt_log
from hookpost.services.running import Failed
from hookpost.storage.outbox import Outbox


class EndpointMetrics(Protocol):
    """One endpoint's counters."""

    def attempted(self, result: Result, seconds: float) -> None:
        """One attempt has ended."""
        ...

    def delivered(self, latency: float) -> None:
        """A delivery is committed as delivered, `latency` seconds after acceptance."""
        ...

    def dead(self, reason: DeadReason, n: int = 1) -> None:
        """A delivery is committed as dead."""
        ...

    def throttled(self, by: str) -> None:
        """A due delivery has to wait."""
        ...


class Settling:
    """One endpoint's settlements. `open` of them are not committed yet."""

    def __init__(
        self,
        outbox: Outbox,
        metrics: EndpointMetrics,
        name: str,
        failed: Failed,
        ended: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._metrics = metrics
        self._name = name
        self._failed = failed
        self._ended = ended
        self.open = 0

    def observe(self, metrics: EndpointMetrics, name: str) -> None:
        """Count and log under this name from now on."""
        self._metrics = metrics
        self._name = name

    def settle(
        self, delivery: Delivery, transition: Transition, attempt: Attempt | None, now: float
    ) -> None:
        """Hand a settlement over; returns at once."""
        settlement = Settlement(
            delivery=delivery, transition=transition, settled_at=now, attempt=attempt
        )
        self.open += 1
        committed = asyncio.ensure_future(self._outbox.settle(settlement))
        committed.add_done_callback(partial(self._observed, settlement))

    def _observed(self, settlement: Settlement, committed: "asyncio.Future[bool]") -> None:
        self.open -= 1
        self._ended()
        if committed.cancelled():
            attempt_log.settlement_lost(self._name, settlement, "cancelled")
            return
        error = committed.exception()
        if isinstance(error, OutboxError):
            attempt_log.settlement_lost(self._name, settlement, str(error))
        elif error is not None:
            self._failed(error)
        elif not committed.result():
            attempt_log.settlement_lost(self._name, settlement, "it was no longer ours")
        else:
            self._count(settlement)

    def _count(self, settlement: Settlement) -> None:
        transition = settlement.transition
        if transition.state is State.DELIVERED:
            latency = settlement.settled_at - settlement.delivery.event.accepted_at
            self._metrics.delivered(max(0.0, latency))
        elif transition.reason is not None:
            self._metrics.dead(transition.reason)
            attempt_log.delivery_dead(self._name, settlement)
