"""How much is fuzzed: a quick run with the other tests, a long one by `make fuzz EXAMPLES=…`.

The quick run draws the same inputs each time: when it turns red, the change did it. The long one
draws others each time, prints how to draw a failing one again, and keeps those outside of the tree.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

EXAMPLES = int(os.environ.get("HOOKPOST_FUZZ_EXAMPLES") or 0)
"""Examples of each test in the long run; 0: the quick one."""

KEPT = Path(tempfile.gettempdir()) / "hookpost-fuzz"
"""Where the long run keeps what failed, and whatever else Hypothesis writes."""

SECONDS = 5.0
"""Of processor time for one input, at the very most: work must be bounded, not fast."""

tally: Counter[str] = Counter()
"""What was fuzzed in the test at work, by kind."""


def fuzzed(quick: int) -> Callable[[Any], Any]:
    """Settings of one fuzz test: `quick` examples in the quick run."""
    common: dict[str, Any] = {
        "deadline": None,
        "print_blob": True,
        "suppress_health_check": list(HealthCheck),
    }
    if not EXAMPLES:
        return settings(max_examples=quick, derandomize=True, database=None, **common)
    kept = DirectoryBasedExampleDatabase(KEPT / "examples")
    return settings(max_examples=EXAMPLES, database=kept, **common)


def count(kind: str, number: int = 1) -> None:
    """Count what a test has given to the product."""
    tally[kind] += number
