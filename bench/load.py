"""The load generator: publishers on keep-alive connections, closed loop or open loop.

A raw protocol on uvloop that reads of an answer only its status and its length, so that it costs
well under the handler it drives; each answer reports what it cost (`cpu`).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import uvloop

from bench import BODY, BenchError
from bench.child import serve
from bench.hooks import PLACE, GitHubRequests, ZoomRequests
from bench.hooks import requests as hooks


class Requests:
    """Requests of one length: POST `path`, a 500-byte envelope, with or without an event id."""

    def __init__(self, path: str, event_type: str, bearer: str, *, ids: bool) -> None:
        identity = b'"eventId":"%s",' % (PLACE % 0) if ids else b""
        start = b'{"eventType":"%s",%s"data":{"n":1,"text":"' % (event_type.encode(), identity)
        body = start + b"x" * (BODY - len(start) - 3) + b'"}}'
        head = (
            f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {bearer}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        self._whole = head + body
        self._before, _, self._after = self._whole.partition(PLACE % 0) if ids else (b"", b"", b"")
        self._ids = ids

    def make(self, number: int) -> bytes:
        """The bytes of request `number`."""
        if not self._ids:
            return self._whole
        return b"%s%s%s" % (self._before, PLACE % number, self._after)


Making = Requests | GitHubRequests | ZoomRequests


class Connection(asyncio.Protocol):
    """One publisher's connection: at most one request at a time."""

    transport: asyncio.Transport

    def __init__(self, answered: Callable[["Connection", bytes], None]) -> None:
        self._answered = answered
        self._held = b""
        self.number = -1  # of the request that waits for an answer
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            at = data.find(b"Content-Length: ", 0, end)
            length = int(data[at + 16 : data.find(b"\r", at + 16)]) if at >= 0 else 0
            if len(data) >= end + 4 + length:
                self._held = b""
                self._answered(self, data[9:12])
                return
        self._held = data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._answered(self, b"")


class Run:
    """One measured run over connections of its own; a lost connection fails it."""

    def __init__(self, requests: Sequence[Making], first: int) -> None:
        self._requests = requests
        self._kinds = len(requests)
        self._next = first
        self._free: deque[Connection] = deque()
        self._all: list[Connection] = []
        self._due: deque[int] = deque()
        self._statuses: dict[bytes, int] = {}
        self._done = asyncio.Event()
        self._failure = ""
        self._closing = False
        self.left = 0
        self.answers = 0
        self.first = self.last = 0.0
        self.sent: dict[int, float] = {}
        self.answered: dict[int, float] = {}

    async def connect(self, port: int, connections: int, answered: Any) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, connection = await loop.create_connection(
                lambda: Connection(answered), "127.0.0.1", port
            )
            self._all.append(connection)
            self._free.append(connection)

    def close(self) -> None:
        self._closing = True
        for connection in self._all:
            connection.transport.close()

    def _send(self, connection: Connection) -> None:
        number = self._next
        self._next = number + 1
        connection.number = number
        connection.transport.write(self._requests[number % self._kinds].make(number))

    def _count(self, connection: Connection, status: bytes) -> bool:
        """Count one answer; False when the run is over for this connection."""
        if connection.lost:
            if not self._closing:
                self._failure = "the gateway closed a publisher's connection"
                self._done.set()
            return False
        self._statuses[status] = self._statuses.get(status, 0) + 1
        if not self.answers:
            self.first = time.monotonic()
        self.answers += 1
        return True

    # -- closed loop: the next request as soon as the last is answered --------------------------

    def closed_answer(self, connection: Connection, status: bytes) -> None:
        if not self._count(connection, status):
            return
        if self.left:
            self.left -= 1
            self._send(connection)
        elif self._next - self._started == self.answers:
            self.last = time.monotonic()
            self._done.set()

    async def closed(self, port: int, connections: int, count: int, limit: float) -> None:
        await self.connect(port, connections, self.closed_answer)
        self._started = self._next
        self.left = max(0, count - connections)
        for connection in self._all[:count]:
            self._send(connection)
        await self._finish(limit)

    # -- open loop: requests when they are due, whatever the answers do --------------------------

    def open_answer(self, connection: Connection, status: bytes) -> None:
        if not self._count(connection, status):
            return
        self.answered[connection.number] = time.monotonic()
        if self._due:
            self._send_due(connection, self._due.popleft())
        else:
            self._free.append(connection)
        if self.answers == self.left:
            self.last = time.monotonic()
            self._done.set()

    def _send_due(self, connection: Connection, number: int) -> None:
        connection.number = number
        connection.transport.write(self._requests[number % self._kinds].make(number))

    def _fall_due(self, number: int) -> None:
        # A request that finds no free connection waits, and its wait is part of its latency.
        self.sent[number] = time.monotonic()
        if self._free:
            self._send_due(self._free.popleft(), number)
        else:
            self._due.append(number)

    async def open(self, port: int, connections: int, count: int, rate: float) -> None:
        loop = asyncio.get_running_loop()
        await self.connect(port, connections, self.open_answer)
        self.left = count
        begin = loop.time() + 0.05
        for position in range(count):
            loop.call_at(begin + position / rate, self._fall_due, self._next + position)
        await self._finish(count / rate + 30.0)

    async def _finish(self, limit: float) -> None:
        try:
            async with asyncio.timeout(limit):
                await self._done.wait()
        except TimeoutError:
            self._failure = f"{self.answers} answers within {limit:g} s, not all"
        finally:
            self.close()
        if self._failure:
            raise BenchError(f"{self._failure}; answers so far: {self.statuses}")

    @property
    def statuses(self) -> dict[str, int]:
        return {status.decode(): count for status, count in self._statuses.items()}


async def closed(
    port: int,
    path: str,
    count: int,
    connections: int,
    types: Sequence[str],
    bearer: str,
    limit: float = 120.0,
    first: int | None = None,
    preset: str | None = None,
) -> dict[str, Any]:
    """`count` requests, event ids from `first` on (None: none); rate from first to last answer.

    With `preset` they are signed as its provider signs.
    """
    requests: list[Making] = [Requests(path, name, bearer, ids=first is not None) for name in types]
    if preset is not None:
        requests = [hooks(preset, path)]
    run = Run(requests, first or 0)
    before = time.process_time()
    await run.closed(port, connections, count, limit)
    cpu = time.process_time() - before
    return {
        "answers": run.answers,
        "statuses": run.statuses,
        "rate": (run.answers - 1) / (run.last - run.first),
        "first": run.first,
        "last": run.last,
        "cpu": cpu / run.answers * 1e6,
    }


async def open_loop(
    port: int,
    path: str,
    count: int,
    rate: float,
    connections: int,
    types: Sequence[str],
    bearer: str,
    first: int,
) -> dict[str, Any]:
    """`count` requests at `rate` a second; when each fell due and when each was answered."""
    run = Run([Requests(path, name, bearer, ids=True) for name in types], first)
    before = time.process_time()
    await run.open(port, connections, count, rate)
    cpu = time.process_time() - before
    numbers = range(first, first + count)
    return {
        "statuses": run.statuses,
        "cpu": cpu / run.answers * 1e6,
        "ids": [(PLACE % number).decode() for number in numbers],
        "sent": [run.sent[number] for number in numbers],
        "answered": [run.answered[number] for number in numbers],
    }


if __name__ == "__main__":
    uvloop.run(serve({"closed": closed, "open": open_loop}, ready=True))
