"""Receivers that are good and bad by turns, and the judge who stands at their door.

The judge keeps its own count of what may come: places, tokens, holds, open circuits, delays. It is
told what the configuration says and nothing of what the gateway believes.
"""

import asyncio
import base64
import hmac
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import nan
from typing import NoReturn

from tests.simulation.plan import (
    FAILURES,
    LEAST_DELAY,
    MAX_OPEN_FOR,
    OPEN_FOR,
    RETRY_AFTER_MAX,
    SECRET,
    Line,
)
from tests.simulation.trace import Trace, Violation

from hookpost.core.model import Outcome, Result
from hookpost.core.settings import Endpoint

KEY = base64.b64decode(SECRET.removeprefix("whsec_"))
SOON = 1.0  # seconds in which what was decided is committed, if anything is
TINY = 1e-4  # seconds that two readings of one moment may differ
MOODS = ("well", "well", "well", "ill", "hanging", "reset", "dns", "busy", "down", "gone", "wrong")


@dataclass
class Past:
    """What the receiver has seen of one event."""

    body: bytes
    attempts: int = 0
    accepted: int = 0  # 2xx that were sent
    told: bool = False  # a 2xx reached the gateway, and nothing since may have undone it
    ended: float = -1e9  # when the last attempt ended
    free: bool = True  # the next attempt need not wait: a crash, a person, a stale connection


@dataclass
class Row:
    """What the outbox has of a delivery."""

    pending: bool
    replayed: bool


@dataclass
class Queue:
    """What the receiver has seen of events that must come one after the other."""

    busy: int = 0
    last: str | None = None  # the event that was tried last
    over: bool = True  # it was taken
    newest: int = 0  # the highest sequence of those that have come


@dataclass
class Receiver:
    """One endpoint's other side, over all its names. `mood` is how it answers."""

    key: str
    mood: str = "well"
    busy: int = 0
    past: dict[str, Past] = field(default_factory=dict)
    hold: float = -1e9  # until when it has asked everybody to wait
    hold_asked: float = -1e9
    streak: float = 0  # nan: not known, a success will tell
    opened: float = -1e9
    open_until: float = -1e9
    open_for: float = 0.0
    tokens: float | None = None
    tokens_at: float = 0.0
    rate: tuple[float, int] | None = None
    queues: dict[str, Queue] = field(default_factory=dict)


