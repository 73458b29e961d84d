"""One worker an endpoint: nothing is shared between them, so one that is slow costs only itself.

Workers go by the endpoint's row, not its name: a renamed endpoint keeps its worker, and one that
is removed and comes back while its last attempts end is the same, with the same places taken. One
that comes back later gets a new worker, which begins when the old one has written all it knew.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hookpost.clock import Clock
from hookpost.core import breaker as circuit
from hookpost.core.gate import Held
from hookpost.core.model import EndpointId
from hookpost.core.settings import Endpoint
from hookpost.services.alerts import NOBODY, Teller
from hookpost.services.endpoint_worker import PATIENCE, Dice, EndpointWorker
from hookpost.services.running import Running
from hookpost.services.settling import EndpointMetrics
from hookpost.services.snapshot import Current, Snapshot
from hookpost.storage.outbox import Outbox
from hookpost.transport import Transport


class Metrics(Protocol):
    """Where each endpoint's counters are found."""

    def endpoint(self, name: str) -> EndpointMetrics:
        """The counters of a configured endpoint."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointState:
    """One endpoint as it is now. `breaker` is closed, open or half_open.

    `held_by` names what keeps attempts from starting (None: nothing); `hold_until` is UNIX seconds.
    """

    in_flight: int
    breaker: str
    paused: bool
    held_by: str | None
    hold_until: float | None


class Dispatcher:
    """All workers of one daemon. `failed` is done as soon as one of them has failed for good."""

    def __init__(
        self,
        current: Current,
        outbox: Outbox,
        transports: Callable[[Endpoint], Transport],
        clock: Clock,
        metrics: Metrics,
        dice: Dice,
        alerts: Teller = NOBODY,
    ) -> None:
        self._current = current
        self._outbox = outbox
        self._transports = transports
        self._clock = clock
        self._metrics = metrics
        self._dice = dice
        self._alerts = alerts
        self._workers: dict[EndpointId, EndpointWorker] = {}
        self._wanted: Mapping[EndpointId, Endpoint] = {}  # by the snapshot last applied
        self._leaving: dict[EndpointId, EndpointWorker] = {}  # closing, and not yet closed
        self._running = Running(self.fail)
        self._started = False
        self._draining = False
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Begin to deliver by the snapshot in force."""
        self._started = True
        for worker in self._workers.values():
            worker.start()
        self.apply(self._current.snapshot)

    def apply(self, snapshot: Snapshot) -> None:
        """Live by another snapshot from now on: cannot fail, resets nothing."""
        if self._draining:
            return
        wanted = self._wanted = {
            snapshot.endpoint_ids[name]: endpoint
            for name, endpoint in snapshot.config.endpoints.items()
        }
        for endpoint_id, endpoint in wanted.items():
            worker = self._workers.get(endpoint_id)
            if worker is None:
                if endpoint_id not in self._leaving:  # its successor is added when it has left
                    self._add(endpoint_id, endpoint)
            else:
                metrics = self._metrics.endpoint(endpoint.name)
                worker.apply(endpoint, metrics, self._transports, snapshot.links)
        for endpoint_id, worker in self._workers.items():
            if endpoint_id not in wanted and not worker.gate.removed:
                worker.remove()
                self._running.start(self._retire(worker), f"retiring {worker.name}")

    def refresh(self, endpoint: EndpointId) -> None:
        """A person has changed the endpoint's row: paused or resumed, it obeys at once."""
        worker = self._workers.get(endpoint)
        if worker is not None:
            worker.refresh()

    async def pause(self, endpoint: EndpointId) -> None:
        """Start no attempt any more, until resumed; raises OutboxError if it cannot be kept."""
        await self._outbox.update_endpoint(endpoint, self._clock.now(), paused_by_operator=True)
        self.refresh(endpoint)

    async def resume(self, endpoint: EndpointId) -> None:
        """Undo a person's pause, a 410 and a hold; what the file pauses stays paused."""
        await self._outbox.update_endpoint(
            endpoint, self._clock.now(), paused_by_operator=False, gone=False, hold_until=None
        )
        self.refresh(endpoint)

    def look(self) -> None:
        """Time has passed: endpoints that were failing may have recovered."""
        for worker in self._workers.values():
            if not worker.gate.removed:
                worker.look()

    def states(self) -> Mapping[str, EndpointState]:
        """Every configured endpoint as it is now, by name."""
        now, wall = self._clock.now(), self._clock.wall()
        return {
            worker.name: _state(worker, now, wall)
            for worker in self._workers.values()
            if not worker.gate.removed
        }

    def live(self) -> Mapping[str, Mapping[str, Any]]:
        """The same, ready for JSON: inFlight, breaker, heldBy."""
        return {
            name: {"inFlight": state.in_flight, "breaker": state.breaker, "heldBy": state.held_by}
            for name, state in self.states().items()
        }

    async def idle(self) -> None:
        """Until no attempt is in flight and all that was decided is committed."""
        for worker in (*self._workers.values(), *self._leaving.values()):
            await worker.idle()

    async def drain(self, grace: float, patience: float = PATIENCE) -> None:
        """Start nothing more, let attempts finish for `grace` seconds, release the rest.

        What must survive (settlements, breakers, tokens) is committed on return, unless the disk
        takes longer than `patience` seconds. May be called
        again with a shorter grace while the first call still waits.
        """
        self._draining = True
        workers = [*self._workers.values(), *self._leaving.values()]
        for worker in workers:
            worker.stop_claiming()
        await self._running.stop()  # those that leave are closed here, too, by this patience
        finishing = [asyncio.ensure_future(worker.finished()) for worker in workers]
        try:
            if finishing:
                await asyncio.wait(finishing, timeout=grace)
        finally:
            for waiting in finishing:
                waiting.cancel()
        for worker in workers:
            worker.interrupt()
        await asyncio.gather(*(worker.close(patience) for worker in workers))
        self._workers.clear()
        self._leaving.clear()

    def _add(self, endpoint_id: EndpointId, endpoint: Endpoint) -> None:
        worker = EndpointWorker(
            endpoint_id,
            endpoint,
            self._transports(endpoint),
            outbox=self._outbox,
            clock=self._clock,
            metrics=self._metrics.endpoint(endpoint.name),
            dice=self._dice,
            failed=self.fail,
            alerts=self._alerts,
            links=self._current.snapshot.links,
        )
        self._workers[endpoint_id] = worker
        if self._started:
            worker.start()

    async def _retire(self, worker: EndpointWorker) -> None:
        await worker.finished()
        # It may have come back meanwhile, and even left again: then another has seen to it.
        if worker.gate.removed and self._workers.get(worker.id) is worker:
            self._leaving[worker.id] = self._workers.pop(worker.id)
            await worker.close()
            del self._leaving[worker.id]
            # Back meanwhile? Only now: what was written last must not come after what is new.
            endpoint = self._wanted.get(worker.id)
            if endpoint is not None and not self._draining:
                self._add(worker.id, endpoint)

    def fail(self, error: BaseException) -> None:
        """A fault of ours must end the process."""
        if not self.failed.done():
            self.failed.set_exception(error)


def _state(worker: EndpointWorker, now: float, wall: float) -> EndpointState:
    gate = worker.gate
    admitted = gate.admit(now, wall)
    return EndpointState(
        in_flight=gate.in_flight,
        breaker=circuit.name(gate.breaker),
        paused=gate.paused,
        held_by=admitted.by.value if isinstance(admitted, Held) else None,
        hold_until=gate.hold_until,
    )
