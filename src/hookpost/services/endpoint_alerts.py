"""What is told of one endpoint: failing and recovered, its breaker, its pauses, its dead letters.

Attempts and deliveries of the gateway's own events raise nothing: an endpoint that is dead to them
would otherwise tell of it without end. What an ordinary delivery has begun may end by any.
"""

from collections.abc import Mapping
from typing import Any

from hookpost.clock import Clock
from hookpost.core.alerts import Alarm, Operational, Turn
from hookpost.core.breaker import Breaker, Closed, Open
from hookpost.core.model import Delivery, EndpointRecord, Outcome, Settlement
from hookpost.core.patterns import RESERVED
from hookpost.services.alerts import Data, Teller
from hookpost.services.views import moment

PACE = 10.0  # seconds at least between two beginnings of the same thing


class _Lasting:
    """A thing that begins and ends. Its end is told to those who were told of its beginning.

    What could not be told at once (nobody wanted it, or it comes too often) is told at a later
    look, if it still lasts.
    """

    def __init__(self, alerts: Teller, began: Operational, ended: Operational, *, told: bool):
        self._alerts = alerts
        self._kinds = began, ended
        self._data: Data | None = None
        self._told_at: float | None = None
        self.told = told

    def begin(self, data: Data, now: float) -> None:
        """It has begun."""
        self._data = data
        self.look(now)

    def look(self, now: float) -> None:
        """Tell of the beginning, if that is still to be done."""
        if self._data is None or self.told:
            return
        if self._told_at is not None and now - self._told_at < PACE:
            return
        self.told = self._alerts.tell(self._kinds[0], self._data)
        if self.told:
            self._told_at = now

    def end(self, data: Data) -> None:
        """It is over."""
        self._data = None
        if self.told:
            self.told = False
            self._alerts.tell(self._kinds[1], data)


