"""What a feeder sleeps by: it wakes when rung, or when its alarm goes off, whichever is first."""

import asyncio

from hookpost.clock import Clock
from hookpost.services.running import Running

LONGEST_WAIT = 30.0  # seconds; timers stand still while a machine is suspended, so look again
SHORTEST_WAIT = 0.001  # seconds; finer timers only turn the loop


class Bell:
    """One sleeper's bell. Ringing is cheap, may happen at any time and is never lost."""

    def __init__(self, clock: Clock, running: Running, owner: str) -> None:
        self._clock = clock
        self._running = running
        self._owner = owner
        self._rung = False
        self._asleep: asyncio.Future[None] | None = None
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = 0.0

    def ring(self) -> None:
        """Wake the sleeper, or keep it from falling asleep."""
        self._rung = True
        if self._asleep is not None and not self._asleep.done():
            self._asleep.set_result(None)

    def hush(self) -> None:
        """What has been rung so far is heard."""
        self._rung = False

    async def rest(self, wait: float | None) -> None:
        """Sleep until rung, at most about `wait` seconds; not at all if rung since `hush`."""
        if self._rung:
            return
        if wait is not None:
            self._set_alarm(max(SHORTEST_WAIT, min(wait, LONGEST_WAIT)))
        self._asleep = asyncio.get_running_loop().create_future()
        await self._asleep

    def _set_alarm(self, wait: float) -> None:
        at = self._clock.monotonic() + wait
        if self._alarm is not None and not self._alarm.done():
            if self._alarm_at <= at:
                return  # an early ring costs less than setting the alarm anew each time
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self._running.start(self._ring_in(wait), f"alarm of {self._owner}")

    async def _ring_in(self, wait: float) -> None:
        await self._clock.sleep(wait)
        self._alarm = None
        self.ring()
