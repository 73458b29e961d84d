"""What `/status` says: aggregates only, no event, no id, no URL.

Counts come from the outbox and go back to the database's first day; mean and last times are since
the process started. Keys are camelCase, times RFC 3339 in UTC, durations seconds, ratios 0 to 1.
A ratio or a mean of nothing is null.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hookpost import __version__
from hookpost.clock import Clock
from hookpost.core.model import EndpointCounts, EndpointId, EndpointRecord
from hookpost.metrics import EndpointMetrics, EndpointState, Metrics, PendingAge
from hookpost.services.health import Health
from hookpost.services.snapshot import Current
from hookpost.services.views import moment
from hookpost.storage.outbox import Outbox

Shown = dict[str, Any]
Ages = Mapping[EndpointId, PendingAge]

DISK_HASH_AGE = 5.0  # seconds
WAL_RESET = (3, 7, 0), (3, 51, 3)  # the releases in which two writers may damage a file
WAL_RESET_MENDED = {(3, 44): 6, (3, 50): 7}  # branches that have the correction, from this patch


class DiskHash:
    """The hash of the configuration as its files stand now, looked up at most every few seconds.

    `read` loads the files and answers None where they are not valid; it runs in a thread.
    """

    def __init__(self, read: Callable[[], str | None], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._known: tuple[float, str | None] | None = None
        self._reading = asyncio.Lock()

    async def __call__(self) -> str | None:
        """The hash, at most DISK_HASH_AGE seconds old."""
        async with self._reading:
            now = self._clock.monotonic()
            if self._known is None or now - self._known[0] >= DISK_HASH_AGE:
                self._known = (now, await asyncio.to_thread(self._read))
            return self._known[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Builds the answer. `disk_hash` reads the configuration's files again, off the loop.

    `disk_hash` answers None while the files on disk are not a valid configuration.
    """

    current: Current
    outbox: Outbox
    metrics: Metrics
    health: Health
    clock: Clock
    started_at: float  # UNIX seconds
    sqlite_version: str
    disk_hash: Callable[[], Awaitable[str | None]]

    async def __call__(self) -> Shown:
        """The whole answer, ready for JSON."""
        on_disk = await self.disk_hash()
        now = self.clock.now()
        refusals = self.health.refusals()
        endpoints = self._endpoints(now)
        return {
            "version": __version__,
            "startedAt": moment(self.started_at),
            "uptime": round(now - self.started_at, 3),
            "ready": not refusals,
            "reasons": refusals,
            **self._total(endpoints.values()),
            "configuration": self._configuration(on_disk),
            "storage": self._storage(),
            "sources": self._sources(),
            "endpoints": endpoints,
        }

    def _total(self, endpoints: Iterable[Shown]) -> Shown:
        """Events in, deliveries out; `totalReceived` counts every event that was recognised."""
        shown = list(endpoints)
        sources = self.outbox.sources().values()
        duplicates = sum(source.duplicates for source in sources)
        accepted = sum(source.accepted for source in sources)
        records = self.outbox.endpoints()
        counts = [record.counts for record in records]
        series = self.metrics.shown_endpoints(records)
        breakers = [each["breaker"] for each in shown]
        return {
            "totalReceived": accepted + duplicates,
            **_worked(counts, duplicates),
            **_timed(series),
            "backlog": sum(each["backlog"] for each in shown),
            "pending": sum(each["pending"] for each in shown),
            "inFlight": sum(each["inFlight"] for each in shown),
            "parked": sum(each["parked"] for each in shown),
            "deadLetters": sum(each["deadLetters"] for each in shown),
            "breaker": {name: breakers.count(name) for name in ("closed", "half_open", "open")},
        }

    def _endpoints(self, now: float) -> dict[str, Shown]:
        readings = self.metrics.readings
        states, ages = readings.states(), readings.ages()
        records = sorted(self.outbox.endpoints(), key=lambda record: record.name)
        return {
            record.name: self._endpoint(record, states.get(record.name), ages, now)
            for record in records
        }

    def _endpoint(
        self,
        record: EndpointRecord,
        state: EndpointState | None,
        ages: Ages,
        now: float,
    ) -> Shown:
        counts = record.counts
        in_flight = state.in_flight if state else 0
        waiting = max(0, counts.pending - in_flight)
        removed = record.removed_at is not None
        age = ages.get(record.id) if counts.pending else None  # looked up in the background
        return {
            "totalReceived": counts.created,
            **_worked([counts], 0),
            **_timed([self.metrics.endpoint(record.name)]),
            "backlog": waiting + in_flight,
            "pending": 0 if removed else waiting,
            "inFlight": in_flight,
            "parked": waiting if removed else 0,
            "deadLetters": counts.dead_letters,
            "oldestPendingAge": round(max(0.0, now - age.accepted_at), 3) if age else 0.0,
            "overdue": round(max(0.0, now - age.due_at), 3) if age else 0.0,
            "breaker": state.breaker if state else "closed",
            "heldBy": state.held_by if state else None,
            "paused": record.paused,
            "removed": removed,
        }

    def _sources(self) -> dict[str, Shown]:
        remembered = self.outbox.sources()
        shown = {}
        for name in sorted({*self.current.snapshot.config.sources, *remembered}):
            record = remembered.get(name)
            accepted, duplicates = (record.accepted, record.duplicates) if record else (0, 0)
            shown[name] = {
                "totalReceived": accepted + duplicates,
                "duplicates": duplicates,
                "lastReceivedAt": moment(record.last_event_at if record else None),
            }
        return shown

    def _configuration(self, on_disk: str | None) -> Shown:
        running = self.current.snapshot.config.hash
        metrics = self.metrics
        return {
            "running": running,
            "onDisk": on_disk,
            "inStep": on_disk == running,
            "lastReloadSuccessful": metrics.reload_successful,
            "lastReloadSuccessAt": moment(metrics.reload_success_at or None),
        }

    def _storage(self) -> Shown:
        sizes = self.outbox.sizes()
        return {
            "sqlite": self.sqlite_version,
            "note": sqlite_note(self.sqlite_version),
            "database": sizes.database,
            "wal": sizes.wal,
            "free": sizes.free,
        }


