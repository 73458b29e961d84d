"""Lines of deliveries that are attempted one after the other, inside the running transaction.

What core.ordering says, kept on disk: of the pending deliveries of an endpoint that share a key
only the one with the lowest place has a due time; for all others it is BLOCKED. So whoever makes a
keyed delivery pending asks `waits` first, and whoever ends one calls `let_go` after.
"""

from collections.abc import Iterable
from math import inf

from hookpost.storage.sqlite.books import Tally
from hookpost.storage.sqlite.store import Store

BLOCKED = inf
"""The due time of a delivery that waits behind another of its line."""

Line = tuple[int, int]
"""(endpoint, key)."""


class Joining:
    """Deliveries that join lines, their rows not necessarily written yet."""

    def __init__(self, store: Store, tally: Tally) -> None:
        self._store = store
        self._tally = tally
        self._joined: set[Line] = set()

    def waits(self, endpoint: int, key: int) -> bool:
        """Whether the one that joins now is blocked; it is counted."""
        line = endpoint, key
        if line not in self._joined:
            self._joined.add(line)
            if self._store.run("head_of_line", line).fetchone() is None:
                return False
        self._tally.blocked[endpoint] = self._tally.blocked.get(endpoint, 0) + 1
        return True


def let_go(store: Store, lines: Iterable[Line], now: float, tally: Tally) -> None:
    """Somebody has left these lines: whoever is the head now is due at `now`, if it was blocked."""
    for line in dict.fromkeys(lines):
        head = store.run("head_of_line", line).fetchone()
        if head is not None and head[1] == BLOCKED:
            store.run("let_go", (now, head[0]))
            tally.let_go.append((line[0], now, head[0]))


def at_the_tail(
    store: Store, joining: Iterable[tuple[int, int, int]], now: float, tally: Tally
) -> list[tuple[float, int, int]]:
    """Parameters of `join_line` for deliveries (id, endpoint, key) that join in this order.

    To be asked before they are pending there: else each would find itself in its line.
    """
    lines, rows = Joining(store, tally), []
    for number, endpoint, key in joining:
        store.delivery += 1  # places and delivery numbers are of one row: both only grow
        rows.append((BLOCKED if lines.waits(endpoint, key) else now, store.delivery, number))
    return rows
