"""The life of a daemon: what is taken, started, kept running, and ended in order."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any, Self

from hookpost import __version__, systemd
from hookpost.clock import SystemClock
from hookpost.core.settings import Config
from hookpost.daemon.faces import NAMES, Face, close_faces, open_faces
from hookpost.daemon.observer import StorageObserver
from hookpost.daemon.options import Options
from hookpost.daemon.parts import Parts
from hookpost.daemon.signals import Signals
from hookpost.daemon.watch import Watch, watch_clock
from hookpost.metrics import LoopLag
from hookpost.services.endpoint_worker import PATIENCE
from hookpost.services.payloads import links_of
from hookpost.services.reload import endpoint_specs, snapshot_of
from hookpost.storage.link_key import LinkKey
from hookpost.storage.sqlite import SqliteOutbox
from hookpost.systemd import Notifier
from hookpost.web.admin import admin_app
from hookpost.web.ops import ops_app
from hookpost.web.pages import Pages

log = logging.getLogger("hookpost.daemon")

ENDED, FAILED = 0, 1  # exit codes; after FAILED the service manager starts the daemon again
GOODBYE = 5.0  # seconds at most that publishers' connections get to end
Background = list[tuple[str, Coroutine[Any, Any, None]]]


class Gateway:
    """One daemon. `open` builds it and may refuse; `run` serves until told to stop."""

    def __init__(
        self, options: Options, notifier: Notifier, parts: Parts, faces: Mapping[str, Face]
    ) -> None:
        self._options = options
        self._notifier = notifier
        self._parts = parts
        self._faces = faces
        self._watch = Watch(parts, notifier)
        self._interval = systemd.watchdog_interval(os.environ, os.getpid())
        self._signals = Signals(self._hangup)
        self._running: set[asyncio.Task[None]] = set()
        self._reloading = 0
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
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
        faces: Mapping[str, Face] = {}
        try:
            key = LinkKey(storage.path)
            links = links_of(config, key)
            faces = open_faces(config.listen, passed)
            # Last: a start that is refused must not have parked or renamed anything.
            records = await outbox.apply_endpoints(endpoint_specs(config), clock.now())
        except BaseException:
            close_faces(faces)
            await outbox.close()
            raise
        parts = Parts(options, clock, outbox, snapshot_of(config, records, links), key)
        return cls(options, notifier, parts, faces)

    async def run(self) -> int:
        """Serve until a signal or a failure; the exit code."""
        self._signals.take_stops()
        try:
            await self._start()
            await self._until_told()
        except Exception as error:
            self._fail(error)
        return await self._end()

    # -- beginning -------------------------------------------------------------------------

    async def _start(self) -> None:
        parts, health = self._parts, self._parts.health
        self._wire_metrics()
        parts.apply(parts.current.snapshot)
        parts.janitor.look()
        await parts.dispatcher.start()
        ops = ops_app(
            metrics=parts.metrics,
            health=health,
            status=parts.status,
            clock=parts.clock,
            stuck=self._watch.stuck,
        )
        admin = admin_app(parts.operations, reload=self._reload, status=parts.status)
        await self._pages.serve(ops, self._faces["ops"].sock)
        await self._pages.serve(admin, self._faces["admin"].sock)
        await parts.ingest.start(self._faces["ingest"].sock)
        self._signals.take_hangups()
        health.starting = False
        for name, part in self._background():
            self._keep(name, part)
        self._notifier.ready(self._watch.line())
        addresses = {name: face.shown for name, face in self._faces.items()}
        fields = {"version": __version__, "config_hash": self._hash, **addresses}
        log.info("daemon.ready", extra={"fields": fields})
        if self._options.hangup_was_asked():
            self._hangup()

    def _wire_metrics(self) -> None:
        parts, metrics, outbox = self._parts, self._parts.metrics, self._parts.outbox
        readings = metrics.readings
        readings.endpoints = outbox.endpoints
        readings.states = parts.dispatcher.states
        readings.ages = lambda: parts.janitor.ages
        readings.sizes = outbox.sizes
        readings.ready = lambda: not parts.health.refusals()
        readings.sources = outbox.sources
        metrics.loaded(self._hash, parts.clock.wall())
        outbox.observer = StorageObserver(
            outbox, metrics, parts.clock, parts.janitor.look, parts.alerts
        )

    def _background(self) -> Background:
        parts, clock = self._parts, self._parts.clock
        found: Background = [
            ("space", parts.janitor.watch_space()),
            ("retention", parts.janitor.retain()),
            ("ages", parts.janitor.refresh_ages()),
            ("alerts", parts.alerts.run(parts.dispatcher.look)),
            ("lag", LoopLag(clock, parts.metrics.loop_lag).run()),
            ("status", self._watch.tell_status()),
            ("clock", watch_clock(clock)),
            ("outbox", _raised(parts.outbox.failed)),
            ("dispatch", _raised(parts.dispatcher.failed)),
        ]
        if self._interval is not None:
            watchdog = systemd.keep_watchdog(self._notifier, self._interval, clock, self._is_well)
            found.append(("watchdog", watchdog))
        return found

    def _keep(self, name: str, part: Coroutine[Any, Any, None]) -> None:
        """Run a part for the whole life: its end, however it comes, is the daemon's."""

        async def for_ever() -> None:
            await part
            raise RuntimeError(f"{name} ended by itself")

        self._launch(name, for_ever())

    def _launch(self, name: str, part: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(part, name=name)
        self._running.add(task)
        task.add_done_callback(self._launched_ended)

    def _launched_ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    # -- serving ---------------------------------------------------------------------------

    def _hangup(self) -> None:
        async def reload() -> None:
            await self._reload()

        self._launch("reload", reload())

    async def _reload(self) -> Mapping[str, Any]:
        """Reload, and tell the service manager: it hears of reloads that overlap as of one."""
        self._reloading += 1
        if self._reloading == 1:
            self._notifier.reloading(self._parts.clock.monotonic())
        try:
            return (await self._parts.reloader.reload()).shown()
        finally:
            self._reloading -= 1
            if self._reloading == 0 and not self._parts.health.draining:
                self._notifier.ready(self._watch.line())

    async def _until_told(self) -> None:
        self._failed.add_done_callback(lambda _: self._signals.stop.set())
        await self._signals.stop.wait()

    def _is_well(self) -> bool:
        """Whether the watchdog may be pinged."""
        failed = self._failed.done() or self._parts.health.storage_failed
        return not failed and not self._watch.stuck()

    @property
    def _hash(self) -> str:
        return self._parts.current.snapshot.config.hash

    # -- ending ----------------------------------------------------------------------------

    async def _end(self) -> int:
        """Stop accepting, finish, release, commit, close; the exit code."""
        parts = self._parts
        failure = self._failed.exception() if self._failed.done() else None
        if failure is not None:
            fields = {"error": f"{type(failure).__name__}: {failure}"}
            log.critical("daemon.failed", extra={"fields": fields}, exc_info=failure)
            parts.health.storage_failed = True
        else:
            log.info("daemon.stopping", extra={"fields": {"grace": self._options.grace}})
        self._notifier.stopping()
        parts.health.draining = True
        if failure is None:
            await self._drain(self._options.grace, PATIENCE)
        else:  # what failed is the disk, most likely: nothing is worth waiting for
            await self._drain(0.0, 0.0)
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._pages.close()
        close_faces(self._faces)
        await parts.outbox.close()
        if failure is None:
            log.info("daemon.stopped", extra={"fields": {}})
        return FAILED if failure is not None else ENDED

    async def _drain(self, grace: float, patience: float) -> None:
        """Publishers get their answers and attempts their ends, side by side within the grace."""
        parts = self._parts
        parts.ingest.stop_accepting()
        answered = parts.ingest.stop(min(grace, GOODBYE))
        if not await self._unless_hurried(answered, parts.dispatcher.drain(grace, patience)):
            await parts.ingest.stop(0.0)
            await parts.dispatcher.drain(0.0, patience)

    async def _unless_hurried(self, *endings: Awaitable[None]) -> bool:
        """Wait for orderly ends; False when a second signal cut them short."""
        together: asyncio.Future[Any] = asyncio.gather(*endings)
        hurry: asyncio.Future[Any] = asyncio.create_task(self._signals.hurry.wait())
        try:
            await asyncio.wait({together, hurry}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurry.cancel()
        if together.done():
            await together
            return True
        together.cancel()
        await asyncio.gather(together, return_exceptions=True)
        return False


async def _raised(failed: "asyncio.Future[Any]") -> None:
    """Wait until a part has failed for good: with an exception, or an error as its result."""
    error = await asyncio.shield(failed)
    if isinstance(error, Exception):
        raise error
