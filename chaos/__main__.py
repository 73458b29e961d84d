"""`python -m chaos`: play rounds of the scenarios.

Exit status: 0 every promise was kept, 1 one was broken, 70 the harness could not go on.
"""

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from chaos import RESULTS, ChaosError, Unavailable, Violation
from chaos.rounds import run
from chaos.scenarios import SCENARIOS

BROKEN, USAGE, FAILED = 1, 64, 70


def main(arguments: Sequence[str] | None = None) -> int:
    """Play what the arguments ask for."""
    options = _parser().parse_args(arguments)
    wanted: list[str] = options.only or list(SCENARIOS)
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown:
        names = ", ".join(SCENARIOS)
        print(f"--only {','.join(unknown)}: unknown; choose from {names}", file=sys.stderr)
        return USAGE
    seed = random.randrange(1 << 31) if options.seed is None else options.seed
    RESULTS.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="work-", dir=options.directory or RESULTS))
    ended: Counter[str] = Counter()
    for number in range(options.rounds):
        for name in wanted:
            ended[_round(name, seed + number, folder / f"{name}-{number}", options.lives)] += 1
    if not ended["broken"] and not ended["failed"]:
        shutil.rmtree(folder)
    print(", ".join(f"{count} rounds {how}" for how, count in ended.items()))
    return BROKEN if ended["broken"] else FAILED if ended["failed"] else 0


def _round(name: str, seed: int, folder: Path, lives: int) -> str:
    try:
        print(run(name, seed, folder, lives=lives), flush=True)
    except Unavailable as reason:
        print(f"{name:<10} not played: {reason}", flush=True)
        return "not played"
    except Violation as error:
        print(f"{name}: BROKEN: {error}", flush=True)
        return "broken"
    except ChaosError as error:
        print(f"{name}: the harness failed: {error}", flush=True)
        return "failed"
    return "held"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        metavar="NAME,…",
        help=f"some of {', '.join(SCENARIOS)}",
    )
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="of each scenario (1)")
    parser.add_argument("--seed", type=int, metavar="S", help="of the first round (a random one)")
    parser.add_argument(
        "--lives", type=int, default=10, metavar="N", help="kills in a round of kill (10)"
    )
    parser.add_argument("--directory", type=Path, help="where the databases are written")
    return parser


if __name__ == "__main__":
    sys.exit(main())
