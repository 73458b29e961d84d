"""The disk: its power is cut, its syncs fail or crawl, and a trace of what is synced when."""

import asyncio
import dataclasses

from chaos import ChaosError, Violation, outbox, power, shim, trace
from chaos.daemon import Daemon
from chaos.rig import Rig
from chaos.scenarios.kills import grudging
from chaos.wire import until

LIFE = 0.6  # seconds that a life lasts at most
SLOW, STUCK = 0.1, 2.6  # seconds added to a sync; the second is more than a publisher waits
PROMPT = 1.5  # seconds in which the ops page must answer while a sync is stuck
COMPANY = 8  # events that share a sync, at least, where 64 publishers wait for it


async def power_cuts(rig: Rig) -> None:
    """P1: so many lives, each ended by a power cut; then an orderly one."""
    grudging(rig)
    rig.publisher.start()
    for _ in range(rig.lives):
        daemon = await _journaled(rig)
        await rig.accepted(3)
        await asyncio.sleep(rig.dice.uniform(0.0, LIFE))
        await _lose_power(rig, daemon)
    last = await rig.start()
    await rig.accepted(20)
    await rig.finish(last)


async def failing_syncs(rig: Rig) -> None:
    """P1: a sync fails. Nothing more is acknowledged, and the daemon ends to begin anew."""
    grudging(rig)
    rig.publisher.start()
    for _ in range(max(1, rig.lives // 3)):
        daemon = await _journaled(rig)
        await rig.accepted(3)
        rig.shim.fail(rig.dice.randrange(1, 40))
        await until(lambda: rig.shim.failed > rig.facts["syncs failed"], "a sync that failed")
        rig.facts["syncs failed"] += 1
        code = await daemon.ended()
        if code != 1:
            raise Violation(f"a failed sync ended it with {code} in place of 1: {daemon.text}")
        await _lose_power(rig, daemon)
    last = await rig.start()
    await rig.accepted(20)
    await rig.finish(last)


async def slow_syncs(rig: Rig) -> None:
    """P10: syncs crawl, then one hangs for longer than a publisher waits, then all is well."""
    rig.publisher.load = dataclasses.replace(rig.publisher.load, lanes=64, pace=0.002)
    daemon = await rig.start(env=rig.shim.environment())
    rig.shim.slow(SLOW)
    rig.publisher.start()
    await rig.accepted(64)
    before, syncs = len(rig.ledger.accepted), rig.shim.syncs
    await rig.accepted(400)
    each = (len(rig.ledger.accepted) - before) / (rig.shim.syncs - syncs)
    rig.facts["events a sync"] = round(each)
    if each < COMPANY:
        raise Violation(f"{each:.1f} events share a sync of {SLOW} s, at least {COMPANY} should")
    rig.shim.slow(STUCK)
    syncs = rig.shim.syncs
    await until(lambda: rig.shim.syncs > syncs, "a sync that is stuck")
    rig.shim.slow(0.0)
    async with asyncio.timeout(PROMPT):
        await daemon.get("/livez")
    await until(lambda: 503 in rig.publisher.statuses, "a publisher that is told to come again")
    await rig.accepted(64)
    rig.facts["503"] = rig.publisher.statuses[503]
    await rig.finish(daemon)


async def traced(rig: Rig) -> None:
    """P1, seen from outside: the log is synced between a request's arrival and its 2xx."""
    daemon = await rig.start(
        env=rig.shim.environment(journal=True, trace=True), command=rig.command
    )
    rig.publisher.start()
    await rig.accepted(150)
    await rig.finish(daemon)
    proven = trace.proven(shim.records(rig.shim.journal))
    missing = {sent.id for sent in rig.ledger.accepted} - proven
    if missing:
        raise ChaosError(f"the trace says nothing of {sorted(missing)[:5]}")
    rig.facts["synced before told"] = len(proven)


async def _journaled(rig: Rig) -> Daemon:
    """A daemon whose writes and syncs are recorded, from what lies on the disk now."""
    rig.home.database.parent.mkdir(mode=0o700, exist_ok=True)
    power.save(rig.home.database, rig.folder / "before")
    return await rig.start(env=rig.shim.environment(journal=True), command=rig.command)


async def _lose_power(rig: Rig, daemon: Daemon) -> None:
    """End it, unless it has ended, and put the files back to what the disk had."""
    daemon.process.kill()
    await daemon.ended()
    database = rig.home.database
    lost = power.cut(database, rig.folder / "before", rig.shim.journal, rig.dice)
    rig.shim.journal.unlink()
    rig.facts["writes at stake"] += lost
    rig.facts["power cuts"] += 1
    outbox.sound(database)
    await rig.over(daemon, "power cut")
