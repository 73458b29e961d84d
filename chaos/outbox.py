"""The database as it lies there: what its rows say, and whether it is sound."""

import contextlib
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from chaos import Violation
from chaos.ledger import Row

STATES = ("pending", "delivered", "dead", "cancelled")
FILES = ("", "-wal", "-journal")  # what a database consists of at rest

ROWS = """
    SELECT event.id, endpoint.name, delivery.state, delivery.reason
    FROM delivery JOIN event ON event.seq = delivery.event
                  JOIN endpoint ON endpoint.id = delivery.endpoint
"""
ORPHANS = """
    SELECT count(*) FROM delivery
    WHERE event NOT IN (SELECT seq FROM event)
       OR endpoint NOT IN (SELECT id FROM endpoint)
"""
COUNTS = """
    SELECT name, created, replayed, delivered, dead, cancelled, pending, dead_letters FROM endpoint
"""
STORED = """
    SELECT endpoint.name, delivery.state, count(*)
    FROM delivery JOIN endpoint ON endpoint.id = delivery.endpoint GROUP BY 1, 2
"""


@contextlib.contextmanager
def copy_of(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a copy: to recover the original is the daemon's work."""
    with tempfile.TemporaryDirectory(prefix="copy-", dir=database.parent.parent) as folder:
        for ending in FILES:
            path = database.with_name(database.name + ending)
            if path.exists():
                shutil.copyfile(path, Path(folder) / path.name)
        with contextlib.closing(sqlite3.connect(Path(folder) / database.name)) as connection:
            yield connection


def rows(database: Path) -> list[Row]:
    """Every delivery; none where there is no table yet."""
    with copy_of(database) as connection:
        if not _has_tables(connection):
            return []
        found = connection.execute(ROWS).fetchall()
    return [Row(id, endpoint, STATES[state], reason) for id, endpoint, state, reason in found]


def sound(database: Path) -> dict[str, dict[str, int]]:
    """Raise Violation for a damaged database or counters that differ from the rows they count.

    Answers the counters by endpoint.
    """
    with copy_of(database) as connection:
        found = connection.execute("PRAGMA integrity_check").fetchall()
        if found != [("ok",)]:
            raise Violation(f"integrity_check: {found[:5]}")
        if not _has_tables(connection):
            return {}
        if orphans := connection.execute(ORPHANS).fetchone()[0]:
            raise Violation(f"{orphans} deliveries without their event or endpoint")
        cursor = connection.execute(COUNTS)
        names = [column[0] for column in cursor.description][1:]
        counts = {name: dict(zip(names, values, strict=True)) for name, *values in cursor}
        stored = Counter({(name, STATES[s]): n for name, s, n in connection.execute(STORED)})
    for name, count in counts.items():
        _conserved(name, count)
        for kind, state in (("pending", "pending"), ("dead_letters", "dead")):
            if count[kind] != stored[name, state]:
                raise Violation(
                    f"{name}: counts {count[kind]} {kind}, has {stored[name, state]} rows"
                )
    return counts


def _has_tables(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])


def _conserved(name: str, count: Mapping[str, int]) -> None:
    """created + replayed = finished + pending."""
    ended = count["delivered"] + count["dead"] + count["cancelled"]
    if count["created"] + count["replayed"] != ended + count["pending"]:
        raise Violation(f"{name}: the counters do not add up: {dict(count)}")


def agree(shown: Mapping[str, Mapping[str, int]], stored: Mapping[str, Mapping[str, int]]) -> None:
    """Raise Violation where /metrics, at rest, says anything else than the table."""
    for name, count in stored.items():
        metrics = shown.get(name)
        if metrics is None:
            raise Violation(f"{name}: is in the table and not in /metrics")
        waiting = sum(metrics[f"deliveries_{kind}"] for kind in ("pending", "in_flight", "parked"))
        pairs = {
            "created": metrics["deliveries_created_total"],
            "replayed": metrics["deliveries_replayed_total"],
            "delivered": metrics["delivered"],
            "dead": metrics["dead"],
            "cancelled": metrics["cancelled"],
            "pending": waiting,
            "dead_letters": metrics["dead_letters"],
        }
        if pairs != count:
            raise Violation(f"{name}: /metrics says {pairs}, the table {dict(count)}")
