"""The nouns of the gateway and the table of a delivery's life.

Theory. An *event* is what came in once. A *delivery* is one event owed to one endpoint. An
*attempt* is one HTTP request made for a delivery, an *outcome* what it came to, and a
*transition* what that did to the delivery. The outbox stores four states: `pending`,
`delivered`, `dead` and `cancelled`. Two more are derived when a delivery is shown: `in_flight`
is a pending delivery that a worker has claimed, `parked` is a pending delivery whose endpoint
has left the configuration. A dead letter is a delivery in state `dead`, not another table;
replay is a transition like any other. Whatever is not in `TRANSITIONS` cannot happen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

EndpointId = NewType("EndpointId", int)
DeliveryId = NewType("DeliveryId", int)

ANSWER_KEPT = 1024  # bytes of an answer's body recorded with its attempt


class State(StrEnum):
    """A delivery's state, as shown to people."""

    PENDING = "pending"
    IN_FLIGHT = "in_flight"
    PARKED = "parked"
    DELIVERED = "delivered"
    DEAD = "dead"
    CANCELLED = "cancelled"


FINAL = frozenset({State.DELIVERED, State.DEAD, State.CANCELLED})


class Cause(StrEnum):
    """Why a delivery moved from one state to another."""

    CLAIMED = "claimed"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RELEASED = "released"
    EXHAUSTED = "exhausted"
    EXPIRED = "expired"
    REJECTED = "rejected"
    GONE = "gone"
    BLOCKED = "blocked"
    REMOVED = "removed"
    REVIVED = "revived"
    CANCELLED = "cancelled"
    REPLAYED = "replayed"


TRANSITIONS: Mapping[tuple[State, Cause], State] = {
    (State.PENDING, Cause.CLAIMED): State.IN_FLIGHT,
    (State.PENDING, Cause.EXPIRED): State.DEAD,
    (State.PENDING, Cause.REMOVED): State.PARKED,
    (State.PENDING, Cause.CANCELLED): State.CANCELLED,
    (State.IN_FLIGHT, Cause.SUCCEEDED): State.DELIVERED,
    (State.IN_FLIGHT, Cause.FAILED): State.PENDING,
    (State.IN_FLIGHT, Cause.RELEASED): State.PENDING,
    (State.IN_FLIGHT, Cause.EXHAUSTED): State.DEAD,
    (State.IN_FLIGHT, Cause.EXPIRED): State.DEAD,
    (State.IN_FLIGHT, Cause.REJECTED): State.DEAD,
    (State.IN_FLIGHT, Cause.GONE): State.DEAD,
    (State.IN_FLIGHT, Cause.BLOCKED): State.DEAD,
    (State.PARKED, Cause.REVIVED): State.PENDING,
    (State.PARKED, Cause.REMOVED): State.DEAD,
    (State.PARKED, Cause.CANCELLED): State.CANCELLED,
    (State.DEAD, Cause.REPLAYED): State.PENDING,
    (State.DEAD, Cause.CANCELLED): State.CANCELLED,
    (State.DELIVERED, Cause.REPLAYED): State.PENDING,
}


class DeadReason(StrEnum):
    """Why a delivery is dead; a metric label."""

    OVERFLOW = "overflow"
    TRANSFORM = "transform"
    EXPIRED = "expired"
    REMOVED = "removed"
    EXHAUSTED = "exhausted"
    REJECTED = "rejected"
    GONE = "gone"
    BLOCKED = "blocked"


class Format(StrEnum):
    """How a source's requests are read."""

    ENVELOPE = "envelope"
    RAW = "raw"
    CLOUDEVENTS = "cloudevents"


class Payload(StrEnum):
    """What an endpoint is sent."""

    AUTO = "auto"
    ENVELOPE = "envelope"
    RAW = "raw"
    CLOUDEVENTS = "cloudevents"
    CLOUDEVENTS_STRUCTURED = "cloudevents-structured"
    THIN = "thin"


class OnRemove(StrEnum):
    """What becomes of the pending deliveries of an endpoint that leaves the configuration."""

    PARK = "park"
    DEAD = "dead"
    CANCEL = "cancel"


class Result(StrEnum):
    """What one attempt came to; a metric label."""

    SUCCESS = "success"
    TIMEOUT = "timeout"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    HTTP_3XX = "http_3xx"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    RATE_LIMITED = "rate_limited"
    GONE = "gone"
    BLOCKED = "blocked"
    AUTH = "auth"
    REUSED_CONNECTION = "reused_connection"
    INTERRUPTED = "interrupted"


Headers = tuple[tuple[str, str], ...]


@dataclass(slots=True, kw_only=True)
class Event:
    """What came in once, before it is stored. Never changed; not frozen, which would cost 1 µs.

    `occurred_at` is RFC 3339 text as the publisher gave it (or the time of acceptance);
    `accepted_at` is UNIX seconds. `body` is the `data` value of an envelope, or the whole body
    of a raw source, or the data of a CloudEvent, byte for byte; `content_type` is that of `body`.
    `headers` are the forwarded ones (`traceparent` included), names as configured; a CloudEvent's
    attributes are among them, as the `ce-` headers of its binary mode. `dedup_key` is None where
    the event has no identity to compare; otherwise it is compared inside its source for
    `dedup_window` seconds. `transformed` is what endpoints are sent for `body` where a transform
    said so, None for one whose transform failed; of a stored event it is kept with the deliveries.
    `keys` are its keys at endpoints that order it (core.ordering), kept likewise.
    """

    id: str
    source: str
    type: str
    occurred_at: str
    accepted_at: float
    format: Format
    content_type: str | None
    body: bytes
    headers: Headers = ()
    dedup_key: str | None = None
    dedup_window: float = 0.0
    transformed: Mapping[EndpointId, bytes | None] | None = None
    keys: Mapping[EndpointId, int] | None = None

    @property
    def weight(self) -> int:
        """Bytes of its body and of what transforms made of it."""
        if self.transformed is None:
            return len(self.body)
        made = {id(data): len(data) for data in self.transformed.values() if data is not None}
        return len(self.body) + sum(made.values())


