"""What SQLite's errors mean to the outbox."""

import sqlite3
from enum import Enum, auto

from hookpost.core.errors import GatewayError, OutboxError, StorageFull, StorageUnavailable

_PRIMARY = 0xFF  # extended result codes carry the primary one in their low byte


class Fault(Enum):
    """Who is to blame, and so what to do."""

    ROW = auto()  # this row or call alone: redo the others without it
    FULL = auto()  # no room: refuse events, keep settlements, purge
    BUSY = auto()  # somebody else holds the file: try again later
    FATAL = auto()  # the disk cannot be trusted: never commit again


_FATAL = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}


def fault(error: BaseException) -> Fault:
    """Judge an exception raised while a transaction was written or committed."""
    if isinstance(error, MemoryError):
        return Fault.BUSY
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return Fault.ROW
    # The -shm file could not grow: the disk is full, and nothing was harmed.
    if code == sqlite3.SQLITE_IOERR_SHMSIZE or code & _PRIMARY == sqlite3.SQLITE_FULL:
        return Fault.FULL
    if code & _PRIMARY in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Fault.BUSY
    return Fault.FATAL if code & _PRIMARY in _FATAL else Fault.ROW


def translated(error: BaseException, what: str) -> GatewayError:
    """The exception that a caller is given; `what` names the thing that was not stored."""
    if isinstance(error, GatewayError):
        return error
    match fault(error):
        case Fault.FULL:
            return StorageFull(
                f"{what} was not stored: the disk or the database is full ({error});"
                " free some space or lower retention"
            )
        case Fault.BUSY:
            return StorageUnavailable(
                f"{what} was not stored: the database is held by someone else ({error});"
                " close other programs that have it open"
            )
        case Fault.FATAL:
            return StorageUnavailable(
                f"{what} was not stored: the database failed ({error});"
                " check the disk, then restart"
            )
        case Fault.ROW:
            return OutboxError(f"{what} was not stored: {type(error).__name__}: {error}")
