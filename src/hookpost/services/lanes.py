"""Lanes: long-lived coroutines that make one attempt after the other.

They are made when first needed, at most as many as attempts may be in flight, and are handed
deliveries one by one: that costs less than a coroutine for each delivery.
"""

import asyncio
from collections.abc import Awaitable, Callable

from hookpost.core.gate import Ticket
from hookpost.core.model import Delivery
from hookpost.core.settings import Endpoint
from hookpost.services.running import Running
from hookpost.transport import Transport

Handed = tuple[Delivery, Ticket]
Attempt = Callable[[Delivery, Ticket], Awaitable[Handed | None]]
"""Makes one attempt; what the lane goes on with at once, None: it rests until it is handed more."""


class Line:
    """A transport and the attempts that use it: closed once it is retired and unused."""

    __slots__ = ("_retired", "_running", "busy", "transport")

    def __init__(self, transport: Transport, running: Running) -> None:
        self.transport = transport
        self._running = running
        self.busy = 0
        self._retired = False

    def leave(self) -> None:
        """An attempt that was counted in `busy` has ended."""
        self.busy -= 1
        if self._retired:
            self._close_if_unused()

    def retire(self) -> None:
        """Close it when the attempts that use it have ended."""
        self._retired = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._retired and not self.busy:
            self._running.start(self.transport.close(), "closing a line")


def connection(endpoint: Endpoint) -> tuple[object, ...]:
    """What a transport is made of: another value, another transport."""
    return (
        endpoint.url,
        endpoint.url_secret,
        endpoint.egress,
        endpoint.success,
        endpoint.concurrency,
        endpoint.timeout,
        endpoint.keepalive,
        endpoint.auth,
        endpoint.tls,
        endpoint.proxy,
    )


class Lanes:
    """The lanes of one endpoint. `limit` is how many may stay."""

    def __init__(self, attempt: Attempt, limit: int, running: Running, owner: str) -> None:
        self._attempt = attempt
        self.limit = limit
        self._running = running
        self._owner = owner
        self._all: dict[asyncio.Task[None], None] = {}  # the oldest first: a run can be repeated
        self._resting: list[asyncio.Future[Handed | None]] = []

    def hand(self, handed: Handed) -> None:
        """Give an attempt to a resting lane, or to a new one."""
        while self._resting:
            resting = self._resting.pop()
            if not resting.done():
                resting.set_result(handed)
                return
        lane = self._running.start(self._drive(handed), f"lane of {self._owner}")
        self._all[lane] = None
        lane.add_done_callback(self._all.pop)

    def resize(self, limit: int) -> None:
        """Let the resting lanes that are too many go; busy ones go when their attempt ends."""
        self.limit = limit
        surplus = len(self._all) - limit
        while surplus > 0 and self._resting:
            resting = self._resting.pop()
            if not resting.done():
                resting.set_result(None)
                surplus -= 1

    def interrupt(self) -> None:
        """Cancel whatever the lanes wait for."""
        for lane in self._all:
            lane.cancel()

    async def close(self) -> None:
        """Let all lanes go and see them end."""
        self.resize(0)
        await asyncio.gather(*self._all, return_exceptions=True)

    async def _drive(self, first: Handed) -> None:
        handed: Handed | None = first
        while handed is not None:
            handed = await self._attempt(*handed)
            if handed is not None:
                continue
            if len(self._all) > self.limit:
                return
            resting: asyncio.Future[Handed | None] = asyncio.get_running_loop().create_future()
            self._resting.append(resting)
            handed = await resting
