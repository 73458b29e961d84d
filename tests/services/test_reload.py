"""Reload: what can fail comes first and touches nothing; then one assignment."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests import builders
from tests.builders import FakeClock, an_event

from hookpost.config import Loaded, load
from hookpost.core.errors import StorageFull
from hookpost.core.model import DeliveryId, State
from hookpost.services.reload import (
    Reloader,
    Verdict,
    changes,
    endpoint_specs,
    snapshot_of,
)
from hookpost.services.snapshot import Current, Snapshot
from hookpost.storage.outbox import Selection
from hookpost.storage.sqlite import SqliteOutbox

FILE = """\
version: 1
storage: {{sqlite: {{path: outbox.db}}}}
endpoints: {{{endpoints}}}
subscriptions: {{all: {{endpoints: [{names}]}}}}
sources: {{billing: {{path: /in/billing}}}}
"""


class Folder:
    """A configuration file with some endpoints."""

    def __init__(self, path: Path) -> None:
        self.file = path / "gateway.yaml"

    def write(self, **endpoints: str) -> None:
        listed = ", ".join(
            f'{name}: {{url: "https://{name}.example.com/", signing: none{more}}}'
            for name, more in endpoints.items()
        )
        self.file.write_text(FILE.format(endpoints=listed, names=", ".join(endpoints)))

    def load(self) -> Loaded:
        return load(self.file)


@dataclass
class Ear:
    """Hears of snapshots, and of ended reloads."""

    applied: list[Snapshot] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)

    def apply(self, snapshot: Snapshot) -> None:
        self.applied.append(snapshot)

    def reloaded(self, result: str, config_hash: str, at: float) -> None:
        self.ended.append((result, config_hash))


class Bench:
    """A reloader over a real outbox."""

    def __init__(self, folder: Folder, outbox: SqliteOutbox, clock: FakeClock) -> None:
        self.folder = folder
        self.outbox = outbox
        self.clock = clock
        self.ear = Ear()
        self.alerts = builders.Ear()
        self.current: Current

    async def begin(self) -> None:
        config = self.folder.load().sound()
        records = await self.outbox.apply_endpoints(endpoint_specs(config), self.clock.now())
        self.current = Current(snapshot_of(config, records))

    def reloader(self, read: Callable[[], Loaded] | None = None) -> Reloader:
        parts: Sequence[Any] = (self.ear,)
        return Reloader(
            self.current,
            read or self.folder.load,
            self.outbox,
            parts,
            self.ear,
            self.clock,
            self.alerts,
        )

    def rows(self) -> dict[str, bool]:
        """Every endpoint's row: whether it is configured."""
        return {each.name: each.removed_at is None for each in self.outbox.endpoints()}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    folder, clock = Folder(tmp_path), FakeClock()
    folder.write(crm="")
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock)
    made = Bench(folder, outbox, clock)
    await made.begin()
    yield made
    await made.outbox.close()


async def test_a_good_file_is_stored_assigned_and_told(bench: Bench) -> None:
    before = bench.current.snapshot
    bench.folder.write(crm=", concurrency: 2", audit="")
    report = await bench.reloader().reload()
    assert report.verdict is Verdict.APPLIED
    assert set(report.changes) >= {"endpoints.audit: added", "endpoints.crm: changed"}
    after = bench.current.snapshot
    assert bench.ear.applied == [after]
    assert bench.ear.ended == [("applied", after.config.hash)]
    assert after.endpoint_ids["crm"] == before.endpoint_ids["crm"]
    assert bench.rows() == {"crm": True, "audit": True}
    assert (report.old_hash, report.new_hash) == (before.config.hash, after.config.hash)


async def test_a_file_that_says_the_same_assigns_nothing(bench: Bench) -> None:
    before = bench.current.snapshot
    bench.folder.file.write_text("# a comment\n" + bench.folder.file.read_text())
    report = await bench.reloader().reload()
    assert report.verdict is Verdict.UNCHANGED
    assert bench.current.snapshot is before
    assert bench.ear.applied == []


async def test_a_mistake_touches_nothing(bench: Bench) -> None:
    before = bench.current.snapshot
    bench.folder.write(crm=", concurrency: 0", audit="")
    report = await bench.reloader().reload()
    assert report.verdict is Verdict.INVALID
    assert any("concurrency" in mistake for mistake in report.mistakes)
    assert bench.current.snapshot is before
    assert bench.rows() == {"crm": True}
    assert bench.ear.ended == [("invalid", before.config.hash)]


async def test_every_reload_that_says_something_new_is_told_of(bench: Bench) -> None:
    reloader = bench.reloader()
    old = bench.current.snapshot.config.hash
    await reloader.reload()
    assert bench.alerts.heard == []
    bench.folder.write(crm="", audit="")
    await reloader.reload()
    new = bench.current.snapshot.config.hash
    applied = {"hash": new, "oldHash": old, "changes": 2}
    bench.folder.write(crm=', headers: {X-Key: "hunter2\\n"}, timeout: hunter2')
    await reloader.reload()
    place = "gateway.yaml:3:84: endpoints.crm.headers.X-Key [bad-header-value]"
    rejected = {"hash": new, "result": "invalid", "errors": 2, "first": place}
    assert bench.alerts.heard == [
        ("hookpost.config.reloaded", applied),
        ("hookpost.config.rejected", rejected),
    ]
    assert "hunter2" not in str(bench.alerts.heard)


