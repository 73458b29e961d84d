"""One round of a scenario: a folder and a seed of its own, a line that tells what came of it."""

import asyncio
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from chaos import ChaosError, Violation
from chaos.rig import Rig
from chaos.scenarios import SCENARIOS


async def play(
    name: str, seed: int, folder: Path, *, lives: int = 10, command: Sequence[str] = ()
) -> Mapping[str, int]:
    """Play one round; its facts. A failure tells how it is repeated, and leaves its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rig = Rig(folder, seed, lives=lives, command=command)
    try:
        async with rig:
            await SCENARIOS[name](rig)
    except (Violation, ChaosError) as error:
        lines = (
            str(error),
            f"so far: {dict(rig.facts)}; {len(rig.ledger.accepted)} accepted",
            f"files: {folder}",
            f"again: python -m chaos --only {name} --rounds 1 --lives {lives} --seed {seed}",
        )
        raise type(error)("\n".join(lines)) from error
    return rig.facts


def run(name: str, seed: int, folder: Path, *, lives: int) -> str:
    """Play one round in a loop of its own; its line."""
    began = time.monotonic()
    facts = asyncio.run(play(name, seed, folder, lives=lives))
    shutil.rmtree(folder)
    told = ", ".join(f"{what} {count}" for what, count in facts.items())
    return f"{name:<10} seed {seed:<11} {time.monotonic() - began:6.1f} s  {told}"
