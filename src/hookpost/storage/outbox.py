"""The outbox as everything above it sees it: the contract that each backend must keep.

Nothing here or above knows SQL. Methods that are plain `def` never block: they enqueue, or read
memory. The conformance suite in `tests/storage/` is run against every backend.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from hookpost.core.errors import OutboxError
from hookpost.core.model import (
    Attempt,
    DeadReason,
    Delivery,
    DeliveryId,
    EndpointId,
    EndpointRecord,
    Event,
    OnRemove,
    PutAnswer,
    Settlement,
    SourceRecord,
    State,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSpec:
    """What the configuration says of an endpoint and the outbox must know."""

    name: str
    on_remove: OnRemove = OnRemove.PARK
    paused: bool = False
    max_pending: int = 1_000_000
    renamed_from: str | None = None
    payload: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionLimits:
    """Seconds that finished and parked deliveries are kept; bytes the whole file may take.

    With less than `min_free` bytes of disk, room inside the file is given back to the disk.
    """

    delivered: float
    dead: float
    cancelled: float
    parked: float
    max_size: int
    min_free: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What one housekeeping step did; `more` asks for another step soon.

    `deliveries` maps (state, cause) to rows deleted, `events` a cause; it is "age" or "size".
    `expired` maps an endpoint's name to parked deliveries that became dead `removed`, and `own` to
    how many of them were of the gateway's own events;
    `cancelled` likewise for endpoints removed with on_remove: cancel. `identities` were forgotten
    inside their dedup window, because of the file's size.
    """

    deliveries: Mapping[tuple[State, str], int] = field(default_factory=dict)
    events: Mapping[str, int] = field(default_factory=dict)
    expired: Mapping[str, int] = field(default_factory=dict)
    own: Mapping[str, int] = field(default_factory=dict)
    cancelled: Mapping[str, int] = field(default_factory=dict)
    identities: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSizes:
    """Bytes on disk: the database file, its write-ahead log, and what the file system has free.

    `short` while no event is taken because the disk is full.
    """

    database: int
    wal: int
    free: int
    short: bool = False