@dataclass(slots=True)
class Stored:
    """The event and its deliveries are committed. `deliveries` counts all of them."""

    event_id: str
    sequence: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The same identity is already stored, `deliveries` times owed; nothing new was stored.

    `conflicting` says that the bytes or the type differ from those stored first.
    """

    event_id: str
    deliveries: int
    conflicting: bool


PutAnswer = Stored | Duplicate


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One claimed delivery: all that an attempt needs. `sequence` is the event's number.

    `attempts` counts over all rounds, `round_attempts` in this one. `round_started` is a reading
    of the endpoint's active clock: UNIX seconds less the time it was paused or parked. `key` is
    that of the line it is the head of, None: it stands in none (core.ordering).
    """

    id: DeliveryId
    endpoint: EndpointId
    sequence: int
    event: Event
    attempts: int = 0
    round_attempts: int = 0
    round_started: float = 0.0
    replayed: bool = False
    key: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one attempt came to.

    `answer` holds at most ANSWER_KEPT bytes of the answer's body. `error` is one line for people,
    empty on success. `retry_after` is seconds, as asked by the receiver, uncapped.
    `permanent` marks a literal address that the egress policy denies: no retry can help.
    """

    result: Result
    status: int | None = None
    answer: bytes = b""
    error: str = ""
    retry_after: float | None = None
    permanent: bool = False

    @property
    def ok(self) -> bool:
        """Whether the receiver took the event."""
        return self.result is Result.SUCCESS


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One HTTP request made for a delivery. `number` is 1-based over all rounds."""

    number: int
    started_at: float
    duration: float
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Where a claimed delivery goes.

    `delay` is the number of seconds until it is due again, for PENDING only. `counted` says
    whether the attempt counts in the round's budget.
    """

    state: State
    cause: Cause
    reason: DeadReason | None = None
    delay: float = 0.0
    counted: bool = True


@dataclass(slots=True, kw_only=True)
class Settlement:
    """A transition to be committed, with the attempt that led to it (None: expired unattempted)."""

    delivery: Delivery
    transition: Transition
    settled_at: float
    attempt: Attempt | None = None


@dataclass(frozen=True, slots=True)
class EndpointCounts:
    """Kept in the same transaction as the rows they count.

    created + replayed = delivered + dead + cancelled + pending, at every commit; `pending` includes
    what is in flight and what is parked. `dead_letters` counts the rows now in state dead.
    """

    created: int = 0
    replayed: int = 0
    delivered: int = 0
    dead: int = 0
    cancelled: int = 0
    pending: int = 0
    dead_letters: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRecord:
    """An endpoint as the outbox knows it: what must survive a restart.

    `breaker` is the text form of a circuit breaker's state, opaque to the outbox. `tokens` is
    what was left in the rate limit's bucket at a clean stop (None: unknown, start empty);
    `fresh` is True for a row created by this very call; `payload_modes`: see core.payload_modes.
    """

    id: EndpointId
    name: str
    on_remove: OnRemove = OnRemove.PARK
    removed_at: float | None = None
    paused_by_file: bool = False
    paused_by_operator: bool = False
    gone: bool = False
    hold_until: float | None = None
    breaker: str | None = None
    tokens: float | None = None
    tokens_at: float | None = None
    suspended_since: float | None = None
    suspended_seconds: float = 0.0
    revived_at: float | None = None
    payload_modes: tuple[tuple[int, str], ...] = ()
    fresh: bool = False
    counts: EndpointCounts = field(default_factory=EndpointCounts)

    @property
    def paused(self) -> bool:
        """File, operator or a 410 holds it."""
        return self.paused_by_file or self.paused_by_operator or self.gone

    def active_clock(self, now: float) -> float:
        """`now` less all the time the endpoint was paused or parked: rounds age by it."""
        held = self.suspended_seconds
        if self.suspended_since is not None:
            held += max(0.0, now - self.suspended_since)
        return now - held


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """What is remembered of a source over restarts, counted in the events' own transactions.

    `conflicting` counts duplicates whose bytes or type differ from those stored first, `unrouted`
    accepted events that are owed to nobody. `last_event_at` is UNIX seconds, None: never.
    """

    name: str
    accepted: int = 0
    duplicates: int = 0
    conflicting: int = 0
    unrouted: int = 0
    last_event_at: float | None = None

    def moved(self, deltas: Sequence[float]) -> "SourceRecord":
        """The record after a transaction; `deltas` in the order of the fields, a time the last."""
        accepted, duplicates, conflicting, unrouted, last = deltas
        return SourceRecord(
            self.name,
            self.accepted + int(accepted),
            self.duplicates + int(duplicates),
            self.conflicting + int(conflicting),
            self.unrouted + int(unrouted),
            max(self.last_event_at or last, last),
        )
