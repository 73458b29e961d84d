"""One small step of housekeeping, inside the writer's transaction: a few milliseconds at most."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hookpost.core.model import DeadReason, OnRemove, State
from hookpost.storage.outbox import Purged, RetentionLimits
from hookpost.storage.sqlite.books import CANCELLED, DEAD, DEAD_LETTERS, PENDING, Book, Tally
from hookpost.storage.sqlite.settlements import STATES
from hookpost.storage.sqlite.store import Store

ROWS = 500  # deliveries, and identities, that one step may take
PAGES = 256  # that one step may give back to the file system
AIM = 0.9  # of max_size, where shrinking ends
_IDLE_SHARE = 8  # free pages beyond this share of the file are given back
_IDLE_PAGES = 1024

_FINISHED = (State.DELIVERED, State.DEAD, State.CANCELLED)


@dataclass(slots=True)
class _Step:
    """What is done so far, and what may still be."""

    rows: int = ROWS
    more: bool = False
    deliveries: dict[tuple[State, str], int] = field(default_factory=dict)
    events: int = 0
    expired: dict[str, int] = field(default_factory=dict)
    cancelled: dict[str, int] = field(default_factory=dict)

    def purged(self) -> Purged:
        return Purged(
            deliveries=self.deliveries,
            events=self.events,
            expired=self.expired,
            cancelled=self.cancelled,
            more=self.more,
        )


def purge(
    store: Store, limits: RetentionLimits, now: float, in_flight: frozenset[int], tally: Tally
) -> Purged:
    """Sweep removed endpoints, then delete what is too old, then what is too much."""
    step = _Step()
    for book in store.books.values():
        _sweep(store, book, limits.parked, now, in_flight, tally, step)
    ages = {
        State.DELIVERED: limits.delivered,
        State.DEAD: limits.dead,
        State.CANCELLED: limits.cancelled,
    }
    for state, age in ages.items():
        _delete_finished(store, state, now - age, "age", tally, step)
    _delete_unrouted(store, now - limits.delivered, step)
    if store.run("delete_identities", (now, ROWS), "retention").rowcount >= ROWS:
        step.more = True
    _shrink(store, limits.max_size, now, tally, step)
    _give_back_pages(store, limits.max_size, step)
    store.ballast.lay()
    return step.purged()


def _sweep(
    store: Store,
    book: Book,
    parked: float,
    now: float,
    in_flight: frozenset[int],
    tally: Tally,
    step: _Step,
) -> None:
    """End pending deliveries of a removed endpoint, where its time or its on_remove says so.

    What is in flight is left to its settlement. The book is the loop's: it says removed only
    after claims have ended there.
    """
    record = book.record
    if record.removed_at is None or book.counts[PENDING] == 0 or step.rows <= 0:
        return
    if record.on_remove is OnRemove.PARK and record.removed_at + parked > now:
        return
    cancel = record.on_remove is OnRemove.CANCEL
    wanted = (record.id, step.rows + len(in_flight))
    found = [row[0] for row in store.run("sweep_candidates", wanted, "retention")]
    numbers = [number for number in found if number not in in_flight][: step.rows]
    state = STATES[State.CANCELLED if cancel else State.DEAD]
    reason = None if cancel else DeadReason.REMOVED.value
    count = store.run_chunks("sweep", numbers, before=(state, reason, now), file="retention")
    if not count:
        return
    deltas = tally.endpoint(record.id)
    deltas[PENDING] -= count
    if cancel:
        deltas[CANCELLED] += count
        step.cancelled[record.name] = count
    else:
        deltas[DEAD] += count
        deltas[DEAD_LETTERS] += count
        step.expired[record.name] = count
    step.rows -= count
    step.more = step.more or step.rows <= 0


def delete(store: Store, rows: Sequence[tuple[int, int, int]], state: State, tally: Tally) -> int:
    """Delete finished deliveries (id, event, endpoint), their attempts, and events left bare.

    Answers how many events went.
    """
    numbers = [row[0] for row in rows]
    store.run_chunks("delete_attempts", numbers, file="retention")
    store.run_chunks("delete_finished", numbers, file="retention")
    if state is State.DEAD:
        for _, _, endpoint in rows:
            tally.endpoint(endpoint)[DEAD_LETTERS] -= 1
    events = sorted({row[1] for row in rows})
    return store.run_chunks("delete_bare_events", events, file="retention")


def _delete_finished(
    store: Store, state: State, before: float, cause: str, tally: Tally, step: _Step
) -> None:
    if step.rows <= 0:
        return
    wanted = (STATES[state], before, step.rows)
    rows = store.run("finished_before", wanted, "retention").fetchall()
    if not rows:
        return
    step.events += delete(store, rows, state, tally)
    key = (state, cause)
    step.deliveries[key] = step.deliveries.get(key, 0) + len(rows)
    step.rows -= len(rows)
    step.more = step.more or step.rows <= 0


def _delete_unrouted(store: Store, before: float, step: _Step) -> None:
    if step.rows <= 0:
        return
    count = store.run("delete_unrouted", (before, step.rows), "retention").rowcount
    step.events += count
    step.rows -= count
    step.more = step.more or step.rows <= 0


def _shrink(store: Store, max_size: int, now: float, tally: Tally, step: _Step) -> None:
    """Beyond max_size the oldest finished go first, until a tenth is free again."""
    size, free = _pages(store)
    if size > max_size:
        store.shrinking = True
    if not store.shrinking:
        return
    if size - free <= max_size * AIM:
        store.shrinking = False
        return
    heads: list[tuple[float, State | None]] = []
    for state in _FINISHED:
        row = store.run("oldest_finished", (STATES[state],), "retention").fetchone()
        if row is not None:
            heads.append((row[0], state))
    row = store.run("oldest_unrouted", (), "retention").fetchone()
    if row is not None:
        heads.append((row[0], None))
    if not heads:
        return  # all that is left is owed: only deliveries can make room
    oldest = min(heads, key=lambda head: head[0])[1]
    if oldest is None:
        _delete_unrouted(store, now, step)
    else:
        _delete_finished(store, oldest, now, "size", tally, step)
    step.more = True


def _give_back_pages(store: Store, max_size: int, step: _Step) -> None:
    """Free pages are kept for reuse, unless they are many or the file is too large."""
    size, free = _pages(store)
    page = _number(store, "page_size")
    spare = max(size // _IDLE_SHARE, _IDLE_PAGES * page)
    if not free or (free <= spare and size <= max_size * AIM):
        return
    store.connection.execute(f"PRAGMA incremental_vacuum({PAGES})").fetchall()
    step.more = step.more or free > PAGES * page


def _pages(store: Store) -> tuple[int, int]:
    """Bytes of the file, and bytes of its free pages."""
    page = _number(store, "page_size")
    return _number(store, "page_count") * page, _number(store, "freelist_count") * page


def _number(store: Store, pragma: str) -> int:
    row: tuple[Any, ...] = store.connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(row[0])
