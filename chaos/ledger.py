"""What was sent, what was promised, what arrived, and the reckoning between the three.

A repetition is explained only by what the harness saw itself: an answer that was no 2xx, one that
came late or never reached the daemon whole, or an end of the daemon between the two at which the
delivery still stood as pending in the database. Nothing that the daemon says counts.
"""

import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chaos import Violation

LATE = 0.7  # of an attempt's time; an answer later than that may have come too late
SHOWN = 8  # mistakes that are spelled out

Key = tuple[str, str]
"""An endpoint and an event id."""


class Way(Protocol):
    """The way of one connection's answers to the daemon."""

    def passed(self, end: int) -> float | None:
        """When the first `end` bytes had been let through; None: they never were."""
        ...


@dataclass(slots=True)
class Sent:
    """One event as its publisher remembers it."""

    id: str
    data: bytes
    owed: int = 0
    accepted: bool = False
    doubted: bool = False
    refused: int = 0


@dataclass(slots=True)
class Reception:
    """One request as a receiver saw it. `head_end` counts bytes of its connection's answers."""

    endpoint: str
    id: str
    attempt: int
    digest: bytes
    at: float
    status: int | None = None
    answered: float | None = None
    head_end: int = 0
    way: Way | None = None

    @property
    def key(self) -> Key:
        """Which delivery it was."""
        return self.endpoint, self.id


@dataclass(frozen=True, slots=True)
class Ending:
    """An end of the daemon, and the deliveries that the database then had as pending."""

    at: float
    how: str
    pending: frozenset[Key]


@dataclass(frozen=True, slots=True)
class Row:
    """A delivery as the database has it."""

    id: str
    endpoint: str
    state: str
    reason: str | None

    @property
    def key(self) -> Key:
        """Which delivery it is."""
        return self.endpoint, self.id


