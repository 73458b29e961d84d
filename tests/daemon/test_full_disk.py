"""P10: the disk fills under load, and the daemon gets over it by itself."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.daemon.harness import Daemon, Home, Nursery, Receiver
from tests.disks import others_fill, small_disk

BODY = "x" * 200_000


@pytest.fixture
def disk(tmp_path: Path, home: Home) -> Iterator[Path]:
    """The outbox has a small disk of its own, and hardly a reserve; finished deliveries go soon."""
    with small_disk(tmp_path / "disk", 64 << 20) as folder:
        home.config["storage"] = {
            "sqlite": {"path": str(folder / "outbox.db")},
            "min_free": "1KiB",
        }
        home.config["retention"] = {"delivered": "1s"}
        home.database = folder / "outbox.db"
        yield folder


async def flood(daemon: Daemon) -> set[str]:
    """Eight publishers until each was refused; the ids that were acknowledged."""
    acknowledged: set[str] = set()

    async def publish() -> None:
        for _ in range(1000):
            status, answer, headers = await daemon.post(BODY)
            if status != 202:
                assert (status, answer["code"][:8]) == (503, "storage_")
                assert int(headers["Retry-After"]) > 0
                return
            acknowledged.add(answer["eventId"])
        pytest.fail("the disk never became full")

    await asyncio.gather(*(publish() for _ in range(8)))
    return acknowledged


async def recovered(daemon: Daemon, crm: Receiver, acknowledged: set[str]) -> None:
    """All that was owed arrives, retention makes room, and events are taken again."""
    await daemon.until(
        lambda m: m['hookpost_deliveries_pending{endpoint="crm"}'] == 0 and m["hookpost_ready"] == 1
    )
    assert acknowledged <= {received.id for received in crm.requests}
    status, _, _ = await daemon.post(BODY)
    assert status == 202


async def test_a_disk_filled_by_events_is_emptied_again_without_a_restart(
    nursery: Nursery, crm: Receiver, disk: Path
) -> None:
    daemon = await nursery.start()
    acknowledged = await flood(daemon)
    await recovered(daemon, crm, acknowledged)
    assert daemon.logged("storage.low")
    assert (disk / "outbox.db.ballast").exists()
    assert await daemon.stop() == 0


async def test_a_disk_filled_by_others_is_survived_until_they_leave(
    nursery: Nursery, crm: Receiver, disk: Path
) -> None:
    daemon = await nursery.start()
    acknowledged = set(await daemon.accept(BODY, BODY))
    others = others_fill(disk)
    acknowledged |= await flood(daemon)
    await daemon.until(lambda m: m["hookpost_ready"] == 0)
    others.unlink()
    await recovered(daemon, crm, acknowledged)
    assert await daemon.stop() == 0


async def killed(daemon: Daemon, disk: Path) -> Path:
    """Others take all that is free, and it is killed; the file that they wrote.

    It stands still meanwhile: what it gives up of its reserve would be taken by them too.
    """
    daemon.send(signal.SIGSTOP)
    await asyncio.to_thread(os.waitid, os.P_PID, daemon.process.pid, os.WSTOPPED)
    others = others_fill(disk)
    assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    return others


async def test_a_daemon_killed_on_a_full_disk_starts_again_and_gets_over_it(
    nursery: Nursery, home: Home, crm: Receiver, disk: Path
) -> None:
    home.config["endpoints"]["crm"]["paused"] = True
    daemon = await nursery.start()
    acknowledged = await flood(daemon)
    others = await killed(daemon, disk)
    home.config["endpoints"]["crm"]["paused"] = False
    again = await nursery.start()
    await crm.count(len(acknowledged))  # others still fill it: what is owed is delivered
    others.unlink()
    await recovered(again, crm, acknowledged)
    assert await again.stop() == 0


async def test_a_daemon_without_a_byte_is_refused_and_starts_once_there_are_some(
    nursery: Nursery, home: Home, crm: Receiver, disk: Path
) -> None:
    home.config["endpoints"]["crm"]["paused"] = True
    daemon = await nursery.start()
    acknowledged = await flood(daemon)
    others = await killed(daemon, disk)
    (disk / "outbox.db.ballast").unlink()
    rest = others_fill(disk, leave=1)  # the reserve is theirs too
    home.config["endpoints"]["crm"]["paused"] = False
    refused = nursery.launch()
    assert await refused.ended() == 73
    (record,) = refused.logged("start.refused")
    assert "free some space or lower retention" in record["error"]
    others.unlink()
    rest.unlink()
    again = await nursery.start()
    await recovered(again, crm, acknowledged)
    assert await again.stop() == 0
