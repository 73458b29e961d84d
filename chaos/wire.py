"""The least of HTTP/1.1 that a publisher needs, over TCP or a UNIX socket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from chaos import PATIENCE, ChaosError

POLL = 0.01  # seconds between two questions


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as an object."""
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


class Cut(Exception):
    """The connection ended before the answer did."""


class Connection:
    """A keep-alive connection: one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, place: str | Path) -> Self:
        """To `host:port`, or to a UNIX socket's path. Raises OSError."""
        if isinstance(place, Path):
            return cls(*await asyncio.open_unix_connection(place))
        host, _, port = place.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """Send a request and read its answer; raises Cut when the connection ends first."""
        lines = [f"{method} {path} HTTP/1.1", "Host: chaos", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        try:
            self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            await self._writer.drain()
            return await self._answer()
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Cut(str(error)) from error

    async def _answer(self) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        length = int(headers.get("content-length", "0"))
        body = await self._reader.readexactly(length)
        return Answer(int(first.split(" ")[1]), headers, body)

    async def close(self) -> None:
        """End the connection, whatever state it is in."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


@contextlib.asynccontextmanager
async def connected(place: str | Path) -> AsyncIterator[Connection]:
    """A connection for one or two questions."""
    connection = await Connection.open(place)
    try:
        yield connection
    finally:
        await connection.close()


async def until(
    done: Callable[[], bool | Awaitable[bool]], what: str, limit: float = PATIENCE
) -> None:
    """Ask again and again until it is so; ChaosError after `limit` seconds."""
    clock = asyncio.get_running_loop().time
    end = clock() + limit
    while True:
        answer = done()
        if answer if isinstance(answer, bool) else await answer:
            return
        if clock() > end:
            raise ChaosError(f"not within {limit:g} s: {what}")
        await asyncio.sleep(POLL)
