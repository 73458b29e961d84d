"""The deliveries of one endpoint that wait in memory, and where the rest begins on disk.

Theory. Every pending delivery of an endpoint is either *held* (waiting here, claimed, or reserved
for a person's verb) or on disk only. Two bounds describe those on disk only: each lies after
`cursor` in the order (next_at, id), and none is due before `disk_next_at`. Bounds may be too
careful, never too bold: what they miss would be seen by nobody until a restart.

A committed delivery is told by `fresh` (it may stay in memory) or `spill` (disk only). A refill
reads disk in the background, so what is committed or settled meanwhile may be missing from what
it read, or be in it though it is over: `_mark` remembers the first position spilled since the
refill began, `_left` whoever ceased to be held. Nothing here does I/O or reads a clock.
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

ROWS = 1000  # deliveries waiting in memory for one endpoint
BYTES = 4 << 20  # and their bodies
FEW_ROWS = 64  # always allowed, however much the other endpoints hold
FEW_BYTES = 256 << 10
ALL_BYTES = 40 << 20  # over all endpoints

T = TypeVar("T")
Position = tuple[float, int]
Entry = tuple[float, int, int, T]
"""(next_at, delivery id, bytes, whatever makes the delivery)."""

START: Position = (-inf, 0)
END: Position = (inf, 0)
LAST_ID = 2**63 - 1


@dataclass(slots=True)
class Budget:
    """Bytes that all windows together may hold beyond their first few."""

    used: int = 0
    limit: int = ALL_BYTES


class Window(Generic[T]):
    """One endpoint's deliveries in memory."""

    __slots__ = (
        "_budget",
        "_left",
        "_mark",
        "bytes",
        "closed",
        "cursor",
        "disk_next_at",
        "epoch",
        "held",
        "refilling",
        "waiting",
    )

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.waiting: deque[Entry[T]] = deque()
        self.bytes = 0
        self.held: set[int] = set()
        self.cursor = START
        self.disk_next_at = inf
        self.closed = False
        self.epoch = 0
        self.refilling = False
        self._mark = END
        self._left: set[int] = set()

    # -- what was committed ------------------------------------------------------------------

    def fresh(self, entry: Entry[T]) -> bool:
        """A new delivery was committed; True: it waits here, False: it is on disk only."""
        next_at, number, size, _ = entry
        if self.closed or number in self.held:
            return False
        if next_at < self.disk_next_at and self._room(size):
            self.waiting.append(entry)
            self.held.add(number)
            self._grow(size)
            position = (next_at, number)
            if position > self.cursor:  # all that is on disk only lies after it
                self.cursor = position
            return True
        self.spill(next_at, number)
        return False

    def spill(self, next_at: float, number: int) -> None:
        """A delivery that is not held was committed pending at this position."""
        if next_at < self.disk_next_at:
            self.disk_next_at = next_at
        position = (next_at, number)
        if position <= self.cursor:
            self.cursor = (next_at, number - 1)
        if position < self._mark:
            self._mark = position

    def leave(self, number: int) -> None:
        """A held delivery is held no longer; `spill` follows where it is still pending."""
        self.held.discard(number)
        if self.refilling:
            self._left.add(number)

    def doubt(self) -> None:
        """Where things stand on disk is not known: look again from the beginning."""
        self.spill(*START)

    # -- claims ------------------------------------------------------------------------------

    def take(self, limit: int, now: float) -> list[Entry[T]]:
        """Remove at most `limit` due deliveries from the front; they stay held."""
        taken: list[Entry[T]] = []
        waiting, size = self.waiting, 0
        while waiting and len(taken) < limit and waiting[0][0] <= now:
            entry = waiting.popleft()
            size += entry[2]
            taken.append(entry)
        self._grow(-size)
        return taken

    def give_back(self, entries: Sequence[Entry[T]]) -> None:
        """Claimed deliveries return to the front, in their old order."""
        if self.closed:
            for next_at, number, _, _ in entries:
                self.leave(number)
                self.spill(next_at, number)
            return
        self.waiting.extendleft(reversed(entries))
        self._grow(sum(entry[2] for entry in entries))

    def reserve(self, numbers: Collection[int]) -> None:
        """Keep deliveries that nobody has claimed from being claimed."""
        if self.waiting and not self.held.isdisjoint(numbers):
            kept = [entry for entry in self.waiting if entry[1] not in numbers]
            self._grow(sum(entry[2] for entry in kept) - self.bytes)
            self.waiting = deque(kept)
        self.held.update(numbers)

    def next_due(self) -> float:
        """A lower bound of when the next unclaimed delivery is due; inf: none is known."""
        if self.closed:
            return inf
        front = self.waiting[0][0] if self.waiting else inf
        return min(front, self.disk_next_at)

    # -- refills -----------------------------------------------------------------------------

    def lacks(self, now: float) -> bool:
        """Whether a refill is worth its while: half empty, and disk has something due."""
        return (
            self.disk_next_at <= now
            and not self.closed
            and not self.refilling
            and len(self.waiting) <= ROWS // 2
            and self.bytes <= BYTES // 2
        )

    def begin_refill(self) -> int:
        """What is read from disk from now on may be stale by the time it is merged."""
        self.refilling = True
        self._mark = END
        self._left.clear()
        return self.epoch

    def merge(
        self, epoch: int, entries: Iterable[Entry[T]], reached: Position, next_at: float
    ) -> None:
        """Take in what was read from disk after `cursor`, in order.

        It was read whole up to `reached`; nothing beyond is due before `next_at`. An epoch that
        is over changes nothing.
        """
        if epoch != self.epoch:
            return
        for entry in entries:
            due, number, size, _ = entry
            if number in self.held or number in self._left:
                continue
            if self.waiting and not self._room(size):
                reached, next_at = (due, number - 1), due
                break
            self.waiting.append(entry)
            self.held.add(number)
            self._grow(size)
        if self._mark <= reached:
            reached = (self._mark[0], self._mark[1] - 1)
        self.cursor = reached
        self.disk_next_at = min(next_at, self._mark[0])
        self._end_refill()

    def abandon_refill(self, epoch: int) -> None:
        """Whatever was read is not taken in: the bounds stay as they are."""
        if epoch == self.epoch:
            self._end_refill()

    def _end_refill(self) -> None:
        self.refilling = False
        self._mark = END
        self._left.clear()

    # -- the endpoint leaves and returns -----------------------------------------------------

    def close(self) -> None:
        """Give nothing away any more; what is claimed stays held until it is settled."""
        self.closed = True
        self.epoch += 1
        self.held.difference_update([entry[1] for entry in self.waiting])
        self.waiting.clear()
        self._grow(-self.bytes)
        self._end_refill()

    def open(self, *, pending: bool) -> None:
        """Begin anew: whatever is pending is on disk."""
        self.closed = False
        self.cursor = START
        self.disk_next_at = -inf if pending else inf

    def _room(self, size: int) -> bool:
        count, after = len(self.waiting), self.bytes + size
        if count < FEW_ROWS and (after <= FEW_BYTES or not count):
            return True
        budget = self._budget
        return count < ROWS and after <= BYTES and budget.used + size <= budget.limit

    def _grow(self, size: int) -> None:
        self.bytes += size
        self._budget.used += size
