"""The composition: every part built once, run together, ended in order."""

import asyncio
import logging
import os
import random
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any, Self

from hookpost import __version__, logs, systemd
from hookpost.clock import SystemClock
from hookpost.config import Loaded, load
from hookpost.core.settings import Config, Endpoint
from hookpost.daemon.faces import NAMES, Face, close_faces, open_faces
from hookpost.daemon.observer import StorageObserver
from hookpost.daemon.options import Options
from hookpost.daemon.signals import Signals
from hookpost.metrics import LoopLag, Metrics
from hookpost.services.dispatcher import Dispatcher
from hookpost.services.health import Health
from hookpost.services.ingest import IngestService
from hookpost.services.janitor import Janitor
from hookpost.services.operations import Operations
from hookpost.services.reload import Reloader, endpoint_specs, snapshot_of
from hookpost.services.snapshot import Current, Snapshot
from hookpost.services.status import Status
from hookpost.storage.sqlite import SQLITE_VERSION, SqliteOutbox
from hookpost.systemd import Notifier
from hookpost.transport import Transport
from hookpost.transport.client import AiohttpTransport
from hookpost.web.admin import admin_app
from hookpost.web.ingest import IngestFace
from hookpost.web.ops import ops_app
from hookpost.web.pages import Pages
from hookpost.web.server import Listener

log = logging.getLogger("hookpost.daemon")

ENDED, FAILED = 0, 1  # exit codes; after FAILED the service manager starts the daemon again
STATUS_EVERY = 10.0  # seconds between two lines for the service manager
STEP = 2.0  # seconds of the wall clock's departure worth a line in the log


