"""How late the event loop runs what is due."""

from hookpost.clock import Clock
from hookpost.metrics.series import Histogram

EVERY = 0.25  # seconds between two samples


class LoopLag:
    """Sleeps a fixed time, again and again, and observes by how much each sleep was too long.

    `latest` is the last sample, in seconds. `run` is a coroutine for the daemon's task group.
    """

    def __init__(self, clock: Clock, observed: Histogram, every: float = EVERY) -> None:
        self._clock = clock
        self._observed = observed
        self._every = every
        self.latest = 0.0

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            started = self._clock.monotonic()
            await self._clock.sleep(self._every)
            self.latest = max(0.0, self._clock.monotonic() - started - self._every)
            self._observed.observe(self.latest)
