"""Rows as nouns: what the readers bring becomes what everything above knows."""

import json
import sqlite3
from collections.abc import Collection

from hookpost.core.fanout import carrying
from hookpost.core.model import (
    Attempt,
    DeadReason,
    Delivery,
    DeliveryId,
    EndpointRecord,
    Event,
    Format,
    Headers,
    Outcome,
    Result,
    State,
)
from hookpost.storage.outbox import Death, DeliveryView
from hookpost.storage.sqlite.books import Fresh

Item = Fresh | sqlite3.Row | Delivery
"""What a window holds for one delivery: made into a Delivery only when it is claimed."""

_STATES = (State.PENDING, State.DELIVERED, State.DEAD, State.CANCELLED)
_FORMATS = {form.value: form for form in Format}


def _headers(text: str) -> Headers:
    return tuple((name, value) for name, value in json.loads(text))


def event_of(row: sqlite3.Row) -> Event:
    """The event in a row that has all its columns; its identity is not kept with it."""
    headers = row["headers"]
    return Event(
        id=row["event_id"],
        source=row["source"],
        type=row["type"],
        occurred_at=row["occurred_at"],
        accepted_at=row["accepted_at"],
        format=_FORMATS[row["format"]],
        content_type=row["content_type"],
        body=row["body"],
        headers=()
        if headers is None
        else tuple((name, text) for name, text in json.loads(headers)),
    )


def delivery_of(item: Item, record: EndpointRecord) -> Delivery:
    """The delivery to attempt; one whose endpoint was revived since begins a new round."""
    if isinstance(item, tuple):  # the usual case first
        endpoint, number, sequence, started, event, key = item
        return Delivery(
            id=number,
            endpoint=endpoint,
            sequence=sequence,
            event=event,
            round_started=started,
            key=key,
        )
    if isinstance(item, Delivery):
        return item
    # By place: looking a column up by name costs more than all the rest.
    (_, number, _, endpoint, sequence, attempts, round_attempts, round_started, replayed_at,
     event_id, source, kind, occurred_at, accepted_at, form, content_type, headers,
     body, payload, key) = item  # fmt: skip
    event = Event(
        id=event_id,
        source=source,
        type=kind,
        occurred_at=occurred_at,
        accepted_at=accepted_at,
        format=_FORMATS[form],
        content_type=content_type,
        body=body,
        headers=() if headers is None else _headers(headers),
    )
    if payload is not None:
        event = carrying(event, body)
    delivery = Delivery(
        id=number,
        endpoint=endpoint,
        sequence=sequence,
        event=event,
        attempts=attempts,
        round_attempts=round_attempts,
        round_started=round_started,
        replayed=replayed_at is not None,
        key=key,
    )
    if record.revived_at is not None and delivery.round_started < record.revived_at:
        delivery.round_attempts = 0
        delivery.round_started = record.revived_at
    return delivery


def view_of(row: sqlite3.Row, in_flight: Collection[int]) -> DeliveryView:
    """A delivery as shown; its state is derived here."""
    stored = _STATES[row["state"]]
    state = stored
    if stored is State.PENDING:
        if row["id"] in in_flight:
            state = State.IN_FLIGHT
        elif row["removed_at"] is not None:
            state = State.PARKED
    replayed = row["replayed_after"] is not None and row["attempts"] > row["replayed_after"]
    return DeliveryView(
        id=DeliveryId(row["id"]),
        sequence=row["event"],
        event_id=row["event_id"],
        event_type=row["type"],
        source=row["source"],
        endpoint=row["name"],
        state=state,
        reason=None if row["reason"] is None else DeadReason(row["reason"]),
        attempts=row["attempts"],
        accepted_at=row["accepted_at"],
        next_at=row["next_at"] if stored is State.PENDING and row["behind"] is None else None,
        finished_at=row["settled_at"],
        last_attempt_at=row["started_at"],
        last_error=row["error"],
        last_kind=row["result"],
        last_status=row["status"],
        replayed_at=row["replayed_at"],
        last_replay_attempt=row["started_at"] if replayed else None,
        last_replay_error=row["error"] if replayed else None,
        death=_death(row, stored),
        key=row["order_key"],
        behind=None if row["behind"] is None else DeliveryId(row["behind"]),
    )


def _death(row: sqlite3.Row, stored: State) -> Death | None:
    """The first death: remembered by the replay that ended it, or the present one."""
    if row["died_at"] is None and stored is not State.DEAD:
        return None
    remembered = row["died_at"] is not None
    reason = row["died_reason" if remembered else "reason"]
    fatal = "fatal_" if remembered else ""
    return Death(
        at=row["died_at" if remembered else "settled_at"],
        reason=None if reason is None else DeadReason(reason),
        attempted_at=row[f"{fatal}started_at"],
        error=row[f"{fatal}error"],
        kind=row[f"{fatal}result"],
        status=row[f"{fatal}status"],
    )


def attempt_of(row: sqlite3.Row) -> Attempt:
    """A recorded attempt."""
    return Attempt(
        number=row["number"],
        started_at=row["started_at"],
        duration=row["duration"],
        outcome=Outcome(
            result=Result(row["result"]),
            status=row["status"],
            answer=row["answer"] or b"",
            error=row["error"] or "",
            retry_after=row["retry_after"],
        ),
    )
