"""The writer's thread: it owns the one writing connection and carries out one batch at a time."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

from hookpost.clock import Clock
from hookpost.core.errors import StorageUnavailable
from hookpost.core.model import SourceRecord
from hookpost.storage.sqlite.books import Book
from hookpost.storage.sqlite.faults import translated
from hookpost.storage.sqlite.store import Store
from hookpost.storage.sqlite.transaction import Batch, Done, beyond_repair, transact, unserved

log = logging.getLogger("hookpost.storage")

IDLE = 2.0  # seconds without puts and settlements after which the log is folded in

T = TypeVar("T")
Opened = tuple[dict[int, Book], dict[str, SourceRecord]]


class Writer:
    """A thread with a queue in and `call_soon_threadsafe` out.

    A transaction is never cancelled: nobody but the thread touches the connection, and it ends
    only between batches.
    """

    def __init__(self, path: Path, synchronous: str, clock: Clock) -> None:
        self._path = path
        self._synchronous = synchronous
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._opened: asyncio.Future[Opened] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._answer: Callable[[Done], None] = _unheard
        self._broke: Callable[[StorageUnavailable], None] = _unheard
        self._failure: StorageUnavailable | None = None
        self._idle_since = 0.0
        # Daemonic: a crash elsewhere must be able to end the process; WAL forgives it.
        self._thread = threading.Thread(target=self._run, name="outbox-writer", daemon=True)

    async def open(self) -> Opened:
        """Start the thread and open the database; books by endpoint, records by source."""
        self._thread.start()
        return await self._opened

    def serve(
        self, answer: Callable[[Done], None], broke: Callable[[StorageUnavailable], None]
    ) -> None:
        """From now on `answer` is called on the loop with what came of each batch.

        `broke` is called where the disk fails between two batches.
        """
        self._answer, self._broke = answer, broke

    def submit(self, batch: Batch) -> None:
        """Hand over a batch. Only when the one before was answered."""
        self._queue.put(batch)

    async def close(self) -> None:
        """Checkpoint, close the connection and end the thread."""
        self._queue.put(None)
        await self._closed
        self._thread.join()

    def _run(self) -> None:
        try:
            store = Store.open(self._path, synchronous=self._synchronous, now=self._clock.now())
            opened = store.books, store.read_sources()
        except BaseException as error:
            self._tell(_fail, self._opened, _opening_error(self._path, error))
            return
        self._tell(_resolve, self._opened, opened)
        while (batch := self._next(store)) is not None:
            started = self._clock.monotonic()
            failure = self._failure
            done = transact(store, batch) if failure is None else unserved(batch, failure)
            done.seconds = self._clock.monotonic() - started
            self._failure = failure or done.failed
            self._tell(self._answer, done)
        self._end(store)

    def _next(self, store: Store) -> Batch | None:
        """The next batch; the log is folded in while nobody waits for one."""
        if not store.quiet:
            self._idle_since = self._clock.monotonic()
        while self._failure is None and store.room.log_size():
            try:
                wait = self._idle_since + IDLE - self._clock.monotonic()
                return self._queue.get(timeout=max(wait, 0.0))
            except Empty:
                self._fold(store)
                self._idle_since = self._clock.monotonic()
        return self._queue.get()

    def _fold(self, store: Store) -> None:
        try:
            store.room.fold()
        except sqlite3.Error as error:
            self._failure = beyond_repair(error)
            self._tell(self._broke, self._failure)

    def _end(self, store: Store) -> None:
        try:
            store.close(checkpoint=self._failure is None)
        except sqlite3.Error as error:
            # All is committed; the log is folded in at the next start.
            log.warning("checkpoint.failed", extra={"fields": {"error": str(error)}})
        self._tell(_resolve, self._closed, None)

    def _tell(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the loop is closed: nobody waits for an answer any more
            log.debug("answer.unheard", extra={"fields": {"path": str(self._path)}})


def _unheard(what: object) -> None:
    raise RuntimeError(f"serve() comes before submit(): {what}")


def _resolve(future: "asyncio.Future[T]", value: T) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: "asyncio.Future[object]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _opening_error(path: Path, error: BaseException) -> BaseException:
    """What `open` raises: our own errors as they are, SQLite's with the file's name."""
    if isinstance(error, sqlite3.Error):
        return StorageUnavailable(f"{path}: {translated(error, 'opening')}")
    return error
