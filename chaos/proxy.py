"""A TCP proxy between the daemon and the receiver: it misbehaves, and knows what it let through."""

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from chaos.ledger import Way
from chaos.receiver import Receiver

ANSWERS = 90  # bytes of answers within which a fault strikes: a few of them
REQUESTS = 2500  # bytes of requests, likewise: some three
SHY = 0.05  # seconds before a reset in which what was let through may be lost with it
PIECE = 1 << 16


class Fault(StrEnum):
    """What is wrong with a connection. Those after ANSWERS bytes first, REQUESTS bytes below."""

    NONE = "none"
    LATENCY = "latency"
    DRIP = "drip"
    STALL = "stall"  # the rest of the answers comes too late
    RESET = "reset"
    TRUNCATE = "truncate"
    HOLE = "hole"  # half-open: the rest of the answers never comes, and nobody hangs up
    REFUSE = "refuse"
    CUT = "cut"  # the request breaks off with a reset
    DEAF = "deaf"  # half-open: the rest of the requests never arrives


@dataclass
class Trip(Way):
    """One connection: its fault, the byte at which it strikes, and what was let through when."""

    fault: Fault
    strikes: int
    stall: float
    total: int = 0
    reset: float | None = None
    _steps: list[tuple[int, float]] = field(default_factory=list)

    def let(self, count: int) -> None:
        """So many more bytes of answers went on to the daemon."""
        self.total += count
        self._steps.append((self.total, time.monotonic()))

    def passed(self, end: int) -> float | None:
        """See Way. A reset takes with it what was not read yet."""
        at = next((when for total, when in self._steps if total >= end), None)
        if at is not None and self.reset is not None and at > self.reset - SHY:
            return None
        return at


class Proxy:
    """Listens on a port of its own once opened. `weights` says how often which fault is drawn."""

    def __init__(self, receiver: Receiver, dice: random.Random) -> None:
        self.port = 0
        self.weights: Mapping[Fault, int] = {Fault.NONE: 1}
        self.stall = 1.0
        self.drawn: Counter[str] = Counter()
        self._receiver = receiver
        self._dice = dice
        self._trips: dict[int, Trip] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen, and tell the receiver whose connections come through here."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._receiver.ways = self._trips

    async def close(self) -> None:
        """End every connection and the port."""
        if self._server is not None:
            self._server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._server.wait_closed()

    # -- one connection ------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        faults = list(self.weights)
        fault = self._dice.choices(faults, [self.weights[each] for each in faults])[0]
        self.drawn[fault] += 1
        upward = fault in (Fault.CUT, Fault.DEAF)
        trip = Trip(fault, self._dice.randrange(REQUESTS if upward else ANSWERS), self.stall)
        if fault is Fault.REFUSE:
            _reset(writer)
            return
        there = await asyncio.open_connection("127.0.0.1", self._receiver.port)
        port = there[1].get_extra_info("sockname")[1]
        self._trips[port] = trip
        pumps = [
            asyncio.ensure_future(_up(reader, there[1], trip)),
            asyncio.ensure_future(_down(there[0], writer, trip)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            del self._trips[port]
            _end(writer, trip)
            there[1].close()


async def _up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, trip: Trip) -> None:
    """Requests on their way to the receiver, until the daemon hangs up or the fault strikes."""
    done = 0
    while data := await _read(reader):
        if trip.fault in (Fault.CUT, Fault.DEAF) and done + len(data) > trip.strikes:
            writer.write(data[: max(0, trip.strikes - done)])
            if trip.fault is Fault.CUT:
                trip.reset = time.monotonic()
                return
            done = trip.strikes
            continue
        done += len(data)
        writer.write(data)


async def _down(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, trip: Trip) -> None:
    """Answers on their way to the daemon, until the receiver hangs up or the fault strikes."""
    while data := await _read(reader):
        left = trip.strikes - trip.total
        match trip.fault:
            case Fault.LATENCY:
                await asyncio.sleep(0.02)
            case Fault.DRIP:
                await _drip(data, writer, trip)
                continue
            case Fault.STALL | Fault.RESET | Fault.TRUNCATE | Fault.HOLE if left < len(data):
                _pass(data[: max(0, left)], writer, trip)
                if trip.fault is Fault.HOLE:
                    await asyncio.Event().wait()
                if trip.fault is not Fault.STALL:
                    trip.reset = time.monotonic() if trip.fault is Fault.RESET else None
                    return
                await asyncio.sleep(trip.stall)
                data = data[max(0, left) :]
        _pass(data, writer, trip)


async def _drip(data: bytes, writer: asyncio.StreamWriter, trip: Trip) -> None:
    for at in range(0, len(data), 4):
        _pass(data[at : at + 4], writer, trip)
        await asyncio.sleep(0.004)


def _pass(data: bytes, writer: asyncio.StreamWriter, trip: Trip) -> None:
    if data:
        writer.write(data)
        trip.let(len(data))


async def _read(reader: asyncio.StreamReader) -> bytes:
    """What comes; nothing when the other side is gone, however it went."""
    try:
        return await reader.read(PIECE)
    except OSError:
        return b""


def _end(writer: asyncio.StreamWriter, trip: Trip) -> None:
    if trip.reset is None:
        writer.close()
    else:
        _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by RST: linger for no time."""
    with contextlib.suppress(OSError):
        option = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
    writer.transport.abort()
