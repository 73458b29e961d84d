"""What `/status` says of the whole and of each endpoint."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.builders import FakeClock

from hookpost.core.model import (
    DeadReason,
    EndpointCounts,
    EndpointId,
    EndpointRecord,
    Result,
    SourceRecord,
)
from hookpost.core.routing import Routes
from hookpost.core.secrets import Secret
from hookpost.core.settings import (
    AdminListener,
    Auth,
    Config,
    Endpoint,
    Listen,
    Source,
    Storage,
    UnixAddress,
)
from hookpost.metrics import Metrics
from hookpost.services.health import Health
from hookpost.services.snapshot import Current, Snapshot
from hookpost.services.status import DISK_HASH_AGE, DiskHash, Status, sqlite_note
from hookpost.storage.outbox import PendingAge, StorageSizes

FIELDS = {
    "totalReceived", "successfullyProcessed", "failed", "duplicates", "lastProcessedAt",
    "averageProcessingTime", "successRate", "failureRate", "backlog", "breaker",
}  # fmt: skip


class Books:
    """The three readings of an outbox that the status is made of."""

    def __init__(self) -> None:
        self.records: list[EndpointRecord] = []
        self.remembered: dict[str, SourceRecord] = {}

    def endpoints(self) -> Sequence[EndpointRecord]:
        return self.records

    def sources(self) -> Mapping[str, SourceRecord]:
        return self.remembered

    def sizes(self) -> StorageSizes:
        return StorageSizes(database=1000, wal=200, free=3000)


@dataclass
class State:
    in_flight: int = 0
    breaker: str = "closed"
    held_by: str | None = None


class Scene:
    """A status over parts that a test can change."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.books = Books()
        self.metrics = Metrics(self.clock)
        self.health = Health(starting=False)
        self.on_disk: str | None = "aaaaaaaaaaaa"
        secret = Secret(name="crm-new", value=b"canary-secret")
        config = Config(
            path=Path("gateway.yaml"),
            listen=Listen(admin=AdminListener(address=UnixAddress(Path("admin.sock")))),
            storage=Storage(path=Path("outbox.db")),
            sources={"billing": Source(name="billing", path="/in", auth=Auth(bearer=(secret,)))},
            endpoints={"crm": Endpoint(name="crm", url="https://canary-url.example/x?k=1")},
            hash="aaaaaaaaaaaa",
        )
        self.metrics.configure(
            sources=config.sources, endpoints=config.endpoints, secrets=config.secrets
        )
        snapshot = Snapshot(config=config, endpoint_ids={"crm": EndpointId(1)}, routes=Routes(()))
        self.status = Status(
            current=Current(snapshot),
            outbox=self.books,  # type: ignore[arg-type]
            metrics=self.metrics,
            health=self.health,
            clock=self.clock,
            started_at=self.clock.now() - 60,
            sqlite_version="3.40.1",
            disk_hash=self.disk_hash,
        )

    async def disk_hash(self) -> str | None:
        return self.on_disk

    def put(self, name: str, number: int = 1, removed: float | None = None, **n: int) -> None:
        record = EndpointRecord(
            id=EndpointId(number), name=name, removed_at=removed, counts=EndpointCounts(**n)
        )
        self.books.records.append(record)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_the_fields_of_the_contract_are_there_in_total_and_per_endpoint(
    scene: Scene,
) -> None:
    scene.put("crm")
    shown = await scene.status()
    assert set(shown) >= FIELDS
    assert set(shown["endpoints"]["crm"]) >= FIELDS


async def test_nothing_yet_is_zero_and_a_ratio_of_nothing_is_null(scene: Scene) -> None:
    scene.put("crm")
    shown = await scene.status()
    for part in (shown, shown["endpoints"]["crm"]):
        assert part["totalReceived"] == part["failed"] == part["backlog"] == 0
        assert part["successRate"] is None
        assert part["failureRate"] is None
        assert part["averageProcessingTime"] is None
        assert part["lastProcessedAt"] is None


