"""The verbs that people have over deliveries, as steps of the writer's transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from hookpost.core.model import DeadReason, EndpointId, State
from hookpost.storage import refusals
from hookpost.storage.outbox import DeliveryView
from hookpost.storage.sqlite.books import CANCELLED, DEAD_LETTERS, PENDING, REPLAYED, Tally
from hookpost.storage.sqlite.lines import Line, at_the_tail, let_go
from hookpost.storage.sqlite.retention import delete
from hookpost.storage.sqlite.store import Store

PENDING_ROW, DEAD_ROW = 0, 2
_UNSENDABLE = DeadReason.TRANSFORM.value


@dataclass(frozen=True, slots=True)
class Changed:
    """How many deliveries a step changed, and which of those named are pending now, and where."""

    count: int
    pending: Sequence[tuple[int, float, int]]


class Change(Protocol):
    """One verb over some deliveries."""

    def over(self, numbers: Sequence[int]) -> "Change":
        """The same verb over these deliveries."""
        ...

    def write(self, store: Store, tally: Tally) -> int:
        """Change the rows that are in a state that allows it; how many."""
        ...

    def refusal(self, view: DeliveryView) -> str:
        """Why this delivery is refused, and what to do."""
        ...


def carry_out(store: Store, change: Change, numbers: Sequence[int], tally: Tally) -> Changed:
    """Write a verb, and look where its deliveries stand now."""
    count = change.write(store, tally)
    pending = [(row[0], row[1], row[2]) for row in store.find("still_pending", numbers, "people")]
    return Changed(count, pending)


@dataclass(frozen=True, slots=True)
class _Named:
    """What all verbs share: the deliveries, and the moment."""

    now: float
    numbers: Sequence[int] = ()

    def refusal(self, view: DeliveryView) -> str:
        """The state says it."""
        return refusals.unchanged(view)


@dataclass(frozen=True, slots=True)
class Hasten(_Named):
    """Pending deliveries are due now."""

    def over(self, numbers: Sequence[int]) -> "Hasten":
        """The same over these."""
        return replace(self, numbers=numbers)

    def write(self, store: Store, tally: Tally) -> int:
        """Move their due time; nothing is counted."""
        return store.run_chunks("make_due", self.numbers, before=(self.now,), file="people")


@dataclass(frozen=True, slots=True)
class Move(_Named):
    """Parked deliveries go to another endpoint, in a new round there."""

    to: EndpointId = field(kw_only=True)

    def over(self, numbers: Sequence[int]) -> "Move":
        """The same over these."""
        return replace(self, numbers=numbers)

    def refusal(self, view: DeliveryView) -> str:
        """Only parked deliveries are moved."""
        return refusals.unmoved(view)

    def write(self, store: Store, tally: Tally) -> int:
        """Cancelled at the old endpoint, replayed at the new one; the event's row count stays."""
        rows = list(store.find("states_of", self.numbers, "people"))
        moving = [row for row in rows if row[2] == PENDING_ROW]
        started = store.books[self.to].record.active_clock(self.now)
        before = (self.to, self.now, started, self.now)
        keyed = [(row[0], row[1], row[5]) for row in moving if row[5] is not None]
        joining = [(number, self.to, key) for number, _, key in keyed]
        places = at_the_tail(store, joining, self.now, tally)
        count = store.run_chunks("move", [row[0] for row in moving], before=before, file="people")
        store.run_each("join_line", places, "people")
        let_go(store, [(endpoint, key) for _, endpoint, key in keyed], self.now, tally)
        for _, endpoint, *_ in moving:
            deltas = tally.endpoint(endpoint)
            deltas[CANCELLED] += 1
            deltas[PENDING] -= 1
        deltas = tally.endpoint(self.to)
        deltas[REPLAYED] += count
        deltas[PENDING] += count
        return count


@dataclass(frozen=True, slots=True)
class Cancel(_Named):
    """Pending, parked and dead deliveries end."""

    def over(self, numbers: Sequence[int]) -> "Cancel":
        """The same over these."""
        return replace(self, numbers=numbers)

    def write(self, store: Store, tally: Tally) -> int:
        """A dead letter was counted as finished when it died: it only leaves the dead letters."""
        left: list[Line] = []
        for _, endpoint, state, *_, key in store.find("states_of", self.numbers, "people"):
            deltas = tally.endpoint(endpoint)
            if state == PENDING_ROW:
                deltas[PENDING] -= 1
                deltas[CANCELLED] += 1
                if key is not None:
                    left.append((endpoint, key))
            elif state == DEAD_ROW:
                deltas[DEAD_LETTERS] -= 1
        count = store.run_chunks("cancel", self.numbers, before=(self.now,), file="people")
        let_go(store, left, self.now, tally)
        return count


@dataclass(frozen=True, slots=True)
class Replay(_Named):
    """Dead letters begin a new round, at the tail."""

    def over(self, numbers: Sequence[int]) -> "Replay":
        """The same over these."""
        return replace(self, numbers=numbers)

    def refusal(self, view: DeliveryView) -> str:
        """Only its endpoint can be the reason where it is dead."""
        return refusals.not_replayed(view)

    def write(self, store: Store, tally: Tally) -> int:
        """Those of removed endpoints stay dead: they would be parked, and expire.

        So do those whose transform failed: there is nothing to send.
        """
        rows, keyed = [], []
        found = list(store.find("states_of", self.numbers, "people"))
        for number, endpoint, state, _, reason, key in found:
            record = store.books[endpoint].record
            if state != DEAD_ROW or record.removed_at is not None or reason == _UNSENDABLE:
                continue
            rows.append((self.now, record.active_clock(self.now), self.now, number))
            if key is not None:
                keyed.append((number, endpoint, key))
            deltas = tally.endpoint(endpoint)
            deltas[REPLAYED] += 1
            deltas[PENDING] += 1
            deltas[DEAD_LETTERS] -= 1
        if not rows:
            return 0
        places = at_the_tail(store, keyed, self.now, tally)
        count = store.run_each("replay", rows, "people")
        store.run_each("join_line", places, "people")
        return count


@dataclass(frozen=True, slots=True)
class PurgeDead(_Named):
    """Dead letters are deleted."""

    def over(self, numbers: Sequence[int]) -> "PurgeDead":
        """The same over these."""
        return replace(self, numbers=numbers)

    def write(self, store: Store, tally: Tally) -> int:
        """With their attempts, and events that nobody else is owed."""
        rows = [
            (number, event, endpoint)
            for number, endpoint, state, event, *_ in store.find(
                "states_of", self.numbers, "people"
            )
            if state == DEAD_ROW
        ]
        delete(store, rows, State.DEAD, tally)
        return len(rows)
