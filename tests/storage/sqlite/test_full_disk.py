"""P10: a disk that is really full, and an outbox that gets over it by itself."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.builders import FakeClock, an_event
from tests.disks import others_fill, small_disk
from tests.storage.steps import FOREVER, NOW, claim_all, delivered, endpoints, settle

from hookpost.core.errors import OutboxError, StorageFull
from hookpost.core.model import EndpointId, State, Stored
from hookpost.storage.outbox import Selection
from hookpost.storage.sqlite import SqliteOutbox
from hookpost.storage.sqlite.files import BALLAST

DISK = 80 << 20
BODY = bytes(200_000)
EVERYTHING = replace(FOREVER, delivered=0)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    with small_disk(tmp_path / "disk", DISK) as folder:
        yield folder


async def fill(outbox: SqliteOutbox, crm: EndpointId) -> list[str]:
    """Put from eight sides until the disk says no; what was acknowledged."""
    acknowledged: list[str] = []

    async def publish(side: int) -> None:
        for number in range(1000):
            event = an_event(id=f"e{side}-{number}", body=BODY)
            try:
                await outbox.put(event, [crm])
            except StorageFull:
                return
            acknowledged.append(event.id)
        pytest.fail("the disk never became full")

    await asyncio.gather(*(publish(side) for side in range(8)))
    return acknowledged


async def recover(outbox: SqliteOutbox, crm: EndpointId, owed: int) -> None:
    """Deliver all, purge all, and see that events are taken again."""
    claimed = await claim_all(outbox, crm)
    assert len(claimed) == owed
    assert all(await asyncio.gather(*(settle(outbox, delivered(one)) for one in claimed)))
    while (await outbox.purge(EVERYTHING, NOW + 1)).more:
        pass
    assert await outbox.count(Selection()) == 0
    assert isinstance(await outbox.put(an_event(id="after"), [crm]), Stored)
    assert not outbox.sizes().short


async def test_a_disk_filled_by_events_keeps_the_ballast_for_what_is_owed(
    disk: Path, clock: FakeClock
) -> None:
    outbox = await SqliteOutbox.open(disk / "outbox.db", clock=clock)
    try:
        (crm,) = await endpoints(outbox, "crm")
        acknowledged = await fill(outbox, crm)
        assert len(acknowledged) > 100
        assert (disk / "outbox.db.ballast").stat().st_size == BALLAST
        await recover(outbox, crm, len(acknowledged))
    finally:
        await outbox.close()


async def test_a_disk_filled_by_others_settles_purges_and_recovers_from_the_ballast(
    disk: Path, clock: FakeClock
) -> None:
    outbox = await SqliteOutbox.open(disk / "outbox.db", clock=clock)
    try:
        (crm,) = await endpoints(outbox, "crm")
        acknowledged = [
            (await outbox.put(an_event(id=f"e{n}", body=BODY), [crm])) for n in range(180)
        ]
        await outbox.close()  # an empty log has no room of its own
        outbox = await SqliteOutbox.open(disk / "outbox.db", clock=clock)
        others_fill(disk)
        claimed = await claim_all(outbox, crm)
        assert len(claimed) == len(acknowledged)
        assert all(await asyncio.gather(*(settle(outbox, delivered(one)) for one in claimed)))
        assert not (disk / "outbox.db.ballast").exists()
        with pytest.raises(StorageFull, match="free some space"):
            await outbox.put(an_event(id="refused", body=BODY), [crm])
        assert outbox.sizes().short
        while (await outbox.purge(EVERYTHING, NOW + 1)).more:
            pass
        assert await outbox.count(Selection()) == 0
        assert isinstance(await outbox.put(an_event(id="after"), [crm]), Stored)
        assert (disk / "outbox.db.ballast").exists()
        assert not outbox.sizes().short
    finally:
        await outbox.close()


async def test_events_never_use_the_room_that_the_ballast_gave_up(
    disk: Path, clock: FakeClock
) -> None:
    outbox = await SqliteOutbox.open(disk / "outbox.db", clock=clock)
    try:
        (crm,) = await endpoints(outbox, "crm")
        await outbox.put(an_event(), [crm])
        others = others_fill(disk)
        for n in range(50):
            with pytest.raises(StorageFull):
                await outbox.put(an_event(id=f"e{n}", body=BODY), [crm])
        (one,) = await claim_all(outbox, crm)
        assert await settle(outbox, delivered(one))
        assert shutil.disk_usage(disk).free > BALLAST // 2
        others.unlink()
        assert isinstance(await outbox.put(an_event(id="after"), [crm]), Stored)
    finally:
        await outbox.close()


async def test_settlements_leave_purging_its_room(disk: Path, clock: FakeClock) -> None:
    outbox = await SqliteOutbox.open(disk / "outbox.db", clock=clock)
    try:
        (crm,) = await endpoints(outbox, "crm")
        for n in range(20):
            await outbox.put(an_event(id=f"e{n}", body=BODY), [crm])
        await outbox.close()
        outbox = await SqliteOutbox.open(disk / "outbox.db", clock=clock)
        *most, last = await claim_all(outbox, crm)
        others_fill(disk)
        assert all(await asyncio.gather(*(settle(outbox, delivered(one)) for one in most)))
        assert not (disk / "outbox.db.ballast").exists()
        others_fill(disk, leave=500_000)  # its room is taken too
        settled = settle(outbox, delivered(last))
        with contextlib.suppress(OutboxError):
            await outbox.put(an_event(id="refused", body=BODY), [crm])
        assert not settled.done()
        while (await outbox.purge(EVERYTHING, NOW + 1)).more:
            pass
        assert await settled
    finally:
        await outbox.close()


CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from hookpost.core.errors import OutboxError
from hookpost.storage.sqlite import SqliteOutbox
from tests.builders import FakeClock, an_event
from tests.disks import others_fill, small_disk
from tests.storage.steps import endpoints

async def publish(outbox, crm, side):
    for number in range(10_000):
        event = an_event(id=f"{side}-{number}", body=bytes(200_000))
        try:
            await outbox.put(event, [crm])
        except OutboxError:
            print("full", flush=True)
        else:
            print(event.id, flush=True)

async def main():
    outbox = await SqliteOutbox.open(Path(sys.argv[1]), clock=FakeClock())
    (crm,) = await endpoints(outbox, "crm")
    await asyncio.gather(*(publish(outbox, crm, side) for side in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("others", [False, True])
async def test_a_process_killed_on_a_full_disk_starts_again_and_recovers(
    disk: Path, clock: FakeClock, *, others: bool
) -> None:
    acknowledged = killed_at_full(disk, others=others)
    outbox = await SqliteOutbox.open(disk / "outbox.db", clock=clock)
    try:
        (crm,) = (record.id for record in outbox.endpoints())
        known = {view.event_id for view in await outbox.deliveries(Selection(), limit=1000)}
        assert known >= set(acknowledged)
        await recover(outbox, crm, len(known))
        assert outbox.endpoint(crm).counts.delivered == len(known)
        assert await outbox.count(Selection(states=frozenset({State.DELIVERED}))) == 0
    finally:
        await outbox.close()


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A child that does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def killed_at_full(disk: Path, *, others: bool) -> list[str]:
    """Run eight publishers until twenty refusals, kill them; what was acknowledged."""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", CHILD, str(disk / "outbox.db"), str(root)]
    acknowledged: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        refused = 0
        for line in child.stdout:
            refused += line == "full\n"
            if line != "full\n":
                acknowledged.append(line.strip())
            if others and len(acknowledged) == 120:
                with stopped(child.pid):  # else the others take the ballast that it gives up
                    others_fill(disk)
            if refused == 20:
                break
        child.send_signal(signal.SIGKILL)
    return acknowledged
