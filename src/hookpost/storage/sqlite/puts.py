"""Events and their deliveries, written: everything that waits in few statements."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, NoReturn

from hookpost.core.errors import OutboxError
from hookpost.core.fanout import Transformed, carrying
from hookpost.core.model import (
    DeadReason,
    DeliveryId,
    Duplicate,
    EndpointId,
    Event,
    Format,
    PutAnswer,
    Stored,
)
from hookpost.core.ordering import Keys
from hookpost.core.patterns import RESERVED
from hookpost.storage.sqlite.books import (
    ACCEPTED,
    CONFLICTING,
    CREATED,
    DEAD,
    DEAD_LETTERS,
    DUPLICATES,
    LAST,
    PENDING,
    UNROUTED,
    Fresh,
    Tally,
)
from hookpost.storage.sqlite.lines import BLOCKED, Joining
from hookpost.storage.sqlite.store import Store

Entry = tuple[Event, Sequence[EndpointId]]
_Known = dict[str, tuple[str, int, bytes]]
"""Identity → event id, number of deliveries, digest."""

_FORMATS = {form: form.value for form in Format}


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
    rows = _Rows(store, tally)
    answers: list[PutAnswer] = []
    sources = tally.sources
    for event, endpoints in entries:
        sums = sources.get(event.source) or tally.source(event.source)
        if event.accepted_at > sums[LAST]:
            sums[LAST] = event.accepted_at
        if event.dedup_key is not None:
            name, mark = identity(event), digest(event)
            first = known.get(name)
            if first is not None:
                sums[DUPLICATES] += 1
                sums[CONFLICTING] += first[2] != mark
                answers.append(Duplicate(first[0], first[1], first[2] != mark))
                continue
            known[name] = event.id, len(endpoints), mark
            expires_at = event.accepted_at + event.dedup_window
            rows.identities += (name, event.id, len(endpoints), mark, expires_at)
        sums[ACCEPTED] += 1
        if not endpoints:
            sums[UNROUTED] += 1
        rows.add(event, endpoints)
        answers.append(Stored(event.id, rows.sequence, len(endpoints)))
    if expired:
        store.run_each("forget_identity", [(name,) for name in expired])
    rows.write()
    return answers


class _Rows:
    """The rows of one transaction's new events, flat, and the numbers they were given."""

    def __init__(self, store: Store, tally: Tally) -> None:
        self._store = store
        self._tally = tally
        self.sequence = store.sequence
        self._delivery = store.delivery
        self._seen_at = store.seen_at
        self._events: list[Any] = []
        self._deliveries: list[Any] = []
        self._particular: list[Any] = []
        self._payloads: list[tuple[int, bytes]] = []
        self._dead: list[tuple[Any, ...]] = []
        self._joining = Joining(store, tally)
        self.identities: list[Any] = []

    def add(self, event: Event, endpoints: Sequence[EndpointId]) -> None:
        """An event, and a delivery for each endpoint: pending, or dead where too many are."""
        self.sequence = sequence = self.sequence + 1
        number, due, tally = self._delivery, event.accepted_at, self._tally
        self._events += (
            sequence, event.id, event.source, event.type, event.occurred_at, due,
            _FORMATS[event.format], event.content_type,
            json.dumps(event.headers) if event.headers else None,
            number + 1, len(endpoints), event.body,
        )  # fmt: skip
        if due > self._seen_at:
            self._seen_at = due
        if event.transformed is not None or event.keys is not None:
            self._add_particular(event, endpoints, event.transformed or {}, event.keys or {})
            return
        for endpoint in endpoints:
            number += 1
            book = self._store.books.get(endpoint) or _unknown(event, endpoint)
            started = book.record.active_clock(due)
            deltas = tally.endpoints.get(endpoint) or tally.endpoint(endpoint)
            deltas[CREATED] += 1
            if book.counts[PENDING] + deltas[PENDING] >= book.max_pending:
                self._bury(event, endpoint, number, DeadReason.OVERFLOW)
            else:
                deltas[PENDING] += 1
                self._deliveries += (number, sequence, endpoint, due, started)
                fresh: Fresh = (endpoint, DeliveryId(number), sequence, started, event, None)
                tally.fresh.append(fresh)
        self._delivery = number

    def _add_particular(
        self, event: Event, endpoints: Sequence[EndpointId], transformed: Transformed, keys: Keys
    ) -> None:
        """The careful form: some are sent another payload, or none at all, or stand in a line."""
        made: dict[int, tuple[DeliveryId, Event]] = {}  # by the identity of the bytes
        number, due, tally = self._delivery, event.accepted_at, self._tally
        own = replace(event, transformed=None, keys=None)
        for endpoint in endpoints:
            number += 1
            book = self._store.books.get(endpoint) or _unknown(event, endpoint)
            started = book.record.active_clock(due)
            deltas = tally.endpoint(endpoint)
            deltas[CREATED] += 1
            data, key = transformed.get(endpoint, event.body), keys.get(endpoint)
            if data is None:
                self._bury(event, endpoint, number, DeadReason.TRANSFORM, None, key)
                continue
            payload: DeliveryId | None = None
            sent = own
            if endpoint in transformed:
                if id(data) not in made:
                    made[id(data)] = DeliveryId(number), carrying(event, data)
                    self._payloads.append((number, data))
                payload, sent = made[id(data)]
            if book.counts[PENDING] + deltas[PENDING] >= book.max_pending:
                self._bury(event, endpoint, number, DeadReason.OVERFLOW, payload, key)
                continue
            deltas[PENDING] += 1
            place = None if key is None else number
            row = number, self.sequence, endpoint, due, started, payload, key, place
            if key is not None and self._joining.waits(endpoint, key):
                row = *row[:3], BLOCKED, *row[4:]
            else:
                fresh: Fresh = endpoint, DeliveryId(number), self.sequence, started, sent, key
                tally.fresh.append(fresh)
            self._particular += row
        self._delivery = number

    def _bury(
        self,
        event: Event,
        endpoint: EndpointId,
        number: int,
        reason: DeadReason,
        payload: DeliveryId | None = None,
        key: int | None = None,
    ) -> None:
        """A delivery that is dead from the start."""
        due, tally = event.accepted_at, self._tally
        started = self._store.books[endpoint].record.active_clock(due)
        deltas = tally.endpoint(endpoint)
        deltas[DEAD] += 1
        deltas[DEAD_LETTERS] += 1
        tally.died[endpoint, reason] = tally.died.get((endpoint, reason), 0) + 1
        if event.source == RESERVED:
            tally.own[endpoint, reason] = tally.own.get((endpoint, reason), 0) + 1
        self._dead.append(
            (number, self.sequence, endpoint, due, started, reason.value, due, payload, key, number)
        )

    def write(self) -> None:
        """Insert them."""
        store = self._store
        store.sequence, store.delivery = self.sequence, self._delivery
        store.seen_at = self._seen_at
        store.run_chunks("put_event", self._events, width=12)
        store.run_chunks("put_delivery", self._deliveries, width=5)
        store.run_chunks("put_particular", self._particular, width=8)
        if self._payloads:
            store.run_each("put_payload", self._payloads)
        if self._dead:
            store.run_each("put_dead", self._dead)
        store.run_chunks("put_identity", self.identities, width=5)


def _unknown(event: Event, endpoint: EndpointId) -> NoReturn:
    raise OutboxError(
        f"event {event.id}: endpoint number {endpoint} is not in the outbox;"
        " apply the configuration that names it first"
    )


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
