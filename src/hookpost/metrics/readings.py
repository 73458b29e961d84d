"""What a scrape reads from others: the daemon hands in callables as its parts come to life."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hookpost.core.model import EndpointRecord


class EndpointState(Protocol):
    """What the dispatcher says of one endpoint at this moment."""

    @property
    def in_flight(self) -> int:
        """Attempts under way."""
        ...

    @property
    def breaker(self) -> str:
        """One of BREAKER_STATES."""
        ...


class Sizes(Protocol):
    """Bytes on disk."""

    @property
    def database(self) -> int:
        """The database file."""
        ...

    @property
    def wal(self) -> int:
        """Its write-ahead log."""
        ...

    @property
    def free(self) -> int:
        """What the file system has left."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The oldest of one endpoint's pending deliveries, as last looked up in the background.

    `accepted_at` is when the oldest pending one came in, `due_at` when the most overdue one was to
    be attempted; UNIX seconds, None where nothing is pending.
    """

    accepted_at: float | None = None
    due_at: float | None = None


@dataclass(slots=True, kw_only=True)
class Readings:
    """Callables that a scrape asks; each must answer from memory, at once.

    The defaults answer "nothing yet", so that a scrape works from the first instant.
    """

    endpoints: Callable[[], Sequence[EndpointRecord]] = tuple
    states: Callable[[], Mapping[str, EndpointState]] = dict
    backlog: Callable[[], Mapping[str, Backlog]] = dict
    sizes: Callable[[], Sizes | None] = lambda: None
    ready: Callable[[], bool] = lambda: False