def _worked(counts: Iterable[EndpointCounts], duplicates: int) -> Shown:
    """What became of deliveries; duplicates are recognised before any endpoint is owed one."""
    counts = list(counts)
    delivered = sum(each.delivered for each in counts)
    dead = sum(each.dead for each in counts)
    finished = delivered + dead
    return {
        "successfullyProcessed": delivered,
        "failed": dead,
        "cancelled": sum(each.cancelled for each in counts),
        "duplicates": duplicates,
        "successRate": round(delivered / finished, 6) if finished else None,
        "failureRate": round(dead / finished, 6) if finished else None,
    }


def _timed(series: Iterable[EndpointMetrics]) -> Shown:
    """When a delivery last ended, and how long they took from acceptance to delivery."""
    series = list(series)
    delivered = sum(each.latency_seconds.count for each in series)
    seconds = sum(each.latency_seconds.total for each in series)
    last = max((each.last_finished_at for each in series), default=0.0)
    return {
        "lastProcessedAt": moment(last or None),
        "averageProcessingTime": round(seconds / delivered, 6) if delivered else None,
    }


def sqlite_note(version: str) -> str | None:
    """What to know of this SQLite; None: nothing. `version` is `3.40.1`."""
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    first, mended = WAL_RESET
    patch = WAL_RESET_MENDED.get((found[0], found[1]), 1_000_000)
    if not first <= found < mended or found[2] >= patch:
        return None
    return (
        "this release may damage a file that two connections checkpoint at once; Hookpost writes "
        "and checkpoints from one connection only: let no other program write to the database"
    )