async def test_a_restart_only_key_touches_nothing(bench: Bench) -> None:
    bench.folder.write(crm="", audit="")
    text = bench.folder.file.read_text().replace("outbox.db", "other.db")
    bench.folder.file.write_text(text)
    report = await bench.reloader().reload()
    assert report.verdict is Verdict.RESTART_REQUIRED
    assert list(report.mistakes) == [
        "storage.sqlite.path changes only with a restart; nothing was applied"
    ]
    assert bench.rows() == {"crm": True}


async def test_a_disk_that_refuses_the_rows_touches_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise StorageFull("no room")

    before = bench.current.snapshot
    monkeypatch.setattr(bench.outbox, "apply_endpoints", refuse)
    bench.folder.write(crm="", audit="")
    report = await bench.reloader().reload()
    assert report.verdict is Verdict.ERROR
    assert "no room" in report.mistakes[0]
    assert bench.current.snapshot is before
    assert bench.ear.applied == []


async def test_a_failure_of_our_own_while_reading_is_a_verdict_too(bench: Bench) -> None:
    def broken() -> Loaded:
        raise RecursionError("too deep")

    report = await bench.reloader(broken).reload()
    assert report.verdict is Verdict.ERROR
    assert "too deep" in report.mistakes[0]
    assert bench.ear.ended == [("error", bench.current.snapshot.config.hash)]


async def test_reloads_asked_for_while_one_runs_share_one_more(bench: Bench) -> None:
    reading, go_on = threading.Event(), threading.Event()
    reads = 0

    def slow() -> Loaded:
        nonlocal reads
        reads += 1
        reading.set()
        assert go_on.wait(10)
        return bench.folder.load()

    reloader = bench.reloader(slow)
    first = asyncio.create_task(reloader.reload())
    await asyncio.to_thread(reading.wait, 10)
    bench.folder.write(crm="", audit="")  # after the first one has begun to read
    others = [asyncio.create_task(reloader.reload()) for _ in range(50)]
    go_on.set()
    reports = await asyncio.gather(first, *others)
    assert reads == 2
    assert len({id(report) for report in reports[1:]}) == 1
    assert bench.current.snapshot.config.endpoints.keys() == {"crm", "audit"}


async def test_a_caller_that_goes_away_does_not_stop_the_reload(bench: Bench) -> None:
    bench.folder.write(crm="", audit="")
    reloader = bench.reloader()
    gone = asyncio.create_task(reloader.reload())
    stays = asyncio.create_task(reloader.reload())
    gone_started = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(gone_started.set_result, None)
    await gone_started
    gone.cancel()
    assert (await stays).verdict is Verdict.APPLIED


@pytest.mark.parametrize("then", ["the new file", "the old file"])
async def test_a_death_between_the_rows_commit_and_the_assignment_costs_nothing(
    bench: Bench, then: str
) -> None:
    """The rows say the new file, memory still the old one, and the process is no more."""
    crm = bench.current.snapshot.endpoint_ids["crm"]
    await bench.outbox.put(an_event(), [crm])
    old = bench.folder.file.read_text()
    bench.folder.write(sales=", renamed_from: crm", audit="")
    dying = bench.folder.load().sound()
    await bench.outbox.apply_endpoints(endpoint_specs(dying), bench.clock.now())
    await bench.outbox.close()

    if then == "the old file":
        bench.folder.file.write_text(old)
    bench.outbox = await SqliteOutbox.open(
        bench.folder.file.with_name("outbox.db"), clock=bench.clock
    )
    await bench.begin()
    view = (await bench.outbox.delivery(DeliveryId(1))).view
    if then == "the new file":
        assert bench.current.snapshot.endpoint_ids["sales"] == crm
        assert (view.endpoint, view.state) == ("sales", State.PENDING)
        assert bench.rows() == {"sales": True, "audit": True}
    else:  # as after a reload that was taken back: parked, visible, and to be moved by a person
        assert (view.endpoint, view.state) == ("sales", State.PARKED)
        back = bench.current.snapshot.endpoint_ids["crm"]
        moved = await bench.outbox.retry(Selection(endpoint="sales"), bench.clock.now(), to=back)
        assert moved == 1


def test_a_rename_is_told_as_one(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write(crm="", audit="")
    old = folder.load().sound()
    text = folder.file.read_text().replace("[crm", "[sales")
    folder.file.write_text(text.replace("{crm: {", "{sales: {renamed_from: crm, "))
    assert changes(old, folder.load().sound()) == [
        "endpoints.sales: renamed from crm", "subscriptions.all: changed",
    ]  # fmt: skip
    folder.write(sales=", renamed_from: crm")
    assert changes(old, folder.load().sound()) == [
        "endpoints.sales: renamed from crm", "endpoints.audit: removed",
        "endpoints.sales: changed", "subscriptions.all: changed",
    ]  # fmt: skip


def test_changes_names_what_differs(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write(crm="", audit="")
    old = folder.load().sound()
    folder.write(crm=", timeout: 9s")
    folder.file.write_text(folder.file.read_text() + "retention: {dead: 1d}\n")
    assert set(changes(old, folder.load().sound())) == {
        "endpoints.crm: changed", "endpoints.audit: removed", "subscriptions.all: changed",
        "retention: changed",
    }  # fmt: skip
