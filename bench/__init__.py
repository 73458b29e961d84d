"""Benchmarks: each figure beside its limit, measured in the same run on the same machine.

`python -m bench` (or `make bench`) runs all of it. The gateway, the load generator, the receiver
and each baseline are processes of their own on loopback; `docs/performance.md` says how to read
the table.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"

CONNECTIONS = 64
LANES = 32  # attempts in flight at the one endpoint, and in the bare client
BATCH = 64  # rows a commit in the bare insert and update
BODY = 500  # bytes of one request's body
WARM_UP = 2000


class BenchError(Exception):
    """A run that cannot be trusted: it says what was expected and what came."""
