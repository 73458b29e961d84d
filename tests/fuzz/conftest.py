"""Counts what was fuzzed, over all tests and processes, and says so at the end."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis.configuration import set_hypothesis_home_dir
from tests.fuzz.effort import EXAMPLES, KEPT, tally

if EXAMPLES:
    set_hypothesis_home_dir(KEPT)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A long run takes as long as it takes."""
    for item in items:
        if EXAMPLES and "tests/fuzz/" in item.nodeid:
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(autouse=True)
def _counted(request: pytest.FixtureRequest) -> Iterator[None]:
    tally.clear()
    yield
    request.node.user_properties.append(("fuzzed", dict(tally)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """`fuzzed: 1200 texts, 300 requests`."""
    total: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "teardown":
                total.update(dict(report.user_properties).get("fuzzed", {}))
    if total:
        shown = ", ".join(f"{number} {kind}" for kind, number in sorted(total.items()))
        terminalreporter.write_line(f"fuzzed: {shown}; {total.total()} in all")
