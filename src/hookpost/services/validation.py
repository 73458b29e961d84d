"""Events against the types that their source lists, and the schemas of these.

Large ones are judged off the loop, by a few threads. These share the interpreter with the loop, so
the two take turns; what is bounded is how much waits, and how long a publisher does (Commit.later).
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from hookpost.core.event_types import EventTypes, Validate, fitted, wanted
from hookpost.core.model import Event
from hookpost.core.refusals import Refused

INLINE = 8192  # bytes that are judged in the loop: up to 0.3 ms
THREADS = 2
WAITING = 32  # requests that are judged, or wait to be

Read = Sequence[Event | Refused]
Judge = Callable[[], list[Event | Refused]]


class Judgement:
    """Events whose types are judged, and whose data is still to be, in any thread."""

    __slots__ = ("_root", "_rules", "read")

    def __init__(self, types: EventTypes | None, read: Read, root: str) -> None:
        """`root` is the path of the data in what the publisher sent."""
        self.read: list[Event | Refused] = []
        self._rules: list[Validate | None] = []
        self._root = root
        for one in read:
            rule = one if isinstance(one, Refused) else wanted(types, one)
            self.read.append(rule if isinstance(rule, Refused) else one)
            self._rules.append(None if isinstance(rule, Refused) else rule)

    @property
    def pending(self) -> bool:
        """Whether there is data to be judged."""
        return any(rule is not None for rule in self._rules)

    def judge(self) -> list[Event | Refused]:
        """The events that fit; in place of the others, why not."""
        return [
            one if rule is None or isinstance(one, Refused) else fitted(rule, one, self._root)
            for one, rule in zip(self.read, self._rules, strict=True)
        ]


class Validation:
    """A few threads, started when they are needed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._threads: ThreadPoolExecutor | None = None
        self._waiting = 0

    @property
    def full(self) -> bool:
        """Whether no more is taken now."""
        return self._waiting >= WAITING

    def submit(self, judge: Judge, then: Callable[[Judge], None]) -> None:
        """Judge in a thread, and call `then` in the loop with what tells the result, or raises."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="validation")
        self._waiting += 1
        future = self._threads.submit(judge)
        future.add_done_callback(partial(self._judged, then))

    def _judged(self, then: Callable[[Judge], None], future: "Future[Any]") -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._ended, then, future)

    def _ended(self, then: Callable[[Judge], None], future: "Future[Any]") -> None:
        self._waiting -= 1
        then(future.result)
