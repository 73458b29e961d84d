"""Conservation: random operations against a model; counters, rows and answers agree."""

import asyncio
import sqlite3
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import FakeClock, an_event
from tests.storage.steps import NOW, claim_all, delivered, died, endpoints, failed, settle

from hookpost.core.model import Delivery, EndpointId, Stored
from hookpost.storage.outbox import RetentionLimits, Selection
from hookpost.storage.sqlite import SqliteOutbox

PUTS = ("put", "duplicate", "put_many", "bad_put")
ENDS = ("deliver", "fail", "die")
OTHERS = ("claim", "release", "cancel", "replay", "retry", "purge_dead", "purge", "remove")
OPERATIONS = (*PUTS, *ENDS, *OTHERS, "restart")

OLD = RetentionLimits(delivered=3, dead=9, cancelled=3, parked=5, max_size=1 << 40)


class Random:
    """One run: an outbox, and what must be true of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()
        self.now = NOW
        self.held: list[Delivery] = []
        self.accepted = 0
        self.over: set[int] = set()
        self.names = ("crm", "ci")

    async def open(self) -> None:
        self.outbox = await SqliteOutbox.open(self.path, clock=self.clock)
        self.ids: list[EndpointId] = await endpoints(self.outbox, *self.names, max_pending=6)

    async def step(self, operation: str, pick: int) -> None:
        self.now += 1.0
        if operation in PUTS:
            await self.put(operation, pick)
        elif operation in (*ENDS, "claim", "release"):
            await self.work(operation, pick)
        else:
            await self.housekeep(operation, pick)

    async def put(self, operation: str, pick: int) -> None:
        outbox, now = self.outbox, self.now
        endpoint = self.ids[pick % 2]
        event = an_event(id=f"e{now}", accepted_at=now)
        match operation:
            case "put":
                answers = await asyncio.gather(
                    *(outbox.put(event, self.ids[: 1 + pick % 2]) for _ in range(3))
                )
                self.accepted += len(answers)
            case "duplicate":
                keyed = an_event(id=f"k{pick % 3}", dedup_key=f"k{pick % 3}", dedup_window=9.0)
                object.__setattr__(keyed, "accepted_at", now)
                self.accepted += isinstance(await outbox.put(keyed, [endpoint]), Stored)
            case "put_many":
                self.accepted += len(await outbox.put_many([(event, self.ids)] * 4))
            case "bad_put":
                answers = await asyncio.gather(
                    outbox.put(event, [EndpointId(99)]),
                    outbox.put(event, [endpoint]),
                    return_exceptions=True,
                )
                self.accepted += sum(isinstance(answer, Stored) for answer in answers)

    async def work(self, operation: str, pick: int) -> None:
        outbox, now = self.outbox, self.now
        if operation == "claim":
            for delivery in await outbox.claim(self.ids[pick % 2], 1 + pick % 5, now):
                assert delivery.id not in self.over, "claimed though it was delivered"
                assert delivery.id not in {held.id for held in self.held}, "claimed twice"
                self.held.append(delivery)
        elif operation == "release":
            outbox.release(self.held)
            self.held.clear()
        elif self.held:
            delivery = self.held.pop(pick % len(self.held))
            if operation == "deliver":
                self.over.add(delivery.id)
                settlement = delivered(delivery, now)
            elif operation == "fail":
                settlement = failed(delivery, float(pick % 4), now)
            else:
                settlement = died(delivery, now)
            assert await settle(outbox, settlement)

    async def housekeep(self, operation: str, pick: int) -> None:
        outbox, now = self.outbox, self.now
        which = Selection(endpoint=self.names[pick % 2], limit=1 + pick % 3)
        match operation:
            case "cancel":
                await outbox.cancel(which, now)
            case "replay":
                await outbox.replay(which, now)
            case "retry":
                await outbox.retry(which, now)
            case "purge_dead":
                await outbox.purge_dead(which)
            case "purge":
                await outbox.purge(OLD, now)
            case "remove":
                await endpoints(outbox, self.names[pick % 2], now=now, max_pending=6)
                if pick % 3:
                    await endpoints(outbox, *self.names, now=now, max_pending=6)
            case "restart":
                await outbox.close()
                self.held.clear()
                await self.open()

    async def check(self) -> None:
        """At rest: the counters conserve, and are those that counting rows gives."""
        await endpoints(self.outbox, *self.names, now=self.now, max_pending=6)
        self.outbox.release(self.held)
        pending = {}
        for endpoint in self.ids:
            counts = self.outbox.endpoint(endpoint).counts
            ends = counts.delivered + counts.dead + counts.cancelled + counts.pending
            assert counts.created + counts.replayed == ends
            pending[endpoint] = counts.pending
            claimed = await claim_all(self.outbox, endpoint, self.now + 100.0)
            assert len(claimed) == counts.pending, "pending, but out of sight"
        shown = {record.id: record.counts for record in self.outbox.endpoints()}
        sources = self.outbox.sources()
        await self.outbox.close()
        connection = sqlite3.connect(self.path)
        for endpoint in self.ids:
            for state, count in ((0, pending[endpoint]), (2, shown[endpoint].dead_letters)):
                rows = connection.execute(
                    "SELECT count(*) FROM delivery WHERE endpoint = ? AND state = ?",
                    (endpoint, state),
                )
                assert rows.fetchone() == (count,)
        orphans = connection.execute(
            "SELECT count(*) FROM delivery WHERE event NOT IN (SELECT seq FROM event)"
        )
        assert orphans.fetchone() == (0,)
        strays = connection.execute(
            "SELECT count(*) FROM attempt WHERE delivery NOT IN (SELECT id FROM delivery)"
        )
        assert strays.fetchone() == (0,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
        assert sum(source.accepted for source in sources.values()) == self.accepted


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 29)), max_size=40))
def test_counters_rows_and_answers_agree_after_anything(steps: list[tuple[str, int]]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            model = Random(Path(folder) / "outbox.db")
            await model.open()
            try:
                for operation, pick in steps:
                    await model.step(operation, pick)
                await model.check()
            finally:
                await model.outbox.close()

    asyncio.run(run())
