"""One seed, one run: lives of a gateway on one file, until everything promised must have been kept.

A run is a chain of lives. In each, publishers send, receivers change their moods, people give
orders, the configuration changes, the disk fills, the clock is stepped, and at some point the
process dies or is told to end. The last life has good weather; then the books are judged.
"""

import asyncio
import contextlib
import copy
import math
import random
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tests.simulation.disk import Disk
from tests.simulation.ledger import Ledger, Sent, check_books
from tests.simulation.life import Life, SimClock
from tests.simulation.loop import Crash, Stuck, VirtualLoop
from tests.simulation.network import MOODS, Network
from tests.simulation.plan import SECRET, TYPES, Line, Plan
from tests.simulation.trace import KEPT, Trace, Violation

from hookpost.core.errors import GatewayError
from hookpost.core.model import Duplicate, State, Stored
from hookpost.services import janitor
from hookpost.storage.outbox import Selection

LIVES = (2, 4)  # at least, at most, before the good weather
LENGTH = (60.0, 3600.0)  # seconds of one life
EVENTS = 25  # in one life, about
PATIENCE = 3 * 86400.0  # seconds of good weather in which everything must end
DAY = 86400.0


@dataclass
class Result:
    """What a run came to."""

    seed: int
    seconds: float  # virtual
    lives: int
    events: int
    attempts: int
    lines: int
    digest: str
    trace: str
    violation: str | None = None

    def shown(self) -> str:
        """For people: what broke, what came before, how to see it again."""
        return (
            f"seed {self.seed}: {self.violation}\n{self.trace}\n"
            f"again: python -m tests.simulation --seed {self.seed}"
        )


