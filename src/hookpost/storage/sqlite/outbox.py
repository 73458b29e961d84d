"""The Outbox on one SQLite file: the parts put together, the protocol's names given to them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from hookpost.clock import Clock
from hookpost.core.errors import Conflict, OutboxError, StorageUnavailable
from hookpost.core.model import (
    Delivery,
    DeliveryId,
    EndpointId,
    EndpointRecord,
    Event,
    PutAnswer,
    Settlement,
    SourceRecord,
    State,
)
from hookpost.storage.outbox import (
    DeliveryDetail,
    DeliveryView,
    EndpointSpec,
    Observed,
    PendingAge,
    Purged,
    RetentionLimits,
    Selection,
    StorageSizes,
    Waiter,
)
from hookpost.storage.sqlite import endpoints as rows
from hookpost.storage.sqlite import retention, verbs
from hookpost.storage.sqlite.claims import Claims
from hookpost.storage.sqlite.files import Lock, free_bytes, prepare, size_of
from hookpost.storage.sqlite.group import GroupCommit
from hookpost.storage.sqlite.known import Known
from hookpost.storage.sqlite.observer import Observer
from hookpost.storage.sqlite.payloads import Payloads
from hookpost.storage.sqlite.people import People
from hookpost.storage.sqlite.reader import Reader
from hookpost.storage.sqlite.settlements import Owned
from hookpost.storage.sqlite.transaction import Done
from hookpost.storage.sqlite.writer import Writer


class SqliteOutbox:
    """See hookpost.storage.outbox.Outbox. Made by `open`; used on the loop that opened it.

    `failed` is done, with the error, once nothing can be committed any more: the daemon must
    leave then. `observer` may be set at any time.
    """

    def __init__(self, path: Path, clock: Clock, lock: Lock) -> None:
        self._path = path
        self._clock = clock
        self._lock = lock
        self._readers = AsyncExitStack()
        self._payloads = Payloads(path)
        self._was_swamped = False
        self._short = False
        self._closing = False
        self.observer: Observer | None = None

    @classmethod
    async def open(
        cls, path: Path, *, synchronous: str = "full", clock: Clock, create: bool = True
    ) -> "SqliteOutbox":
        """Open, migrate and lock the database at `path`, making it unless `create` is False.

        `synchronous` is full or extra. Raises AlreadyLocked, StorageCorrupt (damage, a newer
        schema, another program's file), StorageFull (no room to migrate) or StorageUnavailable.
        """
        prepare(path, create=create)
        outbox = cls(path, clock, Lock(path))
        try:
            await outbox._start(synchronous)
        except BaseException:
            await outbox._readers.aclose()
            outbox._lock.release()
            raise
        return outbox

    async def _start(self, synchronous: str) -> None:
        self._writer = Writer(self._path, synchronous, self._clock)
        self._known = Known(*await self._writer.open())
        try:
            pages = await self._readers.enter_async_context(await Reader.open(self._path))
            lists = await self._readers.enter_async_context(await Reader.open(self._path))
        except BaseException:
            await self._writer.close()
            raise
        self._claims = Claims(self._known.books, pages, self._clock.monotonic, self._operated)
        self._group = GroupCommit(self._writer.submit, self._committed, self._claims.in_flight)
        self._writer.serve(self._group.answered, self._group.broke)
        self._people = People(lists, self._claims, self._known.number, self._change)

    @property
    def failed(self) -> "asyncio.Future[OutboxError]":
        """Done once nothing can be committed any more."""
        return self._group.failed

    @property
    def busy_for(self) -> float:
        """Seconds that the writer has had the batch it is at; 0 while it is idle."""
        return self._group.busy_for

    # -- the road of an event ----------------------------------------------------------------

    def put(self, event: Event, endpoints: Sequence[EndpointId]) -> "asyncio.Future[PutAnswer]":
        """See Outbox.put."""
        future: asyncio.Future[PutAnswer] = asyncio.get_running_loop().create_future()
        self._group.put((event, endpoints), future)
        return future

    def submit(self, event: Event, endpoints: Sequence[EndpointId], waiter: Waiter) -> None:
        """See Outbox.submit."""
        self._group.put((event, endpoints), waiter)

    def put_many(
        self, events: Sequence[tuple[Event, Sequence[EndpointId]]]
    ) -> "asyncio.Future[Sequence[PutAnswer]]":
        """See Outbox.put_many."""
        future: asyncio.Future[Sequence[PutAnswer]] = asyncio.get_running_loop().create_future()
        self._group.put_group(events, future)
        return future

    def submit_many(
        self, events: Sequence[tuple[Event, Sequence[EndpointId]]], waiter: Waiter
    ) -> None:
        """See Outbox.submit_many."""
        self._group.put_group(events, waiter)

    async def claim(self, endpoint: EndpointId, limit: int, now: float) -> Sequence[Delivery]:
        """See Outbox.claim."""
        if self._group.swamped or self._group.jammed or self._group.refusal is not None:
            return []
        return await self._claims.claim(endpoint, limit, now)

    def claim_ready(self, endpoint: EndpointId, limit: int, now: float) -> Sequence[Delivery]:
        """See Outbox.claim_ready."""
        if self._group.swamped or self._group.jammed or self._group.refusal is not None:
            return ()
        return self._claims.claim_ready(endpoint, limit, now)

    def next_due(self, endpoint: EndpointId) -> float | None:
        """See Outbox.next_due."""
        return self._claims.next_due(endpoint)

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """See Outbox.release."""
        self._claims.release(deliveries)

    def settle(self, settlement: Settlement, observed: Observed) -> None:
        """See Outbox.settle."""
        owned = settlement, self._claims.hand_in(settlement)
        self._group.settle(owned, observed, urgent=self._claims.starved_by(settlement.delivery))

    def watch(self, endpoint: EndpointId, doorbell: Callable[[], None] | None) -> None:
        """See Outbox.watch."""
        self._claims.watch(endpoint, doorbell)

    def _committed(self, done: Done, settlements: Sequence[Owned]) -> None:
        """What a transaction changed, told to memory before anybody is answered."""
        tally, self._short = done.tally, done.short
        self._known.counted(tally)
        self._claims.committed(tally, list(zip(settlements, done.settled, strict=True)))
        self._observe(done)
        blocked = self._group.swamped or self._group.jammed
        if self._was_swamped and not blocked:
            self._claims.ring()
        self._was_swamped = blocked

    def _observe(self, done: Done) -> None:
        if self.observer is None:
            return
        self.observer.operated("commit", done.seconds)
        if done.full or done.failed is not None:
            self.observer.erred("commit")
        tally = done.tally
        for death, count in tally.died.items():
            endpoint, reason = EndpointId(death[0]), death[1]
            self.observer.put_dead(endpoint, reason, count, tally.own.get(death, 0))
        for number, count in tally.blocked.items():
            self.observer.blocked(EndpointId(number), count)

    def _operated(self, operation: str, seconds: float) -> None:
        if self.observer is not None:
            self.observer.operated(operation, seconds)

    # -- endpoints ---------------------------------------------------------------------------

    async def apply_endpoints(
        self, specs: Sequence[EndpointSpec], now: float
    ) -> Mapping[str, EndpointRecord]:
        """See Outbox.apply_endpoints."""
        wanted = tuple(specs)
        revisions: list[rows.Revision] = await self._group.command(
            lambda store, _, tally: rows.apply(store, wanted, now, tally), self._revised
        )
        return self._known.named([spec.name for spec in wanted], revisions)

    def _revised(self, revisions: Sequence[rows.Revision]) -> None:
        self._known.revised(revisions, self._claims)

    def endpoint(self, endpoint: EndpointId) -> EndpointRecord:
        """See Outbox.endpoint. NotFound."""
        return self._known.endpoint(endpoint)

    def endpoints(self) -> Sequence[EndpointRecord]:
        """See Outbox.endpoints."""
        return self._known.endpoints()

    async def update_endpoint(
        self, endpoint: EndpointId, now: float, **changes: Any
    ) -> EndpointRecord:
        """See Outbox.update_endpoint. NotFound; TypeError for what cannot be changed."""
        unknown = sorted(changes.keys() - rows.CHANGEABLE)
        if unknown:
            raise TypeError(f"{', '.join(unknown)}: not to be changed here")
        await self._group.command(
            lambda store, *_: rows.update(store, endpoint, changes, now),
            lambda revision: self._revised([revision]),
        )
        return self.endpoint(endpoint)

    def sources(self) -> Mapping[str, SourceRecord]:
        """See Outbox.sources."""
        return dict(self._known.sources)

    # -- people ------------------------------------------------------------------------------

    async def deliveries(
        self, selection: Selection, *, before: DeliveryId | None = None, limit: int = 100
    ) -> Sequence[DeliveryView]:
        """See Outbox.deliveries."""
        return await self._people.deliveries(selection, before, limit)

    async def delivery(self, delivery: DeliveryId) -> DeliveryDetail:
        """See Outbox.delivery."""
        return await self._people.delivery(delivery)

    async def payload(self, delivery: DeliveryId, endpoint: EndpointId) -> Event | None:
        """See Outbox.payload."""
        return await self._payloads.event(delivery, endpoint)

    async def count(self, selection: Selection) -> int:
        """See Outbox.count."""
        return await self._people.count(selection)

    async def retry(self, selection: Selection, now: float, *, to: EndpointId | None = None) -> int:
        """See Outbox.retry."""
        if to is None:
            return await self._people.change(
                selection, verbs.Hasten(now), frozenset({State.PENDING})
            )
        record = self.endpoint(to)
        if record.removed_at is not None:
            raise Conflict(f"endpoint {record.name!r}: left the configuration; name another")
        return await self._people.change(
            selection, verbs.Move(now, to=to), frozenset({State.PARKED})
        )

    async def cancel(self, selection: Selection, now: float) -> int:
        """See Outbox.cancel."""
        states = frozenset({State.PENDING, State.PARKED, State.DEAD})
        return await self._people.change(selection, verbs.Cancel(now), states)

    async def replay(self, selection: Selection, now: float) -> int:
        """See Outbox.replay. Those of removed endpoints, or with nothing to send, stay."""
        return await self._people.change(selection, verbs.Replay(now), frozenset({State.DEAD}))

    async def purge_dead(self, selection: Selection) -> int:
        """See Outbox.purge_dead."""
        now = self._clock.now()
        return await self._people.change(selection, verbs.PurgeDead(now), frozenset({State.DEAD}))

    def _change(
        self,
        change: verbs.Change,
        numbers: Sequence[int],
        applied: Callable[[verbs.Changed], None],
        undone: Callable[[], None],
    ) -> Awaitable[verbs.Changed]:
        return self._group.command(
            lambda store, _, tally: verbs.carry_out(store, change, numbers, tally), applied, undone
        )

    # -- housekeeping ------------------------------------------------------------------------

    async def purge(self, limits: RetentionLimits, now: float) -> Purged:
        """See Outbox.purge."""
        started = self._clock.monotonic()
        step = partial(retention.purge, limits=limits, now=now, monotonic=self._clock.monotonic)
        purged: Purged = await self._group.command(step)
        self._operated("purge", self._clock.monotonic() - started)
        return purged

    async def blocked(self, endpoint: EndpointId) -> int:
        """See Outbox.blocked."""
        return await self._people.blocked(endpoint)

    async def pending_ages(self) -> Mapping[EndpointId, PendingAge]:
        """See Outbox.pending_ages."""
        return await self._people.pending_ages()

    def sizes(self) -> StorageSizes:
        """See Outbox.sizes."""
        return StorageSizes(
            database=size_of(self._path),
            wal=size_of(self._path.with_name(self._path.name + "-wal")),
            free=free_bytes(self._path.parent),
            short=self._short,
        )

    async def close(self) -> None:
        """See Outbox.close. A second call does nothing."""
        if self._closing:
            return
        self._closing = True
        closed = StorageUnavailable(f"{self._path}: the outbox is closed")
        self._group.refusal = self._group.refusal or closed
        await self._group.flush()
        self._group.ended = self._group.ended or closed
        self._group.stop()
        await self._claims.close()
        await self._payloads.close()
        await self._readers.aclose()  # before the writer: the last to close folds the log in
        await self._writer.close()
        self._lock.release()
