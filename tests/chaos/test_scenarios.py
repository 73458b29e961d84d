"""One short round of every scenario, and thirty kills."""

import random
from pathlib import Path

import pytest
from chaos.rounds import play
from chaos.scenarios import SCENARIOS

from chaos import Unavailable

KILLS = 10  # a part
LIVES = 3  # of a scenario of several

pytestmark = pytest.mark.timeout(300)


def seed() -> int:
    """Another one each time; a failure tells which."""
    return random.randrange(1 << 31)


@pytest.mark.parametrize("part", range(3))
async def test_ten_kills_under_load(tmp_path: Path, part: int) -> None:
    facts = await play("kill", seed(), tmp_path, lives=KILLS)
    assert facts["kills"] == KILLS


@pytest.mark.parametrize("name", sorted({*SCENARIOS} - {"kill", "full", "pages"}))
async def test_a_short_round(tmp_path: Path, name: str) -> None:
    await play(name, seed(), tmp_path, lives=LIVES)


async def test_a_short_round_on_a_disk_that_others_fill(tmp_path: Path) -> None:
    """Where no disk can be mounted, SQLite's own limit does for one."""
    try:
        await play("full", seed(), tmp_path / "full")
    except Unavailable:
        await play("pages", seed(), tmp_path / "pages")
