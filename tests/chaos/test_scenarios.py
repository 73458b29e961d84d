"""One short round of every scenario, and thirty kills."""

import random
from pathlib import Path

import pytest
from chaos.rounds import play

KILLS = 10


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(3))
async def test_ten_kills_under_load(tmp_path: Path, part: int) -> None:
    facts = await play("kill", random.randrange(1 << 31), tmp_path, lives=KILLS)
    assert facts["kills"] == KILLS
