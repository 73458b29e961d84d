"""What a connection still owes when it is closed; its transport says what the test tells it."""

import asyncio
from typing import Any, cast

from aiohttp import web

from hookpost.web.bounded import Bounded


class Link:
    """A transport whose other side takes as much as the test says."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self.closing = False
        self.aborted = asyncio.Event()

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def get_extra_info(self, name: str) -> Any:
        del name

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.aborted.set()


class AllWelcome:
    """A listener that refuses nobody."""

    def __init__(self, taking: float) -> None:
        self.taking = taking

    def admit(self, connection: Bounded, transport: asyncio.Transport) -> bool:
        del connection, transport
        return True

    def head_time(self) -> float:
        return 60.0

    def taking_time(self) -> float:
        return self.taking

    def late(self, *, silent: bool) -> bytes:
        raise AssertionError(silent)

    def gone(self, connection: Bounded) -> None:
        """It keeps no count."""

    def failed(self, error: BaseException | None) -> None:
        raise AssertionError(error)


async def never(_: web.BaseRequest) -> web.Response:
    raise AssertionError("nothing is asked")


def connected(link: Link, taking: float) -> Bounded:
    loop = asyncio.get_running_loop()
    made = Bounded(web.Server(never), host=AllWelcome(taking), loop=loop)
    made.connection_made(cast(asyncio.Transport, link))
    return made


async def ended(connection: Bounded) -> None:
    running = connection._task_handler
    connection.connection_lost(None)
    if running is not None:
        await asyncio.gather(running, return_exceptions=True)


async def test_what_is_written_when_a_connection_is_closed_must_be_taken_in_time() -> None:
    link = Link(waiting=1)
    connection = connected(link, taking=0.01)
    connection.force_close()
    assert link.closing
    assert not link.aborted.is_set()
    async with asyncio.timeout(10):
        await link.aborted.wait()
    await ended(connection)


async def test_a_connection_that_owes_nothing_is_just_closed() -> None:
    link = Link(waiting=0)
    connection = connected(link, taking=0.0)
    connection.force_close()
    await turns(3)
    assert not link.aborted.is_set()
    await ended(connection)


async def test_a_client_that_reads_on_is_not_cut_off() -> None:
    link = Link(waiting=1)
    connection = connected(link, taking=0.0)
    connection.pause_writing()
    connection.resume_writing()
    await turns(3)
    assert not link.aborted.is_set()
    connection.pause_writing()
    await turns(3)
    assert link.aborted.is_set()
    await ended(connection)


async def turns(count: int) -> None:
    """Let the loop turn, and with it run the timers that are due."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        turned = loop.create_future()
        loop.call_soon(turned.set_result, None)
        await turned
