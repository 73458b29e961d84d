"""One seed, one run: lives of a gateway on one file, until everything promised must have been kept.

A run is a chain of lives. In each, publishers send, receivers change their moods, people give
orders, the configuration changes, the disk fills, the clock is stepped, and at some point the
process dies or is told to end. The last life has good weather; then the books are judged.
"""

import asyncio
import copy
import math
import random
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.simulation.disk import Disk
from tests.simulation.faults import FAULTS
from tests.simulation.ledger import Ledger, check_books, row_of
from tests.simulation.life import Ended, Life, SimClock
from tests.simulation.loop import Crash, Stuck, VirtualLoop
from tests.simulation.network import Network
from tests.simulation.plan import SECRET, Line, Plan
from tests.simulation.publishers import Publishers
from tests.simulation.result import Result
from tests.simulation.scale import scaled
from tests.simulation.trace import KEPT, Trace, Violation

from hookpost.storage.outbox import Selection

LIVES = (2, 4)  # at least, at most, before the good weather
LENGTH = (60.0, 3600.0)  # seconds of one life
PATIENCE = 3 * 86400.0  # seconds of good weather in which everything must end


def simulate(seed: int, kept: int | None = KEPT) -> Result:
    """Run one seed in a folder of its own; `kept` lines of its trace are shown, None: all."""
    shared = Path("/dev/shm")
    base = shared if shared.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="hookpost-sim-", dir=base))
    try:
        return Run(seed, folder, Trace(kept)).result()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Run:
    """One run."""

    def __init__(self, seed: int, folder: Path, trace: Trace) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.trace = trace
        self.file = folder / "gateway.yaml"
        self.database = folder / "outbox.db"
        key = folder / "key"
        key.touch(mode=0o600)
        key.write_text(SECRET)
        self.disk = Disk(self.rng)
        self.network = Network(self.rng, self.trace)
        self.ledger = Ledger()
        self.plan = Plan.drawn(self.rng)
        self.plans: dict[str, Plan] = {}  # by the configuration's hash
        self.now = 0.0
        self.offset = 0.0
        self.lives = 0
        self._life: Life | None = None
        self.publishers = Publishers(self)
        # Each seed has its own selection of faults: some hide behind others.
        self.faults = [one for one in FAULTS if self.rng.random() < 0.6] or [FAULTS[0]]

    def result(self) -> Result:
        """Run all lives, then judge."""
        violation = None
        try:
            with self.disk.mounted(), scaled(narrow=self.rng.random() < 0.5):
                for _ in range(self.rng.randint(*LIVES)):
                    self._live(self._bad_weather)
                self._live(self._good_weather)
                self.ledger.check(self.database, self.network)
        except (Violation, Stuck) as error:
            violation = f"{type(error).__name__}: {error}"
        return Result(
            seed=self.seed,
            seconds=self.now,
            lives=self.lives,
            events=len(self.ledger.sent),
            attempts=self.network.attempts,
            lines=self.trace.lines,
            digest=self.trace.digest(),
            trace=self.trace.tail(),
            violation=violation,
        )

    # -- lives -----------------------------------------------------------------------------------

    def _live(self, weather: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """One process, from its start to its end or its death."""
        loop = VirtualLoop(self.now)
        self.trace.time = self.network.time = self.disk.time = loop.time
        self.lives += 1
        self.trace.note("life", self.lives, weather.__name__.strip("_"))
        self._write_file()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._lived(loop, weather))
        except Crash:
            self.trace.note("crash", f"step {loop.steps}")
        finally:
            self.now = loop.time() + self.rng.uniform(0.5, 60.0)
            self._life = None
            self.disk.lose_power()
            self.network.crashed(self.disk.committed)
            loop.bury()
            asyncio.set_event_loop(None)
            self.offset = max(-600.0, min(600.0, self.offset))
            self.disk.full = self.disk.busy = self.disk.broken = False
            self.disk.slow = 0.0
        if self.database.exists():
            check_books(self.database)

    async def _lived(
        self, loop: VirtualLoop, weather: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        if weather == self._bad_weather and self.rng.random() < 0.1:
            loop.crash_at = loop.steps + self.rng.randint(1, 60)  # while it starts
        clock = SimClock(loop, self.offset)
        self.network.wall = clock.wall
        self.network.line = self._line
        self.network.row = lambda event, key: row_of(self.database, event, key)
        self._life = await Life.begin(self.file, clock, self.network, self.rng)
        self.network.reloaded(self.plan.lines)
        self._follow_plan()
        grace, hurry = self.rng.choice([0.0, 1.0, 30.0]), self.rng.choice([None, None, 0.1])
        try:
            await weather()
            self.check()
        except Ended:
            await self.life.end(0.0, patience=0.0)
        else:
            await self.life.end(grace, hurry=hurry)
        self.trace.note("ended")
        self.network.ended()

    async def _bad_weather(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        until = loop.time() + self.rng.uniform(*LENGTH)
        self._plan_death(loop, until)
        sending = asyncio.create_task(self.publishers.publish(until))
        while loop.time() < until:
            await self.sleep(self.rng.expovariate(1 / 90.0))
            self.check()
            await self.rng.choice(self.faults)(self)
            self._follow_plan()
        await sending

    def _plan_death(self, loop: VirtualLoop, until: float) -> None:
        """A life may end in good order, between two steps, or around a commit."""
        when = self.rng.uniform(loop.time(), until)
        match self.rng.choice(["order", "step", "step", "disk", "disk"]):
            case "step":
                steps = self.rng.randint(1, 300)
                loop.call_at(when, lambda: setattr(loop, "crash_at", loop.steps + steps))
            case "disk":
                where = self.rng.choice(["begin", "commit", "committed", "told"])
                loop.call_at(when, lambda: setattr(self.disk, "die", where))

    async def _good_weather(self) -> None:
        """Everything is well; whoever is owed something gets it, or the promise is broken."""
        for receiver in self.network.receivers.values():
            receiver.mood = "well"
        life = self.life
        self.plan.heal()
        self.plan.routes = {"**": self.plan.routes["**"]}
        await self.reload()
        await self.publishers.resend()
        until = asyncio.get_running_loop().time() + PATIENCE
        while True:
            for line in self.plan.lines:
                self.network.resumed(line.key)
                await life.dispatcher.resume(life.outbox.endpoint(self.id(line)).id)
            self.network.pardon()
            await life.outbox.replay(Selection(), life.clock.now())
            await self.sleep(900.0)
            self.check()
            records = life.outbox.endpoints()
            if not any(each.counts.pending or each.counts.dead_letters for each in records):
                break
            if asyncio.get_running_loop().time() > until:
                raise Violation(f"still owed: {[(r.name, r.counts) for r in records]}")
        await life.dispatcher.idle()
        self._check_memory(life)

    def check(self) -> None:
        """The gateway lives, or ends for a reason."""
        self.life.check(broken=self.disk.broken)

    def _check_memory(self, life: Life) -> None:
        """At rest nothing is held that nobody will ask for."""
        claims, group = life.outbox._claims, life.outbox._group
        windows = claims._windows.values()
        held = sum(len(window.held) + len(window.waiting) for window in windows)
        left = (held, len(claims._in_flight), claims._budget.used, group._waiting.any())
        if left != (0, 0, 0, False):
            raise Violation(f"memory is not empty at rest: {left}")

    def check_rows(self) -> None:
        """A crash may trust no tokens but those that nobody has used since."""
        life = self.life
        for line in self.in_force().lines:
            if line.present and life.outbox.endpoint(self.id(line)).tokens is not None:
                raise Violation(f"{line.key}: its row holds tokens while it is in service")

    # -- the configuration -----------------------------------------------------------------------

    def _write_file(self, *, mistaken: bool = False) -> None:
        text = self.plan.text()
        self.file.write_text(
            text.replace('"concurrency": ', '"concurency": ') if mistaken else text
        )

    @property
    def life(self) -> Life:
        """The one that runs."""
        assert self._life is not None
        return self._life

    def id(self, line: Line) -> Any:
        """The endpoint's number."""
        return self.life.current.snapshot.endpoint_ids[line.name]

    def in_force(self) -> Plan:
        """What the configuration in force says."""
        return self.plans[self.life.current.snapshot.config.hash]

    def _line(self, key: str) -> Line | None:
        """What the configuration in force says of an endpoint."""
        if self._life is None:
            line = self.plan.line(key)  # it is just starting
        else:
            config = self.life.current.snapshot.config
            line = self.plans.get(config.hash, self.plan).line(key)
        return line if line.present else None

    def _follow_plan(self) -> None:
        """Remember what the file said when it came into force."""
        config = self.life.current.snapshot.config
        if config.hash not in self.plans:
            self.plans[config.hash] = copy.deepcopy(self.plan)
        for line in self.in_force().lines:
            if not line.present:
                self.network.receiver(line.key).streak = math.nan

    async def reload(self, *, mistaken: bool = False) -> None:
        """SIGHUP on the file as planned; what is refused must change nothing."""
        life = self.life
        before = life.current.snapshot
        self._write_file(mistaken=mistaken)
        copied = copy.deepcopy(self.plan)
        life.apply = self._noting(life, copied)  # type: ignore[method-assign]
        report = await life.reloader.reload()
        verdict = report.verdict.value
        self.trace.note("reload", verdict)
        if mistaken != (verdict == "invalid"):
            raise Violation(f"a file with{'' if mistaken else 'out'} a mistake was {verdict}")
        if verdict != "applied" and life.current.snapshot is not before:
            raise Violation(f"a reload that was {verdict} changed what is in force")
        if verdict == "applied":
            self.network.pardon()
        elif verdict != "unchanged":
            self.plan = copy.deepcopy(self.in_force())

    def _noting(self, life: Life, plan: Plan) -> Callable[[Any], None]:
        """The first of the parts that see a new snapshot: from here on the judge goes by it."""

        def apply(snapshot: Any) -> None:
            self.plans[snapshot.config.hash] = plan
            self.network.reloaded(plan.lines)
            Life.apply(life, snapshot)

        return apply

    async def sleep(self, seconds: float) -> None:
        """Virtual seconds."""
        await self.life.clock.sleep(seconds)
