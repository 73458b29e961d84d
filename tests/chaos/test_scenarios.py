"""One short round of every scenario, and thirty kills."""

import random
from pathlib import Path

import pytest
from chaos.rounds import play
from chaos.scenarios import SCENARIOS

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


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "kill"])
async def test_a_short_round(tmp_path: Path, name: str) -> None:
    await play(name, seed(), tmp_path, lives=LIVES)
