"""Put and wait: the last step of the road, shared by single events and batches.

The publisher waits for the commit, but not for ever. What is counted of events is counted by the
outbox, in their own transaction: it holds whether or not anybody still waits.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from hookpost.clock import Clock
from hookpost.core.errors import OutboxError, StorageFull, StorageUnavailable
from hookpost.core.model import Duplicate, EndpointId, Event, PutAnswer
from hookpost.core.refusals import Refused
from hookpost.services.sparse_log import SparseLog
from hookpost.storage.outbox import Outbox

log = logging.getLogger("hookpost.ingest")

PATIENCE = 2.0  # seconds that a publisher waits for the commit
LOOKS = 10
RETRY_SOON, RETRY_LATER = 5.0, 30.0  # seconds

Owed = Sequence[EndpointId]
Entry = tuple[Event, Owed]
Merge = Callable[[Sequence[PutAnswer]], Any]


class TooSlow(StorageUnavailable):
    """The commit goes on, but nobody waits for it any more."""


class Commitment:
    """Events handed to the outbox, or about to be. `answer` says what came of them; then `told` is
    called.

    Speaks storage.outbox.Waiter: it is told in the call that ends the commit.
    """

    __slots__ = ("_commit", "answer", "entries", "handed_in", "merge", "told")

    def __init__(self, commit: "Commit", entries: Sequence[Entry], merge: Merge | None) -> None:
        self._commit = commit
        self.entries = entries
        self.merge = merge
        self.handed_in = False
        self.answer: Any = None  # None: not yet
        self.told: Callable[[], None] | None = None

    def done(self) -> bool:
        """Whether there is an answer."""
        return self.answer is not None

    def set_result(self, result: Any) -> None:
        """Committed: a PutAnswer, or one for each of several."""
        if self.merge is None:
            if isinstance(result, Duplicate):
                self._commit.note(self.entries[0][0], result)
            self.answer = result
        else:
            for (event, _), answer in zip(self.entries, result, strict=True):
                if isinstance(answer, Duplicate):
                    self._commit.note(event, answer)
            self.answer = self.merge(result)
        self._tell()

    def set_exception(self, error: Exception) -> None:
        """Not committed, or nobody knows."""
        late = isinstance(error, TooSlow) and not self.handed_in
        self.conclude(BUSY if late else self._commit.refused(error))

    def conclude(self, answer: Any) -> None:
        """Answer without a commit."""
        self.answer = answer
        self._tell()

    def _tell(self) -> None:
        self.entries = ()  # the bodies need not stay
        if self.told is not None:
            self.told()


class Commit:
    """Hands events to the outbox. `patience` is seconds to wait before answering 503."""

    def __init__(self, outbox: Outbox, clock: Clock, patience: float) -> None:
        self._outbox = outbox
        self._queue = _Queue(patience)
        self._log = SparseLog(log, clock)

    def one(self, event: Event, owed: Owed) -> Commitment | Refused:
        """One event with its deliveries; the answer is a PutAnswer or Refused."""
        commitment = Commitment(self, ((event, owed),), None)
        self._hand_in(commitment)
        return self._queued(commitment)

    def many(self, entries: Sequence[Entry], merge: Merge) -> Commitment | Refused:
        """Events in one transaction, all or none; the answer is `merge(answers)`, or Refused."""
        commitment = Commitment(self, entries, merge)
        self._hand_in(commitment)
        return self._queued(commitment)

    def later(self) -> Commitment:
        """What a publisher waits for while its events are judged; then `hand_in` or `conclude`."""
        commitment = Commitment(self, (), None)
        self._queue.add(commitment)
        return commitment

    def hand_in(
        self, commitment: Commitment, entries: Sequence[Entry], merge: Merge | None
    ) -> None:
        """The events of a `later` not yet done: as `many` has them; without `merge` as `one`."""
        commitment.entries, commitment.merge = entries, merge
        self._hand_in(commitment)

    def _hand_in(self, commitment: Commitment) -> None:
        commitment.handed_in = True
        try:
            if commitment.merge is None:
                event, owed = commitment.entries[0]
                self._outbox.submit(event, owed, commitment)
            else:
                self._outbox.submit_many(commitment.entries, commitment)
        except Exception as error:
            commitment.set_exception(error)

    def _queued(self, commitment: Commitment) -> Commitment | Refused:
        if isinstance(commitment.answer, Refused):  # at once
            return commitment.answer
        self._queue.add(commitment)
        return commitment

    def note(self, event: Event, answer: Duplicate) -> None:
        """Log an identity that came again with other bytes."""
        if answer.conflicting:
            fields = {"source": event.source, "event": answer.event_id}
            self._log.write(logging.WARNING, "event.conflicting", event.source, fields)

    def refused(self, error: Exception) -> Refused:
        """An OutboxError means that nothing was stored; whatever else went wrong is a doubt."""
        if isinstance(error, TooSlow):
            return TOO_SLOW
        failure = None if isinstance(error, OutboxError) else error
        fields = {"error": type(error).__name__}
        self._log.write(logging.ERROR, "put.failed", None, fields, failure=failure)
        if isinstance(error, StorageFull):
            return Refused("storage_full", "nothing was stored; send it again later", RETRY_LATER)
        if failure is None:
            return Refused("storage_unavailable", "nothing was stored; send it again", RETRY_SOON)
        return IN_DOUBT


class _Queue:
    """Who waits for a commit: looked over ten times in the time that anybody may wait.

    Cheaper than a timer for each, and just as good: nobody counts on the tenth of a patience.
    """

    __slots__ = ("_fresh", "_looks", "_loop", "_patience", "_running")

    def __init__(self, patience: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._patience = patience
        self._fresh: list[Commitment] = []
        self._looks: deque[list[Commitment]] = deque()
        self._running = False

    def add(self, waiter: Commitment) -> None:
        """Fail `waiter` with TooSlow unless it is answered in time."""
        self._fresh.append(waiter)
        if not self._running:
            self._running = True
            self._loop.call_later(self._patience / LOOKS, self._look)

    def _look(self) -> None:
        self._looks.append([waiter for waiter in self._fresh if not waiter.done()])
        self._fresh = []
        if len(self._looks) >= LOOKS:
            for waiter in self._looks.popleft():
                if not waiter.done():
                    waiter.set_exception(TooSlow())
        self._running = any(self._looks)
        if self._running:
            self._loop.call_later(self._patience / LOOKS, self._look)
        else:
            self._looks.clear()


TOO_SLOW = Refused(
    "storage_slow", "the event may still be stored; send it again with the same id", RETRY_SOON
)
IN_DOUBT = Refused(
    "storage_unavailable",
    "it is not known whether the event was stored; send it again with the same id",
    RETRY_SOON,
)
BUSY = Refused(
    "validation_busy", "too much is waiting to be validated; nothing was stored", RETRY_SOON
)
