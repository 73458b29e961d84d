"""What an endpoint's lanes are fed: asks the gate for room and claims that many deliveries.

The feeder depends on the outbox alone: a doorbell only wakes it sooner. A lane whose attempt went
well takes the next delivery by itself, without a round by the feeder.
"""

import asyncio
from collections.abc import Callable, Sequence

from hookpost.clock import Clock
from hookpost.core.errors import OutboxError
from hookpost.core.gate import Gate, Held, HeldBy
from hookpost.core.model import Delivery, EndpointId
from hookpost.core.settings import Endpoint
from hookpost.services import attempt_log
from hookpost.services.bell import Bell
from hookpost.services.endpoint_row import EndpointRow
from hookpost.services.expiring import Expiring
from hookpost.services.lanes import Handed, Lanes
from hookpost.services.running import Running
from hookpost.services.settling import EndpointMetrics, Settling
from hookpost.storage.outbox import Outbox

RECHECK = 0.25  # seconds; deliveries are due but cannot be had yet: the doorbell should come first
AGAIN = 1.0  # seconds after the outbox refused a claim

LASTING = frozenset({HeldBy.NO_LIVE_KEY, HeldBy.HOLD, HeldBy.BREAKER})
"""What may hold deliveries for days while their rounds go on ageing."""


class Feeder:
    """Feeds one endpoint's lanes until it is stopped."""

    def __init__(
        self,
        endpoint_id: EndpointId,
        endpoint: Endpoint,
        metrics: EndpointMetrics,
        *,
        outbox: Outbox,
        clock: Clock,
        gate: Gate,
        row: EndpointRow,
        settling: Settling,
        lanes: Lanes,
        running: Running,
        held: Callable[[str, float | None], None] = lambda *_: None,
    ) -> None:
        self._id = endpoint_id
        self._outbox = outbox
        self._clock = clock
        self._gate = gate
        self._lanes = lanes
        self._running = running
        self._tell = held
        self._expiring = Expiring(endpoint_id, outbox, clock, row, settling)
        self._bell = Bell(clock, running, endpoint.name)
        self.ring = self._bell.ring
        self._feeding: asyncio.Task[None] | None = None
        self._held_by: HeldBy | None = None
        self._probing = gate.half_open  # as the log has it
        self._blocked = False  # whether the feeder rests because of the gate
        self.stopping = False
        self.apply(endpoint, metrics)

    def apply(self, endpoint: Endpoint, metrics: EndpointMetrics) -> None:
        """Go by this configuration from now on."""
        self._endpoint = endpoint
        self._metrics = metrics
        self._expiring.reconsider()

    def start(self) -> None:
        """Feed until stopped."""
        self._outbox.watch(self._id, self.ring)
        self._feeding = self._running.start(self._feed(), f"feeder of {self._endpoint.name}")

    def stop(self) -> None:
        """Claim and start nothing from now on."""
        self.stopping = True
        self.ring()

    async def close(self, patience: float) -> None:
        """Stop, and see the last round end."""
        self.stop()
        self._outbox.watch(self._id, None)
        if self._feeding is not None:
            # Not cancelled: a claim that is cut off would leave deliveries claimed by nobody.
            await asyncio.wait({self._feeding}, timeout=patience)

    async def tick(self) -> float | None:
        """Claim and start whatever the gate lets through; end what is too old either way.

        Answers the seconds until there may be more; None: only a ring can tell. Raises OutboxError.
        """
        while not self.stopping:
            now = self._clock.now()
            admitted = self._gate.admit(now, self._clock.wall())
            if self._gate.half_open and not self._probing:
                self.breaker_moved()
            self._blocked = isinstance(admitted, Held)
            if isinstance(admitted, Held):
                return await self._held(admitted, now)
            claimed = await self._outbox.claim(self._id, admitted.attempts, now)
            self._begin(claimed)
            due = self._outbox.next_due(self._id)
            if due is None or due > now:
                return None if due is None else due - now
            if not claimed:
                return RECHECK
        return None

    def go_on(self, now: float, wall: float) -> Handed | None:
        """What a lane whose attempt went well goes on with, without a round by the feeder."""
        claimed = () if self.stopping else self._outbox.claim_ready(self._id, 1, now)
        if not claimed:
            if self._blocked:  # the feeder does not know when the next is due
                self.ring()
            return None
        if self._expiring.verdict(claimed[0], self._endpoint.retry, now) is None:
            ticket = self._gate.start(now, wall)
            if not isinstance(ticket, Held):
                self._held_by = None
                if self._gate.half_open and not self._probing:
                    self.breaker_moved()
                return claimed[0], ticket
        self._outbox.release(claimed)  # this rings: the feeder knows what to do with it
        return None

    def breaker_moved(self) -> None:
        """The breaker is not where the log has it: log where it is."""
        self._probing = self._gate.half_open
        attempt_log.breaker_moved(self._endpoint.name, self._gate.breaker)

    async def _feed(self) -> None:
        while not self.stopping:
            self._bell.hush()
            try:
                wait = await self.tick()
            except OutboxError as error:
                attempt_log.claim_failed(self._endpoint.name, str(error), AGAIN)
                wait = AGAIN
            if not self.stopping:
                await self._bell.rest(wait)

    async def _held(self, held: Held, now: float) -> float | None:
        self._tell_held(held, now)
        if held.by not in LASTING:
            return held.wait
        look = await self._expiring.look(self._endpoint.retry, self._may_end)
        return min((wait for wait in (held.wait, look) if wait is not None), default=None)

    def _tell_held(self, held: Held, now: float) -> None:
        due = self._outbox.next_due(self._id)
        if held.by is self._held_by or due is None or due > now:
            return
        self._held_by = held.by
        self._metrics.throttled(held.by.value)
        if held.by is HeldBy.NO_LIVE_KEY:
            attempt_log.endpoint_held(self._endpoint.name, held.by.value, held.wait)
            self._tell(held.by.value, held.wait)

    def _may_end(self) -> bool:
        """Whether time counts for what is claimed: it may have been paused or parked meanwhile."""
        return not (self.stopping or self._gate.removed or self._gate.paused)

    def _begin(self, claimed: Sequence[Delivery]) -> None:
        if self.stopping:
            self._outbox.release(claimed)
            return
        policy = self._endpoint.retry
        now, wall = self._clock.now(), self._clock.wall()
        for index, delivery in enumerate(claimed):
            if self._expiring.ended(delivery, policy, now):
                continue
            ticket = self._gate.start(now, wall)
            if isinstance(ticket, Held):
                self._outbox.release(claimed[index:])
                return
            self._held_by = None
            self._lanes.hand((delivery, ticket))
