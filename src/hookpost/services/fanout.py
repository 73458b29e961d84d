"""Who is owed an event where subscriptions look into it: the document, the counting, the log."""

import logging
from collections.abc import Sequence
from typing import Any

from hookpost.clock import Clock
from hookpost.core.envelope import strict_json
from hookpost.core.expression import Mishap
from hookpost.core.fanout import Choice, Owed, Slip, budget_of, choose, document_of
from hookpost.core.model import Event
from hookpost.core.received import Received
from hookpost.metrics import Metrics
from hookpost.services.snapshot import Snapshot
from hookpost.services.sparse_log import SparseLog

log = logging.getLogger("hookpost.ingest")


class Fanout:
    """Chooses the endpoints of events, and says once what is wrong with a subscription."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._log = SparseLog(log, clock)
        self._snapshot: Snapshot | None = None
        self._told: set[tuple[str, Mishap]] = set()

    def choose(
        self,
        snapshot: Snapshot,
        choice: Choice,
        event: Event,
        received: Received | None = None,
        *,
        events: int = 1,
    ) -> Owed:
        """The endpoints that the event is owed to; the event carries what transforms made for them.

        `received` is the event's request, `events` how many came with it.
        """
        data = _data(event, received) if choice.reads_data else None
        chosen = choose(
            choice,
            document_of(event, data),
            budget=budget_of(events),
            largest=snapshot.config.listen.ingest.max_body,
        )
        event.transformed = chosen.transformed
        if chosen.slips:
            self._note(snapshot, event, chosen.slips)
        return chosen.owed

    def _note(self, snapshot: Snapshot, event: Event, slips: Sequence[Slip]) -> None:
        """Count all; log each kind of each subscription once while a configuration is in force."""
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            self._told.clear()
        for slip in slips:
            self._metrics.expression_error(slip.subscription, slip.mishap)
            key = slip.subscription, slip.mishap
            if key in self._told:
                continue
            self._told.add(key)
            fields = {
                "subscription": slip.subscription,
                "kind": slip.mishap.value,
                "source": event.source,
                "event": event.id,
                "error": slip.detail,
            }
            self._log.write(logging.WARNING, "expression.failed", None, fields)


def _data(event: Event, received: Received | None) -> Any:
    """The event's data as a JSON value, None where it is no JSON; parsed once with its request."""
    if received is not None and received.body is event.body:
        return received.json
    try:
        return strict_json(event.body)
    except ValueError:
        return None
