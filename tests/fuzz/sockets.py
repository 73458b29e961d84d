"""Cases against a listener: what may come back, and that the next good request is served."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest
import uvloop
from tests.fuzz.effort import count
from tests.fuzz.http_judge import End, Message, Stream, answers, requests
from tests.fuzz.http_requests import Case
from tests.ingest_rig import Client

PATIENCE = 20.0
"""Seconds after which a listener that neither answers nor closes has hung."""

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@dataclass(slots=True)
class Exchanged:
    """What was sent and what came back. `reset`: answers may have been lost on their way."""

    asked: Stream
    answered: Stream
    closed: bool = False
    reset: bool = False

    @property
    def final(self) -> list[Message]:
        return [one for one in self.answered.messages if one.status >= 200]


@dataclass
class Fuzzed:
    """A listener under fire, and what its test knows of it."""

    connect: Callable[[], Awaitable[Client]]
    connections: Callable[[], int]
    hurry: Callable[[bool], None]  # with True, a slow client's time is over at once
    caplog: pytest.LogCaptureFixture

    async def exchange(self, case: Case, probe: bytes) -> Exchanged:
        """Send a case in pieces, and read whatever comes until there is no more."""
        count("requests")
        self.hurry(case.ending == "wait")
        last = probe if case.ending == "probe" else b""
        asked = requests(case.raw + last)
        client = await self.connect()
        result = Exchanged(asked, Stream())
        data = bytearray()
        try:
            async with asyncio.timeout(PATIENCE):
                await _send(client, case.pieces(last))
                await self._end(client, case, asked)
                await self._read(client, data, result)
        finally:
            client.reset()
            self.hurry(False)
        result.answered = answers(bytes(data), [one.first[0] for one in asked.messages])
        return result

    async def _end(self, client: Client, case: Case, asked: Stream) -> None:
        """A client that has left a request unfinished, and will not go on, says so."""
        if case.ending == "reset":
            client.reset()
        elif case.ending == "half" or (case.ending == "probe" and not _complete(asked)):
            with contextlib.suppress(OSError, RuntimeError):  # it is closed already
                client.writer.write_eof()

    async def _read(self, client: Client, data: bytearray, result: Exchanged) -> None:
        """Until the listener closes, or has answered everything that was asked in full."""
        methods = [one.first[0] for one in result.asked.messages]
        while True:
            try:
                piece = await client.reader.read(1 << 16)
            except ConnectionError:
                result.reset = True
                break
            if not piece:
                break
            data += piece
            if not _complete(result.asked):
                continue
            result.answered = answers(bytes(data), methods)
            if len(result.final) >= len(methods) and result.answered.end is End.WHOLE:
                return
        result.closed = True

    async def quiet(self) -> None:
        """Wait until all connections have ended; nothing may have gone wrong inside."""
        async with asyncio.timeout(PATIENCE):
            while self.connections():
                await turned()
        wrong = [one for one in self.caplog.records if one.exc_info or one.levelno >= logging.ERROR]
        assert wrong == [], self.caplog.text
        assert "Traceback" not in self.caplog.text
        self.caplog.clear()


def _complete(asked: Stream) -> bool:
    """Whether nothing is left that a listener could wait for."""
    return asked.end is End.WHOLE


async def _send(client: Client, pieces: list[bytes]) -> None:
    for piece in pieces:
        if client.writer.transport.is_closing():
            return
        client.writer.write(piece)
        with contextlib.suppress(ConnectionError, RuntimeError):
            await client.writer.drain()
        for _ in range(3):
            await turned()


async def turned() -> None:
    """One turn of the loop."""
    made = asyncio.Event()
    asyncio.get_running_loop().call_soon(made.set)
    await made.wait()


@contextlib.contextmanager
def looped(name: str) -> Iterator[asyncio.Runner]:
    """A loop that outlives the examples of a test."""
    with asyncio.Runner(loop_factory=LOOPS[name]) as runner:
        yield runner


def answered_well(result: Exchanged, statuses: frozenset[int]) -> None:
    """The answers are HTTP, of the contract's statuses, and no more than was asked."""
    asked, answered = result.asked, result.answered
    assert answered.end is End.WHOLE or (answered.end is End.PARTIAL and result.closed), answered
    assert {one.status for one in result.final} <= statuses, result
    extra = result.final[len(asked.messages) :]
    assert [one.status >= 400 for one in extra] in ([], [True]), result
    assert not extra or asked.end is not End.WHOLE or extra[0].status == 408, result
    for one in result.final[:-1]:
        assert not one.closes, "nothing comes after a farewell"
    for one in answered.messages:
        if one.status < 200:
            assert one.status == 100
            assert asked.end is not End.WHOLE or any(m.all(b"expect") for m in asked.messages)
