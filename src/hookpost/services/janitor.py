"""Housekeeping in the background: retention, free space, and the gauges too dear for a scrape."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from math import inf
from typing import Protocol

from hookpost.clock import Clock
from hookpost.core.alerts import Operational
from hookpost.core.errors import OutboxError
from hookpost.core.model import DeadReason, EndpointId
from hookpost.core.settings import Config
from hookpost.services.alerts import NOBODY, Teller
from hookpost.services.health import Health
from hookpost.services.snapshot import Current, Snapshot
from hookpost.services.sparse_log import SparseLog
from hookpost.storage.outbox import Outbox, PendingAge, Purged, RetentionLimits, StorageSizes

log = logging.getLogger("hookpost.janitor")

LOOK_EVERY = 5.0  # seconds between two looks at the disk
PURGE_EVERY = 10.0  # seconds between two rounds of retention when nothing is left over
PURGE_SOONER = 1.0  # the same while the disk is low: each round folds in the log and looks again
PURGE_PAUSE = 0.02  # seconds between two steps of one round: puts come first
AGES_EVERY = 15.0
TELL_EVERY = 60.0  # seconds at least between two events of what went by size
ENOUGH_AGAIN = 1.1  # free space must exceed min_free by this much before ingest opens again


class EndpointObserver(Protocol):
    """Who counts one endpoint's dead letters."""

    def dead(self, reason: DeadReason, n: int = 1) -> None:
        """`n` deliveries became dead letters."""
        ...


class Observer(Protocol):
    """Who counts what retention removed."""

    def endpoint(self, name: str) -> EndpointObserver:
        """The counters of an endpoint."""
        ...

    def purged(self, kind: str, cause: str, n: int = 1) -> None:
        """`n` rows of a kind (delivery state, or event) went for a cause (age, size, parked)."""
        ...


def retention_limits(config: Config) -> RetentionLimits:
    """The configuration's retention, as the outbox takes it."""
    keep = config.retention
    return RetentionLimits(
        delivered=keep.delivered,
        dead=keep.dead,
        cancelled=keep.cancelled,
        parked=keep.parked,
        max_size=keep.max_size,
        min_free=config.storage.min_free,
    )


class Janitor:
    """Three loops over one outbox. Each step can be driven alone."""

    def __init__(
        self,
        current: Current,
        outbox: Outbox,
        health: Health,
        observer: Observer,
        clock: Clock,
        alerts: Teller = NOBODY,
    ) -> None:
        self._current = current
        self._outbox = outbox
        self._health = health
        self._observer = observer
        self._clock = clock
        self._alerts = alerts
        self._pressed: Counter[str] = Counter()  # what went by size, and is not yet told of
        self._told_at = -inf
        self._sparse = SparseLog(log, clock)
        self.ages: Mapping[EndpointId, PendingAge] = {}
        self._nudged = asyncio.Event()

    def apply(self, snapshot: Snapshot) -> None:
        """A reload: what it asks of retention and of removed endpoints is done at once."""
        self._nudged.set()

    async def watch_space(self) -> None:
        """Look at the disk every few seconds, for ever."""
        while True:
            self.look()
            await self._clock.sleep(LOOK_EVERY)

    async def retain(self) -> None:
        """Purge in small steps, for ever; a reload begins a round."""
        while True:
            self._nudged.clear()
            try:
                more = await self.purge_step()
            except OutboxError as error:
                log.warning("retention.failed", extra={"fields": {"error": str(error)}})
                more = False
            await self._rest(PURGE_PAUSE if more else self._leisure())

    def _leisure(self) -> float:
        return PURGE_SOONER if self._health.storage_low else PURGE_EVERY

    async def _rest(self, seconds: float) -> None:
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        nudged = asyncio.ensure_future(self._nudged.wait())
        try:
            await asyncio.wait({sleeping, nudged}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            nudged.cancel()

    async def refresh_ages(self) -> None:
        """Keep the age gauges fresh, for ever."""
        while True:
            try:
                self.ages = await self._outbox.pending_ages()
            except OutboxError as error:
                log.warning("ages.failed", extra={"fields": {"error": str(error)}})
            await self._clock.sleep(AGES_EVERY)

    def look(self) -> None:
        """Judge the disk once: closes ingest below min_free or at max_size, opens it again.

        Closing begins a round of retention at once.
        """
        sizes = self._outbox.sizes()
        low = self._is_low(sizes, self._current.snapshot.config)
        if low == self._health.storage_low:
            return
        self._health.storage_low = low
        fields = {"free": sizes.free, "database": sizes.database, "wal": sizes.wal}
        if low:
            log.error("storage.low", extra={"fields": fields})
            self._nudged.set()
        else:
            log.warning("storage.recovered", extra={"fields": fields})
        self._tell_pressure(sizes, low=low)

    def _tell_pressure(self, sizes: StorageSizes, *, low: bool) -> None:
        config = self._current.snapshot.config
        data = {
            "low": low,
            "free": sizes.free,
            "minFree": config.storage.min_free,
            "database": sizes.database,
            "maxSize": config.retention.max_size,
        }
        self._alerts.note(Operational.STORAGE_PRESSURE, "", data)

    def _is_low(self, sizes: StorageSizes, config: Config) -> bool:
        wanted = config.storage.min_free * (ENOUGH_AGAIN if self._health.storage_low else 1.0)
        return sizes.short or sizes.free < wanted or sizes.database >= config.retention.max_size

    async def purge_step(self) -> bool:
        """One step of retention; True when there is more to do soon."""
        limits = retention_limits(self._current.snapshot.config)
        purged = await self._outbox.purge(limits, self._clock.now())
        self._count(purged)
        if self._health.storage_low:
            self.look()
        return purged.more

    def _count(self, purged: Purged) -> None:
        for (state, cause), number in purged.deliveries.items():
            self._observer.purged(state.value, cause, number)
            self._pressed[state.value] += number if cause == "size" else 0
        for cause, number in purged.events.items():
            self._observer.purged("event", cause, number)
            self._pressed["event"] += number if cause == "size" else 0
        if purged.identities:
            self._observer.purged("identity", "size", purged.identities)
            self._pressed["identity"] += purged.identities
            fields = {"count": purged.identities, "remedy": "raise retention.max_size"}
            self._sparse.write(logging.WARNING, "dedup.shortened", None, fields)
        for endpoint, number in purged.expired.items():
            self._observer.endpoint(endpoint).dead(DeadReason.REMOVED, number)
            fields = {"endpoint": endpoint, "count": number, "reason": "removed"}
            log.warning("deliveries.dead", extra={"fields": fields})
            if own := purged.own.get(endpoint, 0):
                fields = {**fields, "count": number - own}
            if fields["count"]:
                self._alerts.note(Operational.DELIVERY_DEAD, endpoint, fields)
        for endpoint, number in purged.cancelled.items():
            log.info(
                "deliveries.cancelled",
                extra={"fields": {"endpoint": endpoint, "count": number, "by": "on_remove"}},
            )
        self._tell_purged()

    def _tell_purged(self) -> None:
        """What went before its time, because the file was at its limit; once in a while."""
        now = self._clock.monotonic()
        gone = [{"kind": kind, "count": n} for kind, n in sorted(self._pressed.items()) if n]
        if gone and now - self._told_at >= TELL_EVERY:
            self._told_at = now
            self._pressed.clear()
            self._alerts.tell(Operational.STORAGE_PURGED, {"cause": "size", "purged": gone})
