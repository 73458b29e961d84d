"""Put and conclude: the last step of the road, shared by single events and batches.

The publisher waits for the commit, but not for ever. What is counted of events is counted by the
outbox, in their own transaction: it holds whether or not anybody still waits.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
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


class TooSlow(StorageUnavailable):
    """The commit goes on, but nobody waits for it any more."""


@dataclass(slots=True)
class Commitment:
    """Events that the outbox has: `future` is done when it has committed them, or has not.

    Then, and not before, `conclude` says what is to be answered; called once.
    """

    future: "asyncio.Future[Any]"
    conclude: Callable[[], Any]


class Commit:
    """Hands events to the outbox. `patience` is seconds to wait before answering 503."""

    def __init__(self, outbox: Outbox, clock: Clock, patience: float) -> None:
        self._outbox = outbox
        self._queue = _Queue(patience)
        self._log = SparseLog(log, clock)

    def one(self, event: Event, owed: Owed) -> Commitment | Refused:
        """One event with its deliveries; concludes with a PutAnswer or Refused."""
        try:
            future = self._outbox.put(event, owed)
        except Exception as error:
            return self._refused(error)
        self._queue.add(future)
        return Commitment(future, partial(self._one, event, future))

    def many(self, events: Sequence[tuple[Event, Owed]]) -> Commitment | Refused:
        """Events in one transaction, all or none; concludes with answers in order, or Refused."""
        try:
            future = self._outbox.put_many(events)
        except Exception as error:
            return self._refused(error)
        self._queue.add(future)
        return Commitment(future, partial(self._many, events, future))

    def _one(self, event: Event, future: "asyncio.Future[PutAnswer]") -> PutAnswer | Refused:
        try:
            answer = future.result()
        except (Exception, asyncio.CancelledError) as error:
            return self._refused(error)
        if isinstance(answer, Duplicate):
            self._note(event, answer)
        return answer

    def _many(
        self,
        events: Sequence[tuple[Event, Owed]],
        future: "asyncio.Future[Sequence[PutAnswer]]",
    ) -> Sequence[PutAnswer] | Refused:
        try:
            answers = future.result()
        except (Exception, asyncio.CancelledError) as error:
            return self._refused(error)
        for (event, _), answer in zip(events, answers, strict=True):
            if isinstance(answer, Duplicate):
                self._note(event, answer)
        return answers

    def _note(self, event: Event, answer: Duplicate) -> None:
        if answer.conflicting:
            fields = {"source": event.source, "event": answer.event_id}
            self._log.write(logging.WARNING, "event.conflicting", event.source, fields)

    def _refused(self, error: BaseException) -> Refused:
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
        self._fresh: list[asyncio.Future[Any]] = []
        self._looks: deque[list[asyncio.Future[Any]]] = deque()
        self._running = False

    def add(self, waiter: "asyncio.Future[Any]") -> None:
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
