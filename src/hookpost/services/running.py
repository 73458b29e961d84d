"""Coroutines that run beside each other: every one is referenced, no exception is lost.

The event loop keeps only weak references, and an exception that nobody awaits is a line in the log
at best. Here each ends up in `failed`, and the daemon ends with it: half a daemon is worse than
none, and the outbox makes a restart safe.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

Failed = Callable[[BaseException], None]


class Running:
    """The coroutines of one owner. `failed` is told of any exception but a cancellation."""

    def __init__(self, failed: Failed) -> None:
        self._failed = failed
        self._all: dict[asyncio.Task[None], None] = {}  # the oldest first: a run can be repeated

    def start(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run it from the next turn of the loop on."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._all[task] = None
        task.add_done_callback(self._ended)
        return task

    async def join(self) -> None:
        """See all that runs end by itself, even where the one who waits is cancelled."""
        if self._all:
            await asyncio.wait(list(self._all))

    async def stop(self) -> None:
        """Cancel what still runs and see it end."""
        running = [task for task in self._all if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._all.pop(task, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._failed(error)


class Quiet:
    """Where one waits for others to end: told of every end, woken by the next."""

    def __init__(self) -> None:
        self._next: asyncio.Future[None] | None = None

    def stir(self) -> None:
        """Something has ended: whoever waits looks again."""
        if self._next is not None and not self._next.done():
            self._next.set_result(None)

    async def wait(self) -> None:
        """Until something ends."""
        if self._next is None or self._next.done():
            self._next = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._next)
