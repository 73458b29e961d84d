"""What the daemon notices of itself."""

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.builders import FakeClock

from hookpost.daemon import watch
from hookpost.daemon.watch import STUCK, Watch, watch_clock
from hookpost.storage.sqlite import SqliteOutbox


def a_watch(outbox: Any) -> Watch:
    parts: Any = SimpleNamespace(outbox=outbox)
    notifier: Any = None
    return Watch(parts, notifier)


def test_a_batch_with_the_writer_for_half_a_minute_is_no_progress() -> None:
    assert a_watch(SimpleNamespace(busy_for=STUCK)).stuck() == []
    assert a_watch(SimpleNamespace(busy_for=STUCK + 0.1)).stuck() == ["outbox"]


async def test_a_writer_that_hangs_is_noticed_and_one_that_goes_on_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "STUCK", 0.0)
    begun, go_on = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        begun.set()
        assert go_on.wait(10)

    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=FakeClock())
    watching = a_watch(outbox)
    assert watching.stuck() == []
    hanging = outbox._group.command(hang)
    await asyncio.to_thread(begun.wait, 10)
    assert watching.stuck() == ["outbox"]
    go_on.set()
    await hanging
    assert watching.stuck() == []
    await outbox.close()


class SteppedClock(FakeClock):
    """A clock whose wall can be stepped."""

    def step(self) -> float:
        return self.wall_offset


async def test_a_step_of_the_wall_clock_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    clock: Any = SteppedClock()
    running = asyncio.create_task(watch_clock(clock))
    for offset in (0.0, 1.5, 3600.0, 3600.5, 0.0):
        clock.wall_offset = offset
        clock.advance(watch.STATUS_EVERY)
        turns = [asyncio.get_running_loop().create_future() for _ in range(3)]
        for turned in turns:
            asyncio.get_running_loop().call_soon(turned.set_result, None)
            await turned
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    steps = [each.fields["seconds"] for each in caplog.records if each.msg == "clock.stepped"]
    assert steps == [3600.0, -3600.0]
