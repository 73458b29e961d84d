"""Connections that only read: aiosqlite, each with a thread of its own, never a writer."""

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import aiosqlite

from hookpost.core.errors import StorageUnavailable

_PRAGMAS = ("query_only = ON", "wal_autocheckpoint = 0", "busy_timeout = 5000",
            "trusted_schema = OFF", "mmap_size = 0", "cache_size = -4096")  # fmt: skip


class Reader:
    """One read-only connection; statements queue on its thread."""

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    @classmethod
    async def open(cls, path: Path) -> "Reader":
        """Open for reading. The file exists and is in WAL mode: the writer has seen to it."""
        connection = await aiosqlite.connect(path, isolation_level=None, cached_statements=128)
        try:
            connection.row_factory = sqlite3.Row
            for pragma in _PRAGMAS:
                await connection.execute_fetchall(f"PRAGMA {pragma}")
        except BaseException:
            await connection.close()
            raise
        return cls(connection, path)

    async def rows(
        self, statement: str, parameters: Mapping[str, Any] | tuple[Any, ...] = ()
    ) -> Iterable[sqlite3.Row]:
        """All rows of a query; StorageUnavailable where it fails."""
        try:
            return await self._connection.execute_fetchall(statement, parameters)
        except (sqlite3.Error, ValueError) as error:  # ValueError: the connection is closed
            raise StorageUnavailable(
                f"{self._path}: could not be read ({error}); check the disk"
            ) from error

    async def close(self) -> None:
        """Close the connection and end its thread."""
        await self._connection.close()

    async def __aenter__(self) -> "Reader":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.close()
