"""Endpoint rows: what a configuration or a person makes of them, decided and then written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hookpost.core.errors import NotFound
from hookpost.core.model import EndpointId, EndpointRecord
from hookpost.core.payload_modes import ModeSince, changed
from hookpost.storage.outbox import EndpointSpec
from hookpost.storage.sqlite.books import Book, Tally, row_of
from hookpost.storage.sqlite.store import Store

CHANGEABLE = frozenset(
    {"paused_by_operator", "gone", "hold_until", "breaker", "tokens", "tokens_at"}
)


@dataclass(frozen=True, slots=True)
class Revision:
    """A row to write; `record.fresh` tells that it is to be inserted."""

    record: EndpointRecord
    max_pending: int


def clocked(record: EndpointRecord, now: float) -> EndpointRecord:
    """The record with its active clock in step: it stands still while paused or removed."""
    held = record.paused or record.removed_at is not None
    if held and record.suspended_since is None:
        return replace(record, suspended_since=now)
    if not held and record.suspended_since is not None:
        seconds = record.suspended_seconds + max(0.0, now - record.suspended_since)
        return replace(record, suspended_since=None, suspended_seconds=seconds)
    return record


def reconciled(
    books: Iterable[Book], specs: Sequence[EndpointSpec], now: float, next_delivery: int
) -> list[Revision]:
    """Every row that must be written for the rows to match a configuration."""
    known = {book.record.name: book for book in books}
    named = {spec.name for spec in specs}
    revisions = []
    for spec in specs:
        book = known.pop(spec.name, None)
        old = spec.renamed_from
        if book is None and old is not None and old not in named:
            book = known.pop(old, None)
        record = book.record if book else None
        revisions.append(_configured(record, spec, now, next_delivery))
    for book in known.values():
        if book.record.removed_at is None:
            gone = clocked(replace(book.record, removed_at=now), now)
            revisions.append(Revision(gone, book.max_pending))
    return revisions


def _configured(
    record: EndpointRecord | None, spec: EndpointSpec, now: float, next_delivery: int
) -> Revision:
    if record is None:
        record = EndpointRecord(id=EndpointId(0), name=spec.name, fresh=True)
    revived = record.removed_at is not None
    modes = [ModeSince(*since) for since in record.payload_modes]
    record = replace(
        record,
        name=spec.name,
        on_remove=spec.on_remove,
        paused_by_file=spec.paused,
        removed_at=None,
        payload_modes=changed(modes, spec.payload, next_delivery if modes else 1),
    )
    record = clocked(record, now)
    if revived:
        record = replace(record, revived_at=record.active_clock(now))
    return Revision(record, spec.max_pending)


def apply(store: Store, specs: Sequence[EndpointSpec], now: float, tally: Tally) -> list[Revision]:
    """Write the rows that a configuration asks for; all of them with their numbers."""
    written = []
    # Rows that give up a name are written before rows that take one.
    revisions = reconciled(store.read_books(), specs, now, store.delivery + 1)
    for revision in sorted(revisions, key=lambda revision: revision.record.fresh):
        record = revision.record
        row = row_of(record, revision.max_pending)
        if record.fresh:
            number = store.run("insert_endpoint", row, "endpoints").lastrowid or 0
            record = replace(record, id=EndpointId(number))
            tally.endpoint(number)
        else:
            store.run("update_endpoint", row, "endpoints")
        written.append(Revision(record, revision.max_pending))
    return written


def update(store: Store, endpoint: EndpointId, changes: Mapping[str, Any], now: float) -> Revision:
    """Change what may be changed of one row. NotFound."""
    for book in store.read_books():
        if book.record.id == endpoint:
            record = clocked(replace(book.record, **changes), now)
            store.run("update_endpoint", row_of(record, book.max_pending), "endpoints")
            return Revision(record, book.max_pending)
    raise NotFound(f"endpoint number {endpoint}: is not in the outbox")
