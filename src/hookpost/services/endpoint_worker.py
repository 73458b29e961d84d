"""One endpoint: claim, attempt, settle.

A *feeder* claims as many deliveries as the gate has room for and hands each to a *lane*, which
attempts it. The next attempt never waits for a settlement; what it came to is observed when it is
committed.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from hookpost import __version__
from hookpost.clock import Clock
from hookpost.core import breaker as circuit
from hookpost.core.gate import Gate, HeldBy, Ticket
from hookpost.core.model import Attempt, Delivery, DeliveryId, EndpointId, Outcome, Result
from hookpost.core.payload import Letterhead
from hookpost.core.payload_links import Links
from hookpost.core.settings import Endpoint
from hookpost.core.settle import hold, settle
from hookpost.services import attempt_log
from hookpost.services.alerts import NOBODY, Teller
from hookpost.services.endpoint_alerts import EndpointAlerts
from hookpost.services.endpoint_row import EndpointRow
from hookpost.services.feeder import Feeder
from hookpost.services.lanes import Handed, Lanes, Line, connection
from hookpost.services.running import Failed, Quiet, Running
from hookpost.services.settling import EndpointMetrics, Settling
from hookpost.storage.outbox import Outbox
from hookpost.transport import Transport

Dice = Callable[[], float]
"""A number in [0, 1)."""


PATIENCE = 5.0  # seconds that an orderly end waits for the disk
STALE_KEPT = 1000  # deliveries that are remembered to have failed on a used connection

Outfit = tuple[Endpoint, Letterhead, Line]
"""What one attempt goes by from its first line to its last."""


class EndpointWorker:
    """Delivers what one endpoint is owed. `failed` is told of a fault that must end the process."""

    def __init__(
        self,
        endpoint_id: EndpointId,
        endpoint: Endpoint,
        transport: Transport,
        *,
        outbox: Outbox,
        clock: Clock,
        metrics: EndpointMetrics,
        dice: Dice,
        failed: Failed,
        alerts: Teller = NOBODY,
        links: Links | None = None,
    ) -> None:
        self.id = endpoint_id
        self._outbox = outbox
        self._clock = clock
        self._metrics = metrics
        self._dice = dice
        self._failed = failed
        self._running = Running(failed)
        self._closing = Running(failed)
        self._quiet = Quiet()
        self._row = EndpointRow(endpoint_id, outbox, clock, self._running, self._row_written)
        record = self._row.record
        noted = circuit.noted(record.breaker)
        self._alerts = EndpointAlerts(alerts, endpoint.name, record, noted, clock)
        self._settling = Settling(
            outbox, metrics, endpoint.name, failed, self._quiet.stir, self._alerts.dead
        )
        self.gate = Gate(endpoint, self._row.record, clock.now())
        line = Line(transport, self._closing)
        self._links = links
        self._outfit: Outfit = (endpoint, self._letterhead(endpoint), line)
        self._lanes = Lanes(self._attempt, endpoint.concurrency, self._running, endpoint.name)
        self._feeder = Feeder(
            endpoint_id,
            endpoint,
            metrics,
            outbox=outbox,
            clock=clock,
            gate=self.gate,
            row=self._row,
            settling=self._settling,
            lanes=self._lanes,
            running=self._running,
            held=self._alerts.held,
        )
        self.tick = self._feeder.tick  # one round, for whoever does not `start`
        self._interrupted = False
        self._stale: dict[DeliveryId, bool] = {}  # whose next attempt takes a new connection

    @property
    def name(self) -> str:
        """The endpoint's name in the configuration in force."""
        return self._outfit[0].name

    # -- life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Adopt what the row remembers, then feed until stopped."""
        record = self._row.record
        if record.tokens is not None:
            # Spent from now on: after a crash nobody may trust them again.
            self._row.keep(tokens=None, tokens_at=None)
        if not self._row.is_about(self._outfit[0].url):
            self._url_changed()
        self._feeder.start()

    def apply(
        self,
        endpoint: Endpoint,
        metrics: EndpointMetrics,
        transports: Callable[[Endpoint], Transport],
        links: Links | None = None,
    ) -> None:
        """Live by another configuration; attempts in flight end by the one they began with."""
        old, _, line = self._outfit
        self._metrics = metrics
        self._settling.observe(metrics, endpoint.name)
        self._feeder.apply(endpoint, metrics)
        if connection(endpoint) != connection(old):
            line.retire()
            line = Line(transports(endpoint), self._closing)
        self._links = links
        self._outfit = (endpoint, self._letterhead(endpoint), line)
        self.gate.removed = False
        self.gate.resize(endpoint, self._clock.now())
        self._alerts.apply(endpoint.name, self.gate.breaker)
        self._lanes.resize(endpoint.concurrency)
        if endpoint.url != old.url:
            self._url_changed()
        self.refresh()

    def remove(self) -> None:
        """The endpoint has left the configuration: start nothing more."""
        self.gate.removed = True

    def refresh(self) -> None:
        """The endpoint's row was changed by a person or a reload: obey at once."""
        self._row.refresh()
        self._alerts.row(self._row.record)
        self.gate.paused = self._row.paused
        if self._row.hold_until is None:
            self.gate.go_on()
        self._feeder.ring()

    def look(self) -> None:
        """Time has passed: the endpoint may have recovered."""
        if self._alerts.look():
            self._keep_breaker()

    def stop_claiming(self) -> None:
        """Claim and start nothing from now on."""
        self._feeder.stop()

    def interrupt(self) -> None:
        """Cut the attempts in flight: recorded as interrupted, released, not counted."""
        self._interrupted = True
        self._lanes.interrupt()

    async def finished(self) -> None:
        """Until no attempt is in flight."""
        while self.gate.in_flight:
            await self._quiet.wait()

    async def idle(self) -> None:
        """Until no attempt is in flight and all that was decided is committed."""
        while self.gate.in_flight or self._settling.open or self._row.busy:
            await self._quiet.wait()

    async def close(self, patience: float = PATIENCE) -> None:
        """Keep what must survive, see it committed (at most `patience` seconds), end everything."""
        await self._feeder.close(patience)
        await self._lanes.close()
        now = self._clock.now()
        self._row.ending = True
        self._keep_breaker(tokens=self.gate.tokens(now), tokens_at=now)
        try:
            async with asyncio.timeout(patience):
                await self.idle()
        except TimeoutError:
            if self._row.busy:
                why = self._row.error or "it was not seen committed before the end"
                attempt_log.row_unsaved(self.name, why, None)
        await self._running.stop()
        self._outfit[2].retire()
        await self._closing.join()

    def _letterhead(self, endpoint: Endpoint) -> Letterhead:
        modes = self._outbox.endpoint(self.id).payload_modes
        return Letterhead(endpoint, __version__, modes, self._links)

    def _row_written(self) -> None:
        self._alerts.row(self._row.record)
        self.gate.paused = self._row.paused
        self._quiet.stir()

    def _url_changed(self) -> None:
        self.gate.probe()
        self.gate.go_on()
        self._feeder.breaker_moved()
        self._keep_breaker(gone=False, hold_until=None)
        self.gate.paused = self._row.paused

    def _keep_breaker(self, **changes: Any) -> None:
        noted = self._alerts.keep()
        self._row.keep_breaker(self.gate.breaker, self._outfit[0].url, noted, **changes)

    # -- attempting --------------------------------------------------------------------------

    async def _attempt(self, delivery: Delivery, ticket: Ticket) -> Handed | None:
        endpoint, letterhead, line = self._outfit
        started_at, wall = self._clock.now(), self._clock.wall()
        try:
            request = letterhead.request(delivery, wall)
        except ValueError as error:
            # Nothing is connected and no retry can help: the table's `blocked`.
            outcome = Outcome(result=Result.BLOCKED, error=str(error), permanent=True)
        else:
            if request is None or self._feeder.stopping or self.gate.removed or self.gate.paused:
                self._give_back(delivery, ticket, started_at)
                return None
            fresh = bool(self._stale) and self._stale.pop(delivery.id, False)
            line.busy += 1
            try:  # here and not in a coroutine of its own: this is the hot loop
                outcome = await line.transport.post(
                    endpoint.url, request.headers, request.body, fresh=fresh
                )
            except asyncio.CancelledError:
                outcome = self._cut_off()
            finally:
                line.leave()
        now = self._clock.now()
        seconds = now - started_at
        attempt = Attempt(
            number=delivery.attempts + 1, started_at=started_at, duration=seconds, outcome=outcome
        )
        self._conclude(delivery, ticket, endpoint, attempt, now, wall + seconds)
        return self._feeder.go_on(now, wall + seconds) if outcome.ok else None

    def _cut_off(self) -> Outcome:
        if not self._interrupted:
            self._failed(RuntimeError(f"an attempt of endpoint {self.name} was cancelled"))
        return Outcome(result=Result.INTERRUPTED, error="cut off by a shutdown")

    def _give_back(self, delivery: Delivery, ticket: Ticket, now: float) -> None:
        self.gate.cancel(ticket, now)
        self._outbox.release([delivery])
        self._feeder.ring()
        self._quiet.stir()

    def _conclude(
        self,
        delivery: Delivery,
        ticket: Ticket,
        endpoint: Endpoint,
        attempt: Attempt,
        now: float,
        wall: float,
    ) -> None:
        outcome, active_now = attempt.outcome, self._row.record.active_clock(now)
        transition = settle(
            delivery, outcome, endpoint.retry, active_now=active_now, dice=self._dice()
        )
        ok = circuit.judged(outcome)
        moved = self.gate.finish(ticket, ok=ok, now=now)
        self._settling.settle(delivery, transition, attempt, now)
        self._metrics.attempted(outcome.result, attempt.duration)
        attempt_log.attempt_finished(endpoint.name, delivery, attempt, transition, wall)
        turned = self._alerts.attempted(delivery, outcome, ok=ok, now=now)
        if moved:
            self._feeder.ring()
            self._alerts.moved(self.gate.breaker, delivery)
            self._feeder.breaker_moved()
        if moved or turned:
            self._keep_breaker()
        if not outcome.ok:
            self._heed(delivery, outcome, endpoint, now)
            self._feeder.ring()
        self._quiet.stir()

    def _heed(self, delivery: Delivery, outcome: Outcome, endpoint: Endpoint, now: float) -> None:
        """What a failure asks of this delivery's next attempt, and of the whole endpoint."""
        if outcome.result is Result.REUSED_CONNECTION:
            self._stale[delivery.id] = True
            if len(self._stale) > STALE_KEPT:
                del self._stale[next(iter(self._stale))]
        if endpoint.url != self._outfit[0].url:
            return  # the URL was replaced meanwhile: the old one has no say in the new one's pace
        asked = hold(outcome, endpoint.retry)
        if asked and self.gate.hold(now + asked):
            self._keep_breaker(hold_until=now + asked)  # with the URL that asked for it
            attempt_log.endpoint_held(endpoint.name, HeldBy.HOLD.value, asked)
            self._alerts.held(HeldBy.HOLD.value, asked, delivery)
        if outcome.result is Result.GONE:
            self._alerts.gone(delivery)
            self._keep_breaker(gone=True)
            self.gate.paused = True
            attempt_log.endpoint_gone(endpoint.name, delivery)
