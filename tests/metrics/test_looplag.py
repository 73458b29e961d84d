"""The lag of the event loop."""

import asyncio

from tests.builders import FakeClock

from hookpost.metrics import LoopLag


async def until_asleep(clock: FakeClock) -> None:
    async with asyncio.timeout(5):
        while not clock._sleepers:
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)


async def test_a_wakeup_that_comes_late_is_observed_by_how_late_it_is() -> None:
    clock, seen = FakeClock(), []
    lag = LoopLag(clock, seen.append, every=0.25)
    running = asyncio.create_task(lag.run())
    for seconds in (0.25, 0.75):
        await until_asleep(clock)
        clock.advance(seconds)
    await until_asleep(clock)
    assert [round(each, 6) for each in seen] == [0.0, 0.5]
    assert round(lag.latest, 6) == 0.5
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
