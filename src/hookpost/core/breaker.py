"""The circuit breaker of one endpoint, as values.

Theory. Closed: attempts run, finished ones are counted. It opens after `consecutive_failures` in a
row, or when enough of the last `window` failed. Open: nothing runs until its time. Half-open:
`probes` attempts at a time run to find out; the first success closes the circuit, the first
failure opens it for twice as long. Every opening begins a new *era*; an attempt belongs to the era
in which it started, so that a slow attempt from before cannot pose as a probe. Only `record`
and `admit` move a breaker; all times are readings of the steady clock, UNIX seconds.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from hookpost.core.model import Outcome, Result

SLOTS = 10  # the window is kept in tenths: bounded memory at any rate
UNCOUNTED = frozenset(
    {Result.RATE_LIMITED, Result.GONE, Result.REUSED_CONNECTION, Result.INTERRUPTED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When a circuit opens and for how long. Times in seconds.

    It opens after `consecutive_failures` in a row, or when at least `min_attempts` were finished in
    the last `window` and `failure_ratio` of them or more failed. `open_for` doubles at each failed
    probe round, up to `max_open_for`; half-open admits `probes` attempts at a time.
    """

    window: float = 60.0
    min_attempts: int = 20
    failure_ratio: float = 0.5
    consecutive_failures: int = 10
    open_for: float = 30.0
    max_open_for: float = 600.0
    probes: int = 1


Slot = tuple[float, int, int]
"""When it began, how many attempts finished in it, how many of them failed."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Attempts run. `streak` counts failures in a row, `slots` the window, oldest first."""

    streak: int = 0
    slots: tuple[Slot, ...] = ()
    era: int = 0


@dataclass(frozen=True, slots=True)
class Open:
    """Nothing runs before `until`; `open_for` is how long this opening lasts."""

    until: float
    open_for: float
    era: int = 0


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """`probing` probes are in flight; `open_for` is how long the last opening lasted."""

    open_for: float
    probing: int = 0
    era: int = 0


Breaker = Closed | Open | HalfOpen


def name(breaker: Breaker) -> str:
    """closed, open or half_open: a metric label."""
    match breaker:
        case Closed():
            return "closed"
        case Open():
            return "open"
        case HalfOpen():
            return "half_open"


def judged(outcome: Outcome) -> bool | None:
    """What an outcome says of the receiver's health: True well, False ill, None nothing.

    A 429 is a receiver at work, a stale connection is nobody's fault, a denied literal address was
    never asked, a 410 pauses the endpoint anyway.
    """
    if outcome.ok:
        return True
    if outcome.result in UNCOUNTED or outcome.permanent:
        return None
    return False


def admit(breaker: Breaker, policy: BreakerPolicy, now: float) -> tuple[Breaker, int | None, float]:
    """(the breaker now, how many attempts may start, seconds until it may change).

    None attempts: any number. A wait of 0.0: only a finished attempt can change the answer.
    """
    match breaker:
        case Closed():
            return breaker, None, 0.0
        case Open(until, open_for, era):
            if now < until:
                return breaker, 0, until - now
            return HalfOpen(open_for, 0, era), policy.probes, 0.0
        case HalfOpen(_, probing, _):
            return breaker, max(0, policy.probes - probing), 0.0


def started(breaker: Breaker) -> Breaker:
    """An admitted attempt has started: half-open, it takes a probe's place."""
    if isinstance(breaker, HalfOpen):
        return HalfOpen(breaker.open_for, breaker.probing + 1, breaker.era)
    return breaker


def record(
    breaker: Breaker, policy: BreakerPolicy, *, era: int, ok: bool | None, now: float
) -> Breaker:
    """An attempt that started in `era` has finished: well, ill, or (None) without a verdict."""
    match breaker:
        case Closed():
            return breaker if ok is None else _counted(breaker, policy, ok=ok, now=now)
        case HalfOpen(open_for, probing, current) if era == current:
            if ok is None:
                return HalfOpen(open_for, max(0, probing - 1), current)
            if ok:
                return Closed(era=current)
            return _opened(policy, open_for * 2, current, now)
        case _:
            return breaker


def same_slot_until(breaker: Breaker, policy: BreakerPolicy) -> float:
    """Until when finished attempts are counted in the window's last slot; -inf: there is none."""
    if isinstance(breaker, Closed) and breaker.slots:
        return breaker.slots[-1][0] + policy.window / SLOTS
    return -inf


