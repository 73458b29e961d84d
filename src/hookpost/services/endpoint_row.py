"""What of an endpoint survives a restart: its row, written behind the attempts' backs.

The worker decides in memory and never waits for the disk; changes collect here and go out in
order, the newest value of each column once. A refused write is kept and tried again.
"""

import asyncio
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from hookpost.clock import Clock
from hookpost.core import breaker as circuit
from hookpost.core.breaker import Breaker
from hookpost.core.errors import NotFound, OutboxError
from hookpost.core.model import EndpointId, EndpointRecord
from hookpost.services import attempt_log
from hookpost.services.running import Running
from hookpost.storage.outbox import Outbox

AGAIN = 1.0  # seconds between two tries of a refused write


class EndpointRow:
    """One row: the record as last committed, and the changes on their way to it."""

    def __init__(
        self,
        endpoint: EndpointId,
        outbox: Outbox,
        clock: Clock,
        running: Running,
        written: Callable[[], None],
    ) -> None:
        self._id = endpoint
        self._outbox = outbox
        self._clock = clock
        self._running = running
        self._written = written
        self._changes: dict[str, Any] = {}
        self._writing: dict[str, Any] = {}
        self._writer: asyncio.Task[None] | None = None
        self.ending = False  # what is refused from now on is not tried again for long
        self.error = ""  # why the last write was refused
        self.record: EndpointRecord = outbox.endpoint(endpoint)

    @property
    def busy(self) -> bool:
        """Whether something is still to be written."""
        return self._writer is not None

    @property
    def paused(self) -> bool:
        """File, operator or a 410, those that are not yet written included."""
        gone = self._newest("gone")
        return self.record.paused_by_file or self.record.paused_by_operator or bool(gone)

    @property
    def hold_until(self) -> float | None:
        """Until when the receiver asked everybody to wait, if that is not yet written included."""
        until: float | None = self._newest("hold_until")
        return until

    def _newest(self, column: str) -> Any:
        known = {column: getattr(self.record, column)}
        return {**known, **self._writing, **self._changes}[column]

    def is_about(self, url: str) -> bool:
        """Whether what the row remembers was learnt of this URL (or of nobody knows which)."""
        return circuit.about(self.record.breaker) in (None, _digest(url))

    def refresh(self) -> None:
        """Read the record again: somebody else has changed it."""
        self.record = self._outbox.endpoint(self._id)

    def keep(self, **changes: Any) -> None:
        """Write these columns soon."""
        self._changes.update(changes)
        if self._writer is None:
            self._writer = self._running.start(self._write(), f"row of endpoint {self._id}")

    def keep_breaker(
        self, breaker: Breaker, url: str, noted: Mapping[str, Any], **changes: Any
    ) -> None:
        """Write the breaker's state, its URL and what was noted of it, with other columns."""
        self.keep(breaker=circuit.dump(breaker, _digest(url), noted), **changes)

    async def _write(self) -> None:
        try:
            while self._changes:
                self._writing, self._changes = self._changes, {}
                try:
                    await self._outbox.update_endpoint(self._id, self._clock.now(), **self._writing)
                    self.error = ""
                except OutboxError as error:
                    self._refused(error)
                    await self._clock.sleep(AGAIN)
                self._writing = {}
            self.refresh()
        except NotFound:
            self._writing, self._changes = {}, {}  # the row was purged: nothing needs to survive
        finally:
            self._writer = None
        self._written()

    def _refused(self, error: OutboxError) -> None:
        self.error = str(error)
        if not self.ending:  # then whoever ends it tells what came of it
            attempt_log.row_unsaved(self.record.name, self.error, AGAIN)
        self._changes = {**self._writing, **self._changes}


def _digest(url: str) -> str:
    """Tells one URL from another in the outbox without showing it: it may be a secret."""
    return blake2b(url.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()
