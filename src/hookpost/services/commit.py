"""Put, wait and count: the last step of the road, shared by single events and batches.

The publisher waits for the commit, but not for ever; what the commit came to is counted when it
is known, whether or not anybody still waits for it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from hookpost.clock import Clock
from hookpost.core.errors import OutboxError, StorageFull
from hookpost.core.model import Duplicate, EndpointId, Event, PutAnswer
from hookpost.core.refusals import Refused
from hookpost.metrics import EndpointMetrics, SourceMetrics
from hookpost.services.sparse_log import SparseLog
from hookpost.storage.outbox import Outbox

log = logging.getLogger("hookpost.ingest")

PATIENCE = 2.0  # seconds that a publisher waits for the commit
RETRY_SOON, RETRY_LATER = 5.0, 30.0  # seconds

Stored = TypeVar("Stored")
Answered = TypeVar("Answered")
Owed = Sequence[EndpointId]
Endpoints = Mapping[EndpointId, EndpointMetrics]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The event and its deliveries are committed."""

    event_id: str
    deliveries: int


@dataclass(frozen=True, slots=True)
class DuplicateEvent:
    """The event was committed before, inside the dedup window; nothing new is stored."""

    event_id: str
    deliveries: int


class Commit:
    """Hands events to the outbox. `patience` is seconds to wait before answering 503."""

    def __init__(self, outbox: Outbox, clock: Clock, patience: float) -> None:
        self._outbox = outbox
        self._queue = _Queue(patience)
        self._log = SparseLog(log, clock)

    async def one(
        self, source: SourceMetrics, endpoints: Endpoints, event: Event, owed: Owed
    ) -> Accepted | DuplicateEvent | Refused:
        """Commit one event with its deliveries."""
        return await self._wait(
            lambda: self._outbox.put(event, owed),
            lambda answer: self._count(source, endpoints, event, owed, answer),
        )

    async def many(
        self,
        source: SourceMetrics,
        endpoints: Endpoints,
        events: Sequence[tuple[Event, Owed]],
    ) -> Sequence[Accepted | DuplicateEvent] | Refused:
        """Commit events in one transaction: all of them, or Refused. Answers in order."""
        if not events:
            return ()
        return await self._wait(
            lambda: self._outbox.put_many(events),
            lambda answers: [
                self._count(source, endpoints, event, owed, answer)
                for (event, owed), answer in zip(events, answers, strict=True)
            ],
        )

    async def _wait(
        self, put: Callable[[], Awaitable[Stored]], count: Callable[[Stored], Answered]
    ) -> Answered | Refused:
        """Wait for the commit, at most `patience`. A future of our own: cancelling or leaving it
        (the publisher hung up, or waited too long) leaves the put and its count alone.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Answered | Refused] = loop.create_future()
        try:
            future = asyncio.ensure_future(put())
        except OutboxError as error:
            return _refused(error)
        future.add_done_callback(partial(self._settled, waiter, count))
        self._queue.add(loop, waiter)
        return await waiter

    def _settled(
        self,
        waiter: "asyncio.Future[Answered | Refused]",
        count: Callable[[Stored], Answered],
        future: "asyncio.Future[Stored]",
    ) -> None:
        answer: Answered | Refused
        if future.cancelled():
            answer = _refused(None)
        elif (error := future.exception()) is None:
            answer = count(future.result())
        else:
            answer = _refused(error)
            failure = None if isinstance(error, OutboxError) else error
            fields = {"error": type(error).__name__}
            self._log.write(logging.ERROR, "put.failed", None, fields, failure=failure)
        if not waiter.done():
            waiter.set_result(answer)

    def _count(
        self,
        source: SourceMetrics,
        endpoints: Endpoints,
        event: Event,
        owed: Owed,
        answer: PutAnswer,
    ) -> Accepted | DuplicateEvent:
        if isinstance(answer, Duplicate):
            source.duplicate(conflicting=answer.conflicting)
            if answer.conflicting:
                fields = {"source": event.source, "event": answer.event_id}
                self._log.write(logging.WARNING, "event.conflicting", event.source, fields)
            return DuplicateEvent(answer.event_id, answer.deliveries)
        source.accepted(event.accepted_at)
        if not owed:
            source.unrouted()
        for endpoint in owed:
            endpoints[endpoint].created()
        return Accepted(answer.event_id, answer.deliveries)


class _Queue:
    """Who waits for a commit, in the order they came: one timer for all of them.

    Commits come in about the same order, so the queue is as short as what is in flight.
    """

    __slots__ = ("_patience", "_timer", "_waiting")

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, loop: asyncio.AbstractEventLoop, waiter: "asyncio.Future[Any]") -> None:
        """Refuse `waiter` unless it is answered in time."""
        waiting = self._waiting
        while waiting and waiting[0][1].done():
            waiting.popleft()
        until = loop.time() + self._patience
        waiting.append((until, waiter))
        if self._timer is None:
            self._timer = loop.call_at(until, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        waiting, now = self._waiting, loop.time()
        while waiting and (waiting[0][1].done() or waiting[0][0] <= now):
            _, waiter = waiting.popleft()
            if not waiter.done():
                waiter.set_result(TOO_SLOW)
        if waiting:
            self._timer = loop.call_at(waiting[0][0], self._sweep, loop)


TOO_SLOW = Refused(
    "storage_slow", "the event may still be stored; send it again with the same id", RETRY_SOON
)


def _refused(error: BaseException | None) -> Refused:
    """An OutboxError means that nothing was stored; whatever else went wrong is a doubt."""
    if isinstance(error, StorageFull):
        return Refused("storage_full", "nothing was stored; send it again later", RETRY_LATER)
    if isinstance(error, OutboxError):
        return Refused("storage_unavailable", "nothing was stored; send it again", RETRY_SOON)
    return Refused(
        "storage_unavailable",
        "it is not known whether the event was stored; send it again with the same id",
        RETRY_SOON,
    )
