"""The room that the disk has left: who may have it, and how it is made again.

Theory. A full disk is survived only by what can still be written: folding the log into the
database may have to lengthen the file by all that the log holds, and a DELETE needs a log. So
events are taken only while both the log as it will be and the file that it will become fit
*beside* the ballast. Once they do not, or the disk is full all the same (others fill it too), room
is *short* until as much as the ballast is free beside it: no events, the log folded after each
transaction, and the ballast given up to whatever else needs it, with settlements only above a
reserve that is left to purging.
"""

import sqlite3
from pathlib import Path

from hookpost.core.errors import StorageFull
from hookpost.storage.sqlite.faults import Fault, fault
from hookpost.storage.sqlite.files import BALLAST, Ballast, free_bytes, size_of

SLACK = 4 << 20  # bytes that events leave to settlements and to purging
RESERVE = 2 << 20  # bytes that settlements leave to purging
ROW = 2048  # bytes beside its body that an event and its deliveries may take
_PATIENCE = 5000  # milliseconds that SQLite waits for a lock elsewhere


class Room:
    """The disk under one database; used by the writer's thread only.

    While it is `short` of room no event is taken.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self.ballast = Ballast(path)
        self.short = False

    def settle_in(self) -> None:
        """Lay the ballast at the start, after folding in a log that stands in its way."""
        if self.free() < 2 * BALLAST + self.log_size():
            self.fold()
        self.short = not self.ballast.lay()

    def free(self) -> int:
        """Bytes of disk that are free, the ballast's not among them."""
        return free_bytes(self._path.parent)

    def log_size(self) -> int:
        """Bytes of the write-ahead log's file."""
        return size_of(self._log)

    def refusal(self, size: int, count: int) -> StorageFull | None:
        """Why `count` events with bodies of `size` bytes may not be stored now; None: they may."""
        if self.short and not self.regain():
            return StorageFull(
                f"{self._path}: the disk is full, {self.free()} bytes are free and"
                f" {2 * BALLAST} are needed before events are taken again; free some space"
            )
        needed = 2 * (size + ROW * count) + SLACK
        if self.free() < needed + self.log_size():
            self.fold()
            if self.free() < needed + self.log_size():
                self.short = True
                return StorageFull(
                    f"{self._path}: {self.free()} bytes of disk are free and storing"
                    f" {size} more may take {needed}; free some space or lower retention"
                )
        return None

    def spares_settlements(self) -> bool:
        """Whether settlements may be written, and purging still has its room."""
        return self.free() >= RESERVE or self.ballast.release()

    def make(self) -> None:
        """The disk refused something: give up the ballast and fold in the log."""
        self.short = True
        self.ballast.release()
        self.fold()

    def regain(self) -> bool:
        """Fold in the log and lay the ballast again where it fits; True: there is room."""
        self.fold()
        self.short = not self.ballast.lay() or self.free() < BALLAST
        return not self.short

    def fold(self) -> None:
        """Write the log into the database and cut it to nothing, outside a transaction.

        Does not wait for readers, and goes as far as the disk lets it; what is left is for another
        time. Raises sqlite3.Error where the disk failed: what is on it is unknown then.
        """
        if not self.log_size():
            return
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            if fault(error) not in (Fault.FULL, Fault.BUSY):
                raise
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {_PATIENCE}")
