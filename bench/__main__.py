"""`python -m bench`: run the scenarios, print the table, write the results.

Exit status: 0 all floors kept, 1 one missed, 70 a run failed.
"""

import argparse
import dataclasses
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import RESULTS, BenchError
from bench.backlogs import drain, hang
from bench.bed import QUICK, Bed, Scale
from bench.figures import Table
from bench.machine import build_slow_sync, check_slow_sync, facts
from bench.ordering import ordering
from bench.speed import end_to_end, ingest, latency, verified
from bench.subscriptions import subscriptions

MISSED, FAILED = 1, 70
SLOW_US = (1000, 5000)

Scenario = Callable[[Bed, Table], None]
PLAIN: dict[str, Scenario] = {
    "ingest": ingest,
    "verified": verified,
    "end-to-end": end_to_end,
    "latency": latency,
    "subscriptions": subscriptions,
    "drain": drain,
    "hang": hang,
    "ordering": ordering,
}
SLOW: dict[str, Scenario] = {"ingest": ingest, "end-to-end": end_to_end, "latency": latency}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the arguments ask for."""
    options = _parser().parse_args(arguments)
    wanted: list[str] = options.only or [*PLAIN, "slow"]
    unknown = [name for name in wanted if name not in (*PLAIN, "slow")]
    if unknown:
        names = ", ".join([*PLAIN, "slow"])
        print(f"--only {','.join(unknown)}: unknown; choose from {names}", file=sys.stderr)
        return 64
    scale = QUICK if options.quick else Scale()
    if options.rounds:
        scale = dataclasses.replace(scale, rounds=options.rounds)
    RESULTS.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="work-", dir=options.directory or RESULTS))
    table, skipped = Table(), []
    before = facts(directory)
    print(_introduction(before, scale, quick=options.quick))
    try:
        skipped = _measure(wanted, directory, scale, table)
    except BenchError as error:
        print(f"bench failed: {error}", file=sys.stderr)
        print(f"its files are kept in {directory}", file=sys.stderr)
        return FAILED
    finally:
        if table.figures:
            print(f"results: {_write(before, scale, table, skipped)}")
    shutil.rmtree(directory, ignore_errors=True)
    return MISSED if any(figure.ok is False for figure in table.figures) else 0


def _measure(wanted: Sequence[str], directory: Path, scale: Scale, table: Table) -> list[str]:
    with Bed(directory=directory, scale=scale) as bed:
        for name, scenario in PLAIN.items():
            if name in wanted:
                scenario(bed, table)
    if "slow" not in wanted:
        return []
    shim = build_slow_sync(directory)
    if shim is None:
        reason = "slow syncs were not measured: no C compiler (cc, gcc or clang) was found"
        print(reason)
        return [reason]
    for slow_us in SLOW_US:
        taken = check_slow_sync(shim, slow_us, directory)
        if taken * 1000 < slow_us:
            raise BenchError(f"the slow-sync shim is not in force: a sync took {taken:.3f} ms")
        fewer = dataclasses.replace(scale, rounds=min(3, scale.rounds))
        with Bed(directory=directory, scale=fewer, shim=shim, slow_us=slow_us) as bed:
            for scenario in SLOW.values():
                scenario(bed, table)
    return []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        metavar="NAME,…",
        help=f"some of {', '.join([*PLAIN, 'slow'])}",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="quiet rounds wanted (5)")
    parser.add_argument("--quick", action="store_true", help="shorter rounds, smaller backlog")
    parser.add_argument(
        "--directory", type=Path, help="where the databases are written (bench/results)"
    )
    return parser


def _introduction(machine: dict[str, Any], scale: Scale, *, quick: bool) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    return (
        f"{machine['cpus']} CPUs, {machine['cpu']}, Linux {machine['kernel']}, "
        f"Python {machine['python']}, SQLite {machine['sqlite']}, {libraries}; "
        f"database on {machine['file_system']}"
        f"{' (a memory file system: syncs cost nothing)' * (machine['file_system'] == 'tmpfs')}; "
        f"{scale.rounds} rounds{', quick' * quick}, load {machine['load_before'][0]:.2f}"
    )


def _write(machine: dict[str, Any], scale: Scale, table: Table, skipped: list[str]) -> Path:
    path = RESULTS / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    whole = {
        "machine": {**machine, "load_after": os.getloadavg()},
        "scale": dataclasses.asdict(scale),
        "figures": [figure.as_json() for figure in table.figures],
        "skipped": skipped,
    }
    path.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
