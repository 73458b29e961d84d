"""The composition: every part of one daemon, built once and handed to those that need it.

Nothing runs here; `gateway` brings the parts to life and ends them.
"""

import random

from hookpost import logs
from hookpost.clock import SystemClock
from hookpost.config import Loaded, load
from hookpost.core.settings import Endpoint
from hookpost.daemon.options import Options
from hookpost.metrics import Metrics
from hookpost.services.alerts import Alerts
from hookpost.services.dispatcher import Dispatcher
from hookpost.services.health import Health
from hookpost.services.ingest import IngestService
from hookpost.services.janitor import Janitor
from hookpost.services.operations import Operations
from hookpost.services.payloads import Payloads, links_of
from hookpost.services.reload import Reloader
from hookpost.services.snapshot import Current, Snapshot
from hookpost.services.status import DiskHash, Status
from hookpost.storage.link_key import LinkKey
from hookpost.storage.sqlite import SQLITE_VERSION, SqliteOutbox
from hookpost.transport import Transport
from hookpost.transport.opening import open_transport
from hookpost.web.connection import Exchange
from hookpost.web.ingest import IngestFace
from hookpost.web.payloads import PayloadFace, is_payload
from hookpost.web.request import Request
from hookpost.web.server import Listener


class Parts:
    """The parts of one daemon over one outbox. Made on the loop that will run them."""

    def __init__(
        self,
        options: Options,
        clock: SystemClock,
        outbox: SqliteOutbox,
        snapshot: Snapshot,
        key: LinkKey,
    ) -> None:
        self._options = options
        self.clock = clock
        self.outbox = outbox
        self.current = Current(snapshot)
        self.health = Health()
        self.metrics = Metrics(clock)
        self.alerts = Alerts(self.current, outbox, self.metrics, clock, random.random)
        self.dispatcher = Dispatcher(
            self.current, outbox, self._transport, clock, self.metrics, random.random, self.alerts
        )
        self.janitor = Janitor(self.current, outbox, self.health, self.metrics, clock, self.alerts)
        self.reloader = Reloader(
            self.current,
            self._load,
            outbox,
            (self, self.dispatcher, self.janitor),
            self.metrics,
            clock,
            self.alerts,
            lambda config: links_of(config, key),
        )
        self.operations = Operations(
            outbox,
            clock,
            endpoints=lambda: self.current.snapshot.config.endpoints,
            live=self.dispatcher.live,
            changed=self.dispatcher.refresh,
        )
        self.status = self._status()
        self.ingest = self._ingest()

    def apply(self, snapshot: Snapshot) -> None:
        """What is nobody else's of a new snapshot: names of series, the log's level and form."""
        config = snapshot.config
        self.metrics.configure(
            sources=config.sources,
            endpoints=config.endpoints,
            secrets=config.secrets,
            subscriptions=[one.name for one in config.subscriptions],
        )
        level = self._options.log_level or config.logging.level
        logs.configure(level, self._options.log_format or config.logging.format)

    def _load(self) -> Loaded:
        return load(self._options.path)

    def _disk_hash(self) -> str | None:
        loaded = self._load()
        return loaded.config.hash if loaded.config is not None else None

    def _transport(self, endpoint: Endpoint) -> Transport:
        return open_transport(endpoint, clock=self.clock)

    def _ingest(self) -> Listener:
        service = IngestService(
            self.current, self.outbox, self.metrics, self.clock, self.health, random.random
        )
        face = IngestFace(service, self.metrics, self.clock)
        payloads = PayloadFace(
            Payloads(self.current, self.outbox, self.dispatcher.fail), self.metrics, self.clock
        )

        def receive(request: Request) -> Exchange:
            return payloads.receive(request) if is_payload(request) else face.receive(request)

        return Listener(
            receive,
            lambda: self.current.snapshot.config.listen.ingest,
            face.count_unseen,
            self.clock,
        )

    def _status(self) -> Status:
        return Status(
            current=self.current,
            outbox=self.outbox,
            metrics=self.metrics,
            health=self.health,
            clock=self.clock,
            started_at=self.clock.now(),
            sqlite_version=SQLITE_VERSION,
            disk_hash=DiskHash(self._disk_hash, self.clock),
        )
