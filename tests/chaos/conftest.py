"""Where the shim cannot be built, tests that need it are skipped with the reason."""

from collections.abc import Iterator

import pytest

from chaos import Unavailable


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A scenario that this machine cannot run is no failure."""
    try:
        yield
    except Unavailable as reason:
        pytest.skip(str(reason))
