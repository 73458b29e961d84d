"""What the gateway tells of itself, and when an endpoint is failing.

Theory. An alarm counts finished attempts in the last `window` and failures in a row. It turns to
*failing* with more than `min_attempts` of them and a ratio of failures above `failure_ratio`, or
with `consecutive_failures` in a row; it turns back, *recovered*, once the last attempt went well
and the ratio is not above `failure_ratio` any more. The two alternate. What counts is what counts
for the circuit breaker: a 429, a cut-off attempt, a stale connection and a hold say nothing.
The window is kept in tenths, so an attempt is forgotten up to a tenth of it early, never late.
Times are readings of the steady clock, UNIX seconds.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from math import inf

SLOTS = 10  # the window is kept in tenths: bounded memory at any rate


class Operational(StrEnum):
    """The types of the gateway's own events."""

    ENDPOINT_FAILING = "hookpost.endpoint.failing"
    ENDPOINT_RECOVERED = "hookpost.endpoint.recovered"
    ENDPOINT_PAUSED = "hookpost.endpoint.paused"
    ENDPOINT_RESUMED = "hookpost.endpoint.resumed"
    ENDPOINT_GONE = "hookpost.endpoint.gone"
    ENDPOINT_HELD = "hookpost.endpoint.held"
    BREAKER_OPENED = "hookpost.breaker.opened"
    BREAKER_CLOSED = "hookpost.breaker.closed"
    DELIVERY_DEAD = "hookpost.delivery.dead"
    CONFIG_RELOADED = "hookpost.config.reloaded"
    CONFIG_REJECTED = "hookpost.config.rejected"
    STORAGE_PRESSURE = "hookpost.storage.pressure"
    STORAGE_PURGED = "hookpost.storage.purged"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """When an endpoint is failing. `window` is seconds."""

    failure_ratio: float = 0.1
    min_attempts: int = 10
    consecutive_failures: int = 10
    window: float = 300.0


class Turn(StrEnum):
    """Which way an alarm turned."""

    FAILING = "failing"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Tried:
    """Attempts that finished in the window, those of them that failed, and failures in a row."""

    attempts: int
    failures: int
    streak: int

    @property
    def ratio(self) -> float:
        """Failures to attempts; 0 of none."""
        return self.failures / self.attempts if self.attempts else 0.0


class Alarm:
    """One endpoint's alarm. `since` is when it turned to failing, None while it is not.

    `rule` may be replaced at any time: nothing that was counted is lost. An alarm that is made with
    `since` was failing before a restart.
    """

    __slots__ = ("_begun", "_failed", "_slots", "_streak", "_total", "_well", "rule", "since")

    def __init__(self, rule: AlertRule, since: float | None = None) -> None:
        self.rule = rule
        self.since = since
        self._slots: deque[tuple[float, int, int]] = deque()  # begun, attempts, failures
        self._begun = -inf  # of the slot that is counted in
        self._total = self._failed = self._streak = 0
        self._well = False  # whether the last attempt went well

    def finished(self, *, ok: bool, now: float) -> Turn | None:
        """An attempt has finished; None: nothing turned."""
        if now - self._begun >= self.rule.window / SLOTS:
            self._begin(now)
        self._total += 1
        self._well = ok
        if ok:
            self._streak = 0
            return None if self.since is None else self.look(now)
        self._failed += 1
        self._streak += 1
        if self.since is not None or not self._is_failing(now):
            return None
        self.since = now
        return Turn.FAILING

    def look(self, now: float) -> Turn | None:
        """Time has passed: what failed may lie before the window by now."""
        if self.since is None or not self._well:
            return None
        tried = self.tried(now)
        if tried.failures > self.rule.failure_ratio * tried.attempts:
            return None
        self.since = None
        return Turn.RECOVERED

    def tried(self, now: float) -> Tried:
        """What is in the window."""
        after = now - self.rule.window
        total, failed = (self._total, self._failed) if self._begun > after else (0, 0)
        for begun, attempts, failures in self._slots:
            if begun > after:
                total += attempts
                failed += failures
        return Tried(total, failed, self._streak)

    def _is_failing(self, now: float) -> bool:
        rule = self.rule
        if self._streak >= rule.consecutive_failures:
            return True
        tried = self.tried(now)
        too_many = tried.failures > rule.failure_ratio * tried.attempts
        return too_many and tried.attempts > rule.min_attempts

    def _begin(self, now: float) -> None:
        """A new slot; those that left the window go."""
        if self._total:
            self._slots.append((self._begun, self._total, self._failed))
        while self._slots and self._slots[0][0] <= now - self.rule.window:
            self._slots.popleft()
        self._begun = now
        self._total = self._failed = 0
