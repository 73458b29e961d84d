"""Ends that seeds meet seldom, played on purpose: whatever is going on, nothing is left behind."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.simulation.life import Ended
from tests.simulation.plan import Line, Plan
from tests.simulation.scale import scaled
from tests.simulation.scenario import Run
from tests.simulation.trace import Trace


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose two endpoints both get everything."""
    run = Run(0, tmp_path, Trace())
    run.plan = Plan([Line("a", "a-0"), Line("b", "b-0")], {"**": ["a", "b"]})
    return run


def play(run: Run, weather: object) -> None:
    """One life, whose end is judged."""
    with run.disk.mounted(), scaled(narrow=False):
        run._live(weather)  # type: ignore[arg-type]


async def leaves(run: Run) -> None:
    """An endpoint is taken out; what it leaves behind is on its way to a slow disk."""
    await run.publishers.send()
    await run.sleep(1.0)
    run.disk.slow = 0.3
    run.plan.line("b").present = False
    await run.reload()


def test_an_endpoint_that_leaves_while_the_disk_fails_keeps_no_connection(run: Run) -> None:
    async def weather() -> None:
        await leaves(run)
        run.disk.broken = True
        await run.sleep(0.6)
        with pytest.raises(Ended):
            run.check()
        raise Ended

    play(run, weather)
    assert run.trace.tail().endswith("ended")


@pytest.mark.parametrize("hurry", [each / 500 for each in range(12)])
def test_an_end_that_is_hurried_keeps_no_connection(run: Run, hurry: float) -> None:
    """The connections of before a reload, too, which close when their last attempt ends."""

    async def weather() -> None:
        run.network.receiver("b").mood = "hanging"
        await run.publishers.send()
        await run.sleep(0.1)
        run.plan.line("b").concurrency += 1
        await run.reload()
        draining = asyncio.ensure_future(run.life.dispatcher.drain(0.0))
        await run.sleep(hurry)
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)
        await run.life.dispatcher.drain(0.0)
        run.network.ended()

    play(run, weather)
    assert run.trace.tail().endswith("ended")