def simulate(seed: int, kept: int | None = KEPT) -> Result:
    """Run one seed in a folder of its own; `kept` lines of its trace are shown, None: all."""
    shared = Path("/dev/shm")
    base = shared if shared.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="hookpost-sim-", dir=base))
    try:
        return Run(seed, folder, Trace(kept)).result()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def seldom() -> Iterator[None]:
    """Housekeeping as it is, but less of it: virtual hours pass in milliseconds."""
    with contextlib.ExitStack() as stack:
        for name, seconds in (("LOOK_EVERY", 30.0), ("PURGE_EVERY", 120.0), ("AGES_EVERY", 600.0)):
            stack.enter_context(mock.patch.object(janitor, name, seconds))
        yield


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
        self.life: Life | None = None
        # Each seed has its own selection of faults: some hide behind others.
        self.faults = [one for one in FAULTS if self.rng.random() < 0.6] or [FAULTS[0]]

    def result(self) -> Result:
        """Run all lives, then judge."""
        violation = None
        try:
            with self.disk.mounted(), seldom():
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
            self.life = None
            self.disk.lose_power()
            self.network.crashed(self.disk.committed)
            loop.bury()
            asyncio.set_event_loop(None)
            self.offset = max(-600.0, min(600.0, self.offset))
            self.disk.full = self.disk.busy = False
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
        self.life = await Life.begin(self.file, clock, self.network, self.rng)
        self._follow_plan()
        await weather()
        self.life.check()
        await self.life.end(self.rng.choice([0.0, 1.0, 30.0]))
        self.trace.note("ended")

    async def _bad_weather(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        until = loop.time() + self.rng.uniform(*LENGTH)
        self._plan_death(loop, until)
        sending = asyncio.create_task(self._publishers(until))
        while loop.time() < until:
            await self._sleep(self.rng.expovariate(1 / 90.0))
            self._life.check()
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
        life = self._life
        self.plan.heal()
        self.plan.routes = {"**": self.plan.routes["**"]}
        await self._reload()
        await self._resend()
        until = asyncio.get_running_loop().time() + PATIENCE
        while True:
            for line in self.plan.lines:
                await life.dispatcher.resume(life.outbox.endpoint(self._id(line)).id)
            self.network.pardon()
            await life.outbox.replay(Selection(), life.clock.now())
            await self._sleep(900.0)
            life.check()
            records = life.outbox.endpoints()
            if not any(each.counts.pending or each.counts.dead_letters for each in records):
                break
            if asyncio.get_running_loop().time() > until:
                raise Violation(f"still owed: {[(r.name, r.counts) for r in records]}")
        await life.dispatcher.idle()
        self._check_memory(life)

    def _check_memory(self, life: Life) -> None:
        """At rest nothing is held that nobody will ask for."""
        claims, group = life.outbox._claims, life.outbox._group
        windows = claims._windows.values()
        held = sum(len(window.held) + len(window.waiting) for window in windows)
        left = (held, len(claims._in_flight), claims._budget.used, group._waiting.any())
        if left != (0, 0, 0, False):
            raise Violation(f"memory is not empty at rest: {left}")

    # -- the configuration -----------------------------------------------------------------------

    def _write_file(self, *, mistaken: bool = False) -> None:
        text = self.plan.text()
        self.file.write_text(
            text.replace('"concurrency": ', '"concurency": ') if mistaken else text
        )

    @property
    def _life(self) -> Life:
        assert self.life is not None
        return self.life

    def _id(self, line: Line) -> Any:
        return self._life.current.snapshot.endpoint_ids[line.name]

    def _in_force(self) -> Plan:
        return self.plans[self._life.current.snapshot.config.hash]

    def _line(self, key: str) -> Line | None:
        """What the configuration in force says of an endpoint."""
        if self.life is None or not hasattr(self.life, "current"):
            line = self.plan.line(key)  # it is just starting
        else:
            config = self.life.current.snapshot.config
            line = self.plans.get(config.hash, self.plan).line(key)
        return line if line.present else None

    def _follow_plan(self) -> None:
        """Remember what the file said when it came into force."""
        config = self._life.current.snapshot.config
        if config.hash not in self.plans:
            self.plans[config.hash] = copy.deepcopy(self.plan)
        for line in self._in_force().lines:
            if not line.present:
                self.network.receiver(line.key).streak = math.nan

    async def _reload(self, *, mistaken: bool = False) -> None:
        """SIGHUP on the file as planned; what is refused must change nothing."""
        life = self._life
        before = life.current.snapshot
        self._write_file(mistaken=mistaken)
        copied = copy.deepcopy(self.plan)
        life.apply = self._noting(life, copied)  # type: ignore[method-assign]
        report = await life.reloader.reload()
        verdict = report.verdict.value
        self.trace.note("reload", verdict)
        if mistaken and verdict != "invalid":
            raise Violation(f"a file with a mistake was {verdict}")
        if verdict != "applied" and life.current.snapshot is not before:
            raise Violation(f"a reload that was {verdict} changed what is in force")
        if verdict == "applied":
            self.network.pardon()
        elif verdict != "unchanged":
            self.plan = copy.deepcopy(self._in_force())

    def _noting(self, life: Life, plan: Plan) -> Callable[[Any], None]:
        """The first of the parts that see a new snapshot: from here on the judge goes by it."""

        def apply(snapshot: Any) -> None:
            self.plans[snapshot.config.hash] = plan
            Life.apply(life, snapshot)

        return apply

    # -- publishers ------------------------------------------------------------------------------

    async def _publishers(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        await self._resend()
        length = until - loop.time()
        while loop.time() < until:
            await self._sleep(self.rng.expovariate(EVENTS / 3 / length))
            burst = self.rng.choice([1, 1, 1, 2, 4, 12])
            await asyncio.gather(*(self._send() for _ in range(burst)))

    async def _send(self) -> None:
        """A new event, or one that was sent before."""
        now = asyncio.get_running_loop().time()
        known = [one for one in self.ledger.sent[-30:] if one.event_id and now - one.at < DAY / 2]
        if known and self.rng.random() < 0.2:
            again = self.rng.choice(known)
            if again.source == "billing":
                await self._post(again)
                return
        number = len(self.ledger.sent)
        source = self.rng.choice(["billing", "billing", "shop"])
        kind = self.rng.choice(TYPES)
        data = b'{"n": %d, "text": "%s"}' % (number, b"x" * self.rng.randint(0, 60))
        sent = Sent(source, kind, data, now, f"ev-{number}" if source == "billing" else None)
        self.ledger.sent.append(sent)
        await self._post(sent)

    async def _resend(self) -> None:
        """What was not answered is sent again, as publishers do."""
        now = asyncio.get_running_loop().time()
        for sent in self.ledger.sent:
            if not sent.acknowledged and sent.event_id and now - sent.at < DAY / 2:
                await self._post(sent)

    async def _post(self, sent: Sent) -> None:
        identity = f', "eventId": "{sent.event_id}"' if sent.event_id else ""
        body = b'{"eventType": "%s"%s, "data": %s}' % (
            sent.event_type.encode(),
            identity.encode(),
            sent.data,
        )
        owed = self._in_force().wanted(sent.event_type)
        if not sent.acknowledged:
            sent.owed.append(owed)
        answer = await self._life.publish(sent.source, body)
        match answer:
            case Stored():
                self.ledger.acknowledge(sent, answer.event_id, answer.deliveries, duplicate=False)
                self.trace.note("accepted", answer.event_id, *owed)
            case Duplicate():
                self.ledger.acknowledge(sent, answer.event_id, answer.deliveries, duplicate=True)
                self.trace.note("duplicate", answer.event_id)
            case _:
                self.trace.note("refused", answer.code)

    async def _sleep(self, seconds: float) -> None:
        await self._life.clock.sleep(seconds)

    # -- faults ----------------------------------------------------------------------------------

    async def mood(self) -> None:
        """A receiver changes its mood."""
        key = self.rng.choice(self.plan.lines).key
        self.network.receiver(key).mood = self.rng.choice(MOODS)
        self.trace.note("mood", key, self.network.receiver(key).mood)

    async def reload(self) -> None:
        """The file changes: mostly well, sometimes with a mistake in it."""
        self.trace.note("plan", self.plan.change(self.rng))
        await self._reload(mistaken=self.rng.random() < 0.2)

    async def flurry(self) -> None:
        """Many events at once, and a reload while they are on their way."""
        await asyncio.gather(*(self._send() for _ in range(12)))
        await self._sleep(self.rng.uniform(0.0, 8.0))
        self.trace.note("plan", self.plan.change(self.rng, self.rng.choice(["resize", None])))
        await self._reload()

    async def clock(self) -> None:
        """The wall clock is stepped, and set right after a while."""
        step = self.rng.choice([-3600.0, 3600.0, -86400.0, 3650 * DAY, -3650 * DAY, 1.5])
        clock = self._life.clock
        clock.offset += step
        self.trace.note("clock", step)
        await self._sleep(self.rng.uniform(1.0, 200.0))
        clock.offset -= step

    async def full(self) -> None:
        """The disk is full for a while."""
        self.disk.full = True
        self.trace.note("disk full")
        await self._sleep(self.rng.uniform(1.0, 120.0))
        self.disk.full = False

    async def busy(self) -> None:
        """Another process holds the write lock, or the disk is slow."""
        self.disk.busy, self.disk.slow = self.rng.choice([(True, 0.0), (False, 0.3)])
        self.trace.note("disk busy" if self.disk.busy else "disk slow")
        await self._sleep(self.rng.uniform(0.5, 20.0))
        self.disk.busy, self.disk.slow = False, 0.0

    async def order(self) -> None:
        """A person gives an order."""
        life, line = self._life, self.rng.choice(self._in_force().lines)
        if not line.present:
            return
        verb = self.rng.choice(["pause", "resume", "retry", "replay", "cancel"])
        self.trace.note("order", verb, line.key)
        selection = Selection(endpoint=line.name, limit=self.rng.choice([None, 3]))
        now = life.clock.now()
        self.network.pardon(line.key)
        try:
            match verb:
                case "pause":
                    await life.dispatcher.pause(self._id(line))
                case "resume":
                    await life.dispatcher.resume(self._id(line))
                case "retry":
                    await life.outbox.retry(selection, now)
                case "replay":
                    await life.outbox.replay(selection, now)
                case _ if self.rng.random() < 0.3:
                    states = frozenset({State.PENDING})
                    await life.outbox.cancel(
                        Selection(endpoint=line.name, states=states, limit=2), now
                    )
        except GatewayError as error:
            self.trace.note("refused", type(error).__name__)
        self.network.pardon(line.key)


FAULTS = (Run.mood, Run.mood, Run.reload, Run.flurry, Run.clock, Run.full, Run.busy, Run.order)
