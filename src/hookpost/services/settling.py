"""Settlements on their way to the outbox: nobody waits for them, each is observed.

Counted as delivered or dead is what is committed, so that the counters agree with the outbox.
"""

from collections.abc import Callable
from typing import Protocol

from hookpost.core.model import Attempt, DeadReason, Delivery, Result, Settlement, State, Transition
from hookpost.services import attempt_log
from hookpost.services.running import Failed
from hookpost.storage.outbox import Outbox, Settled


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
        died: Callable[[Settlement], None] = lambda _: None,
    ) -> None:
        self._outbox = outbox
        self._metrics = metrics
        self._name = name
        self._failed = failed
        self._ended = ended
        self._died = died
        self._observed = self._observe  # bound once, not for each settlement
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
        self._outbox.settle(settlement, self._observed)

    def _observe(self, settlement: Settlement, answer: Settled) -> None:
        self.open -= 1
        try:
            if answer is True:
                self._count(settlement)
            else:
                why = "it was no longer ours" if answer is False else str(answer)
                attempt_log.settlement_lost(self._name, settlement, why)
        except Exception as error:  # whoever tells us has others to tell
            self._failed(error)
        self._ended()

    def _count(self, settlement: Settlement) -> None:
        transition = settlement.transition
        if transition.state is State.DELIVERED:
            latency = settlement.settled_at - settlement.delivery.event.accepted_at
            self._metrics.delivered(max(0.0, latency))
        elif transition.reason is not None:
            self._metrics.dead(transition.reason)
            attempt_log.delivery_dead(self._name, settlement)
            self._died(settlement)