@dataclass(frozen=True, slots=True)
class PendingAge:
    """Of an endpoint's pending deliveries: the earliest acceptance and the earliest due time."""

    accepted_at: float
    due_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which deliveries a person means: by number, or by every condition that is not None.

    `accepted_before` and `accepted_after` are UNIX seconds. `blocked` True means those
    only that wait behind another of their line, False all but those. `limit` bounds a bulk verb
    (None: all).
    """

    ids: tuple[DeliveryId, ...] | None = None
    endpoint: str | None = None
    source: str | None = None
    event_id: str | None = None
    event_type: str | None = None
    states: frozenset[State] | None = None
    reason: DeadReason | None = None
    accepted_after: float | None = None
    accepted_before: float | None = None
    blocked: bool | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """How a delivery first became a dead letter; it is kept when the letter is replayed.

    `attempted_at` and what follows tell of the attempt before it, None where there was none.
    """

    at: float
    reason: DeadReason | None
    attempted_at: float | None
    error: str | None
    kind: str | None
    status: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """A delivery as shown: its state is the derived one. Times are UNIX seconds.

    The `last_…` fields tell of the last attempt. `finished_at` is when it became delivered, dead or
    cancelled. `replayed_at` and the `replay_…` fields tell of the last replay, None before one.
    `key` tells its line (core.ordering), `behind` is the line's head while this one waits for it:
    then `next_at` is None.
    """

    id: DeliveryId
    sequence: int
    event_id: str
    event_type: str
    source: str
    endpoint: str
    state: State
    reason: DeadReason | None
    attempts: int
    accepted_at: float
    next_at: float | None
    finished_at: float | None
    last_attempt_at: float | None
    last_error: str | None
    last_kind: str | None
    last_status: int | None
    replayed_at: float | None
    last_replay_attempt: float | None
    last_replay_error: str | None
    death: Death | None
    key: int | None = None
    behind: DeliveryId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryDetail:
    """One delivery with its event and its recorded attempts, oldest first.

    `payload` is what a transform made of the event's data and is sent for it, None: nothing did.
    """

    view: DeliveryView
    event: Event
    attempts: Sequence[Attempt]
    payload: bytes | None = None


Settled = bool | OutboxError
"""What became of a settlement: True committed, False it was no longer ours, or why it is lost."""

Observed = Callable[[Settlement, Settled], None]
"""Who is told, once, what became of a settlement."""


class Waiter(Protocol):
    """Whoever is told what came of a put; an asyncio.Future is one.

    One that is `done` already is told nothing.
    """

    def done(self) -> bool:
        """Whether it was told, or waits no longer."""
        ...

    def set_result(self, answer: Any, /) -> None:
        """Committed: a PutAnswer, or one for each of many."""
        ...

    def set_exception(self, error: Exception, /) -> None:
        """Not committed; see Outbox.put."""
        ...


class Outbox(Protocol):
    """A durable store of events and deliveries.

    Every method that changes something answers only after its COMMIT returned under
    `synchronous` full; an OutboxError means that nothing of the call was stored.
    """

    # -- the road of an event ----------------------------------------------------------------

    def put(self, event: Event, endpoints: Sequence[EndpointId]) -> "asyncio.Future[PutAnswer]":
        """Commit the event and one delivery for each endpoint, or answer Duplicate.

        Concurrent puts and settlements share one transaction (group commit); one that fails
        alone raises alone. A delivery beyond the endpoint's `max_pending` is stored dead
        `overflow`; one for a removed endpoint is parked. Where the event is `transformed` for an
        endpoint, its delivery carries those bytes, or is stored dead `transform`. Where the event
        has a key for an endpoint, its delivery is the last of that line. Raises
        StorageFull (disk, file limit)
        or StorageUnavailable (closing, too many waiting, failed for good). Whoever waits may
        complete the future to stop waiting; neither that nor a cancellation undoes the put.
        """
        ...

    def submit(self, event: Event, endpoints: Sequence[EndpointId], waiter: Waiter) -> None:
        """As `put`, for one who is told and does not wait: in the call that ends the commit."""
        ...

    def put_many(
        self, events: Sequence[tuple[Event, Sequence[EndpointId]]]
    ) -> "asyncio.Future[Sequence[PutAnswer]]":
        """Commit a batch in one transaction: all of it, or OutboxError. Answers in order."""
        ...

    def submit_many(
        self, events: Sequence[tuple[Event, Sequence[EndpointId]]], waiter: Waiter
    ) -> None:
        """As `put_many`, for one who is told."""
        ...

    async def claim(self, endpoint: EndpointId, limit: int, now: float) -> Sequence[Delivery]:
        """At most `limit` due deliveries, by due time, that nobody else holds; [] if none.

        Of deliveries that share a key the first alone is given, until its end is committed.
        A claimed delivery is held until it is settled or released. Returns [] as well while too
        many settlements wait for the disk: the doorbell rings when that is over.
        """
        ...

    def claim_ready(self, endpoint: EndpointId, limit: int, now: float) -> Sequence[Delivery]:
        """What `claim` could give without waiting for the disk; [] says nothing of the rest."""
        ...

    def next_due(self, endpoint: EndpointId) -> float | None:
        """When the next unclaimed delivery is due (UNIX seconds; may be past), None: none known.

        May be earlier than the truth (then `claim` answers [] and this moves on), never later.
        """
        ...

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give claimed deliveries back unattempted: due again at once, nothing is counted."""
        ...

    def settle(self, settlement: Settlement, observed: Observed) -> None:
        """Commit what became of a claimed delivery; `observed` is called once it is committed.

        Rides in the next group commit, at the latest after a few milliseconds. Guarded: False
        says that the delivery was no longer ours (its attempt is recorded all the same). A
        settlement that the disk refuses is kept and tried again while the process lives; the
        delivery stays claimed, so its attempt is not repeated. `observed` is called on the loop,
        never before this returns, and must neither block nor raise; a call a batch would not
        be worth a future for each of its deliveries.
        """
        ...

    def watch(self, endpoint: EndpointId, doorbell: Callable[[], None] | None) -> None:
        """Call `doorbell` on the loop whenever `claim` may have more to give; None: stop."""
        ...

    # -- endpoints ---------------------------------------------------------------------------

    async def apply_endpoints(
        self, specs: Sequence[EndpointSpec], now: float
    ) -> Mapping[str, EndpointRecord]:
        """Make the endpoint rows match a configuration, in one transaction; {name: record}.

        New names are inserted, known ones updated, removed ones that return are revived (their
        pending deliveries begin a new round), `renamed_from` renames a row once, rows that no
        spec names are marked removed. `on_remove` dead or cancel is carried out by `purge` in
        batches.
        """
        ...

    def endpoint(self, endpoint: EndpointId) -> EndpointRecord:
        """The record as last committed, with current counts."""
        ...

    def endpoints(self) -> Sequence[EndpointRecord]:
        """All records, removed ones that still own deliveries included."""
        ...

    async def update_endpoint(
        self, endpoint: EndpointId, now: float, **changes: Any
    ) -> EndpointRecord:
        """Change `paused_by_operator`, `gone`, `hold_until`, `breaker`, `tokens`, `tokens_at`.

        Keeps the active clock (`suspended_since`, `suspended_seconds`) in step.
        """
        ...

    def sources(self) -> Mapping[str, SourceRecord]:
        """What is remembered of each source that ever sent."""
        ...

    # -- people ------------------------------------------------------------------------------

    async def deliveries(
        self, selection: Selection, *, before: DeliveryId | None = None, limit: int = 100
    ) -> Sequence[DeliveryView]:
        """A page of deliveries, newest first, with ids below `before`."""
        ...

    async def delivery(self, delivery: DeliveryId) -> DeliveryDetail:
        """One delivery; NotFound."""
        ...

    async def payload(self, delivery: DeliveryId, endpoint: EndpointId) -> Event | None:
        """The event as this endpoint is sent it by this delivery; None: it is not kept any more."""
        ...

    async def count(self, selection: Selection) -> int:
        """How many deliveries a selection means."""
        ...

    async def retry(self, selection: Selection, now: float, *, to: EndpointId | None = None) -> int:
        """Make pending deliveries due now; with `to`, move parked ones to that endpoint.

        Answers how many: those that wait behind others of their line are not among them. A moved
        delivery counts as cancelled at the old endpoint and as replayed at the new one, where it is
        the last of its line.
        """
        ...

    async def cancel(self, selection: Selection, now: float) -> int:
        """Pending (not in flight), parked and dead deliveries become cancelled; how many."""
        ...

    async def replay(self, selection: Selection, now: float) -> int:
        """Dead deliveries become pending in a new round, at the tail; how many."""
        ...

    async def purge_dead(self, selection: Selection) -> int:
        """Delete dead letters; how many."""
        ...

    # -- housekeeping ------------------------------------------------------------------------

    async def purge(self, limits: RetentionLimits, now: float) -> Purged:
        """One small step of retention, of parked expiry and of `on_remove`; never stalls a put."""
        ...

    async def blocked(self, endpoint: EndpointId) -> int:
        """How many pending deliveries wait behind others of their lines."""
        ...

    async def pending_ages(self) -> Mapping[EndpointId, PendingAge]:
        """For each endpoint that has pending deliveries (in flight and parked included).

        Reads an index from end to end: for a background refresh, not for a scrape.
        """
        ...

    def sizes(self) -> StorageSizes:
        """Bytes used and free."""
        ...

    async def close(self) -> None:
        """Commit what waits, checkpoint, release the lock. Further calls raise."""
        ...
