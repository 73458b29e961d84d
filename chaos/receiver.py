"""The receiver: verifies, writes down, and answers by a script."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from standardwebhooks.webhooks import Webhook

from chaos.home import KEY
from chaos.ledger import Ledger, Reception, Way
from chaos.wire import POLL, until

SKEW = 10.0  # seconds that a signature's time may be away from the wall clock


@dataclass(frozen=True, slots=True)
class Reply:
    """How one request is answered: after `delay` seconds; status None: never."""

    status: int | None = 204
    delay: float = 0.0
    body: bytes = b""


TAKEN = Reply()
Script = Callable[[Reception], Reply]


class Receiver:
    """One port for all endpoints; the path names the endpoint.

    `ways` finds the way of a connection that came through the proxy. `offsets` are those that the
    daemon's wall clock has had of late.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.port = 0
        self.script: Script = lambda _: TAKEN
        self.ways: Mapping[int, Way] = {}
        self.offsets: tuple[float, ...] = (0.0,)
        self.count = 0
        self.in_flight: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self._signing = Webhook(KEY)
        self._server: asyncio.Server | None = None
        self._lines: set[_Line] = set()

    async def open(self) -> None:
        """Listen on a port of the kernel's choice."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Line(self, self._lines), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End every connection and the port."""
        if self._server is not None:
            self._server.close()
            for line in list(self._lines):
                line.transport.abort()
            await self._server.wait_closed()

    async def quiet(self) -> None:
        """Wait until all that a dead daemon has sent is taken in: its connections are over."""
        for _ in range(2):  # what waits to be accepted is not a line yet
            await until(lambda: not self._lines, "the end of a dead daemon's connections")
            await asyncio.sleep(POLL)

    def take(self, reception: Reception, headers: Mapping[str, str], body: bytes) -> Reply:
        """Judge one request; how it is answered."""
        self.count += 1
        self.ledger.receive(reception, body)
        if not self._signed(headers, body):
            self.ledger.mistakes.append(f"{reception.id}: the signature does not fit the body")
        told = float(headers["webhook-timestamp"]) - time.time()
        if all(abs(told - offset) > SKEW for offset in self.offsets):
            self.ledger.mistakes.append(f"{reception.id}: its timestamp is {told:+.0f} s away")
        return self.script(reception)

    def _signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        """By the public package, which has no way to verify by another clock than its own."""
        when = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        expected = self._signing.sign(headers["webhook-id"], when, body.decode())
        return expected in headers["webhook-signature"].split(" ")


class _Line(asyncio.Protocol):
    """One connection of the daemon's: one request at a time."""

    transport: asyncio.Transport

    def __init__(self, receiver: Receiver, lines: "set[_Line]") -> None:
        self._receiver = receiver
        self._lines = lines
        self._held = b""
        self._written = 0
        self._waiting: Reception | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._lines.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lines.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._leave()

    def data_received(self, data: bytes) -> None:
        self._held += data
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return
        first, *lines = self._held[:end].decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        whole = end + 4 + int(headers["content-length"])
        if len(self._held) < whole:
            return
        body, self._held = self._held[end + 4 : whole], self._held[whole:]
        self._take(first.split(" ")[1].lstrip("/"), headers, body)

    def _take(self, endpoint: str, headers: Mapping[str, str], body: bytes) -> None:
        receiver, peer = self._receiver, self.transport.get_extra_info("peername")
        reception = Reception(
            endpoint=endpoint,
            id=headers["webhook-id"],
            attempt=int(headers["hookpost-attempt"]),
            digest=hashlib.sha256(body).digest(),
            at=time.monotonic(),
            way=receiver.ways.get(peer[1]) if peer else None,
        )
        self._waiting = reception
        receiver.in_flight[endpoint] += 1
        receiver.peak[endpoint] = max(receiver.peak[endpoint], receiver.in_flight[endpoint])
        reply = receiver.take(reception, headers, body)
        if reply.status is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(reply.delay, self._answer, reception, reply)

    def _answer(self, reception: Reception, reply: Reply) -> None:
        self._leave()
        length = b"" if reply.status == 204 else b"Content-Length: %d\r\n" % len(reply.body)
        head = b"HTTP/1.1 %d Chaos\r\n%s\r\n" % (reply.status or 0, length)
        reception.head_end = self._written + len(head)
        reception.status, reception.answered = reply.status, time.monotonic()
        self._written += len(head) + len(reply.body)
        self.transport.write(head + reply.body)

    def _leave(self) -> None:
        if self._waiting is not None:
            self._receiver.in_flight[self._waiting.endpoint] -= 1
            self._waiting = None
