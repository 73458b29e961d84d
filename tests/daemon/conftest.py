"""The fixtures of tests/daemon: a receiver, a home, and daemons that are always ended."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.daemon.harness import Home, Nursery, Receiver, receiver


@pytest.fixture
async def crm() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        yield made


@pytest.fixture
def home(tmp_path: Path, crm: Receiver) -> Home:
    return Home(tmp_path, crm.port)


@pytest.fixture
async def nursery(home: Home) -> AsyncIterator[Nursery]:
    made = Nursery(home)
    yield made
    await made.close()
