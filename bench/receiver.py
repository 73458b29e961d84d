"""The receiver: answers 204, counts by path, records arrivals, or never answers (`/hang…`)."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import uvloop

from bench import BenchError
from bench.child import serve

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
HANG = b"/hang"


class Arrivals:
    """What arrived since the last reset. Times are CLOCK_MONOTONIC, seconds."""

    def __init__(self) -> None:
        self.target = 0
        self.reached = asyncio.Event()
        self.reset()

    def reset(self) -> None:
        self.total = 0
        self.hung = 0
        self.first = self.last = 0.0
        self.paths: dict[bytes, list[float]] = {}  # count, first, last
        self.times: dict[bytes, float] | None = None

    def note(self, path: bytes, head: bytes) -> bool:
        """Count one request; False: it gets no answer."""
        if path.startswith(HANG):
            self.hung += 1
            return False
        now = self.last = time.monotonic()
        if not self.total:
            self.first = now
        self.total += 1
        seen = self.paths.get(path)
        if seen is None:
            self.paths[path] = [1, now, now]
        else:
            seen[0] += 1
            seen[2] = now
        if self.times is not None:
            at = head.find(b"webhook-id: ")
            # The first arrival counts: a repeated attempt is not a later delivery.
            self.times.setdefault(head[at + 12 : head.find(b"\r", at)], now)
        if self.total == self.target:
            self.reached.set()
        return True


class Connection(asyncio.Protocol):
    """One connection of the gateway's."""

    transport: asyncio.Transport

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
            self._held = b""
        while data:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                break
            head = data[:end]
            whole = end + 4 + content_length(head)
            if len(data) < whole:
                break
            path = head[5 : head.find(b" ", 5)]
            if self._arrivals.note(path, head):
                self.transport.write(ANSWER)
            data = data[whole:]
        self._held = data


def content_length(head: bytes) -> int:
    """The body's length; senders write the name in either case."""
    at = head.find(b"Content-Length: ")
    if at < 0:
        at = head.lower().find(b"content-length: ")
    if at < 0:
        return 0
    end = head.find(b"\r", at)
    return int(head[at + 16 : end if end >= 0 else len(head)])


async def main() -> None:
    loop = asyncio.get_running_loop()
    arrivals = Arrivals()
    server = await loop.create_server(lambda: Connection(arrivals), "127.0.0.1", 0, backlog=1024)
    used = time.process_time()

    async def reset(*, record: bool = False) -> dict[str, Any]:
        nonlocal used
        used = time.process_time()
        arrivals.reset()
        arrivals.times = {} if record else None
        return {}

    async def wait(count: int, limit: float) -> dict[str, Any]:
        """Wait until `count` have arrived since the reset, then `counts`."""
        arrivals.reached.clear()
        arrivals.target = count
        if arrivals.total < count:
            try:
                async with asyncio.timeout(limit):
                    await arrivals.reached.wait()
            except TimeoutError:
                raise BenchError(
                    f"{arrivals.total} of {count} deliveries arrived within {limit:g} s"
                ) from None
        return await counts()

    async def counts() -> dict[str, Any]:
        span = arrivals.last - arrivals.first
        return {
            "total": arrivals.total,
            "hung": arrivals.hung,
            "first": arrivals.first,
            "last": arrivals.last,
            "rate": (arrivals.total - 1) / span if span > 0 else 0.0,
            "cpu": (time.process_time() - used) / max(1, arrivals.total) * 1e6,
            "paths": {path.decode(): seen for path, seen in arrivals.paths.items()},
        }

    async def times() -> dict[str, Any]:
        recorded = arrivals.times or {}
        return {"times": {name.decode(): at for name, at in recorded.items()}}

    verbs: dict[str, Callable[..., Any]] = {
        "reset": reset,
        "wait": wait,
        "counts": counts,
        "times": times,
    }
    async with server:
        await serve(verbs, port=server.sockets[0].getsockname()[1])


if __name__ == "__main__":
    uvloop.run(main())
