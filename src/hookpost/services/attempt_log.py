"""The canonical line of each attempt, and the few others that dispatch writes."""

import logging

from hookpost.core import breaker as circuit
from hookpost.core.breaker import Breaker, Open
from hookpost.core.model import Attempt, Delivery, Settlement, State, Transition
from hookpost.logs.canonical import CanonicalLine

log = logging.getLogger("hookpost.dispatch")


_DELIVERED = CanonicalLine(
    log,
    logging.INFO,
    "attempt.finished",
    {
        "endpoint": str,
        "delivery": int,
        "event": str,
        "attempt": int,
        "result": str,
        "status": int,
        "duration": float,
    },
)


def attempt_finished(
    endpoint: str, delivery: Delivery, attempt: Attempt, transition: Transition, at: float
) -> None:
    """One line for each attempt: info when delivered, warning otherwise. `at` is wall time."""
    outcome = attempt.outcome
    if not outcome.ok or outcome.status is None:
        _attempt_failed(endpoint, delivery, attempt, transition)
    else:
        number, event, seconds = attempt.number, delivery.event.id, round(attempt.duration, 6)
        _DELIVERED.write(
            at, (endpoint, delivery.id, event, number, "success", outcome.status, seconds)
        )


def _attempt_failed(
    endpoint: str, delivery: Delivery, attempt: Attempt, transition: Transition
) -> None:
    outcome = attempt.outcome
    waits = transition.state is State.PENDING
    fields: dict[str, object] = {
        "endpoint": endpoint,
        "delivery": delivery.id,
        "event": delivery.event.id,
        "attempt": attempt.number,
        "result": outcome.result.value,
        "status": outcome.status,
        "duration": round(attempt.duration, 6),
        "next_in": round(transition.delay, 3) if waits else None,
        "error": outcome.error,
    }
    level = logging.INFO if outcome.ok else logging.WARNING
    log.log(level, "attempt.finished", extra={"fields": fields})


def delivery_dead(endpoint: str, settlement: Settlement) -> None:
    """A delivery has become a dead letter."""
    delivery, transition = settlement.delivery, settlement.transition
    fields = {
        "endpoint": endpoint,
        "delivery": delivery.id,
        "event": delivery.event.id,
        "reason": transition.reason.value if transition.reason else None,
        "attempts": delivery.attempts + (settlement.attempt is not None),
    }
    log.warning("delivery.dead", extra={"fields": fields})


def settlement_lost(endpoint: str, settlement: Settlement, error: str) -> None:
    """What an attempt came to could not be kept; the delivery will be attempted again."""
    fields = {"endpoint": endpoint, "delivery": settlement.delivery.id, "error": error}
    log.error("settlement.lost", extra={"fields": fields})


def breaker_moved(endpoint: str, breaker: Breaker) -> None:
    """The circuit has opened, closed or become half-open."""
    fields: dict[str, object] = {"endpoint": endpoint}
    level = logging.INFO
    if isinstance(breaker, Open):
        fields["open_for"] = breaker.open_for
        level = logging.WARNING
    log.log(level, _MOVED[circuit.name(breaker)], extra={"fields": fields})


def endpoint_held(endpoint: str, by: str, seconds: float | None) -> None:
    """All of an endpoint's deliveries wait; `seconds` None: until somebody acts."""
    fields = {"endpoint": endpoint, "by": by, "wait": seconds}
    log.warning("endpoint.held", extra={"fields": fields})


def endpoint_gone(endpoint: str, delivery: Delivery) -> None:
    """A 410 has paused the endpoint."""
    fields = {"endpoint": endpoint, "by": "gone", "delivery": delivery.id}
    log.warning("endpoint.paused", extra={"fields": fields})


def claim_failed(endpoint: str, error: str, again_in: float) -> None:
    """The outbox gave no deliveries."""
    fields = {"endpoint": endpoint, "error": error, "again_in": again_in}
    log.warning("claim.failed", extra={"fields": fields})


def row_unsaved(endpoint: str, error: str, again_in: float | None) -> None:
    """What must survive a restart is not written; `again_in` None: it will not be."""
    fields = {"endpoint": endpoint, "error": error, "again_in": again_in}
    log.error("endpoint.unsaved", extra={"fields": fields})


_MOVED = {
    "closed": "breaker.closed",
    "open": "breaker.opened",
    "half_open": "breaker.half_opened",
}
