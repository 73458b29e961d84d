"""The only place that reads time.

Three readings, one rule each. `now()` is what is stored and compared with what was stored: UNIX
seconds as they were when the process started, carried forward by the boot-time clock, so that a
step of the wall clock makes nothing fire early, late or in a burst. `monotonic()` is for waits in
memory. `wall()` is what other people's clocks say: signatures, `not_after`, log lines.
"""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the gateway asks of time."""

    def now(self) -> float:
        """Steady UNIX seconds, for everything that is stored."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment, for waits in memory."""
        ...

    def wall(self) -> float:
        """UNIX seconds as the system tells them now."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's own time."""

    def __init__(self) -> None:
        self._offset = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def now(self) -> float:
        """Steady UNIX seconds: counts suspended time, does not follow steps."""
        return self._offset + time.clock_gettime(time.CLOCK_BOOTTIME)

    def monotonic(self) -> float:
        """The monotonic clock."""
        return time.monotonic()

    def wall(self) -> float:
        """The wall clock."""
        return time.time()

    def step(self) -> float:
        """Seconds by which the wall clock was stepped since the process started."""
        return self.wall() - self.now()

    async def sleep(self, seconds: float) -> None:
        """Wait on the running loop."""
        await asyncio.sleep(seconds)