async def test_counts_rates_and_times_are_those_of_outbox_and_metrics(scene: Scene) -> None:
    scene.books.remembered["billing"] = SourceRecord(
        name="billing", accepted=100, duplicates=7, last_event_at=1_750_000_000.0
    )
    scene.put("crm", 1, created=90, delivered=60, dead=20, replayed=4, pending=14, dead_letters=16)
    scene.put("audit", 2, created=10, delivered=10)
    crm = scene.metrics.endpoint("crm")
    crm.attempted(Result.SUCCESS, 0.1)
    crm.delivered(1.0)
    crm.delivered(3.0)
    crm.dead(DeadReason.EXHAUSTED)
    scene.metrics.readings.states = lambda: {"crm": State(4, "open", "breaker")}
    now = scene.clock.now()
    scene.metrics.readings.ages = lambda: {
        EndpointId(1): PendingAge(accepted_at=now - 50, due_at=now - 20)
    }
    shown = await scene.status()
    assert shown["totalReceived"] == 107
    assert shown["duplicates"] == 7
    assert shown["successfullyProcessed"] == 70
    assert shown["failed"] == 20
    assert shown["successRate"] == pytest.approx(70 / 90, abs=1e-6)
    assert shown["failureRate"] == pytest.approx(20 / 90, abs=1e-6)
    assert shown["averageProcessingTime"] == 2.0
    assert shown["lastProcessedAt"] == "2025-06-15T15:06:40.000Z"
    assert shown["backlog"] == 14
    assert shown["breaker"] == {"closed": 1, "half_open": 0, "open": 1}
    one = shown["endpoints"]["crm"]
    assert (one["totalReceived"], one["successfullyProcessed"], one["failed"]) == (90, 60, 20)
    assert (one["backlog"], one["pending"], one["inFlight"]) == (14, 10, 4)
    assert (one["breaker"], one["heldBy"]) == ("open", "breaker")
    assert (one["oldestPendingAge"], one["overdue"]) == (50.0, 20.0)
    assert one["deadLetters"] == 16
    assert one["averageProcessingTime"] == 2.0
    assert shown["endpoints"]["audit"]["successRate"] == 1.0
    source = shown["sources"]["billing"]
    assert source == {
        "totalReceived": 107,
        "duplicates": 7,
        "lastReceivedAt": "2025-06-15T15:06:40.000Z",
    }


async def test_what_a_removed_endpoint_owes_is_parked(scene: Scene) -> None:
    scene.put("old", 9, removed=1.0, created=5, pending=5)
    shown = await scene.status()
    assert shown["endpoints"]["old"]["removed"] is True
    assert shown["endpoints"]["old"]["parked"] == 5
    assert shown["endpoints"]["old"]["pending"] == 0
    assert (shown["parked"], shown["backlog"]) == (5, 5)


async def test_running_and_file_are_compared(scene: Scene) -> None:
    scene.metrics.loaded("aaaaaaaaaaaa", 1_750_000_000.0)
    same = (await scene.status())["configuration"]
    assert (same["running"], same["onDisk"], same["inStep"]) == ("a" * 12, "a" * 12, True)
    assert same["lastReloadSuccessAt"] == "2025-06-15T15:06:40.000Z"
    scene.on_disk = "bbbbbbbbbbbb"
    assert (await scene.status())["configuration"]["inStep"] is False
    scene.on_disk = None
    invalid = (await scene.status())["configuration"]
    assert (invalid["onDisk"], invalid["inStep"]) == (None, False)


async def test_readiness_uptime_and_storage_are_told(scene: Scene) -> None:
    scene.health.storage_low = True
    shown = await scene.status()
    assert (shown["ready"], shown["reasons"]) == (False, ["storage_low"])
    assert shown["uptime"] == 60.0
    assert shown["storage"]["sqlite"] == "3.40.1"
    assert "one connection only" in shown["storage"]["note"]
    assert shown["storage"]["free"] == 3000


async def test_neither_secrets_nor_urls_are_shown(scene: Scene) -> None:
    scene.put("crm")
    assert "canary" not in json.dumps(await scene.status())


@pytest.mark.parametrize(
    ("version", "noted"),
    [
        ("3.6.23", False),
        ("3.7.0", True),
        ("3.40.1", True),
        ("3.44.5", True),
        ("3.44.6", False),
        ("3.50.6", True),
        ("3.50.7", False),
        ("3.51.2", True),
        ("3.51.3", False),
        ("3.52.0", False),
    ],
)
def test_a_release_in_the_range_of_the_wal_reset_bug_is_noted(version: str, noted: bool) -> None:
    assert (sqlite_note(version) is not None) is noted


async def test_the_files_are_read_at_most_every_few_seconds() -> None:
    clock, reads = FakeClock(), []

    def read() -> str | None:
        reads.append(clock.now())
        return f"hash-{len(reads)}"

    disk_hash = DiskHash(read, clock)
    answers = await asyncio.gather(disk_hash(), disk_hash(), disk_hash())
    assert answers == ["hash-1"] * 3
    clock.advance(DISK_HASH_AGE - 0.1)
    assert await disk_hash() == "hash-1"
    clock.advance(0.2)
    assert await disk_hash() == "hash-2"
