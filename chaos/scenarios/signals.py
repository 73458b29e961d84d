"""Signals: storms of SIGHUP with good and bad files, SIGTERM under load, once and twice."""

import asyncio
import copy
import signal

from chaos import Violation
from chaos.daemon import Daemon
from chaos.rig import Rig
from chaos.scenarios.kills import grudging
from chaos.wire import until

HERTZ = 10
STORM = 30  # signals
LIFE = 0.5  # seconds that a life lasts at most
REFUSED = 'hookpost_config_reloads_total{result="invalid"}'
APPLIED = 'hookpost_config_reloads_total{result="applied"}'
HASH = "hookpost_config_hash"

MISTAKES = (
    "endpoints: {}\n",  # a key that is there already
    "surprise: 1\n",
    "\t- [",
    "x-bomb: &a [*a, *a]\n",
)


async def hangups(rig: Rig) -> None:
    """P6: reloads at 10 Hz while events come and go; what a bad file says never counts."""
    grudging(rig)
    whole = copy.deepcopy(rig.home.config)
    daemon = await rig.start()
    rig.publisher.start()
    for number in range(STORM):
        _vary(rig, whole)
        rig.home.write(rig.dice.choice(MISTAKES) if rig.dice.random() < 0.4 else "")
        daemon.send(signal.SIGHUP)
        rig.facts["hangups"] += 1
        await asyncio.sleep(rig.dice.uniform(0.0, 2 / HERTZ))
        if number % 10 == 9:
            await rig.accepted(1)
    await _settled_on(rig, daemon, whole)
    await rig.accepted(20)
    await rig.finish(daemon)


def _vary(rig: Rig, whole: dict[str, object]) -> None:
    """Some other good configuration: limits differ, one endpoint comes and goes."""
    rig.home.config = copy.deepcopy(whole)
    endpoints = rig.home.config["endpoints"]
    for endpoint in endpoints.values():
        endpoint["concurrency"] = rig.dice.randrange(1, 9)
    if rig.dice.random() < 0.5:
        rig.home.remove("audit")
    if rig.dice.random() < 0.5:
        rig.home.endpoint("extra", rig.receiver.port, on_remove="park")


async def _settled_on(rig: Rig, daemon: Daemon, whole: dict[str, object]) -> None:
    """The last good file is in force, and a bad one after it changes nothing."""
    rig.home.config = copy.deepcopy(whole)
    rig.home.endpoint("extra", rig.receiver.port)
    rig.home.write()
    count = len(daemon.logged("config.reloaded"))
    daemon.send(signal.SIGHUP)
    await until(lambda: len(daemon.logged("config.reloaded")) > count, "a reload that is applied")
    before = await daemon.metrics()
    rig.facts["reloads applied"] = int(before[APPLIED])
    rig.facts["reloads refused"] = int(before[REFUSED])
    if 'hookpost_deliveries_created_total{endpoint="extra"}' not in before:
        raise Violation("the last good file is not in force")
    rig.home.write("surprise: 1\n")
    count = len(daemon.logged("config.rejected"))
    daemon.send(signal.SIGHUP)
    await until(lambda: len(daemon.logged("config.rejected")) > count, "a reload that is refused")
    after = await daemon.metrics()
    if after[HASH] != before[HASH] or after[REFUSED] != before[REFUSED] + 1:
        raise Violation(f"a refused reload changed {before[HASH]} to {after[HASH]}")


async def terminations(rig: Rig) -> None:
    """P2: an orderly end repeats nothing; a second SIGTERM ends at once, and still exits 0."""
    grudging(rig)
    rig.publisher.start()
    for _ in range(rig.lives):
        daemon = await rig.start("--grace", "10")
        await asyncio.sleep(rig.dice.uniform(0.0, LIFE))
        daemon.send(signal.SIGTERM)
        if rig.dice.random() < 0.4:
            daemon.send(signal.SIGTERM)
            rig.facts["hurried"] += 1
            await rig.over(daemon, "hurried", 0)
        else:
            rig.facts["in order"] += 1
            await rig.ended(daemon, 0)
    last = await rig.start()
    await rig.accepted(20)
    await rig.finish(last)