class Network:
    """All receivers. `line` tells what the configuration in force says of one."""

    def __init__(self, rng: random.Random, trace: Trace) -> None:
        self.rng = rng
        self.trace = trace
        self.time: Callable[[], float] = float
        self.line: Callable[[str], Line | None] = lambda key: None
        self.receivers: dict[str, Receiver] = {}
        self.open: dict[SimTransport, None] = {}
        self.life = 0
        self.attempts = 0
        self.wall: Callable[[], float] = float
        self.row: Callable[[str, str], Row | None] = lambda event, key: None

    def receiver(self, key: str) -> Receiver:
        """The one behind the endpoints of a line."""
        return self.receivers.setdefault(key, Receiver(key))

    def transport(self, endpoint: Endpoint) -> "SimTransport":
        """See hookpost.transport.Transport."""
        key = endpoint.url.removeprefix("https://").partition(".")[0]
        made = SimTransport(self, self.receiver(key), endpoint)
        self.open[made] = None
        return made

    def ended(self) -> None:
        """The gateway has ended by itself: no connection may be left."""
        if self.open:
            keys = sorted(each.key for each in self.open)
            raise Violation(f"it has ended, and connections are left to {keys}")

    def crashed(self, committed: float) -> None:
        """The gateway is gone, and with it what came after its last commit."""
        self.life += 1
        self.open.clear()
        for receiver in self.receivers.values():
            receiver.busy, receiver.streak = 0, nan
            for queue in receiver.queues.values():
                queue.busy = 0
            if receiver.opened > committed - SOON:
                receiver.open_until, receiver.open_for = -1e9, 0.0
            if receiver.hold_asked > committed - SOON:
                receiver.hold = -1e9
            for past in receiver.past.values():
                past.free, past.told = True, False

    def pardon(self, key: str | None = None) -> None:
        """A person or a reload may have hastened, replayed or revived what was waiting."""
        for receiver in self.receivers.values():
            if key in (None, receiver.key):
                for past in receiver.past.values():
                    past.free, past.told = True, False

    def resumed(self, key: str) -> None:
        """A person has asked that nobody waits any more."""
        self.receiver(key).hold = -1e9

    # -- the judge -------------------------------------------------------------------------------

    def arrive(self, receiver: Receiver, headers: dict[str, str], body: bytes) -> Past:
        """Judge an attempt that begins."""
        self.attempts += 1
        event, now = headers["webhook-id"], self.time()
        line = self.line(receiver.key)
        self._signed(headers, body)
        past = receiver.past.setdefault(event, Past(body))
        past.attempts += 1
        if body != past.body:
            self._broken(f"{receiver.key}: {event} came with other bytes than before")
        if past.told:
            self._broken(f"{receiver.key}: {event} was sent again after its 2xx")
        if line is None or line.paused:
            self._broken(f"{receiver.key}: an attempt began while it was paused or removed")
        if receiver.busy >= line.concurrency:
            self._broken(f"{receiver.key}: more than {line.concurrency} attempts at once")
        if now < receiver.hold - TINY:
            self._broken(f"{receiver.key}: asked to wait until {receiver.hold:.3f}")
        self._order(receiver, line, headers)
        self._circuit(receiver, line, now)
        self._token(receiver, line, now)
        gap, least = now - past.ended, LEAST_DELAY[line.retry]
        if not past.free and gap < min(LEAST_DELAY.values()) - TINY:
            self._broken(f"{receiver.key}: {event} again after {gap:.3f} s, not {least} s")
        past.free = False
        receiver.busy += 1
        return past

    def _broken(self, words: str) -> NoReturn:
        self.trace.note("BROKEN", words)
        raise Violation(words)

    def _signed(self, headers: dict[str, str], body: bytes) -> None:
        """Standard Webhooks v1, by the book: base64(hmac-sha256(key, id.timestamp.body))."""
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        mark = "v1," + base64.b64encode(hmac.new(KEY, signed, sha256).digest()).decode()
        if mark not in headers["webhook-signature"].split():
            self._broken(f"{headers['webhook-id']}: the signature does not verify")
        if abs(int(headers["webhook-timestamp"]) - self.wall()) > 5:
            self._broken(f"{headers['webhook-id']}: the signature's time is off")

    def _order(self, receiver: Receiver, line: Line, headers: dict[str, str]) -> None:
        """One at a time, in the order of acceptance, and nobody before the one ahead is over.

        Who was replayed goes to the tail. Whether somebody was, or has ended unseen, only the rows
        tell; they are asked where it matters.
        """
        queue = _queue(receiver, line, headers["hookpost-event-type"])
        if queue is None:
            return
        event, sequence = headers["webhook-id"], int(headers["hookpost-sequence"])
        if queue.busy:
            self._broken(f"{receiver.key}: {event} came beside another of its line")
        if not queue.over and queue.last not in (None, event):
            ahead = self.row(str(queue.last), receiver.key)
            if ahead is not None and ahead.pending and not ahead.replayed:
                self._broken(f"{receiver.key}: {event} came while {queue.last} was not over")
        if sequence < queue.newest and receiver.past[event].attempts == 1:
            row = self.row(event, receiver.key)
            if row is None or not row.replayed:
                self._broken(f"{receiver.key}: {event} came out of order")
        queue.newest = max(queue.newest, sequence)
        queue.busy, queue.last, queue.over = queue.busy + 1, event, False

    def _circuit(self, receiver: Receiver, line: Line, now: float) -> None:
        if not line.breaker:
            return
        if now < receiver.open_until - TINY:
            self._broken(f"{receiver.key}: the circuit is open until {receiver.open_until:.3f}")
        if receiver.open_for and receiver.busy:
            self._broken(f"{receiver.key}: more than one probe at once")

    def _token(self, receiver: Receiver, line: Line, now: float) -> None:
        """At most rate * w + burst in any time w, whatever the reloads in between."""
        if line.rate is None:
            receiver.rate = receiver.tokens = None
            return
        rate, burst = line.rate
        self._refill(receiver, line, now)
        assert receiver.tokens is not None
        receiver.tokens -= 1.0
        if receiver.tokens < -0.001:
            self._broken(f"{receiver.key}: more than {rate:g}/s with a burst of {burst}")

    def reloaded(self, lines: Sequence[Line]) -> None:
        """A limit that a reload or a start has changed counts from now on, and gives nothing away.

        Of an endpoint that leaves, nobody promised to remember how often it failed in a row.
        """
        for line in lines:
            receiver = self.receiver(line.key)
            if not line.present:
                receiver.streak = nan
            elif line.rate is not None and receiver.rate is not None:
                self._refill(receiver, line, self.time())

    def _refill(self, receiver: Receiver, line: Line, now: float) -> None:
        assert line.rate is not None
        if receiver.tokens is None or receiver.rate is None:
            receiver.tokens = float(line.rate[1])
        else:
            rate, burst = receiver.rate
            flowed = (now - receiver.tokens_at) * rate
            receiver.tokens = min(float(burst), receiver.tokens + flowed)
        receiver.tokens = min(float(line.rate[1]), receiver.tokens)
        receiver.rate, receiver.tokens_at = line.rate, now

    def leave(
        self, receiver: Receiver, past: Past, queue: Queue | None, outcome: Outcome | None
    ) -> None:
        """An attempt of this life ended; None: the gateway cut it off."""
        now = self.time()
        receiver.busy -= 1
        if queue is not None:
            queue.busy -= 1
            queue.over = outcome is not None and outcome.ok
        past.ended = now
        if outcome is None or outcome.result is Result.REUSED_CONNECTION:
            past.free = True
            return
        if outcome.ok:
            past.told = True
            receiver.streak, receiver.open_for, receiver.open_until = 0, 0.0, -1e9
        elif outcome.result not in (Result.RATE_LIMITED, Result.GONE):
            self._failed(receiver, now)
        if outcome.retry_after is not None:
            asked = now + min(outcome.retry_after, RETRY_AFTER_MAX)
            receiver.hold, receiver.hold_asked = max(receiver.hold, asked), now

    def _failed(self, receiver: Receiver, now: float) -> None:
        receiver.streak += 1
        if receiver.open_for and not receiver.busy and now >= receiver.open_until:
            receiver.open_for = min(2 * receiver.open_for, MAX_OPEN_FOR)
        elif receiver.streak == FAILURES:
            receiver.open_for = OPEN_FOR
        else:
            return
        receiver.opened, receiver.open_until = now, now + receiver.open_for


