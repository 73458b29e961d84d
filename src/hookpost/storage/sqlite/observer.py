"""Who is told what the outbox does."""

from typing import Protocol

from hookpost.core.model import DeadReason, EndpointId


class Observer(Protocol):
    """Who counts what the outbox does; called on the loop, must be quick."""

    def operated(self, operation: str, seconds: float) -> None:
        """A commit, a refill or a reading (`commit`, `refill`, `purge`) took so long."""
        ...

    def erred(self, operation: str) -> None:
        """A commit was refused by the disk."""
        ...

    def blocked(self, endpoint: EndpointId, count: int) -> None:
        """So many deliveries have joined lines in which others are before them."""
        ...

    def put_dead(self, endpoint: EndpointId, reason: DeadReason, count: int, own: int) -> None:
        """So many deliveries were dead from the start, `own` of them of our own events."""
        ...
