"""An endpoint worker on a bench: real outbox, fake clock, a receiver that follows a script."""

import asyncio
import base64
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.builders import FakeClock, an_event

from hookpost.core.model import (
    DeadReason,
    DeliveryId,
    EndpointId,
    OnRemove,
    Outcome,
    Result,
    State,
)
from hookpost.core.retry import Backoff, Jitter, RetryPolicy
from hookpost.core.routing import Routes
from hookpost.core.secrets import Secret
from hookpost.core.settings import AdminListener, Config, Endpoint, Listen, Storage, UnixAddress
from hookpost.core.signing import standard_webhooks
from hookpost.services.dispatcher import Dispatcher
from hookpost.services.endpoint_worker import EndpointWorker
from hookpost.services.snapshot import Current, Snapshot
from hookpost.storage.outbox import DeliveryDetail, EndpointSpec
from hookpost.storage.sqlite import SqliteOutbox
from hookpost.transport import Transport

SECRET = "whsec_" + base64.b64encode(b"fake-key-of-hookpost-tests!!").decode()
KEY = Secret(name="crm", value=SECRET.encode())
OK = Outcome(result=Result.SUCCESS, status=204)
BROKEN = Outcome(result=Result.HTTP_5XX, status=500, error="500 from the receiver")
RETRY = RetryPolicy(
    max_attempts=3,
    max_age=86400.0,
    backoff=Backoff(initial=10.0, multiplier=2.0, max=600.0),
    jitter=Jitter.NONE,
)


def an_endpoint(name: str = "crm", **overrides: Any) -> Endpoint:
    fields: dict[str, Any] = {
        "url": f"https://{name}.example.com/hooks",
        "signing": standard_webhooks(KEY),
        "retry": RETRY,
        "circuit_breaker": None,
        "concurrency": 4,
    }
    fields.update(overrides)
    return Endpoint(name=name, **fields)


class ScriptedReceiver:
    """A Transport that answers as told: outcomes in order, then the last one for ever.

    After `hang()` it answers only what `answer` is called with, one waiting attempt at a time.
    """

    def __init__(self, *outcomes: Outcome) -> None:
        self._outcomes = list(outcomes or (OK,))
        self._waiting: list[asyncio.Future[Outcome]] = []
        self._hanging = False
        self._arrived = asyncio.Event()
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.fresh: list[bool] = []  # whether each was asked to go over a new connection
        self.at_once = 0
        self.most_at_once = 0
        self.closed = False

    def answers(self, *outcomes: Outcome) -> None:
        self._outcomes = list(outcomes)
        self._hanging = False

    def hang(self) -> None:
        self._hanging = True

    @property
    def hits(self) -> int:
        return len(self.received)

    async def hit(self, number: int) -> None:
        """Until so many attempts have arrived."""
        async with asyncio.timeout(10):
            while len(self.received) < number:
                self._arrived.clear()
                await self._arrived.wait()

    def answer(self, outcome: Outcome) -> None:
        while self._waiting:
            waiting = self._waiting.pop(0)
            if not waiting.done():
                waiting.set_result(outcome)
                return
        raise AssertionError("no attempt waits for an answer")

    async def post(
        self, url: str, headers: Sequence[tuple[str, str]], body: bytes, *, fresh: bool = False
    ) -> Outcome:
        assert not self.closed
        self.fresh.append(fresh)
        self.received.append((url, {name.lower(): value for name, value in headers}, body))
        self._arrived.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if not self._hanging:
                return self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
            waiting: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            return await waiting
        finally:
            self.at_once -= 1

    async def close(self) -> None:
        assert self.at_once == 0
        self.closed = True


