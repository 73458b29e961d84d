"""A large gateway made small, so that a short run sees what takes days and thousands."""

import contextlib
from collections.abc import Iterator
from unittest import mock

from hookpost.services import janitor
from hookpost.storage.sqlite import claims, group, windows

_SELDOM = (
    (janitor, "LOOK_EVERY", 30.0),
    (janitor, "PURGE_EVERY", 120.0),
    (janitor, "AGES_EVERY", 600.0),
)
_NARROW = (
    (windows, "ROWS", 6),
    (windows, "FEW_ROWS", 3),
    (claims, "PAGE", 4),
    (group, "MAX_PUTS", 9),
    (group, "MAX_SETTLEMENTS", 6),
    (group, "SETTLE_ROWS", 3),
)


@contextlib.contextmanager
def scaled(*, narrow: bool) -> Iterator[None]:
    """Housekeeping as it is, but less of it; and, where it is narrow, little room in memory.

    Virtual hours pass in milliseconds, and a few events already spill to the disk.
    """
    with contextlib.ExitStack() as stack:
        for module, name, value in (*_SELDOM, *(_NARROW if narrow else ())):
            stack.enter_context(mock.patch.object(module, name, value))
        yield
