"""The outbox in one SQLite file.

One thread writes (`writer`, `transaction`, `store`, and `room` on a full disk), in transactions
that the loop hands over (`group`, `waiting`); deliveries wait in memory (`windows`, `claims`) and
come back from disk through readers (`reader`); people's verbs (`people`, `verbs`) and housekeeping
(`retention`) are steps of the same transactions.
"""

from sqlite3 import sqlite_version as SQLITE_VERSION

from hookpost.storage.sqlite.observer import Observer
from hookpost.storage.sqlite.outbox import SqliteOutbox

__all__ = ["SQLITE_VERSION", "Observer", "SqliteOutbox"]
