"""The gateway's own events: ordinary ones, from the source `hookpost`, to whoever subscribes.

They are put through the same commit as any event, after the fact that they tell of. Nobody waits
for it: an event that a crash or a full disk swallows is lost, never a delivery. Where no
subscription wants one, nothing is stored.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hookpost.clock import Clock
from hookpost.core.alerts import AlertRule
from hookpost.core.extract import utc
from hookpost.core.fanout import Choice
from hookpost.core.identity import EventIds
from hookpost.core.model import Event, Format
from hookpost.core.patterns import RESERVED
from hookpost.metrics import Metrics
from hookpost.services.fanout import Fanout
from hookpost.services.snapshot import Current
from hookpost.services.sparse_log import SparseLog
from hookpost.storage.outbox import Outbox

log = logging.getLogger("hookpost.alerts")

NOTES = 10  # of one kind about one thing, in each WINDOW
WINDOW = 60.0  # seconds
LOOK_EVERY = 5.0  # seconds between two looks at what has ended, and at what was held back

Data = Mapping[str, Any]


class Teller(Protocol):
    """Who takes the gateway's own events."""

    @property
    def rule(self) -> AlertRule:
        """When an endpoint is failing, by the configuration in force."""
        ...

    def tell(self, kind: str, data: Data) -> bool:
        """Put an event of a `hookpost.` type; False: nobody wants it."""
        ...

    def note(self, kind: str, about: str, data: Data) -> None:
        """The same for what may come in a storm: at most NOTES in each WINDOW.

        The next then tells of the newest that was left out, and in `suppressed` of how many more.
        """
        ...


class _Nobody:
    """Nothing is told, by the usual rule."""

    rule = AlertRule()

    def tell(self, kind: str, data: Data) -> bool:
        return False

    def note(self, kind: str, about: str, data: Data) -> None:
        pass


NOBODY: Teller = _Nobody()


@dataclass(slots=True)
class _Notes:
    """What was told of one thing in this window, and what was not."""

    began: float
    told: int = 0
    suppressed: int = 0
    newest: Data | None = None


class Alerts:
    """Puts the gateway's own events. `dice` gives [0, 1); `kind`s are `hookpost.` types."""

    def __init__(
        self,
        current: Current,
        outbox: Outbox,
        metrics: Metrics,
        clock: Clock,
        dice: Callable[[], float],
    ) -> None:
        self._current = current
        self._outbox = outbox
        self._clock = clock
        self._fanout = Fanout(metrics, clock)
        self._ids = EventIds(dice())
        self._lost = _Lost(SparseLog(log, clock))
        self._notes: dict[tuple[str, str], _Notes] = {}

    @property
    def rule(self) -> AlertRule:
        """See Teller."""
        return self._current.snapshot.config.alerts

    def tell(self, kind: str, data: Data) -> bool:
        """See Teller."""
        snapshot = self._current.snapshot
        owed = snapshot.route(RESERVED, kind)
        if not owed:
            return False
        now = self._clock.now()
        event = Event(
            id=self._ids.make(now),
            source=RESERVED,
            type=kind,
            occurred_at=utc(self._clock.wall()),
            accepted_at=now,
            format=Format.ENVELOPE,
            content_type="application/json",
            body=json.dumps(data).encode(),
        )
        if isinstance(owed, Choice):
            owed = self._fanout.choose(snapshot, owed, event)
            if not owed:
                return False
        try:
            self._outbox.submit(event, owed, self._lost)
        except Exception as error:
            self._lost.set_exception(error)
        return True

    def note(self, kind: str, about: str, data: Data) -> None:
        """See Teller."""
        now = self._clock.monotonic()
        notes = self._notes.get((kind, about))
        if notes is None:
            notes = self._notes[kind, about] = _Notes(now)
        elif now - notes.began >= WINDOW:
            self._catch_up(kind, notes, now)
        if notes.told >= NOTES:
            notes.suppressed += 1
            notes.newest = data
            return
        notes.told += 1
        self.tell(kind, data)

    def _catch_up(self, kind: str, notes: _Notes, now: float) -> None:
        """A new window, which begins with what the last one left out."""
        notes.began, notes.told = now, 0
        if notes.newest is not None:
            notes.told = 1
            others = notes.suppressed - 1
            self.tell(kind, {**notes.newest, "suppressed": others} if others else notes.newest)
            notes.suppressed, notes.newest = 0, None

    def look(self) -> None:
        """Tell what was left out, where its window is over; forget what is quiet."""
        now = self._clock.monotonic()
        for key, notes in list(self._notes.items()):
            if now - notes.began < WINDOW:
                continue
            if notes.newest is None:
                del self._notes[key]
            else:
                self._catch_up(key[0], notes, now)

    async def run(self, *looks: Callable[[], None]) -> None:
        """Look every few seconds, for ever; call the others' `looks` as well."""
        while True:
            await self._clock.sleep(LOOK_EVERY)
            self.look()
            for look in looks:
                look()


class _Lost:
    """Speaks storage.outbox.Waiter: only what was not committed is of interest."""

    def __init__(self, sparse: SparseLog) -> None:
        self._log = sparse

    def done(self) -> bool:
        return False

    def set_result(self, answer: Any) -> None:
        pass

    def set_exception(self, error: Exception) -> None:
        fields = {"error": str(error) or type(error).__name__}
        self._log.write(logging.WARNING, "alert.lost", None, fields)
