"""The one writing connection: opened, checked, migrated; it lives on the writer's thread."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hookpost.core.errors import StorageCorrupt, StorageFull
from hookpost.core.model import SourceRecord
from hookpost.storage.sqlite import sql
from hookpost.storage.sqlite.books import Book, Tally, book_of
from hookpost.storage.sqlite.faults import Fault, fault
from hookpost.storage.sqlite.files import Ballast, free_bytes
from hookpost.storage.sqlite.room import Room

APPLICATION_ID = 0x484B5054  # "HKPT"
SYNCHRONOUS = {"full": 2, "extra": 3}
MARK_EVERY = 1.0  # seconds between two readings of the clock that are written down
_STEP = 2.0  # seconds the clock may differ after a restart before waits are moved

_PRAGMAS: Mapping[str, int] = {
    "busy_timeout": 5000,
    "foreign_keys": 1,
    "trusted_schema": 0,
    "cell_size_check": 1,
    "secure_delete": 0,  # where it is on, deleting a body writes as much as storing it did
    "mmap_size": 0,
    "temp_store": 2,
    "cache_size": -16384,
    "journal_size_limit": 64 << 20,
    "wal_autocheckpoint": 1000,
}
_UNREPORTED = {"mmap_size"}  # a build without it answers nothing


class Store:
    """The writing connection with its counters. Used by one thread only.

    `books` belong to the loop: they are read here while a batch runs, and changed there only
    while none does.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, books: dict[int, Book]) -> None:
        self.connection = connection
        self.path = path
        self.books = books
        self.room = Room(connection, path)
        self.sequence = 0
        self.delivery = 0
        self.seen_at = 0.0
        self.shrinking = False  # retention by size has begun and not yet reached its aim
        self.quiet = False  # nobody waits for the running transaction but those of its steps
        self._marked = (0, 0, 0.0)
        self._written = sql.statements("writer")

    @classmethod
    def open(cls, path: Path, *, synchronous: str, now: float) -> "Store":
        """Open and migrate. Raises StorageCorrupt, StorageFull or sqlite3.Error.

        On a full disk the ballast is given up for it.
        """
        try:
            return cls._opened(path, synchronous, now)
        except sqlite3.Error as error:
            if fault(error) is not Fault.FULL or not Ballast(path).release():
                raise
        return cls._opened(path, synchronous, now)

    @classmethod
    def _opened(cls, path: Path, synchronous: str, now: float) -> "Store":
        connection = connect(path)
        try:
            try:
                configure(connection, path, synchronous)
                migrate(connection, path)
                return cls._loaded(connection, path, now)
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                    raise damaged(path, str(error)) from error
                raise
        except BaseException:
            connection.close()
            raise

    @classmethod
    def _loaded(cls, connection: sqlite3.Connection, path: Path, now: float) -> "Store":
        store = cls(connection, path, {})
        store.books.update({book.record.id: book for book in store.read_books()})
        row = connection.execute(store._written["read_mark"]).fetchone()
        store.sequence, store.delivery, store.seen_at = row
        back = store.seen_at - now
        if back > _STEP:
            store.run("set_back", {"now": now, "seconds": back})
            store.run("forget_seen", (now,))
            store.seen_at = now
        store.room.settle_in()
        return store

    def read_books(self) -> list[Book]:
        """Every endpoint's row."""
        cursor = self.connection.cursor()
        cursor.row_factory = sqlite3.Row
        query = sql.statements("endpoints")["read_endpoints"]
        return [book_of(row) for row in cursor.execute(query)]

    def read_sources(self) -> dict[str, SourceRecord]:
        """Every source's row."""
        rows = self.connection.execute(self._written["read_sources"])
        return {row[0]: SourceRecord(*row) for row in rows}

    # -- statements --------------------------------------------------------------------------

    def run(self, name: str, parameters: Any = (), file: str = "writer") -> sqlite3.Cursor:
        """Execute a named statement."""
        return self.connection.execute(sql.statements(file)[name], parameters)

    def run_each(self, name: str, rows: Iterable[Any], file: str = "writer") -> int:
        """Execute a named statement for each row of parameters; how many rows it changed."""
        return self.connection.executemany(sql.statements(file)[name], rows).rowcount

    def run_chunks(
        self,
        name: str,
        values: Sequence[Any],
        *,
        width: int = 1,
        before: tuple[Any, ...] = (),
        file: str = "writer",
    ) -> int:
        """Execute a statement with a repeated part; how many rows it changed.

        `values` are flat, `width` to a row; `before` are the parameters left of them.
        """
        changed = 0
        for rows, part in sql.chunks(values, width):
            text = sql.repeated(file, name, rows)
            changed += self.connection.execute(text, (*before, *part)).rowcount
        return changed

    def find(
        self,
        name: str,
        values: Sequence[Any],
        file: str = "writer",
        *,
        before: tuple[Any, ...] = (),
    ) -> Iterable[tuple[Any, ...]]:
        """The rows of a query with a repeated part; `before` are the parameters left of it."""
        for rows, part in sql.chunks(values):
            yield from self.connection.execute(sql.repeated(file, name, rows), (*before, *part))

    def pragma(self, name: str) -> int:
        """A number that SQLite tells of the file."""
        row: tuple[Any, ...] = self.connection.execute(f"PRAGMA {name}").fetchone()
        return int(row[0])

    # -- transactions ------------------------------------------------------------------------

    def begin(self) -> None:
        """Take the write lock at once: a later upgrade could fail without waiting."""
        self.connection.execute("BEGIN IMMEDIATE")

    def commit(self, tally: Tally, *, removing: bool = False) -> None:
        """Write what was counted, and commit; `removing`: rows may have been deleted."""
        if tally.endpoints:
            for number, deltas in tally.endpoints.items():
                if any(deltas):
                    self.run("count_endpoint", (*deltas, number))
        if tally.sources:
            self.run_each("count_source", [(name, *sums) for name, sums in tally.sources.items()])
        mark = self.sequence, self.delivery, self.seen_at
        # The rows themselves tell the numbers given, until they are deleted. Housekeeping that
        # found nothing to do leaves no log behind.
        late = self.seen_at - self._marked[2] >= MARK_EVERY
        due = late or (removing and mark != self._marked)
        if due:
            self.run("mark", mark)
        self.connection.execute("COMMIT")
        if due:
            self._marked = mark

    def rollback(self) -> None:
        """Undo; SQLite may have done so by itself."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def close(self, *, checkpoint: bool) -> None:
        """Fold the write-ahead log into the database, and close."""
        try:
            if checkpoint:
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            self.connection.close()


def connect(path: Path) -> sqlite3.Connection:
    """A plain connection without implicit transactions; its caches fit our statements."""
    return sqlite3.connect(path, isolation_level=None, cached_statements=512)


def configure(connection: sqlite3.Connection, path: Path, synchronous: str) -> None:
    """Set every pragma and read it back: one that did not take would break a promise unseen."""
    if connection.execute("PRAGMA page_count").fetchone()[0] == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only before the first table
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StorageCorrupt(
            f"{path}: journal mode is {mode!r} in place of 'wal'; put it on a local disk"
        )
    for name, value in {**_PRAGMAS, "synchronous": SYNCHRONOUS[synchronous]}.items():
        connection.execute(f"PRAGMA {name} = {value}")
        row = connection.execute(f"PRAGMA {name}").fetchone()
        if row is None and name in _UNREPORTED:
            continue
        if row is None or row[0] != value:
            raise StorageCorrupt(
                f"{path}: SQLite {sqlite3.sqlite_version} does not take {name} = {value}"
                f" (it says {row[0] if row else 'nothing'}); use another build of SQLite"
            )


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date, one transaction a step.

    Raises StorageCorrupt for a newer schema or a foreign file, StorageFull where a step might
    run out of disk half-way.
    """
    steps = sql.migrations()
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    identity = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if tables and identity != APPLICATION_ID:
        raise StorageCorrupt(
            f"{path}: is a database of another program; name another storage.sqlite.path"
        )
    if version > steps[-1][0]:
        raise StorageCorrupt(
            f"{path}: has schema {version}, this program knows {steps[-1][0]};"
            " run the newer Hookpost that wrote it, or restore a backup"
        )
    for number, script in steps:
        if number <= version:
            continue
        require_room(path)
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};"
                f"\nPRAGMA application_id = {APPLICATION_ID};\nCOMMIT;"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def require_room(path: Path) -> None:
    """Raise StorageFull where less than twice the file's size is free."""
    free, needed = free_bytes(path.parent), 2 * path.stat().st_size
    if free < needed:
        raise StorageFull(
            f"{path}: {free} bytes are free, bringing the schema up to date may take {needed};"
            " make room first"
        )


def damaged(path: Path, why: str) -> StorageCorrupt:
    """The error for a file that cannot be trusted."""
    return StorageCorrupt(
        f"{path}: is damaged or no SQLite database ({why});"
        " restore a backup, or move it away to begin with an empty outbox"
    )
