"""How records are shown to people and scripts: JSON-ready mappings, the same online and offline.

Times are RFC 3339 in UTC with milliseconds, durations seconds. Keys are camelCase, as in the
dead-letter record of the webhook field.
"""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hookpost.core.model import Attempt, DeadReason, EndpointRecord, Event, State
from hookpost.core.settings import Endpoint
from hookpost.storage.outbox import Death, DeliveryDetail, DeliveryView

Shown = dict[str, Any]


def moment(at: float | None) -> str | None:
    """UNIX seconds as RFC 3339 in UTC; None stays None."""
    if at is None:
        return None
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def shown_bytes(body: bytes, *, member: str) -> Shown:
    """Bytes as `{member: text}` where they are UTF-8, else `{memberBase64: …}`."""
    try:
        return {member: body.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{member}Base64": base64.b64encode(body).decode("ascii")}


def shown_event(event: Event, *, sequence: int, body: bool) -> Shown:
    """An event; its data only where `body` is True: parsed JSON, else text, else base64."""
    shown: Shown = {
        "eventId": event.id,
        "eventType": event.type,
        "source": event.source,
        "sequence": sequence,
        "occurredAt": event.occurred_at,
        "acceptedAt": moment(event.accepted_at),
        "contentType": event.content_type,
    }
    if not body:
        return shown
    shown["headers"] = dict(event.headers)
    try:
        shown["data"] = json.loads(event.body)
    except (ValueError, RecursionError):
        shown.update(shown_bytes(event.body, member="data"))
    return shown


def shown_attempt(attempt: Attempt) -> Shown:
    """One recorded attempt."""
    outcome = attempt.outcome
    return {
        "number": attempt.number,
        "startedAt": moment(attempt.started_at),
        "duration": round(attempt.duration, 6),
        "result": outcome.result.value,
        "status": outcome.status,
        "error": outcome.error or None,
        **shown_bytes(outcome.answer, member="answer"),
    }


def shown_delivery(view: DeliveryView) -> Shown:
    """A delivery, in a list."""
    return {
        "id": view.id,
        "eventId": view.event_id,
        "eventType": view.event_type,
        "source": view.source,
        "endpoint": view.endpoint,
        "state": view.state.value,
        "reason": view.reason.value if view.reason else None,
        "attempts": view.attempts,
        "acceptedAt": moment(view.accepted_at),
        "nextAt": moment(view.next_at),
        "finishedAt": moment(view.finished_at),
        "error": shown_error(view),
        "replayedAt": moment(view.replayed_at),
        "order": shown_order(view),
    }


def shown_order(view: DeliveryView) -> Shown | None:
    """The line that a delivery stands in; None: it stands in none.

    `behind` is the head that it waits for, since `since`; None: nobody is before it.
    """
    if view.key is None:
        return None
    blocked = view.behind is not None
    since = view.accepted_at if view.replayed_at is None else view.replayed_at
    return {
        "key": f"{view.key & (1 << 64) - 1:016x}",
        "behind": view.behind,
        "since": moment(since) if blocked else None,
    }


def shown_error(view: DeliveryView) -> Shown | None:
    """The last attempt's error, or why the delivery is dead without one; None if all is well."""
    if view.state is State.DELIVERED or (view.last_error is None and view.reason is None):
        return None
    return {
        "message": view.last_error or _unattempted(view.reason),
        "kind": view.last_kind or (view.reason.value if view.reason else None),
        "status": view.last_status,
        "timestamp": moment(view.last_attempt_at or view.finished_at),
    }


def _unattempted(reason: DeadReason | None) -> str:
    if reason is DeadReason.TRANSFORM:
        return "never attempted: the subscription's transform failed; the log says why"
    return f"never attempted: {reason}"


def shown_dead_letter(view: DeliveryView, event: Shown) -> Shown:
    """A dead letter: the record of the contract around the delivery's number.

    `reason`, `error` and `addedAt` are those of its first death, whatever a replay came to.
    """
    death = view.death
    return {
        "id": view.id,
        "endpoint": view.endpoint,
        "reason": death.reason.value if death and death.reason else None,
        "originalEvent": event,
        "error": _fatal_error(death) if death else None,
        "attempts": view.attempts,
        "addedAt": moment(death.at) if death else None,
        "status": "failed" if view.state is State.DEAD else "replayed",
        "replayedAt": moment(view.replayed_at),
        "lastReplayAttempt": moment(view.last_replay_attempt),
        "lastReplayError": view.last_replay_error,
    }


def _fatal_error(death: Death) -> Shown:
    return {
        "message": death.error or _unattempted(death.reason),
        "kind": death.kind or (death.reason.value if death.reason else None),
        "status": death.status,
        "timestamp": moment(death.attempted_at or death.at),
    }


def shown_dead_letter_line(view: DeliveryView) -> Shown:
    """A dead letter in a list: its event without the data."""
    event = {
        "eventId": view.event_id,
        "eventType": view.event_type,
        "source": view.source,
        "sequence": view.sequence,
        "acceptedAt": moment(view.accepted_at),
    }
    return shown_dead_letter(view, event)


def shown_detail(detail: DeliveryDetail) -> Shown:
    """A delivery with its event and every recorded attempt."""
    return {
        **shown_delivery(detail.view),
        "event": shown_event(detail.event, sequence=detail.view.sequence, body=True),
        **({} if detail.payload is None else {"transformed": json.loads(detail.payload)}),
        "recordedAttempts": [shown_attempt(attempt) for attempt in detail.attempts],
    }


def shown_endpoint(
    record: EndpointRecord, settings: Endpoint | None, live: Mapping[str, Any], *, now: float
) -> Shown:
    """An endpoint: its row, its settings (None once removed) and its worker's live state."""
    counts, hold_until = record.counts, record.hold_until
    in_flight = int(live.get("inFlight", 0))
    waiting = max(0, counts.pending - in_flight)
    removed = record.removed_at is not None
    paused_by = [
        who
        for who, held in (
            ("file", record.paused_by_file),
            ("operator", record.paused_by_operator),
            ("gone", record.gone),
        )
        if held
    ]
    return {
        "name": record.name,
        "url": settings.shown_url if settings else None,
        "state": "removed" if removed else "paused" if paused_by else "active",
        "pausedBy": paused_by,
        "removedAt": moment(record.removed_at),
        "onRemove": record.on_remove.value,
        "heldBy": live.get("heldBy"),
        "holdUntil": moment(hold_until if hold_until and now < hold_until else None),
        "breaker": live.get("breaker"),
        "pending": 0 if removed else waiting,
        "parked": waiting if removed else 0,
        "inFlight": in_flight,
        "deadLetters": counts.dead_letters,
        "created": counts.created,
        "replayed": counts.replayed,
        "delivered": counts.delivered,
        "dead": counts.dead,
        "cancelled": counts.cancelled,
    }
