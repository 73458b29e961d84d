"""Publishers: they send in bursts, send some of it twice, and again what was not answered."""

import asyncio
from typing import TYPE_CHECKING

from tests.simulation.ledger import Sent
from tests.simulation.plan import TYPES

from hookpost.core.model import Duplicate, Stored

if TYPE_CHECKING:
    from tests.simulation.scenario import Run

EVENTS = 25  # in one life, about
AGAIN = 43200.0  # seconds in which an event may be sent again: well inside its window


class Publishers:
    """All of them."""

    def __init__(self, run: "Run") -> None:
        self._run = run

    async def publish(self, until: float) -> None:
        """Send now and then, until this moment."""
        loop = asyncio.get_running_loop()
        await self.resend()
        length = until - loop.time()
        while loop.time() < until:
            await self._run.sleep(self._run.rng.expovariate(EVENTS / 3 / length))
            burst = self._run.rng.choice([1, 1, 1, 2, 4, 12])
            await asyncio.gather(*(self.send() for _ in range(burst)))

    async def send(self) -> None:
        """A new event, or one that was sent before."""
        now = asyncio.get_running_loop().time()
        known = [
            one for one in self._run.ledger.sent[-30:] if one.event_id and now - one.at < AGAIN
        ]
        if known and self._run.rng.random() < 0.2:
            again = self._run.rng.choice(known)
            if again.source == "billing":
                await self._post(again)
                return
        number = len(self._run.ledger.sent)
        source = self._run.rng.choice(["billing", "billing", "shop"])
        kind = self._run.rng.choice(TYPES)
        data = b'{"n": %d, "text": "%s"}' % (number, b"x" * self._run.rng.randint(0, 60))
        sent = Sent(source, kind, data, now, f"ev-{number}" if source == "billing" else None)
        self._run.ledger.sent.append(sent)
        await self._post(sent)

    async def resend(self) -> None:
        """What was not answered is sent again, as publishers do."""
        now = asyncio.get_running_loop().time()
        for sent in self._run.ledger.sent:
            if not sent.acknowledged and sent.event_id and now - sent.at < AGAIN:
                await self._post(sent)

    async def _post(self, sent: Sent) -> None:
        identity = f', "eventId": "{sent.event_id}"' if sent.event_id else ""
        body = b'{"eventType": "%s"%s, "data": %s}' % (
            sent.event_type.encode(),
            identity.encode(),
            sent.data,
        )
        owed = self._run.in_force().wanted(sent.event_type)
        if not sent.acknowledged:
            sent.owed.append(owed)
        answer = await self._run.life.publish(sent.source, body)
        match answer:
            case Stored():
                self._run.ledger.acknowledge(
                    sent, answer.event_id, answer.deliveries, duplicate=False
                )
                self._run.trace.note("accepted", answer.event_id, *owed)
            case Duplicate():
                self._run.ledger.acknowledge(
                    sent, answer.event_id, answer.deliveries, duplicate=True
                )
                self._run.trace.note("duplicate", answer.event_id)
            case _:
                self._run.trace.note("refused", answer.code)
