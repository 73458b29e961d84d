"""One small step of housekeeping, inside the writer's transaction: a few milliseconds at most.

Rows go in small pieces, and the clock is asked between them: what a row costs depends on its body
(a page is looked at for each 4 KiB of it) and on the disk.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hookpost.core.model import DeadReason, OnRemove, State
from hookpost.core.patterns import RESERVED
from hookpost.storage.outbox import Purged, RetentionLimits
from hookpost.storage.sqlite.books import CANCELLED, DEAD, DEAD_LETTERS, PENDING, Book, Tally
from hookpost.storage.sqlite.lines import let_go
from hookpost.storage.sqlite.room import RESERVE
from hookpost.storage.sqlite.settlements import STATES
from hookpost.storage.sqlite.store import Store

ROWS = 500  # deliveries, or events that nobody was owed, that one step may take
BYTES = 4 << 20  # of their bodies
SECONDS = 0.004  # after which a step begins no further piece
QUIET_SECONDS = 0.01  # the same while nobody waits for the transaction
SWEPT = 200  # deliveries of one removed endpoint that one step may end
PIECE = 50  # rows between two looks at the clock
PAGES = 256  # that one step may give back to the file system
START = 0.95  # of max_size, where shrinking begins: at the whole of it ingest would close
AIM = 0.9  # where it ends
_IDLE_SHARE = 8  # free pages beyond this share of the file are given back
_IDLE_PAGES = 1024
_FEW_PAGES = 16  # given back between two looks at the clock
_HYSTERESIS = 1.25  # of min_free: pages are given back until ingest surely opens again

_FINISHED = (State.DELIVERED, State.DEAD, State.CANCELLED)


@dataclass(slots=True)
class _Step:
    """What is done so far, and what may still be."""

    monotonic: Callable[[], float]
    seconds: float
    until: float
    rows: int = ROWS
    bytes: int = BYTES
    pages: int = PAGES
    more: bool = False
    deliveries: dict[tuple[State, str], int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    expired: dict[str, int] = field(default_factory=dict)
    own: dict[str, int] = field(default_factory=dict)
    cancelled: dict[str, int] = field(default_factory=dict)
    identities: int = 0

    def spent(self) -> bool:
        """Whether this step has had its share; what is left waits for another."""
        if self.rows > 0 and self.bytes > 0 and self.monotonic() < self.until:
            return False
        self.more = True
        return True

    def portion(self, sizes: Sequence[int], most: int) -> int:
        """How many rows of these sizes may go now, for `most` bytes: one at least."""
        count, left = 0, min(most, self.bytes)
        for size in sizes:
            if count and (size > left or left <= 0):
                break
            count += 1
            left -= size
            self.bytes -= size
        self.rows -= count
        return count

    def gone(self, events: int, cause: str) -> None:
        """Count events that were deleted."""
        if events:
            self.events[cause] = self.events.get(cause, 0) + events

    def purged(self) -> Purged:
        return Purged(
            deliveries=self.deliveries,
            events=self.events,
            expired=self.expired,
            own=self.own,
            cancelled=self.cancelled,
            identities=self.identities,
            more=self.more,
        )


def purge(
    store: Store,
    in_flight: frozenset[int],
    tally: Tally,
    *,
    limits: RetentionLimits,
    now: float,
    monotonic: Callable[[], float],
) -> Purged:
    """Sweep removed endpoints, then delete what is too old, then what is too much."""
    seconds = QUIET_SECONDS if store.quiet else SECONDS
    step = _Step(monotonic, seconds, monotonic() + seconds)
    if store.room.short and store.room.free() < RESERVE:  # a small step fits where no other does
        step.rows, step.pages = PIECE, 2 * _FEW_PAGES
    for book in store.books.values():
        _sweep(store, book, limits.parked, now, in_flight, tally, step)
    ages = {
        State.DELIVERED: limits.delivered,
        State.DEAD: limits.dead,
        State.CANCELLED: limits.cancelled,
    }
    for state, age in ages.items():
        while not step.spent() and _delete_finished(store, state, now - age, "age", tally, step):
            pass
    while not step.spent() and _delete_unrouted(store, now - limits.delivered, "age", step):
        pass
    while not step.spent() and _forget_identities(store, now):
        pass
    _shrink(store, limits.max_size, now, tally, step)
    _give_back_pages(store, limits, step)
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
    if record.removed_at is None or book.counts[PENDING] == 0:
        return
    if record.on_remove is OnRemove.PARK and record.removed_at + parked > now:
        return
    if step.spent():
        return
    cancel = record.on_remove is OnRemove.CANCEL
    most = min(SWEPT, step.rows)
    wanted = (record.id, most + len(in_flight))
    found = list(store.run("sweep_candidates", wanted, "retention"))
    swept = [row for row in found if row[0] not in in_flight][:most]
    numbers = [number for number, _ in swept]
    state = STATES[State.CANCELLED if cancel else State.DEAD]
    reason = None if cancel else DeadReason.REMOVED.value
    count = store.run_chunks("sweep", numbers, before=(state, reason, now), file="retention")
    if not count:
        return
    let_go(store, [(record.id, key) for _, key in swept if key is not None], now, tally)
    deltas = tally.endpoint(record.id)
    deltas[PENDING] -= count
    if cancel:
        deltas[CANCELLED] += count
        step.cancelled[record.name] = count
    else:
        deltas[DEAD] += count
        deltas[DEAD_LETTERS] += count
        step.expired[record.name] = count
        step.own[record.name] = sum(
            row[0] for row in store.find("own_events", numbers, "retention", before=(RESERVED,))
        )
    step.rows -= count
    step.more = step.more or count == most


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
    store.run_chunks("delete_bare_payloads", events, file="retention")
    return store.run_chunks("delete_bare_events", events, file="retention")


def _delete_finished(
    store: Store,
    state: State,
    before: float,
    cause: str,
    tally: Tally,
    step: _Step,
    most: int = BYTES,
) -> bool:
    """Delete one piece; False: there was nothing."""
    wanted = (STATES[state], before, min(PIECE, step.rows))
    found = store.run("finished_before", wanted, "retention").fetchall()
    if not found:
        return False
    rows = [row[:3] for row in found[: step.portion([row[3] for row in found], most)]]
    step.gone(delete(store, rows, state, tally), cause)
    key = (state, cause)
    step.deliveries[key] = step.deliveries.get(key, 0) + len(rows)
    return True


def _delete_unrouted(
    store: Store, before: float, cause: str, step: _Step, most: int = BYTES
) -> bool:
    """Delete one piece; False: there was nothing."""
    wanted = (before, min(PIECE, step.rows))
    found = store.run("unrouted_before", wanted, "retention").fetchall()
    if not found:
        return False
    numbers = [row[0] for row in found[: step.portion([row[1] for row in found], most)]]
    store.run_chunks("delete_events", numbers, file="retention")
    step.gone(len(numbers), cause)
    return True


def _forget_identities(store: Store, now: float) -> bool:
    """Delete one piece; False: there was nothing."""
    return store.run("delete_identities", (now, PIECE), "retention").rowcount > 0


def _forget_early(store: Store, step: _Step) -> bool:
    """Delete one piece of those that would be forgotten first; False: there was nothing."""
    count = store.run("forget_early", (min(PIECE, max(1, step.rows)),), "retention").rowcount
    step.rows -= count
    step.identities += count
    return count > 0


def _shrink(store: Store, max_size: int, now: float, tally: Tally, step: _Step) -> None:
    """Near max_size the oldest finished go first, until a tenth is free again.

    Then identities, the ones that would be forgotten soonest: events must not be refused for days
    because of what tells duplicates apart.
    """
    while True:
        size, free = _pages(store)
        if size > max_size * START:
            store.shrinking = True
        if size - free <= max_size * AIM:
            store.shrinking = False
        if not store.shrinking or step.spent():
            return
        oldest = _oldest(store)
        if oldest is None:
            if not _forget_early(store, step):
                return  # all that is left is owed: only deliveries can make room
            continue
        most = size - free - int(max_size * AIM)
        if oldest[1] is None:
            gone = _delete_unrouted(store, now, "size", step, most)
        else:
            gone = _delete_finished(store, oldest[1], now, "size", tally, step, most)
        if not gone:
            return  # it was finished by a clock that has been set back since


def _oldest(store: Store) -> tuple[float, State | None] | None:
    """When the row that may go first was finished, and its state; None: of an unrouted event."""
    heads: list[tuple[float, State | None]] = []
    for state in _FINISHED:
        row = store.run("oldest_finished", (STATES[state],), "retention").fetchone()
        if row is not None:
            heads.append((row[0], state))
    row = store.run("oldest_unrouted", (), "retention").fetchone()
    if row is not None:
        heads.append((row[0], None))
    return min(heads, key=lambda head: head[0], default=None)


def _give_back_pages(store: Store, limits: RetentionLimits, step: _Step) -> None:
    """Free pages are kept for reuse, unless they are many, or the file or the disk too full.

    They go in a time of their own, so that deleting never leaves them none.
    """
    size, free = _pages(store)
    page = store.pragma("page_size")
    spare = max(size // _IDLE_SHARE, _IDLE_PAGES * page)
    cramped = store.room.short or store.room.free() < limits.min_free * _HYSTERESIS
    pressed = cramped or size > limits.max_size * AIM
    if not free or (free <= spare and not pressed):
        return
    given, until = 0, step.monotonic() + step.seconds / 2
    while given < min(step.pages, free // page) and (not given or step.monotonic() < until):
        for _ in range(_FEW_PAGES):  # sqlite3 steps a pragma once: more would still free one
            store.connection.execute("PRAGMA incremental_vacuum(1)").fetchall()
        given += _FEW_PAGES
    step.more = step.more or free > given * page


def _pages(store: Store) -> tuple[int, int]:
    """Bytes of the file, and bytes of its free pages."""
    page = store.pragma("page_size")
    return store.pragma("page_count") * page, store.pragma("freelist_count") * page
