"""What holds for every test: it leaves logging as it found it."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Commands and the daemon set levels and handlers of the whole process."""
    loggers = (logging.getLogger(), logging.getLogger("hookpost"))
    before = [(each.level, each.handlers[:], each.disabled) for each in loggers]
    yield
    for each, (level, handlers, disabled) in zip(loggers, before, strict=True):
        each.setLevel(level)
        each.handlers[:] = handlers
        each.disabled = disabled
