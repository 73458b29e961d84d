"""One life of a gateway: the real services on one file, from start to end or to a crash."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from multidict import CIMultiDict
from tests.simulation.network import Network
from tests.simulation.trace import Violation

from hookpost.config import load
from hookpost.core.errors import StorageUnavailable
from hookpost.core.model import Duplicate, Stored
from hookpost.core.refusals import Refused
from hookpost.daemon.observer import StorageObserver
from hookpost.metrics import Metrics
from hookpost.services.commit import Commitment
from hookpost.services.dispatcher import Dispatcher
from hookpost.services.endpoint_worker import PATIENCE
from hookpost.services.health import Health
from hookpost.services.ingest import Batch, IngestService
from hookpost.services.janitor import Janitor
from hookpost.services.reload import Reloader, endpoint_specs, snapshot_of
from hookpost.services.running import Running
from hookpost.services.snapshot import Current, Snapshot
from hookpost.storage.sqlite import SqliteOutbox

EPOCH = 1_750_000_000.0


class SimClock:
    """Virtual time as the machine would tell it. `offset` is how far the wall clock is stepped."""

    def __init__(self, loop: asyncio.AbstractEventLoop, offset: float) -> None:
        self._loop = loop
        self.offset = offset
        self._base = EPOCH + offset  # as the wall clock was when the process started

    def now(self) -> float:
        return self._base + self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time()

    def wall(self) -> float:
        return EPOCH + self.offset + self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)  # noqa: TID251 - the loop's time is made up


class Ended(Exception):
    """The daemon ends itself: its disk can no longer be trusted."""


class Life:
    """The services of one process. Made on the loop that runs them; `file` is the configuration."""

    def __init__(
        self, file: Path, clock: SimClock, outbox: SqliteOutbox, network: Network, dice: Any
    ) -> None:
        self.file, self.clock, self.outbox = file, clock, outbox
        self._network, self._dice = network, dice
        self._running = Running(self._failed)
        self.failure: BaseException | None = None

    @classmethod
    async def begin(
        cls, file: Path, clock: SimClock, network: Network, rng: random.Random
    ) -> "Life":
        """As the daemon does it: open, apply the file, start everything."""
        database = file.with_name("outbox.db")
        outbox = await SqliteOutbox.open(database, clock=clock)
        life = cls(file, clock, outbox, network, rng.random)
        loaded = load(file)
        config = loaded.config
        assert config is not None, [each.render() for each in loaded.errors]
        records = await outbox.apply_endpoints(endpoint_specs(config), clock.now())
        await life._start(snapshot_of(config, records))
        return life

    async def _start(self, snapshot: Snapshot) -> None:
        outbox, clock = self.outbox, self.clock
        self.current = Current(snapshot)
        self.health = Health()
        self.metrics = Metrics(clock)
        self._configure(snapshot)
        self.dispatcher = Dispatcher(
            self.current, outbox, self._network.transport, clock, self.metrics, self._dice
        )
        self.janitor = Janitor(self.current, outbox, self.health, self.metrics, clock)
        outbox.observer = StorageObserver(outbox, self.metrics, clock, self.janitor.look)
        parts = (self, self.dispatcher, self.janitor)
        self.reloader = Reloader(
            self.current, lambda: load(self.file), outbox, parts, self.metrics, clock
        )
        self.ingest = IngestService(
            self.current, outbox, self.metrics, clock, self.health, self._dice
        )
        await self.dispatcher.start()
        self.health.starting = False
        for part in (self.janitor.watch_space, self.janitor.retain, self.janitor.refresh_ages):
            self.run(part)
        self.dispatcher.failed.add_done_callback(lambda future: self._failed(future.exception()))
        outbox.failed.add_done_callback(lambda future: self._failed(future.result()))

    def apply(self, snapshot: Snapshot) -> None:
        """See hookpost.daemon.parts.Parts.apply."""
        self._configure(snapshot)

    def _configure(self, snapshot: Snapshot) -> None:
        config = snapshot.config
        self.metrics.configure(
            sources=config.sources, endpoints=config.endpoints, secrets=config.secrets
        )

    def run(self, part: Callable[[], Any]) -> None:
        """Run a coroutine beside the others; its failure is the life's."""
        self._running.start(part(), getattr(part, "__name__", "part"))

    def _failed(self, error: BaseException | None) -> None:
        if self.failure is None:
            self.failure = error

    def check(self, *, broken: bool) -> None:
        """Nothing has failed that runs all life long; Ended where a broken disk was the end."""
        if broken and isinstance(self.failure, StorageUnavailable):
            raise Ended
        if self.failure is not None:
            raise Violation(f"the daemon would have ended: {self.failure!r}") from self.failure

    async def publish(self, source: str, body: bytes) -> Stored | Duplicate | Refused:
        """One request, as far as the service sees it."""
        entrance = self.ingest.entrance(f"/in/{source}")
        assert entrance is not None
        headers: Any = CIMultiDict({"Content-Type": "application/json"})
        refused = self.ingest.admit(entrance, headers, "127.0.0.1")
        if refused is not None:
            return refused
        taken = self.ingest.accept(entrance, headers, body)
        if not isinstance(taken, Commitment):
            assert not isinstance(taken, Batch)
            return taken
        if not taken.done():
            told = asyncio.Event()
            taken.told = told.set
            await told.wait()
        answer: Stored | Duplicate | Refused = taken.answer
        return answer

    async def end(
        self, grace: float, patience: float = PATIENCE, hurry: float | None = None
    ) -> None:
        """SIGTERM, and after `hurry` seconds another: drain, then close."""
        self.health.draining = True
        draining = asyncio.ensure_future(self.dispatcher.drain(grace, patience))
        await asyncio.wait({draining}, timeout=hurry)
        if draining.done():
            await draining
        else:
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)
            await self.dispatcher.drain(0.0, patience)
        await self._running.stop()
        await self.outbox.close()
