"""An event loop whose time is made up: it passes only while nothing is ready, all at once."""

import asyncio
import contextlib
import selectors
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

MOST_STEPS = 300_000  # of one life
LOAD_TIME = 0.02  # seconds that a function in an executor takes, as the loop sees it


class Crash(KeyboardInterrupt):
    """The process dies here. Of a kind that asyncio lets through."""


class Stuck(Exception):
    """Nothing is ready, no timer is set, and somebody still waits; or it goes on for ever."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs callbacks in their order and jumps to the next timer; `steps` counts the callbacks.

    `crash_at` is the step in whose place the process dies. Between two steps lies every await.
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.steps = 0
        self.crash_at: int | None = None
        super().__init__(_Selector(self))
        self._ready: deque[Any] = _Counted(self)

    def time(self) -> float:
        """Virtual seconds."""
        return self.now

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """The function runs on the loop, a little later: threads have no order of their own."""
        future: asyncio.Future[Any] = self.create_future()
        self.call_later(LOAD_TIME, _run, future, func, args)
        return future

    def bury(self) -> None:
        """Drop everything that has not ended; what it does on its way is seen by nobody."""
        self.crash_at = None
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with contextlib.suppress(BaseException):
                task.get_coro().close()  # type: ignore[union-attr]
        self._ready.clear()
        self.close()


class _Counted(deque[Any]):
    """The ready queue; the loop takes each callback from its left end."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def popleft(self) -> Any:
        loop = self._loop
        loop.steps += 1
        if loop.steps == loop.crash_at:
            raise Crash
        if loop.steps > MOST_STEPS:
            raise Stuck(f"{MOST_STEPS} steps in one life")
        return super().popleft()


class _Selector(selectors.BaseSelector):
    """Waits for nothing: the loop's own pipe is registered and never becomes ready."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        self._keys[fileobj] = key = selectors.SelectorKey(fileobj, number, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck("somebody waits for nothing")
        if timeout > 0:
            self._loop.now += timeout
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def close(self) -> None:
        self._keys.clear()


def _run(future: "asyncio.Future[Any]", func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if future.done():
        return
    try:
        future.set_result(func(*args))
    except Exception as error:
        future.set_exception(error)
