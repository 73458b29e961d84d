"""What a scrape reads from others: the daemon hands in callables as its parts come to life."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hookpost.core.model import EndpointId, EndpointRecord, SourceRecord


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

    @property
    def held_by(self) -> str | None:
        """What keeps attempts from starting, out of THROTTLES; None: nothing."""
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


class PendingAge(Protocol):
    """The oldest of one endpoint's pending deliveries, as last looked up in the background."""

    @property
    def accepted_at(self) -> float:
        """When the oldest one's event came in, UNIX seconds."""
        ...

    @property
    def due_at(self) -> float:
        """When the most overdue one was to be attempted, UNIX seconds."""
        ...


@dataclass(slots=True, kw_only=True)
class Readings:
    """Callables that a scrape asks; each must answer from memory, at once.

    The defaults answer "nothing yet", so that a scrape works from the first instant.
    """

    endpoints: Callable[[], Sequence[EndpointRecord]] = tuple
    sources: Callable[[], Mapping[str, SourceRecord]] = dict
    states: Callable[[], Mapping[str, EndpointState]] = dict
    ages: Callable[[], Mapping[EndpointId, PendingAge]] = dict  # only endpoints that owe
    sizes: Callable[[], Sizes | None] = lambda: None
    ready: Callable[[], bool] = lambda: False
