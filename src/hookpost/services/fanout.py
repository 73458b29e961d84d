"""Who is owed an event where subscriptions look into it: the document, the counting, the log."""

import logging
from typing import Any

from hookpost.clock import Clock
from hookpost.core.envelope import strict_json
from hookpost.core.expression import Mishap
from hookpost.core.fanout import Choice, Chosen, Owed, budget_of, choose, document_of
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
        self._told: set[tuple[str, ...]] = set()

    def choose(
        self,
        snapshot: Snapshot,
        choice: Choice,
        event: Event,
        received: Received | None = None,
        *,
        events: int = 1,
    ) -> Owed:
        """The endpoints that the event is owed to; it carries what transforms made, and its keys.

        `received` is the event's request, `events` how many came with it.
        """
        data = _data(event, received) if choice.reads_data else None
        chosen = choose(
            choice,
            document_of(event, data) if choice.looks else None,
            budget=budget_of(events),
            largest=snapshot.config.listen.ingest.max_body,
        )
        event.transformed, event.keys = chosen.transformed, chosen.keys
        if chosen.slips or chosen.unkeyed:
            self._note(snapshot, event, chosen)
        return chosen.owed

    def _note(self, snapshot: Snapshot, event: Event, chosen: Chosen) -> None:
        """Count all; log each kind of each name once while a configuration is in force."""
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            self._told.clear()
        for slip in chosen.slips:
            self._metrics.expression_error(slip.subscription, slip.mishap)
            named = {"subscription": slip.subscription}
            self._tell("expression.failed", event, named, slip.mishap, slip.detail)
        names = {number: name for name, number in snapshot.endpoint_ids.items()}
        for lost in chosen.unkeyed:
            named = {"endpoint": names[lost.endpoint]}
            self._tell("ordering.failed", event, named, lost.mishap, lost.detail)

    def _tell(
        self, what: str, event: Event, named: dict[str, str], mishap: Mishap, detail: str
    ) -> None:
        key = what, *named.values(), mishap
        if key in self._told:
            return
        self._told.add(key)
        whence = {"kind": mishap.value, "source": event.source, "event": event.id}
        self._log.write(logging.WARNING, what, None, {**named, **whence, "error": detail})


def _data(event: Event, received: Received | None) -> Any:
    """The event's data as a JSON value, None where it is no JSON; parsed once with its request."""
    if received is not None and received.body is event.body:
        return received.json
    try:
        return strict_json(event.body)
    except ValueError:
        return None