def _queue(receiver: Receiver, line: Line, event_type: str) -> Queue | None:
    """Where an event of this type stands; None: its endpoint keeps no order."""
    if line.ordering == "none":
        return None
    return receiver.queues.setdefault(event_type if line.ordering == "type" else "", Queue())


class SimTransport:
    """One endpoint's way to its receiver."""

    def __init__(self, network: Network, receiver: Receiver, endpoint: Endpoint) -> None:
        self.key = receiver.key
        self._network = network
        self._receiver = receiver
        self._timeout = endpoint.timeout

    async def post(
        self, url: str, headers: Sequence[tuple[str, str]], body: bytes, *, fresh: bool = False
    ) -> Outcome:
        """One attempt, judged when it begins and when it ends."""
        network, receiver = self._network, self._receiver
        said = {name.lower(): value for name, value in headers}
        life = network.life
        past = network.arrive(receiver, said, body)
        line = network.line(receiver.key)
        queue = line and _queue(receiver, line, said["hookpost-event-type"])
        outcome: Outcome | None = None
        try:
            outcome = await self._answered(past, fresh)
            return outcome
        finally:
            if life == network.life:
                network.leave(receiver, past, queue, outcome)
                result = "cut off" if outcome is None else outcome.result.value
                network.trace.note("attempt", receiver.key, said["webhook-id"], result)

    async def _answered(self, past: Past, fresh: bool) -> Outcome:
        rng, mood = self._network.rng, self._receiver.mood
        takes = rng.uniform(0.005, 0.2)
        if mood == "hanging":
            await _sleep(self._timeout)
            past.accepted += rng.random() < 0.2  # it has acted on what it did not answer
            return Outcome(result=Result.TIMEOUT, error="no answer in time")
        if mood == "slow":
            takes = rng.uniform(0.2, 0.9 * self._timeout)
        await _sleep(takes)
        return self._by_mood(mood, past, fresh)

    def _by_mood(self, mood: str, past: Past, fresh: bool) -> Outcome:
        rng = self._network.rng
        match mood:
            case "ill":
                return Outcome(result=Result.HTTP_5XX, status=500, error="500")
            case "reset":
                stale = rng.random() < 0.3 and not fresh
                result = Result.REUSED_CONNECTION if stale else Result.CONNECT
                return Outcome(result=result, error="reset")
            case "dns":
                return Outcome(result=Result.DNS, error="no such host")
            case "busy":
                asked = rng.choice([1.0, 30.0, 100000.0])
                return Outcome(
                    result=Result.RATE_LIMITED, status=429, error="429", retry_after=asked
                )
            case "down":
                asked = rng.choice([2.0, 45.0])
                return Outcome(result=Result.HTTP_5XX, status=503, error="503", retry_after=asked)
            case "gone" if rng.random() < 0.05:
                return Outcome(result=Result.GONE, status=410, error="410")
            case "wrong":
                return Outcome(result=Result.HTTP_4XX, status=422, error="422")
            case _:
                past.accepted += 1
                return Outcome(result=Result.SUCCESS, status=204)

    async def close(self) -> None:
        """It takes a moment, and counts as open until then."""
        await _sleep(self._network.rng.uniform(0.0, 0.05))
        self._network.open.pop(self, None)


async def _sleep(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    later = loop.create_future()
    handle = loop.call_later(seconds, later.set_result, None)
    try:
        await later
    finally:
        handle.cancel()
