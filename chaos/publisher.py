"""The publisher: keeps the ids that got a 2xx, and sends again, with the same id, on any doubt."""

import asyncio
import json
import random
from collections import deque
from dataclasses import dataclass

from chaos import Violation
from chaos.home import PATH, TOKEN
from chaos.ledger import Ledger, Sent
from chaos.wire import Answer, Connection, Cut

HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
AGAIN = 0.03  # seconds until what was in doubt is sent again
TAKEN, DUPLICATE = 202, 200


@dataclass
class Load:
    """How the lanes publish. `pace` is the mean of the seconds between two requests of a lane.

    `repeat`, `leave` and `forge` are shares: of events sent once more though accepted, of requests
    whose answer is not waited for, and of requests with a wrong token, which must be refused.
    """

    lanes: int = 6
    pace: float = 0.004
    size: int = 300
    repeat: float = 0.05
    leave: float = 0.02
    forge: float = 0.01


class Publisher:
    """Lanes that publish from `start` to `drain`, through as many lives of the daemon as there are.

    `place` is where the daemon listens, None while it does not.
    """

    def __init__(self, ledger: Ledger, dice: random.Random, load: Load) -> None:
        self.ledger = ledger
        self.load = load
        self.place: str | None = None
        self.doubts: deque[Sent] = deque()
        self.statuses: dict[int, int] = {}
        self._dice = dice
        self._producing = False
        self._number = 0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to produce events."""
        self._producing = True
        self._tasks = [asyncio.create_task(self._lane()) for _ in range(self.load.lanes)]

    async def drain(self) -> None:
        """Produce no more, and wait until nothing is in doubt."""
        self._producing = False
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """End the lanes, wherever they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def check(self) -> None:
        """Raise what a lane has failed with."""
        for task in self._tasks:
            if task.done():
                task.result()

    # -- one lane ------------------------------------------------------------------------------

    async def _lane(self) -> None:
        connection: Connection | None = None
        place: str | None = None
        try:
            while self._producing or self.doubts:
                await asyncio.sleep(self._dice.expovariate(1 / self.load.pace))
                if self.place is None:
                    continue
                if connection is None or place != self.place:
                    connection, place = await self._connected(connection), self.place
                if connection is not None and not await self._publish(connection):
                    await connection.close()
                    connection = None
        finally:
            if connection is not None:
                await connection.close()

    async def _connected(self, old: Connection | None) -> Connection | None:
        if old is not None:
            await old.close()
        try:
            return await Connection.open(self.place or "")
        except OSError:
            await asyncio.sleep(AGAIN)
            return None

    async def _publish(self, connection: Connection) -> bool:
        """One event, new or in doubt; whether the connection can be used again."""
        if self._producing and self._dice.random() < self.load.forge:
            return await self._forge(connection)
        sent = self.doubts.popleft() if self.doubts else self._new()
        if sent is None:
            return True
        usable = await self._send(connection, sent)
        if usable and sent.accepted and self._dice.random() < self.load.repeat:
            return await self._send(connection, sent)
        return usable

    def _new(self) -> Sent | None:
        if not self._producing:
            return None
        self._number += 1
        id = f"evt-{self._number:06d}"
        data = {"id": id, "pad": "x" * self.load.size}
        return self.ledger.send(id, json.dumps(data, separators=(",", ":")).encode())

    async def _forge(self, connection: Connection) -> bool:
        """An event that must be refused, and never be seen again."""
        self._number += 1
        sent = self.ledger.send(f"bad-{self._number:06d}", b"{}")
        sent.refused = 401
        headers = {**HEADERS, "Authorization": f"Bearer {TOKEN[:-1]}"}
        try:
            answer = await connection.ask("POST", PATH, headers, _envelope(sent))
        except Cut:
            return False
        if answer.status != sent.refused:
            raise Violation(f"{sent.id}: answered {answer.status} though the token was wrong")
        return True

    async def _send(self, connection: Connection, sent: Sent) -> bool:
        try:
            question = connection.ask("POST", PATH, HEADERS, _envelope(sent))
            if self._dice.random() >= self.load.leave:
                answer = await question
            else:
                async with asyncio.timeout(self._dice.uniform(0.0005, 0.005)):
                    answer = await question
        except (Cut, TimeoutError):
            self._doubt(sent)
            return False
        await self._heed(sent, answer)
        return True

    async def _heed(self, sent: Sent, answer: Answer) -> None:
        status = answer.status
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status in (TAKEN, DUPLICATE):
            told = answer.json
            if told["duplicate"] != (status == DUPLICATE):
                raise Violation(f"{sent.id}: {status} with duplicate {told['duplicate']}")
            self.ledger.answered(sent, status, told["eventId"], told["deliveries"])
        elif status in (503, 429):
            if int(answer.headers.get("retry-after", "0")) < 1:
                raise Violation(f"{sent.id}: {status} without a Retry-After")
            self._doubt(sent)
            await asyncio.sleep(AGAIN)
        else:
            raise Violation(f"{sent.id}: answered {status}: {answer.body[:300]!r}")

    def _doubt(self, sent: Sent) -> None:
        """Nobody knows whether it was stored; it goes to the end of the line."""
        sent.doubted = True
        if all(other is not sent for other in self.doubts):
            self.doubts.append(sent)


def _envelope(sent: Sent) -> bytes:
    id, data = sent.id.encode(), sent.data
    return b'{"eventType":"order.placed","eventId":"%s","data":%s}' % (id, data)
