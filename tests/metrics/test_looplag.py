"""The lag of the event loop."""

import asyncio

from tests.builders import FakeClock

from hookpost.metrics import LoopLag
from hookpost.metrics.series import Histogram


async def until_asleep(clock: FakeClock) -> None:
    async with asyncio.timeout(5):
        while not clock._sleepers:
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)


async def test_a_wakeup_that_comes_late_is_observed_by_how_late_it_is() -> None:
    clock, seen = FakeClock(), Histogram((0.1, 1.0))
    lag = LoopLag(clock, seen, every=0.25)
    running = asyncio.create_task(lag.run())
    for seconds in (0.25, 0.75):
        await until_asleep(clock)
        clock.advance(seconds)
    await until_asleep(clock)
    assert seen.counts == [1, 1, 0]
    assert round(lag.latest, 6) == 0.5
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