class Gateway:
    """One daemon. `open` builds it and may refuse; `run` serves until told to stop."""

    def __init__(
        self,
        options: Options,
        clock: SystemClock,
        notifier: Notifier,
        outbox: SqliteOutbox,
        snapshot: Snapshot,
        faces: Mapping[str, Face],
    ) -> None:
        self._options = options
        self._clock = clock
        self._notifier = notifier
        self._outbox = outbox
        self._faces = faces
        self._current = Current(snapshot)
        self._health = Health()
        self._metrics = Metrics(clock)
        self._interval = systemd.watchdog_interval(os.environ, os.getpid())
        self._dispatcher = Dispatcher(
            self._current, outbox, self._transport, clock, self._metrics, random.random
        )
        self._janitor = Janitor(self._current, outbox, self._health, self._metrics, clock)
        self._reloader = Reloader(
            self._current, self._load, outbox, (self, self._dispatcher), self._metrics, clock
        )
        self._signals = Signals(self._hangup)
        self._running: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ingest = self._ingest_listener()
        self._pages = Pages()

    @classmethod
    async def open(cls, options: Options, config: Config) -> Self:
        """Take the lock, the database and the sockets, or none of them.

        Raises OutboxError, CannotListen or SystemdError.
        """
        clock = SystemClock()
        notifier = Notifier.from_environment(os.environ)
        passed = systemd.passed_sockets(os.environ, names=NAMES, pid=os.getpid())
        storage = config.storage
        outbox = await SqliteOutbox.open(storage.path, synchronous=storage.synchronous, clock=clock)
        try:
            records = await outbox.apply_endpoints(endpoint_specs(config), clock.now())
            faces = open_faces(config.listen, passed)
        except BaseException:
            await outbox.close()
            raise
        return cls(options, clock, notifier, outbox, snapshot_of(config, records), faces)

    async def run(self) -> int:
        """Serve until a signal or a failure; the exit code."""
        try:
            await self._start()
            await self._until_told()
        finally:
            code = await self._end()
        return code

    def apply(self, snapshot: Snapshot) -> None:
        """What the daemon itself takes from a new snapshot: names of series, the log's form."""
        config = snapshot.config
        self._metrics.configure(
            sources=config.sources,
            endpoints=config.endpoints,
            secrets=config.secrets,
            subscriptions=len(config.subscriptions),
        )
        level = self._options.log_level or config.logging.level
        logs.configure(level, self._options.log_format or config.logging.format)

    # -- beginning -------------------------------------------------------------------------

    async def _start(self) -> None:
        self._wire_metrics()
        self.apply(self._current.snapshot)
        self._janitor.look()
        await self._dispatcher.start()
        status = self._status()
        operations = Operations(
            self._outbox,
            self._clock,
            endpoints=lambda: self._current.snapshot.config.endpoints,
            live=self._dispatcher.live,
            changed=self._dispatcher.refresh,
        )
        ops = ops_app(metrics=self._metrics, health=self._health, status=status, clock=self._clock)
        admin = admin_app(operations, reload=self._reload, status=status)
        await self._pages.serve(ops, self._faces["ops"].sock)
        await self._pages.serve(admin, self._faces["admin"].sock)
        await self._ingest.start(self._faces["ingest"].sock)
        self._signals.install()
        self._health.starting = False
        for name, part in self._background():
            self._keep(name, part)
        self._notifier.ready(self._line())
        addresses = {name: face.shown for name, face in self._faces.items()}
        fields = {"version": __version__, "config_hash": self._hash, **addresses}
        log.info("daemon.ready", extra={"fields": fields})
        if self._options.hangup_was_asked():
            self._hangup()

    def _wire_metrics(self) -> None:
        metrics, outbox = self._metrics, self._outbox
        readings = metrics.readings
        readings.endpoints = outbox.endpoints
        readings.states = self._dispatcher.states
        readings.ages = lambda: self._janitor.ages
        readings.sizes = outbox.sizes
        readings.ready = lambda: not self._health.refusals()
        metrics.recall({name: row.last_event_at for name, row in outbox.sources().items()})
        metrics.loaded(self._hash, self._clock.wall())
        outbox.observer = StorageObserver(outbox, metrics)

    def _background(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        clock = self._clock
        parts: list[tuple[str, Coroutine[Any, Any, None]]] = [
            ("space", self._janitor.watch_space()),
            ("retention", self._janitor.retain()),
            ("ages", self._janitor.refresh_ages()),
            ("lag", LoopLag(clock, self._metrics.loop_lag).run()),
            ("status", self._tell_status()),
            ("clock", self._watch_clock()),
            ("outbox", _raised(self._outbox.failed)),
            ("dispatch", _raised(self._dispatcher.failed)),
        ]
        if self._interval is not None:
            healthy = self._watchdog_is_content
            parts.append(
                ("watchdog", systemd.keep_watchdog(self._notifier, self._interval, clock, healthy))
            )
        return parts

    def _keep(self, name: str, part: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(part, name=name)
        self._running.add(task)
        task.add_done_callback(self._part_ended)

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if task.cancelled() or self._failed.done():
            return
        error = task.exception() or RuntimeError(f"{task.get_name()} ended by itself")
        self._failed.set_exception(error)

    # -- serving ---------------------------------------------------------------------------

    def _ingest_listener(self) -> Listener:
        service = IngestService(
            self._current, self._outbox, self._metrics, self._clock, self._health, random.random
        )
        face = IngestFace(service, self._metrics, self._clock)
        return Listener(
            face.handle,
            lambda: self._current.snapshot.config.listen.ingest,
            face.count_unseen,
            self._clock,
        )

    def _transport(self, endpoint: Endpoint) -> Transport:
        return AiohttpTransport(endpoint, clock=self._clock)

    def _load(self) -> Loaded:
        return load(self._options.path)

    def _status(self) -> Status:
        return Status(
            current=self._current,
            outbox=self._outbox,
            metrics=self._metrics,
            health=self._health,
            clock=self._clock,
            started_at=self._clock.now(),
            sqlite_version=SQLITE_VERSION,
            disk_hash=self._disk_hash,
        )

    async def _disk_hash(self) -> str | None:
        loaded = await asyncio.to_thread(self._load)
        return loaded.config.hash if loaded.config is not None else None

    def _hangup(self) -> None:
        async def reload() -> None:
            await self._reload()

        task = asyncio.create_task(reload(), name="reload")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _reload(self) -> Mapping[str, Any]:
        self._notifier.reloading(self._clock.monotonic())
        try:
            return (await self._reloader.reload()).shown()
        finally:
            self._notifier.ready(self._line())

    async def _until_told(self) -> None:
        self._failed.add_done_callback(lambda _: self._signals.stop.set())
        await self._signals.stop.wait()

    async def _tell_status(self) -> None:
        while True:
            self._notifier.status(self._line())
            await self._clock.sleep(STATUS_EVERY)

    async def _watch_clock(self) -> None:
        known = 0.0
        while True:
            step = self._clock.step()
            if abs(step - known) > STEP:
                fields = {"seconds": round(step - known, 3), "since_start": round(step, 3)}
                log.warning("clock.stepped", extra={"fields": fields})
                known = step
            await self._clock.sleep(STATUS_EVERY)

    def _watchdog_is_content(self) -> bool:
        return not self._failed.done() and not self._health.storage_failed

    def _line(self) -> str:
        """One line of state for `systemctl status`."""
        records = [record for record in self._outbox.endpoints() if record.removed_at is None]
        states = self._dispatcher.states().values()
        refusals = self._health.refusals()
        return "; ".join(
            (
                "refusing events: " + ", ".join(refusals) if refusals else "ready",
                f"{len(records)} endpoints",
                f"{sum(record.counts.pending for record in records)} pending",
                f"{sum(state.breaker == 'open' for state in states)} breakers open",
                f"configuration {self._hash}",
            )
        )

    @property
    def _hash(self) -> str:
        return self._current.snapshot.config.hash

    # -- ending ----------------------------------------------------------------------------

    async def _end(self) -> int:
        """Stop accepting, finish, release, commit, close; the exit code."""
        failure = self._failed.exception() if self._failed.done() else None
        if failure is not None:
            fields = {"error": f"{type(failure).__name__}: {failure}"}
            log.critical("daemon.failed", extra={"fields": fields}, exc_info=failure)
            self._health.storage_failed = True
        else:
            log.info("daemon.stopping", extra={"fields": {"grace": self._options.grace}})
        self._notifier.stopping()
        self._health.draining = True
        self._ingest.stop_accepting()
        grace = 0.0 if failure is not None else self._options.grace
        await self._unless_hurried(self._ingest.stop(min(grace, 5.0)))
        if not await self._unless_hurried(self._dispatcher.drain(grace)):
            await self._dispatcher.drain(0.0)
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._pages.close()
        close_faces(self._faces)
        await self._outbox.close()
        if failure is None:
            log.info("daemon.stopped", extra={"fields": {}})
        return FAILED if failure is not None else ENDED

    async def _unless_hurried(self, ending: Awaitable[None]) -> bool:
        """Wait for an orderly end; False when a second signal cut it short."""
        task = asyncio.ensure_future(ending)
        hurry = asyncio.create_task(self._signals.hurry.wait())
        try:
            await asyncio.wait({task, hurry}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurry.cancel()
        if task.done():
            await task
            return True
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False


async def _raised(failed: "asyncio.Future[Any]") -> None:
    """Wait until a part has failed for good: with an exception, or an error as its result."""
    error = await asyncio.shield(failed)
    if isinstance(error, Exception):
        raise error
