"""Limits that bite: a growing backlog, a full disk, a locked database, too few descriptors."""

import asyncio
import contextlib
import dataclasses
import resource
import sys
from collections.abc import AsyncIterator

from chaos import Violation
from chaos.daemon import Daemon
from chaos.disks import others_fill, small_disk
from chaos.proxy import Fault
from chaos.rig import Rig
from chaos.wire import Connection, until

MOST = 60  # deliveries that may wait for the dead endpoint
MAX_SIZE = 3 << 20
PAGES = 900  # of 4 KiB: what the database may have where its pages are limited
DISK = 64 << 20
IDLE = 60  # connections that only take descriptors
SPARE = 6  # descriptors that are left before they come
HELD = (0.0, 0.0, 4.0)  # seconds beyond a publisher's patience; the last is beyond SQLite's, too
BUSY = 0.5  # share of a processor beyond which waiting for descriptors is a busy loop


async def backlog(rig: Rig) -> None:
    """P5, P8: one endpoint is dead; `max_pending` bites, then `max_size`; then it is back."""
    await rig.proxy.open()
    rig.proxy.weights = {Fault.REFUSE: 1}
    config = rig.home.config
    rig.home.endpoint("crm", rig.proxy.port, max_pending=MOST)
    config["retention"] = {"max_size": f"{MAX_SIZE}B"}
    rig.ledger.spared, rig.ledger.purged = frozenset({"dead:overflow"}), True
    rig.publisher.load = dataclasses.replace(rig.publisher.load, size=12_000, pace=0.02)
    daemon = await rig.start()
    rig.publisher.start()
    await _counted(daemon, "crm", "dead", 20)
    count = (await daemon.counters())["crm"]
    if count["deliveries_pending"] + count["deliveries_in_flight"] > MOST:
        raise Violation(f"more than {MOST} deliveries wait: {count}")
    config["endpoints"]["crm"]["max_pending"] = 1_000_000
    rig.home.write()
    await daemon.administer("/reload")
    await _refusing(rig, daemon, "storage_low")
    rig.proxy.weights = {Fault.NONE: 1}
    await rig.accepted(30, limit=60.0)
    await rig.finish(daemon)
    rig.facts["503"] = rig.publisher.statuses[503]
    rig.facts["overflowed"] = rig.ledger.forgiven


async def full_disk(rig: Rig) -> None:
    """P10: others fill the disk; events are refused, deliveries go on, even over a kill."""
    with small_disk(rig.folder / "disk", DISK) as disk:
        rig.home.database = disk / "outbox.db"
        config = rig.home.config
        config["storage"]["sqlite"]["path"] = str(rig.home.database)
        config["retention"] = {"delivered": "1s"}
        rig.ledger.purged = True
        rig.publisher.load = dataclasses.replace(rig.publisher.load, size=50_000)
        daemon = await rig.start()
        rig.publisher.start()
        await rig.accepted(30)
        others = others_fill(disk, leave=rig.dice.randrange(4 << 20))
        await _refusing(rig, daemon, "storage_low")
        await rig.killed(daemon)
        again = await rig.start()
        await _refusing(rig, again, "storage_low")
        others.unlink()
        await rig.accepted(30)
        await rig.finish(again)
        rig.facts["503"] = rig.publisher.statuses[503]


async def full_pages(rig: Rig) -> None:
    """The same where nothing can be mounted: SQLite itself says that it is full."""
    rig.home.config["retention"] = {"delivered": "1s"}
    rig.ledger.purged = True
    rig.publisher.load = dataclasses.replace(rig.publisher.load, size=50_000)
    command = (sys.executable, "-m", "chaos.broken", f"max_page_count={PAGES}")
    daemon = await rig.start(command=command)
    rig.publisher.start()
    await until(lambda: 503 in rig.publisher.statuses, "a publisher that is told to come again")
    await rig.accepted(30)
    await rig.finish(daemon)
    rig.facts["503"] = rig.publisher.statuses[503]


async def locked(rig: Rig) -> None:
    """P10: another process holds the database, first to write, then to read."""
    daemon = await rig.start()
    rig.publisher.start()
    await rig.accepted(30)
    async with _held(rig, "BEGIN IMMEDIATE"):
        await until(lambda: 503 in rig.publisher.statuses, "a publisher that is told to come again")
        await asyncio.sleep(rig.dice.choice(HELD))
    await rig.accepted(30)
    async with _held(rig, "BEGIN"):
        await rig.accepted(100)
    await rig.accepted(30)
    await rig.finish(daemon)
    rig.facts["503"] = rig.publisher.statuses[503]


async def descriptors(rig: Rig) -> None:
    """P10: connections take all descriptors; nothing spins, and afterwards all is well."""
    daemon = await rig.start()
    rig.publisher.start()
    await rig.accepted(30)
    soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    limit = daemon.descriptors() + SPARE
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (limit, hard))
    place, rig.publisher.place = rig.publisher.place, None
    idle = [await Connection.open(daemon.address("ingest")) for _ in range(IDLE)]
    await until(lambda: daemon.descriptors() >= limit - 1, "no descriptor left", 10.0)
    share = await _share(daemon, 1.0)
    rig.facts["% of a processor"] = round(share * 100)
    if share > BUSY:
        raise Violation(f"without descriptors it used {share:.0%} of a processor")
    rig.publisher.place = place
    for connection in idle:
        await connection.close()
    await rig.accepted(30)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
    await rig.accepted(30)
    await rig.finish(daemon)


async def _share(daemon: Daemon, seconds: float) -> float:
    """The share of a processor that it uses from now on."""
    used = daemon.cpu()
    await asyncio.sleep(seconds)
    return (daemon.cpu() - used) / seconds


async def _counted(daemon: Daemon, endpoint: str, what: str, count: int) -> None:
    async def enough() -> bool:
        return (await daemon.counters())[endpoint][what] >= count

    await until(enough, f"{count} {what} at {endpoint}")


async def _refusing(rig: Rig, daemon: Daemon, reason: str) -> None:
    """Wait until the daemon says so, and a publisher has heard it."""
    heard = rig.publisher.statuses.get(503, 0)

    async def refuses() -> bool:
        status, text = await daemon.get("/readyz")
        return status == 503 and reason in text and rig.publisher.statuses.get(503, 0) > heard

    await until(refuses, f"503 because of {reason}")


@contextlib.asynccontextmanager
async def _held(rig: Rig, how: str) -> AsyncIterator[None]:
    """Another process has a transaction open that began with `how`."""
    script = (
        "import sqlite3,sys\n"
        "c=sqlite3.connect(sys.argv[1],isolation_level=None)\n"
        "c.execute(sys.argv[2]);c.execute('SELECT count(*) FROM event').fetchone()\n"
        "print('held',flush=True);sys.stdin.readline();c.execute('ROLLBACK')"
    )
    pipe = asyncio.subprocess.PIPE
    words = ("-c", script, str(rig.home.database), how)
    other = await asyncio.create_subprocess_exec(sys.executable, *words, stdin=pipe, stdout=pipe)
    assert other.stdin is not None
    assert other.stdout is not None
    try:
        await other.stdout.readline()
        yield
    finally:
        other.stdin.write(b"\n")
        await other.stdin.drain()
        other.stdin.close()
        await other.wait()
