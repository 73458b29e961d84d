"""Nouns for tests: builders take overrides, the clock is stepped by hand."""

import asyncio
import heapq
from collections.abc import Mapping
from typing import Any

from hookpost.core.alerts import AlertRule
from hookpost.core.model import Event, Format


class FakeClock:
    """A clock that stands still until it is advanced; `wall` can be stepped apart from `now`."""

    def __init__(self, start: float = 1_750_000_000.0) -> None:
        self._now = start
        self._monotonic = 1000.0
        self.wall_offset = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def wall(self) -> float:
        return self._now + self.wall_offset

    def advance(self, seconds: float) -> None:
        """Move all readings on and wake the sleepers that are due."""
        self._now += seconds
        self._monotonic += seconds
        while self._sleepers and self._sleepers[0][0] <= self._monotonic + 1e-9:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._monotonic + seconds, self._count, future))
        await future


def an_event(**overrides: Any) -> Event:
    """An accepted event; every field can be overridden."""
    fields: dict[str, Any] = {
        "id": "evt_1",
        "source": "billing",
        "type": "invoice.paid",
        "occurred_at": "2025-06-15T15:06:40Z",
        "accepted_at": 1_750_000_000.0,
        "format": Format.ENVELOPE,
        "content_type": "application/json",
        "body": b'{"amount": 1200}',
    }
    fields.update(overrides)
    return Event(**fields)


class Ear:
    """Speaks services.alerts.Teller: hears all that the gateway tells of itself."""

    rule = AlertRule()

    def __init__(self) -> None:
        self.heard: list[tuple[str, Mapping[str, Any]]] = []

    def tell(self, kind: str, data: Mapping[str, Any]) -> bool:
        self.heard.append((str(kind), data))
        return True

    def note(self, kind: str, about: str, data: Mapping[str, Any]) -> None:
        self.tell(kind, data)
