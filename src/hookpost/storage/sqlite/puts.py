"""Events and their deliveries, written: everything that waits in few statements."""

import json
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from hookpost.core.errors import OutboxError
from hookpost.core.model import Duplicate, EndpointId, Event, PutAnswer, Stored
from hookpost.storage.sqlite.books import CREATED, DEAD, DEAD_LETTERS, PENDING, Fresh, Tally
from hookpost.storage.sqlite.store import Store

Entry = tuple[Event, Sequence[EndpointId]]
_Known = dict[str, tuple[str, int, bytes]]
"""Identity → event id, number of deliveries, digest."""


def identity(event: Event) -> str:
    """What an event is compared by: its key inside its source (whose name has no colon)."""
    return f"{event.source}:{event.dedup_key}"


def digest(event: Event) -> bytes:
    """Tells an honest repetition from other bytes under the same identity."""
    return blake2b(event.body, digest_size=16, key=event.type.encode("utf-8")[:64]).digest()


def put_entries(store: Store, entries: Sequence[Entry], tally: Tally) -> list[PutAnswer]:
    """Insert all events and deliveries, inside the running transaction; answers in order.

    Any exception leaves the transaction half written: roll back, and undo `tally`.
    """
    known, expired = _remembered(store, entries)
    answers: list[PutAnswer] = []
    events: list[Any] = []
    identities: list[Any] = []
    deliveries: list[Any] = []
    overflow: list[tuple[Any, ...]] = []
    sequence, number = store.sequence, store.delivery
    for event, endpoints in entries:
        sums = tally.source(event.source)
        if event.accepted_at > sums[2]:
            sums[2] = event.accepted_at
        count = len(endpoints)
        if event.dedup_key is not None:
            name, mark = identity(event), digest(event)
            first = known.get(name)
            if first is not None:
                sums[1] += 1
                answers.append(Duplicate(first[0], first[1], first[2] != mark))
                continue
            known[name] = (event.id, count, mark)
            identities += (name, event.id, count, mark, event.accepted_at + event.dedup_window)
        sums[0] += 1
        sequence += 1
        events += (
            sequence, event.id, event.source, event.type, event.occurred_at, event.accepted_at,
            event.format.value, event.content_type,
            json.dumps(event.headers) if event.headers else None,
            number + 1, count, event.body,
        )  # fmt: skip
        for endpoint in endpoints:
            number += 1
            _owe(store, event, endpoint, (number, sequence), (deliveries, overflow), tally)
        answers.append(Stored(event.id, sequence, count))
    store.sequence, store.delivery = sequence, number
    if events:
        store.seen_at = max(store.seen_at, events[-7])
        store.run_chunks("put_event", events, width=12)
        store.run_chunks("put_delivery", deliveries, width=5)
    if overflow:
        store.run_each("put_overflow", overflow)
    if expired:
        store.run_each("forget_identity", [(name,) for name in expired])
    if identities:
        store.run_chunks("put_identity", identities, width=5)
    return answers


def _owe(
    store: Store,
    event: Event,
    endpoint: EndpointId,
    numbers: tuple[int, int],
    rows: tuple[list[Any], list[tuple[Any, ...]]],
    tally: Tally,
) -> None:
    """One delivery: pending, or dead at once where the endpoint is owed too many already."""
    book = store.books.get(endpoint)
    if book is None:
        raise OutboxError(
            f"event {event.id}: endpoint number {endpoint} is not in the outbox;"
            " apply the configuration that names it first"
        )
    number, sequence = numbers
    due = event.accepted_at
    record = book.record
    started = (
        due - record.suspended_seconds
        if record.suspended_since is None
        else record.active_clock(due)
    )
    deltas = tally.endpoint(endpoint)
    deltas[CREATED] += 1
    if book.counts[PENDING] + deltas[PENDING] >= book.max_pending:
        deltas[DEAD] += 1
        deltas[DEAD_LETTERS] += 1
        tally.overflowed[endpoint] = tally.overflowed.get(endpoint, 0) + 1
        rows[1].append((number, sequence, endpoint, due, started, due))
        return
    deltas[PENDING] += 1
    rows[0].extend((number, sequence, endpoint, due, started))
    fresh: Fresh = (endpoint, number, sequence, started, event)
    tally.fresh.append(fresh)


def _remembered(store: Store, entries: Iterable[Entry]) -> tuple[_Known, list[str]]:
    """What the dedup table says of these events' identities: live ones, and expired ones."""
    asked = {
        identity(event): event.accepted_at for event, _ in entries if event.dedup_key is not None
    }
    known: _Known = {}
    expired: list[str] = []
    if asked:
        for name, event_id, count, mark, expires_at in store.find("find_identities", [*asked]):
            if expires_at > asked[name]:
                known[name] = (event_id, count, mark)
            else:
                expired.append(name)
    return known, expired