@dataclass
class Ledger:
    """One round's accounts. `timeout` is the seconds that an attempt may take.

    `spared` are the states, `state` or `state:reason`, in which a delivery may end unreceived;
    `purged` says that finished rows may be missing: those that were received, and `forgiven` more
    that the counters tell as dead.
    """

    timeout: float
    spared: frozenset[str] = frozenset()
    purged: bool = False
    forgiven: int = 0
    sent: dict[str, Sent] = field(default_factory=dict)
    receptions: dict[Key, list[Reception]] = field(default_factory=lambda: defaultdict(list))
    endings: list[Ending] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    closed: int = 0
    _explained: Counter[str] = field(default_factory=Counter)

    # -- what the publisher tells --------------------------------------------------------------

    def send(self, id: str, data: bytes) -> Sent:
        """A new event is about to be sent."""
        made = self.sent[id] = Sent(id, data)
        return made

    def answered(self, sent: Sent, status: int, event_id: str, owed: int) -> None:
        """A 2xx came: from now on the event may not be lost."""
        if event_id != sent.id:
            self.mistakes.append(f"{sent.id}: answered with another id, {event_id}")
        if status == 202 and sent.accepted:
            self.mistakes.append(f"{sent.id}: accepted twice, as if it were new")
        if status == 200 and not (sent.accepted or sent.doubted):
            self.mistakes.append(f"{sent.id}: new, but answered as a duplicate")
        if sent.accepted and owed != sent.owed:
            self.mistakes.append(f"{sent.id}: owed {sent.owed} deliveries, now {owed}")
        sent.accepted, sent.owed = True, owed

    @property
    def accepted(self) -> list[Sent]:
        """The events that got a 2xx."""
        return [sent for sent in self.sent.values() if sent.accepted]

    # -- what the receiver tells ---------------------------------------------------------------

    def receive(self, reception: Reception, body: bytes) -> None:
        """A request arrived."""
        sent = self.sent.get(reception.id)
        if sent is None:
            self.mistakes.append(f"{reception.id}: received, but never sent")
        elif sent.refused:
            self.mistakes.append(f"{reception.id}: received, though refused with {sent.refused}")
        elif b'"data":' + sent.data not in body:
            self.mistakes.append(f"{reception.id}: {reception.endpoint} got other data than sent")
        before = self.receptions[reception.key]
        if before and before[0].digest != reception.digest:
            self.mistakes.append(f"{reception.id}: other bytes on another attempt")
        before.append(reception)

    def end(self, how: str, rows: Iterable[Row]) -> None:
        """The daemon has ended, and this is what the database holds."""
        pending = frozenset(row.key for row in rows if row.state == "pending")
        self.endings.append(Ending(time.monotonic(), how, pending))

    # -- the reckoning -------------------------------------------------------------------------

    def reckon(self, rows: Sequence[Row]) -> Counter[str]:
        """Why each repetition happened, counted; raises Violation for all that is wrong."""
        for receptions in self.receptions.values():
            self._explain(receptions)
        mistakes = [*self.mistakes, *self._lost(rows)]
        if mistakes:
            shown = "\n  ".join(mistakes[:SHOWN])
            more = f"\n  and {len(mistakes) - SHOWN} more" if len(mistakes) > SHOWN else ""
            raise Violation(f"{len(mistakes)} mistakes in the accounts:\n  {shown}{more}")
        return self._explained

    def close(self, age: float) -> None:
        """Judge and forget the events that everybody took so many seconds ago.

        One that comes back all the same is a stranger then. Where rows are purged sooner than that.
        """
        before = time.monotonic() - age
        took = self._takers()
        for sent in self.accepted:
            keys = [(endpoint, sent.id) for endpoint in took[sent.id]]
            old = all(self.receptions[key][-1].at < before for key in keys)
            if len(keys) == sent.owed and old:
                for key in keys:
                    self._explain(self.receptions.pop(key))
                del self.sent[sent.id]
                self.closed += 1

    def _explain(self, receptions: Sequence[Reception]) -> None:
        for earlier, later in itertools.pairwise(receptions):
            why = self._why(earlier, later)
            if why is None:
                self.mistakes.append(_unexplained(earlier, later))
            else:
                self._explained[why] += 1

    def _takers(self) -> Mapping[str, set[str]]:
        """The endpoints that took each event."""
        took: Mapping[str, set[str]] = defaultdict(set)
        for (endpoint, id), found in self.receptions.items():
            if any(map(_took, found)):
                took[id].add(endpoint)
        return took

    def _lost(self, rows: Sequence[Row]) -> Iterable[str]:
        by_id: Mapping[str, list[Row]] = defaultdict(list)
        for row in rows:
            by_id[row.id].append(row)
        took = self._takers()
        missing = 0
        for sent in self.accepted:
            stored = by_id.get(sent.id, [])
            known = {row.endpoint for row in stored}
            known |= {name for name in took[sent.id] if self.purged}
            short = sent.owed - len(known)
            if short < 0 or (short and not self.purged):
                yield f"{sent.id}: accepted, {sent.owed} deliveries owed, {len(stored)} stored"
            missing += short
        if missing > self.forgiven:
            yield f"{missing} deliveries are neither stored nor received, {self.forgiven} died"
        for row in rows:
            if row.id not in self.sent or self.sent[row.id].refused:
                yield f"{row.id}: stored, but never sent or refused"
            elif not self._ended_well(row):
                yield f"{row.id}: {row.state} ({row.reason}) at {row.endpoint}, and not delivered"

    def _ended_well(self, row: Row) -> bool:
        if row.state == "delivered":
            return any(map(_took, self.receptions.get(row.key, ())))
        return bool({row.state, f"{row.state}:{row.reason}"} & self.spared)

    def _why(self, earlier: Reception, later: Reception) -> str | None:
        """What explains that a delivery was attempted again."""
        if earlier.answered is None or earlier.status is None:
            seen = None
        else:
            seen = earlier.answered if earlier.way is None else earlier.way.passed(earlier.head_end)
        if earlier.status is not None and not 200 <= earlier.status <= 299:
            return "refused"
        for ending in self.endings:
            if earlier.at <= ending.at <= later.at and earlier.key in ending.pending:
                return ending.how
        if seen is None:
            return "unanswered" if earlier.answered is None else "cut"
        return "late" if seen - earlier.at > LATE * self.timeout else None


def _took(reception: Reception) -> bool:
    """Whether the receiver said that it took the event."""
    return reception.status is not None and 200 <= reception.status <= 299


def _unexplained(earlier: Reception, later: Reception) -> str:
    return (
        f"{earlier.id}: repeated at {earlier.endpoint} though answered {earlier.status}"
        f" (attempt {earlier.attempt}, then {later.attempt} {later.at - earlier.at:.3f} s later)"
    )
