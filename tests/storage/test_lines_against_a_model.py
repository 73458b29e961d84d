"""Lines against a naive list, under anything that may happen to deliveries."""

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.builders import FakeClock, an_event
from tests.storage.steps import NOW, claim_all, delivered, died, endpoints, failed, settle

from hookpost.core.model import Delivery, EndpointId, Event, State
from hookpost.storage.outbox import Outbox, Selection
from hookpost.storage.sqlite import SqliteOutbox

OPERATIONS = (
    *("put", "put", "put", "put_many", "claim", "claim", "deliver", "deliver", "fail", "die"),
    *("deliver_and_put", "release", "cancel", "replay", "retry", "wait", "restart", "away", "move"),
)
CRM, CI = "crm", "ci"


def number_of(delivery: Delivery) -> int:
    """By the event: the numbers of deliveries are the outbox's own."""
    return int(delivery.event.id[1:])


@dataclass
class Model:
    """All that must be known: who stands where, who is dead, who may not be tried yet."""

    standing: dict[str, list[int]] = field(default_factory=lambda: {CRM: [], CI: []})
    keys: dict[int, int | None] = field(default_factory=dict)
    due: dict[int, float] = field(default_factory=dict)
    dead: dict[int, str] = field(default_factory=dict)

    def join(self, endpoint: str, number: int, now: float) -> None:
        self.standing[endpoint].append(number)
        self.due[number] = now

    def leave(self, number: int) -> None:
        for line in self.standing.values():
            if number in line:
                line.remove(number)

    def heads(self, endpoint: str) -> list[int]:
        found: list[int] = []
        lines: set[int | None] = set()
        for number in self.standing[endpoint]:
            key = self.keys[number]
            if key is None or key not in lines:
                found.append(number)
            lines.add(key)
        return found


