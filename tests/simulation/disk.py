"""The disk under the real outbox: the same SQLite, reached in turns of the loop, with faults.

The writer's thread and the readers' threads become timers, because threads have no order that a
seed could repeat. A batch, a statement and what is read of it take a while each, so that puts,
claims and refills still meet as they do on threads.
"""

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from tests.simulation.loop import Crash

from hookpost.clock import Clock
from hookpost.core.errors import StorageUnavailable
from hookpost.storage.sqlite import files, outbox, room, store
from hookpost.storage.sqlite.store import Store
from hookpost.storage.sqlite.transaction import Batch, Done, transact
from hookpost.storage.sqlite.writer import Opened

ROOMY = 10 << 30  # bytes that are free while the disk is not full
BALLAST = 256 << 10  # instead of megabytes: a simulated disk is small
FOLD_AFTER = 2.0  # seconds after which an idle writer folds the log in


class Disk:
    """What one database file lives on. Faults are switched from outside."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.full = False
        self.busy = False  # another process holds the write lock
        self.broken = False  # a sync fails
        self.slow = 0.0  # seconds added to each batch
        self.die: str | None = None  # the next batch dies: begin, commit, committed, told
        self.committed = 0.0  # when something was last committed
        self.time: Callable[[], float] = float
        self.connections: list[sqlite3.Connection] = []
        self.locks: list[files.Lock] = []

    def free(self, _: Path) -> int:
        """Bytes of the file system that are free."""
        return 4096 if self.full else ROOMY

    def latency(self) -> float:
        """Seconds that one batch or one query takes."""
        return self.rng.uniform(0.0002, 0.004) + self.slow

    def dies(self, where: str) -> None:
        """Die at this point, if that is what was asked for."""
        if self.die == where:
            self.die = None
            raise Crash

    def connect(self, path: Path) -> sqlite3.Connection:
        """The one writing connection."""
        connection = sqlite3.connect(
            path, isolation_level=None, cached_statements=512, factory=_Connection
        )
        assert isinstance(connection, _Connection)
        connection.disk = self
        self.connections.append(connection)
        return connection

    def lock(self, path: Path) -> files.Lock:
        """The lock of one process, which the kernel lets go when it dies."""
        self.locks.append(files.Lock(path))
        return self.locks[-1]

    def lose_power(self) -> None:
        """The process is gone: open transactions are rolled back when the file is opened again."""
        for connection in self.connections:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        self.connections.clear()
        for lock in self.locks:
            with contextlib.suppress(OSError):  # it was let go in good order
                lock.release()
        self.locks.clear()
        self.die = None

    @contextlib.contextmanager
    def mounted(self) -> Iterator[None]:
        """The outbox's modules use this disk."""
        with contextlib.ExitStack() as stack:
            for module in (room, files, store, outbox):
                stack.enter_context(mock.patch.object(module, "free_bytes", self.free))
            for module in (room, files):
                stack.enter_context(mock.patch.object(module, "BALLAST", BALLAST))
            stack.enter_context(mock.patch.object(room, "SLACK", BALLAST))
            stack.enter_context(mock.patch.object(files, "_SPARE", 2 * BALLAST))
            stack.enter_context(mock.patch.object(store, "connect", self.connect))
            stack.enter_context(mock.patch.object(outbox, "Writer", self._writer))
            stack.enter_context(mock.patch.object(outbox, "Lock", self.lock))
            stack.enter_context(mock.patch.object(outbox, "Reader", _Readers(self)))
            yield

    def _writer(self, path: Path, synchronous: str, clock: Clock) -> "InlineWriter":
        return InlineWriter(self, path, synchronous, clock)


class _Connection(sqlite3.Connection):
    disk: Disk

    def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if statement == "BEGIN IMMEDIATE":
            self.disk.dies("begin")
            if self.disk.busy:
                raise _error("database is locked", sqlite3.SQLITE_BUSY)
        elif statement == "COMMIT":
            if self.disk.full and self.disk.rng.random() < 0.3:
                raise _error("database or disk is full", sqlite3.SQLITE_FULL)
            self.disk.dies("commit")
            if self.disk.broken:  # nobody knows whether it is on disk: here it is, or it is not
                if self.disk.rng.random() < 0.5:
                    super().execute(statement, parameters)
                raise _error("disk I/O error", sqlite3.SQLITE_IOERR_FSYNC)
            cursor = super().execute(statement, parameters)
            self.disk.committed = self.disk.time()
            self.disk.dies("committed")
            return cursor
        return super().execute(statement, parameters)


def _error(words: str, code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(words)
    error.sqlite_errorcode = code
    return error


class InlineWriter:
    """See storage.sqlite.writer.Writer: one batch after the other, in turns of the loop."""

    def __init__(self, disk: Disk, path: Path, synchronous: str, clock: Clock) -> None:
        self._disk = disk
        self._path, self._synchronous, self._clock = path, synchronous, clock
        self._loop = asyncio.get_running_loop()
        self._answer: Callable[[Done], None] | None = None
        self._fold: asyncio.TimerHandle | None = None

    async def open(self) -> Opened:
        now = self._clock.now()
        self._store = Store.open(self._path, synchronous=self._synchronous, now=now)
        return self._store.books, self._store.read_sources()

    def serve(
        self, answer: Callable[[Done], None], broke: Callable[[StorageUnavailable], None]
    ) -> None:
        self._answer = answer

    def submit(self, batch: Batch) -> None:
        if self._fold is not None:
            self._fold.cancel()
        self._loop.call_later(self._disk.latency(), self._carry_out, batch)

    def _carry_out(self, batch: Batch) -> None:
        done = transact(self._store, batch)
        done.seconds = self._disk.latency()
        self._loop.call_later(self._disk.latency() / 10, self._tell, done)

    def _tell(self, done: Done) -> None:
        self._disk.dies("told")
        assert self._answer is not None
        self._fold = self._loop.call_later(FOLD_AFTER, self._store.room.fold)
        self._answer(done)

    async def close(self) -> None:
        if self._fold is not None:
            self._fold.cancel()
        self._store.close(checkpoint=True)


class _Readers:
    """Opens readers, where the outbox asks the class Reader for one."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def open(self, path: Path) -> "InlineReader":
        connection = sqlite3.connect(path, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA query_only = ON")
        self._disk.connections.append(connection)
        return InlineReader(self._disk, connection)


class InlineReader:
    """See storage.sqlite.reader.Reader: what it tells may be old by the time it is told."""

    def __init__(self, disk: Disk, connection: sqlite3.Connection) -> None:
        self._disk = disk
        self._connection = connection

    async def rows(
        self, statement: str, parameters: Mapping[str, Any] | tuple[Any, ...] = ()
    ) -> Iterable[sqlite3.Row]:
        loop = asyncio.get_running_loop()
        await _turn(loop, self._disk.latency())
        rows = self._connection.execute(statement, parameters).fetchall()
        await _turn(loop, self._disk.latency())
        return rows

    async def close(self) -> None:
        self._connection.close()

    async def __aenter__(self) -> "InlineReader":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _turn(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    later = loop.create_future()
    loop.call_later(seconds, later.set_result, None)
    await asyncio.shield(later)
