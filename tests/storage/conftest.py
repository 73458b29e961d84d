"""The seam of the conformance suite: one opener for each backend."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests.builders import FakeClock

from hookpost.storage.outbox import Outbox
from hookpost.storage.sqlite import SqliteOutbox

Opener = Callable[[], Awaitable[Outbox]]

BACKENDS = ["sqlite"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=BACKENDS)
async def reopen(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[Opener]:
    """Opens the same outbox again and again; what is still open is closed at the end."""
    opened: list[Outbox] = []

    async def sqlite() -> Outbox:
        for outbox in opened:
            await outbox.close()
        opened.append(await SqliteOutbox.open(tmp_path / "state" / "outbox.db", clock=clock))
        return opened[-1]

    yield {"sqlite": sqlite}[request.param]
    for outbox in opened:
        await outbox.close()


@pytest.fixture
async def outbox(reopen: Opener) -> Outbox:
    return await reopen()