class Run:
    """One run: an outbox beside the model."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = NOW
        self.model = Model()
        self.held: dict[int, Delivery] = {}
        self.put = 0

    async def open(self) -> None:
        self.outbox: Outbox = await SqliteOutbox.open(self.path, clock=FakeClock(self.now))
        self.crm, self.ci = await endpoints(self.outbox, CRM, CI, now=self.now)

    async def step(self, operation: str, pick: int) -> None:
        await getattr(self, f"_{operation}")(pick)
        self.now += 1.0

    def _number(self, endpoint: str, key: int | None) -> tuple[Event, list[EndpointId]]:
        self.put += 1
        self.model.keys[self.put] = key
        self.model.join(endpoint, self.put, self.now)
        where = self.crm if endpoint == CRM else self.ci
        keys = None if key is None else {where: key}
        return an_event(id=f"e{self.put}", accepted_at=self.now, keys=keys), [where]

    async def _put(self, pick: int) -> None:
        event, where = self._number((CRM, CI)[pick % 2], (None, 1, 2, 2)[pick % 4])
        await self.outbox.put(event, where)

    async def _put_many(self, pick: int) -> None:
        group = [self._number(CRM, (pick + n) % 2) for n in range(3)]
        await self.outbox.put_many(group)

    async def _claim(self, pick: int) -> None:
        where, name = ((self.crm, CRM), (self.ci, CI))[pick % 2]
        expected = [
            number
            for number in self.model.heads(name)
            if number not in self.held and self.model.due[number] <= self.now
        ]
        claimed = await claim_all(self.outbox, where, self.now)
        assert sorted(map(number_of, claimed)) == sorted(expected)
        self.held.update({number_of(one): one for one in claimed})
        blocked = len(self.model.standing[name]) - len(self.model.heads(name))
        assert await self.outbox.blocked(where) == blocked

    def _one(self, pick: int) -> Delivery | None:
        if not self.held:
            return None
        return self.held.pop(sorted(self.held)[pick % len(self.held)])

    async def _deliver(self, pick: int) -> None:
        if one := self._one(pick):
            self.model.leave(number_of(one))
            assert await settle(self.outbox, delivered(one, self.now))

    async def _deliver_and_put(self, pick: int) -> None:
        if one := self._one(pick):
            self.model.leave(number_of(one))
            event, where = self._number(CRM, 2)
            joined = self.outbox.put(event, where)
            assert await settle(self.outbox, delivered(one, self.now))
            await joined

    async def _fail(self, pick: int) -> None:
        if one := self._one(pick):
            self.model.due[number_of(one)] = self.now + pick % 4
            assert await settle(self.outbox, failed(one, float(pick % 4), self.now))

    async def _die(self, pick: int) -> None:
        if one := self._one(pick):
            name = CRM if one.endpoint == self.crm else CI
            self.model.leave(number_of(one))
            self.model.dead[number_of(one)] = name
            assert await settle(self.outbox, died(one, self.now))

    async def _release(self, _: int) -> None:
        self.outbox.release(list(self.held.values()))
        self.held.clear()

    async def _cancel(self, pick: int) -> None:
        standing = [n for line in self.model.standing.values() for n in line if n not in self.held]
        chosen = sorted(standing)[pick % 3 :: 2]
        if len(chosen) > 1:
            pending = Selection(states=frozenset({State.PENDING}))
            views = await self.outbox.deliveries(pending, limit=500)
            ids = {int(view.event_id[1:]): view.id for view in views}
            which = Selection(ids=tuple(ids[number] for number in chosen))
            assert await self.outbox.cancel(which, self.now) == len(chosen)
            for number in chosen:
                self.model.leave(number)

    async def _replay(self, pick: int) -> None:
        if self.model.dead:
            for number, name in sorted(self.model.dead.items()):
                self.model.join(name, number, self.now)
            await self.outbox.replay(Selection(), self.now)
            self.model.dead.clear()

    async def _retry(self, pick: int) -> None:
        for name in (CRM, CI):
            for number in self.model.heads(name):
                if number not in self.held:
                    self.model.due[number] = min(self.now, self.model.due[number])
        await self.outbox.retry(Selection(), self.now)

    async def _wait(self, pick: int) -> None:
        self.now += pick

    async def _restart(self, _: int) -> None:
        await self.outbox.close()
        self.held.clear()
        await self.open()

    async def _away(self, _: int) -> None:
        await endpoints(self.outbox, CI, now=self.now)
        await endpoints(self.outbox, CRM, CI, now=self.now)

    async def _move(self, _: int) -> None:
        """All that waits at crm goes to ci, for good."""
        if any(one.endpoint == self.crm for one in self.held.values()):
            return
        await endpoints(self.outbox, CI, now=self.now)
        standing, self.model.standing[CRM] = sorted(self.model.standing[CRM]), []
        for number in standing:
            self.model.join(CI, number, self.now)
        if standing:
            moved = await self.outbox.retry(Selection(endpoint=CRM), self.now, to=self.ci)
            assert moved == len(standing)
        await endpoints(self.outbox, CRM, CI, now=self.now)

    async def drain(self) -> None:
        """At the end everything comes, each line in its order."""
        await self._release(0)
        self.now += 100.0
        for name, where in ((CRM, self.crm), (CI, self.ci)):
            while self.model.standing[name]:
                claimed = await claim_all(self.outbox, where, self.now)
                assert sorted(map(number_of, claimed)) == sorted(self.model.heads(name))
                for one in claimed:
                    self.model.leave(number_of(one))
                await asyncio.gather(
                    *(settle(self.outbox, delivered(one, self.now)) for one in claimed)
                )
            assert await self.outbox.blocked(where) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 29)), max_size=60))
@example(
    [("put_many", 0), ("claim", 0), ("die", 0), ("replay", 0), ("put_many", 0), ("restart", 0)]
)
def test_heads_are_who_a_naive_list_says(steps: list[tuple[str, int]]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            one = Run(Path(folder) / "outbox.db")
            await one.open()
            try:
                for operation, pick in steps:
                    await one.step(operation, pick)
                await one.drain()
            finally:
                await one.outbox.close()

    asyncio.run(run())
