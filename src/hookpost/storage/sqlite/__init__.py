"""The outbox in one SQLite file.

One thread writes (`writer`, `transaction`, `store`), in transactions that the loop hands over
(`group`); deliveries wait in memory (`windows`, `claims`) and come back from disk through
readers (`reader`); people's verbs (`people`, `verbs`) and housekeeping (`retention`) are steps of
the same transactions.
"""

from sqlite3 import sqlite_version as SQLITE_VERSION

from hookpost.storage.sqlite.outbox import Observer, SqliteOutbox

__all__ = ["SQLITE_VERSION", "Observer", "SqliteOutbox"]