class Tally:
    """Endpoint metrics that only count."""

    def __init__(self) -> None:
        self.attempts: Counter[Result] = Counter()
        self.deaths: Counter[DeadReason] = Counter()
        self.throttles: Counter[str] = Counter()
        self.latencies: list[float] = []

    def attempted(self, result: Result, seconds: float) -> None:
        assert seconds >= 0.0
        self.attempts[result] += 1

    def delivered(self, latency: float) -> None:
        self.latencies.append(latency)

    def dead(self, reason: DeadReason, n: int = 1) -> None:
        self.deaths[reason] += n

    def throttled(self, by: str) -> None:
        self.throttles[by] += 1


class Tallies:
    """A tally for each endpoint."""

    def __init__(self) -> None:
        self.of: dict[str, Tally] = {}

    def endpoint(self, name: str) -> Tally:
        return self.of.setdefault(name, Tally())


async def a_snapshot(outbox: SqliteOutbox, clock: FakeClock, *endpoints: Endpoint) -> Snapshot:
    """These endpoints, prepared and in force, as a reload does it."""
    specs = [
        EndpointSpec(
            name=endpoint.name,
            on_remove=OnRemove.PARK,
            paused=endpoint.paused,
            renamed_from=endpoint.renamed_from,
            payload=endpoint.payload.value,
        )
        for endpoint in endpoints
    ]
    records = await outbox.apply_endpoints(specs, clock.now())
    config = Config(
        path=Path("gateway.yaml"),
        listen=Listen(admin=AdminListener(address=UnixAddress(Path("admin.sock")))),
        storage=Storage(path=Path("outbox.db")),
        endpoints={endpoint.name: endpoint for endpoint in endpoints},
    )
    ids = {name: record.id for name, record in records.items()}
    return Snapshot(config=config, endpoint_ids=ids, routes=Routes(()))


class Bench:
    """What the tests of dispatch have in common: workers, events in, deliveries looked at."""

    def __init__(self, outbox: SqliteOutbox, clock: FakeClock) -> None:
        self.outbox = outbox
        self.clock = clock
        self.metrics = Tallies()
        self.failures: list[BaseException] = []
        self.dice = 0.5
        self._events = 0
        self._workers: list[EndpointWorker] = []

    async def worker(self, endpoint: Endpoint, receiver: Transport) -> EndpointWorker:
        """A worker that is not started: it moves by `tick` alone."""
        snapshot = await a_snapshot(self.outbox, self.clock, endpoint)
        worker = EndpointWorker(
            snapshot.endpoint_ids[endpoint.name],
            endpoint,
            receiver,
            outbox=self.outbox,
            clock=self.clock,
            metrics=self.metrics.endpoint(endpoint.name),
            dice=lambda: self.dice,
            failed=self.failures.append,
        )
        self._workers.append(worker)
        return worker

    def dispatcher(
        self, snapshot: Snapshot, transports: Callable[[Endpoint], Transport]
    ) -> Dispatcher:
        """All of it, not started."""
        return Dispatcher(
            Current(snapshot),
            self.outbox,
            transports,
            self.clock,
            self.metrics,
            lambda: self.dice,
        )

    async def put(self, endpoint: EndpointId, count: int = 1, **event: Any) -> None:
        """Accept so many events for an endpoint."""
        for _ in range(count):
            self._events += 1
            fields = {"id": f"evt_{self._events}", "accepted_at": self.clock.now(), **event}
            await self.outbox.put(an_event(**fields), [endpoint])

    async def detail(self, number: int = 1) -> DeliveryDetail:
        """A delivery as people see it, with its attempts."""
        return await self.outbox.delivery(DeliveryId(number))

    async def state(self, number: int = 1) -> State:
        """Where a delivery is."""
        return (await self.detail(number)).view.state

    async def end(self) -> None:
        """Close the workers that are still open, then the outbox."""
        for worker in self._workers:
            worker.interrupt()
            await worker.close()
        await self.outbox.close()


async def step(worker: EndpointWorker) -> float | None:
    """Start what may start and see it through; what `tick` answered."""
    async with asyncio.timeout(10):
        wait = await worker.tick()
        await worker.idle()
    return wait
