"""What goes wrong: each is one coroutine that does it and, where it lasts, ends it again."""

import asyncio
from typing import TYPE_CHECKING

from tests.simulation.loop import VirtualLoop
from tests.simulation.network import MOODS

from hookpost.core.errors import GatewayError
from hookpost.core.model import State
from hookpost.storage.outbox import Selection

if TYPE_CHECKING:
    from tests.simulation.scenario import Run

DAY = 86400.0


async def mood(run: "Run") -> None:
    """A receiver changes its mood."""
    key = run.rng.choice(run.plan.lines).key
    run.network.receiver(key).mood = run.rng.choice(MOODS)
    run.trace.note("mood", key, run.network.receiver(key).mood)


async def reload(run: "Run") -> None:
    """The file changes: mostly well, sometimes with a mistake in it."""
    run.trace.note("plan", run.plan.change(run.rng))
    await run.reload(mistaken=run.rng.random() < 0.2)


async def flurry(run: "Run") -> None:
    """Many events in two waves, and a reload while they are on their way."""
    await asyncio.gather(*(run.publishers.send() for _ in range(12)))
    await run.sleep(run.rng.uniform(0.0, 0.02))
    await asyncio.gather(*(run.publishers.send() for _ in range(12)))
    await run.sleep(run.rng.uniform(0.0, 8.0))
    run.trace.note("plan", run.plan.change(run.rng, run.rng.choice(["resize", None])))
    await run.reload()


async def flapping(run: "Run") -> None:
    """One endpoint goes and comes with every reload, faster than its attempts end.

    Now and then a sync fails in the middle, and the daemon ends with whatever was under way.
    """
    key = run.rng.choice(run.plan.lines).key
    receiver, mood = run.network.receiver(key), run.network.receiver(key).mood
    receiver.mood = run.rng.choice(["slow", "slow", "hanging", mood])
    run.disk.slow = run.rng.choice([0.0, 0.0, 0.0, 0.3])
    run.trace.note("flapping", key, receiver.mood, run.disk.slow)
    await asyncio.gather(*(run.publishers.send() for _ in range(run.rng.randint(2, 8))))
    for _ in range(run.rng.randint(3, 12)):
        await run.sleep(run.rng.choice([0.0, 0.0, run.rng.uniform(0.0, 0.5)]))
        if run.rng.random() < 0.2:
            await run.publishers.send()
        run.trace.note("plan", run.plan.flap(key, run.rng))
        await run.reload()
        run.disk.broken = run.disk.broken or run.rng.random() < 0.03
    await run.sleep(1.0)
    run.check()
    run.disk.broken = False
    line = run.plan.line(key)
    line.present, line.paused, line.renamed_from = True, False, None
    await run.reload()
    receiver.mood, run.disk.slow = mood, 0.0
    await run.sleep(2.0)
    run.check_rows()


async def clock(run: "Run") -> None:
    """The wall clock is stepped, and set right after a while."""
    step = run.rng.choice([-3600.0, 3600.0, -86400.0, 3650 * DAY, -3650 * DAY, 1.5])
    clock = run.life.clock
    clock.offset += step
    run.trace.note("clock", step)
    await run.sleep(run.rng.uniform(1.0, 200.0))
    clock.offset -= step


async def full(run: "Run") -> None:
    """The disk is full for a while."""
    run.disk.full = True
    run.trace.note("disk full")
    await run.sleep(run.rng.uniform(1.0, 120.0))
    run.disk.full = False


async def busy(run: "Run") -> None:
    """Another process holds the write lock, or the disk is slow."""
    run.disk.busy, run.disk.slow = run.rng.choice([(True, 0.0), (False, 0.3)])
    run.trace.note("disk busy" if run.disk.busy else "disk slow")
    await run.sleep(run.rng.uniform(0.5, 20.0))
    run.disk.busy, run.disk.slow = False, 0.0


async def order(run: "Run") -> None:
    """A person gives an order."""
    life, line = run.life, run.rng.choice(run.in_force().lines)
    if not line.present:
        return
    verb = run.rng.choice(["pause", "resume", "retry", "replay", "cancel"])
    run.trace.note("order", verb, line.key)
    selection = Selection(endpoint=line.name, limit=run.rng.choice([None, 3]))
    now = life.clock.now()
    run.network.pardon(line.key)
    if verb == "resume":
        run.network.resumed(line.key)
    try:
        match verb:
            case "pause":
                await life.dispatcher.pause(run.id(line))
            case "resume":
                await life.dispatcher.resume(run.id(line))
            case "retry":
                await life.outbox.retry(selection, now)
            case "replay":
                await life.outbox.replay(selection, now)
            case _ if run.rng.random() < 0.3:
                states = frozenset({State.PENDING})
                await life.outbox.cancel(Selection(endpoint=line.name, states=states, limit=2), now)
    except GatewayError as error:
        run.trace.note("refused", type(error).__name__)
    run.network.pardon(line.key)


async def broken(run: "Run") -> None:
    """A sync fails: the daemon must end, and another must find everything in order."""
    run.trace.note("disk broken")
    run.disk.broken = True
    await run.sleep(run.rng.uniform(1.0, 60.0))
    run.check()
    run.disk.broken = False


async def deadly(run: "Run") -> None:
    """The process dies in the middle of a reload."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    if run.rng.random() < 0.3:
        loop.crash_at = loop.steps + run.rng.randint(1, 40)
    await reload(run)


FAULTS = (mood, mood, reload, flurry, flapping, clock, full, busy, order, broken, deadly)
