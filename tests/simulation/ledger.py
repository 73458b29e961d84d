"""What publishers were promised, and whether it was kept."""

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from tests.simulation.network import Network, Row
from tests.simulation.trace import Violation

PENDING, DELIVERED, DEAD, CANCELLED = range(4)  # delivery.state


@dataclass
class Sent:
    """One event as its publisher remembers it."""

    source: str
    event_type: str
    data: bytes
    at: float
    event_id: str | None = None  # None: the gateway makes one
    acknowledged: bool = False
    owed: list[list[str]] = field(default_factory=list)
    """Keys of the endpoints it was owed to, each time that it was sent.

    Only one of them counts; which, is known when an answer comes.
    """


@dataclass
class Ledger:
    """All that was sent; `by_id` of those whose id is known."""

    sent: list[Sent] = field(default_factory=list)
    by_id: dict[tuple[str, str], Sent] = field(default_factory=dict)
    broken: str = ""  # the first promise that a publisher saw broken

    def acknowledge(self, sent: Sent, event_id: str, deliveries: int, *, duplicate: bool) -> None:
        """A 2xx came: from now on the event may not be lost."""
        key = (sent.source, event_id)
        known = self.by_id.setdefault(key, sent)
        if known.acknowledged and not duplicate:
            self._break(f"{key}: accepted twice inside its window")
        if duplicate and known is sent and sent.event_id is None:
            self._break(f"{key}: a new event was answered as a duplicate")
        if not duplicate:
            known.owed = known.owed[-1:]
        known.owed = [keys for keys in known.owed if len(keys) == deliveries]
        if not known.owed:
            self._break(f"{key}: {deliveries} deliveries were made, that is not what was owed")
        known.event_id = event_id
        known.acknowledged = True

    def _break(self, words: str) -> NoReturn:
        """Remembered, too: the publisher who noticed may die before anybody asks him."""
        self.broken = self.broken or words
        raise Violation(words)

    def check(self, database: Path, network: Network) -> None:
        """At the end: every acknowledged event reached everybody it was owed to, or was given up.

        Given up is what a person or the configuration cancelled.
        """
        if self.broken:
            raise Violation(self.broken)
        states = _states(database)
        for sent in self.by_id.values():
            if not sent.acknowledged:
                continue
            lost = [self._lost(sent, keys, states, network) for keys in sent.owed]
            if all(lost):
                raise Violation(f"{sent.event_id} is lost: {lost[0]}")

    def _lost(
        self, sent: Sent, keys: list[str], states: dict[tuple[str, str], int], network: Network
    ) -> str:
        """What is wrong with one event, if it was owed to these."""
        event = str(sent.event_id)
        for key in keys:
            past, state = network.receiver(key).past.get(event), states.get((event, key))
            if past is not None and past.body != sent.data:
                raise Violation(f"{event}: {key} got other bytes than were sent")
            took = past is not None and past.accepted > 0
            if state != CANCELLED and not (took and state in (None, DELIVERED)):
                return f"{key} has not got it, its state is {state}"
        return ""


def check_books(database: Path) -> None:
    """The file is whole, and what is counted of each endpoint is what the rows say."""
    db = sqlite3.connect(database)
    try:
        [(verdict,)] = db.execute("PRAGMA quick_check").fetchall()
        if verdict != "ok":
            raise Violation(f"the database is damaged: {verdict}")
        rows = Counter(dict(_counted(db)))
        columns = (
            "id, name, created + replayed, delivered + dead + cancelled, pending, dead_letters"
        )
        for number, name, came, ended, pending, letters in db.execute(
            f"SELECT {columns} FROM endpoint"
        ):
            if came != ended + pending:
                raise Violation(f"{name}: {came} came, {ended} ended, {pending} are pending")
            if pending != rows[(number, PENDING)] or letters != rows[(number, DEAD)]:
                raise Violation(f"{name}: {pending}, {letters} counted, the rows say {rows}")
        orphans = "SELECT count(*) FROM delivery d LEFT JOIN event e ON e.seq = d.event"
        [(lost,)] = db.execute(f"{orphans} WHERE e.seq IS NULL").fetchall()
        if lost:
            raise Violation(f"{lost} deliveries have no event")
    finally:
        db.close()


def _counted(db: sqlite3.Connection) -> list[tuple[tuple[int, int], int]]:
    query = "SELECT endpoint, state, count(*) FROM delivery GROUP BY endpoint, state"
    return [((endpoint, state), count) for endpoint, state, count in db.execute(query)]


def row_of(database: Path, event: str, key: str) -> Row | None:
    """What is committed of the newest delivery of an event to a receiver; None: it was purged."""
    db = sqlite3.connect(database)
    try:
        query = """SELECT d.state, d.replayed_at IS NOT NULL FROM delivery d
                   JOIN event e ON e.seq = d.event JOIN endpoint p ON p.id = d.endpoint
                   WHERE e.id = ? AND substr(p.name, 1, instr(p.name, '-') - 1) = ?
                   ORDER BY d.id DESC LIMIT 1"""
        found = db.execute(query, (event, key)).fetchone()
        return None if found is None else Row(found[0] == PENDING, bool(found[1]))
    finally:
        db.close()


def _states(database: Path) -> dict[tuple[str, str], int]:
    """(event id, endpoint's key) → state."""
    db = sqlite3.connect(database)
    try:
        query = """SELECT e.id, p.name, d.state FROM delivery d
                   JOIN event e ON e.seq = d.event JOIN endpoint p ON p.id = d.endpoint"""
        return {(event, name.partition("-")[0]): state for event, name, state in db.execute(query)}
    finally:
        db.close()