def succeeded(breaker: Breaker, n: int) -> Breaker:
    """`n` more attempts went well in the last slot's time: what `record` makes of them, at once."""
    if n and isinstance(breaker, Closed):
        begun, total, failures = breaker.slots[-1]
        return Closed(0, (*breaker.slots[:-1], (begun, total + n, failures)), breaker.era)
    return breaker


def half_opened(breaker: Breaker, policy: BreakerPolicy) -> Breaker:
    """The endpoint's URL has changed: what was known says little, so probe."""
    open_for = policy.open_for if isinstance(breaker, Closed) else breaker.open_for
    return HalfOpen(open_for, 0, breaker.era + 1)


def _counted(breaker: Closed, policy: BreakerPolicy, *, ok: bool, now: float) -> Breaker:
    failed = 0 if ok else 1
    slots = breaker.slots
    if slots and 0.0 <= now - slots[-1][0] < policy.window / SLOTS:
        begun, total, failures = slots[-1]
        slots = (*slots[:-1], (begun, total + 1, failures + failed))
    else:
        slots = (*_recent(slots, policy, now), (now, 1, failed))
    if ok:
        return Closed(0, slots, breaker.era)
    streak = breaker.streak + 1
    if streak >= policy.consecutive_failures or _too_many(slots, policy, now):
        return _opened(policy, policy.open_for, breaker.era, now)
    return Closed(streak, slots, breaker.era)


def _recent(slots: tuple[Slot, ...], policy: BreakerPolicy, now: float) -> tuple[Slot, ...]:
    return tuple(slot for slot in slots if now - policy.window < slot[0] <= now)


def _too_many(slots: tuple[Slot, ...], policy: BreakerPolicy, now: float) -> bool:
    recent = _recent(slots, policy, now)
    total = sum(slot[1] for slot in recent)
    failures = sum(slot[2] for slot in recent)
    return total >= policy.min_attempts and failures >= policy.failure_ratio * total


def _opened(policy: BreakerPolicy, open_for: float, era: int, now: float) -> Open:
    lasting = min(open_for, policy.max_open_for)
    return Open(now + lasting, lasting, era + 1)


def dump(breaker: Breaker, about: str = "", noted: Mapping[str, Any] | None = None) -> str:
    """The text kept in the outbox. `about` is a digest of the URL that the state is about.

    `noted` is kept with it for others, who get it back from `noted`.
    """
    match breaker:
        case Closed(streak, slots, _):
            kept: dict[str, Any] = {"state": "closed", "streak": streak, "slots": slots}
        case Open(until, open_for, _):
            kept = {"state": "open", "until": until, "open_for": open_for}
        case HalfOpen(open_for, _, _):
            kept = {"state": "half_open", "open_for": open_for}
    if noted:
        kept["noted"] = noted
    return json.dumps({**kept, "about": about})


def noted(text: str | None) -> Mapping[str, Any]:
    """What others had kept in a text; empty where there is nothing."""
    found = _kept(text).get("noted")
    return found if isinstance(found, dict) else {}


def about(text: str | None) -> str | None:
    """The digest in a kept text; None where there is none."""
    found = _kept(text).get("about")
    return found if isinstance(found, str) and found else None


def load(text: str | None, policy: BreakerPolicy, now: float) -> Breaker:
    """The breaker of a kept text, after a restart; None or an unreadable text: closed.

    Open stays open until its time, but never longer than `max_open_for` from now: the clock may
    have been set in between. Half-open begins to probe anew.
    """
    kept = _kept(text)
    try:
        match kept.get("state"):
            case "open":
                until = min(float(kept["until"]), now + policy.max_open_for)
                return Open(until, float(kept["open_for"]), 1)
            case "half_open":
                return HalfOpen(float(kept["open_for"]), 0, 1)
            case "closed":
                slots = tuple((float(at), int(n), int(bad)) for at, n, bad in kept["slots"])
                return Closed(int(kept["streak"]), slots[-SLOTS - 1 :])
            case _:
                return Closed()
    except (ValueError, KeyError, TypeError):
        return Closed()


def _kept(text: str | None) -> dict[str, Any]:
    try:
        kept = json.loads(text or "{}")
    except ValueError:
        return {}
    return kept if isinstance(kept, dict) else {}
