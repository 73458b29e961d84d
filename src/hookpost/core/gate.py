"""One endpoint's admission: may an attempt start now, and if not, what holds it and for how long?

Asked in this order: removed, paused, no live key, hold, breaker, concurrency, rate. A token is
taken last and only by an attempt that starts; whatever is held back burns nothing. A reload
resizes the limits in place: places taken, tokens left, the breaker and the hold all stay.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from hookpost.core import breaker as circuit
from hookpost.core import ratelimit
from hookpost.core.breaker import Breaker, Closed, HalfOpen
from hookpost.core.credentials import secret_of
from hookpost.core.model import EndpointRecord
from hookpost.core.ratelimit import Bucket
from hookpost.core.secrets import Secret
from hookpost.core.settings import Endpoint


class HeldBy(StrEnum):
    """What keeps attempts from starting; a metric label.

    Order is kept before the gate is asked: the outbox gives away heads of their lines only.
    """

    REMOVED = "removed"
    PAUSED = "paused"
    NO_LIVE_KEY = "no_live_key"
    HOLD = "hold"
    BREAKER = "breaker"
    ORDER = "order"
    CONCURRENCY = "concurrency"
    RATE = "rate"


@dataclass(frozen=True, slots=True)
class Room:
    """`attempts` may start now: at least one."""

    attempts: int


@dataclass(frozen=True, slots=True)
class Held:
    """Nothing may start. `wait` is seconds; None: until an attempt ends or somebody acts."""

    by: HeldBy
    wait: float | None = None


@dataclass(slots=True)
class Ticket:
    """The place of one started attempt, to be given to `finish` or `cancel`, once."""

    era: int


class Gate:
    """The limits of one endpoint and how much of them is in use. Not a coroutine in sight."""

    def __init__(self, endpoint: Endpoint, record: EndpointRecord, now: float) -> None:
        self._well = 0  # successes that are not yet in the breaker, all of its last slot
        self._same_slot_from = self._same_slot_until = -inf
        self._live_from, self._live_until = inf, -inf  # of the keys last found alive
        self._breaker: Breaker = Closed()
        self._adopt(endpoint)
        self.in_flight = 0
        self.removed = False
        self.paused = record.paused
        self.hold_until = _sane_hold(record.hold_until, endpoint, now)
        policy = endpoint.circuit_breaker
        if policy is not None:
            self._breaker = circuit.load(record.breaker, policy, now)
        self._bucket = _first_bucket(endpoint, record, now)

    @property
    def breaker(self) -> Breaker:
        """The breaker as of the last finished attempt."""
        if self._well:
            self._breaker = circuit.succeeded(self._breaker, self._well)
            self._well = 0
        return self._breaker

    @breaker.setter
    def breaker(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._well = 0
        self._same_slot_until = -inf

    @property
    def half_open(self) -> bool:
        """Whether the breaker probes; `admit` and `start` begin it when its time has come."""
        return type(self._breaker) is HalfOpen

    # -- asking ------------------------------------------------------------------------------

    def admit(self, now: float, wall: float) -> Room | Held:
        """How many attempts may start at steady time `now`, keys being judged by `wall`."""
        closed = self._closed(now, wall)
        if closed is not None:
            return closed
        room = self._concurrency - self.in_flight
        policy = self._policy
        if policy is not None and type(self._breaker) is not Closed:
            self.breaker, probes, wait = circuit.admit(self.breaker, policy, now)
            if probes is not None:
                if probes == 0:
                    return Held(HeldBy.BREAKER, wait or None)
                room = min(room, probes)
        if room <= 0:
            return Held(HeldBy.CONCURRENCY)
        limit = self._limit
        if limit is not None:
            room = min(room, ratelimit.available(self._bucket, limit, now))
            if room == 0:
                return Held(HeldBy.RATE, ratelimit.wait(self._bucket, limit, now))
        return Room(room)

    def start(self, now: float, wall: float) -> Ticket | Held:
        """Take a place and a token for one attempt; Held: the gate has closed since `admit`."""
        limit, closed = self._limit, type(self._breaker) is Closed
        # The usual case by far, spelled out: nothing to ask but the doors and the places.
        if closed and limit is None and self.in_flight < self._concurrency:
            held = self._closed(now, wall)
            if held is not None:
                return held
            self.in_flight += 1
            return Ticket(self._breaker.era)
        admitted = self.admit(now, wall)
        if isinstance(admitted, Held):
            return admitted
        if limit is not None:
            self._bucket, _ = ratelimit.take(self._bucket, limit, now)
        if not closed:
            self.breaker = circuit.started(self.breaker)
        self.in_flight += 1
        return Ticket(self._breaker.era)

    def _closed(self, now: float, wall: float) -> Held | None:
        if self.removed:
            return Held(HeldBy.REMOVED)
        if self.paused:
            return Held(HeldBy.PAUSED)
        if not self._live_from <= wall <= self._live_until:
            held = self._look_for_keys(wall)
            if held is not None:
                return held
        if self.hold_until is not None:
            if now < self.hold_until:
                return Held(HeldBy.HOLD, self.hold_until - now)
            self.hold_until = None
        return None

    def _look_for_keys(self, wall: float) -> Held | None:
        """Of the signing secrets one must live, and the credential; for how long is remembered."""
        begin, end = -inf, inf
        for secrets in self._wanted:
            live = next((secret for secret in secrets if secret.live(wall)), None)
            if live is None:
                return Held(HeldBy.NO_LIVE_KEY, _until_a_key_lives(secrets, wall))
            begin = max(begin, -inf if live.not_before is None else live.not_before)
            end = min(end, inf if live.not_after is None else live.not_after)
        self._live_from, self._live_until = begin, end
        return None

    # -- telling -----------------------------------------------------------------------------

    def finish(self, ticket: Ticket, *, ok: bool | None, now: float) -> bool:
        """An attempt has ended; `ok` None says nothing of the receiver. True: the breaker moved."""
        self.in_flight -= 1
        policy = self._policy
        if policy is None:
            return False
        if ok and self._same_slot_from <= now < self._same_slot_until:
            self._well += 1  # a new breaker for each would cost more than all else here
            return False
        before = self.breaker
        self.breaker = after = circuit.record(before, policy, era=ticket.era, ok=ok, now=now)
        if ok and isinstance(after, Closed) and after.slots:
            self._same_slot_from = max(now, after.slots[-1][0])
            self._same_slot_until = circuit.same_slot_until(after, policy)
        return type(after) is not type(before)

    def cancel(self, ticket: Ticket, now: float) -> None:
        """An attempt did not start after all: its place and its token go back."""
        self.finish(ticket, ok=None, now=now)
        limit = self._limit
        if limit is not None:
            self._bucket = ratelimit.given_back(self._bucket, limit)

    def hold(self, until: float) -> bool:
        """Start nothing before steady time `until`; a longer hold stays. True: it was extended."""
        if self.hold_until is not None and self.hold_until >= until:
            return False
        self.hold_until = until
        return True

    def go_on(self) -> None:
        """Nobody is asked to wait any more."""
        self.hold_until = None

    def probe(self) -> None:
        """The URL has changed: half-open, whatever was known of the old one."""
        policy = self._policy
        if policy is not None:
            self.breaker = circuit.half_opened(self.breaker, policy)

    def resize(self, endpoint: Endpoint, now: float) -> None:
        """Live by another configuration of the same endpoint from now on; nothing is reset."""
        old, new = self._limit, endpoint.rate_limit
        if new is not None:
            if old is None:
                # Switched on: what was sent before is unknown, so nothing has been saved.
                self._bucket = Bucket(min(0.0, self._bucket.tokens), now)
            elif old != new:
                self._bucket = ratelimit.resized(self._bucket, old, new, now)
        before = self.breaker
        self.breaker = (
            before if endpoint.circuit_breaker is not None else Closed(era=before.era + 1)
        )
        self._adopt(endpoint)

    def tokens(self, now: float) -> float | None:
        """What the bucket holds, to be kept over a restart; None without a rate limit."""
        limit = self._limit
        return ratelimit.refilled(self._bucket, limit, now).tokens if limit is not None else None

    def _adopt(self, endpoint: Endpoint) -> None:
        self._concurrency = endpoint.concurrency
        self._policy = endpoint.circuit_breaker
        self._limit = endpoint.rate_limit
        self._wanted = _wanted(endpoint)
        self._live_from, self._live_until = inf, -inf


def _first_bucket(endpoint: Endpoint, record: EndpointRecord, now: float) -> Bucket:
    """A new endpoint may use its burst; a known one has no more than it had when it stopped."""
    limit = endpoint.rate_limit
    if limit is None:
        return Bucket(0.0, now)
    untouched = record.counts.created + record.counts.replayed == 0
    if record.fresh or (untouched and record.tokens is None):
        return ratelimit.full(limit, now)
    if record.tokens is None or not math.isfinite(record.tokens):
        return Bucket(0.0, now)
    return Bucket(min(float(limit.burst), record.tokens), now)


def _sane_hold(until: float | None, endpoint: Endpoint, now: float) -> float | None:
    """A kept hold, no longer than any could be: the clock may have been set meanwhile."""
    return None if until is None else min(until, now + endpoint.retry.retry_after_max)


def _wanted(endpoint: Endpoint) -> tuple[tuple[Secret, ...], ...]:
    """Of each of these one must live; nothing: it is unsigned and has no credential."""
    signing, auth = endpoint.signing, endpoint.auth
    return (
        *((tuple(key.secret for key in signing.keys),) if signing is not None else ()),
        *(((secret_of(auth),),) if auth is not None else ()),
    )


def _until_a_key_lives(signing: tuple[Secret, ...], wall: float) -> float | None:
    waits = [
        secret.not_before - wall
        for secret in signing
        if secret.not_before is not None and secret.not_before > wall
    ]
    return min(waits, default=None)