class EndpointAlerts:
    """One endpoint's. `kept` is what `keep` gave before a restart."""

    def __init__(
        self,
        alerts: Teller,
        name: str,
        record: EndpointRecord,
        kept: Mapping[str, Any],
        clock: Clock,
    ) -> None:
        self._alerts = alerts
        self._clock = clock
        self._name = name
        self._record = record
        self._gone_by_own = False
        self._last: Outcome | None = None  # the last that failed
        since = kept.get("failing_since")
        self._alarm = Alarm(alerts.rule, since if isinstance(since, float) else None)
        self._failing = _Lasting(
            alerts,
            Operational.ENDPOINT_FAILING,
            Operational.ENDPOINT_RECOVERED,
            told=self._alarm.since is not None and kept.get("failing_told") is True,
        )
        self._opened = _Lasting(
            alerts,
            Operational.BREAKER_OPENED,
            Operational.BREAKER_CLOSED,
            told=kept.get("opened_told") is True,
        )

    def keep(self) -> dict[str, Any]:
        """What must survive a restart; empty where nothing lasts."""
        kept: dict[str, Any] = {}
        if self._alarm.since is not None:
            kept = {"failing_since": self._alarm.since, "failing_told": self._failing.told}
        if self._opened.told:
            kept["opened_told"] = True
        return kept

    def apply(self, name: str, breaker: Breaker) -> None:
        """Live by another configuration; nothing that was counted is lost."""
        self._name = name
        self._alarm.rule = self._alerts.rule
        if isinstance(breaker, Closed):
            self._close()

    # -- attempts ----------------------------------------------------------------------------

    def attempted(
        self, delivery: Delivery, outcome: Outcome, *, ok: bool | None, now: float
    ) -> bool:
        """An attempt has ended; `ok` as the breaker takes it. True: there is something to keep."""
        if delivery.event.source == RESERVED or ok is None:
            return False
        if not ok:
            self._last = outcome
        since = self._alarm.since
        turn = self._alarm.finished(ok=ok, now=now)
        return turn is not None and self._turned(turn, since or now, now)

    def _turned(self, turn: Turn, since: float, now: float) -> bool:
        data = {**self._tried(now), "since": moment(since)}
        if turn is Turn.FAILING:
            self._failing.begin(data, now)
        else:
            self._failing.end(data)
        return True

    def _tried(self, now: float) -> dict[str, Any]:
        tried, last = self._alarm.tried(now), self._last
        return {
            "endpoint": self._name,
            "attempts": tried.attempts,
            "failures": tried.failures,
            "failureRatio": round(tried.ratio, 6),
            "consecutiveFailures": tried.streak,
            "window": self._alarm.rule.window,
            "lastError": {"kind": last.result.value, "status": last.status} if last else None,
        }

    def look(self) -> bool:
        """Time has passed. True: there is something to keep."""
        now, told = self._clock.now(), (self._failing.told, self._opened.told)
        since, turn = self._alarm.since, self._alarm.look(now)
        if turn is not None:
            return self._turned(turn, since or now, now)
        self._failing.look(now)
        self._opened.look(now)
        return (self._failing.told, self._opened.told) != told

    def moved(self, breaker: Breaker, delivery: Delivery) -> None:
        """An attempt of this delivery has moved the breaker."""
        if isinstance(breaker, Closed):
            self._close()
        elif isinstance(breaker, Open) and delivery.event.source != RESERVED:
            now, last = self._clock.now(), self._last
            data = {
                "endpoint": self._name,
                "openFor": breaker.open_for,
                "lastError": {"kind": last.result.value, "status": last.status} if last else None,
            }
            self._opened.begin({**data, "since": moment(now)}, now)

    def _close(self) -> None:
        self._opened.end({"endpoint": self._name})

    # -- holds and pauses --------------------------------------------------------------------

    def held(self, by: str, seconds: float | None, delivery: Delivery | None = None) -> None:
        """All deliveries wait, because of what this one was answered (None: of no delivery)."""
        if delivery is not None and delivery.event.source == RESERVED:
            return
        until = None if seconds is None else moment(self._clock.now() + seconds)
        data = {"endpoint": self._name, "by": by, "until": until}
        self._alerts.note(Operational.ENDPOINT_HELD, self._name, data)

    def gone(self, delivery: Delivery) -> None:
        """A 410 pauses the endpoint: told once its row says so."""
        self._gone_by_own = delivery.event.source == RESERVED

    def row(self, record: EndpointRecord) -> None:
        """The endpoint's row, as it is committed now."""
        before, self._record = self._record, record
        if record.gone and not before.gone and not self._gone_by_own:
            self._alerts.tell(Operational.ENDPOINT_GONE, {"endpoint": self._name})
        pauses = [
            by
            for by, was, held in (
                ("file", before.paused_by_file, record.paused_by_file),
                ("operator", before.paused_by_operator, record.paused_by_operator),
            )
            if held and not was
        ]
        if pauses:
            data = {"endpoint": self._name, "by": pauses[0]}
            self._alerts.tell(Operational.ENDPOINT_PAUSED, data)
        if before.paused and not record.paused:
            self._alerts.tell(Operational.ENDPOINT_RESUMED, {"endpoint": self._name})

    # -- the end of deliveries ---------------------------------------------------------------

    def dead(self, settlement: Settlement) -> None:
        """A delivery is committed as dead: its dead letter is told of, without the data."""
        delivery, attempt = settlement.delivery, settlement.attempt
        event, reason = delivery.event, settlement.transition.reason
        if event.source == RESERVED or reason is None:
            return
        outcome = attempt.outcome if attempt is not None else None
        at = attempt.started_at if attempt is not None else settlement.settled_at
        data = {
            "id": delivery.id,
            "endpoint": self._name,
            "reason": reason.value,
            "originalEvent": {
                "eventId": event.id,
                "eventType": event.type,
                "source": event.source,
                "sequence": delivery.sequence,
                "acceptedAt": moment(event.accepted_at),
            },
            "error": {
                "message": outcome.error if outcome else f"never attempted: {reason.value}",
                "kind": outcome.result.value if outcome else reason.value,
                "status": outcome.status if outcome else None,
                "timestamp": moment(at),
            },
            "attempts": delivery.attempts + (attempt is not None),
            "addedAt": moment(settlement.settled_at),
            "status": "failed",
        }
        self._alerts.note(Operational.DELIVERY_DEAD, self._name, data)
