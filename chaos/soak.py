"""`python -m chaos.soak --minutes 60`: one long life under constant load, faults and reloads.

Memory, descriptors, threads and the sizes of the database and its log are sampled; the series go
to a CSV file, and with the slopes into an SVG. Exit status: 0 all is flat and the accounts agree,
1 something grows or a promise was broken, 70 the harness could not go on.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from chaos import RESULTS, ChaosError, Violation
from chaos.chart import write_svg
from chaos.daemon import Daemon
from chaos.proxy import Fault
from chaos.rig import Rig
from chaos.samples import COLUMNS, Sample, Trend, trend, write_csv
from chaos.scenarios.kills import grudging

GROWS, FAILED = 1, 70
SAMPLES = 600
KEPT = 20  # seconds that rows and identities of what is delivered are kept
CLOSED = 120.0  # seconds until the accounts of what everybody took are closed
RELOAD = 10.0  # seconds between two reloads, every third of a bad file
FAULTS = {Fault.NONE: 30, Fault.LATENCY: 10, Fault.DRIP: 5, Fault.RESET: 3, Fault.TRUNCATE: 3} | {
    Fault.CUT: 2,
    Fault.REFUSE: 2,
    Fault.STALL: 1,
}


class Soak:
    """One long life of `seconds`, at `rate` events a second."""

    def __init__(self, rig: Rig, seconds: float, rate: float) -> None:
        self.rig = rig
        self.seconds = seconds
        self.samples: list[Sample] = []
        lanes = rig.publisher.load.lanes
        rig.publisher.load = dataclasses.replace(rig.publisher.load, pace=lanes / rate)
        rig.ledger.purged = True

    async def live(self) -> None:
        """The whole life; raises Violation where the accounts do not agree at its end."""
        rig = self.rig
        await rig.proxy.open()
        rig.proxy.weights = FAULTS
        rig.proxy.stall = rig.ledger.timeout
        rig.home.endpoint("audit", rig.proxy.port, concurrency=8)
        rig.home.config["retention"] = {"delivered": f"{KEPT}s"}
        rig.home.config["sources"]["chaos"]["dedup"] = {"window": f"{KEPT}s"}
        grudging(rig)
        daemon = await rig.start()
        rig.home.config["logging"] = {"level": "error"}  # a line an attempt would fill the disk
        rig.home.write()
        await daemon.administer("/reload")
        rig.publisher.start()
        tasks = [
            asyncio.create_task(self._watch(daemon)),
            asyncio.create_task(self._hang_up(daemon)),
        ]
        try:
            await tasks[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        rig.home.write()
        await daemon.administer("/reload")
        await rig.finish(daemon)

    def trends(self) -> list[Trend]:
        """The slope of each series."""
        return [trend(name, self.samples) for name in COLUMNS]

    async def _watch(self, daemon: Daemon) -> None:
        clock = asyncio.get_running_loop().time
        began, every = clock(), max(0.2, self.seconds / SAMPLES)
        while (elapsed := clock() - began) < self.seconds:
            self.rig.publisher.check()
            if not daemon.alive:
                raise Violation(f"the daemon ended by itself: {daemon.text}")
            self.samples.append(await self._sample(daemon, elapsed))
            self.rig.ledger.close(CLOSED)
            await asyncio.sleep(every)

    async def _sample(self, daemon: Daemon, elapsed: float) -> Sample:
        ledger, shown = self.rig.ledger, await daemon.metrics()
        waiting = sum(n for name, n in shown.items() if name.startswith("hookpost_deliveries_pend"))
        return {
            "seconds": elapsed,
            "resident": daemon.resident(),
            "descriptors": daemon.descriptors(),
            "threads": daemon.threads(),
            "wal": shown['hookpost_storage_size_bytes{file="wal"}'],
            "database": shown['hookpost_storage_size_bytes{file="database"}'],
            "accepted": ledger.closed + len(ledger.accepted),
            "pending": waiting,
        }

    async def _hang_up(self, daemon: Daemon) -> None:
        number = 0
        while True:
            await asyncio.sleep(RELOAD)
            number += 1
            crm = self.rig.home.config["endpoints"]["crm"]
            crm["concurrency"] = self.rig.dice.randrange(2, 9)
            self.rig.home.write("surprise: 1\n" if number % 3 == 0 else "")
            daemon.send(signal.SIGHUP)
            self.rig.facts["hangups"] += 1


async def soak(folder: Path, seed: int, seconds: float, rate: float) -> tuple[Soak, str]:
    """One life; what was sampled, and what is wrong (nothing: an empty text)."""
    folder.mkdir(parents=True, exist_ok=True)
    async with Rig(folder, seed) as rig:
        life = Soak(rig, seconds, rate)
        try:
            await life.live()
        except Violation as error:
            return life, str(error)
        return life, ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak for as long as the arguments ask for."""
    options = _parser().parse_args(arguments)
    seed = random.randrange(1 << 31) if options.seed is None else options.seed
    RESULTS.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="work-", dir=RESULTS))
    try:
        life, wrong = asyncio.run(soak(folder, seed, options.minutes * 60, options.rate))
    except ChaosError as error:
        print(f"the harness failed: {error}\nfiles: {folder}")
        return FAILED
    name = f"soak-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    trends = report(life, RESULTS / name, seed)
    if wrong:
        print(f"BROKEN: {wrong}\nfiles: {folder}")
        return GROWS
    with contextlib.suppress(OSError):
        shutil.rmtree(folder)
    return 0 if all(each.flat for each in trends) else GROWS


def report(life: Soak, place: Path, seed: int) -> list[Trend]:
    """Write the series beside each other and print their slopes."""
    trends, facts = life.trends(), life.rig.facts
    events = life.samples[-1]["accepted"]
    title = f"{life.seconds / 60:g} min, {events:.0f} events, seed {seed}"
    write_csv(place.with_suffix(".csv"), life.samples)
    write_svg(place.with_suffix(".svg"), title, life.samples, trends)
    print(title + "; " + ", ".join(f"{what} {count}" for what, count in facts.items()))
    for each in trends:
        print(each.line())
    print(f"series: {place.with_suffix('.csv')}, {place.with_suffix('.svg')}")
    return trends


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--rate", type=float, default=60.0, help="events a second (60)")
    parser.add_argument("--seed", type=int, help="(a random one)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
