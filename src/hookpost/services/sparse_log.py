"""Log lines that strangers can cause, bounded: a flood of bad requests must not fill the disk."""

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from hookpost.clock import Clock

PER_SECOND = 10  # lines for each key


@dataclass(slots=True)
class _Window:
    began: float
    written: int = 0
    suppressed: int = 0


class SparseLog:
    """At most PER_SECOND lines a second for each key; the next line says how many were left out.

    Keys must come from a closed set (configured names and codes): each is remembered for good.
    """

    def __init__(self, log: logging.Logger, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._windows: dict[Hashable, _Window] = {}

    def write(
        self,
        level: int,
        name: str,
        key: Hashable,
        fields: Mapping[str, Any],
        *,
        failure: BaseException | None = None,
    ) -> None:
        """Log the record `name` with `fields` (and `suppressed=` where some were left out)."""
        if not self._log.isEnabledFor(level):
            return
        now = self._clock.monotonic()
        window = self._windows.get((name, key))
        if window is None:
            window = self._windows[name, key] = _Window(now)
        if now - window.began >= 1.0:
            window.began = now
            window.written = 0
        if window.written >= PER_SECOND:
            window.suppressed += 1
            return
        window.written += 1
        shown = dict(fields)
        if window.suppressed:
            shown["suppressed"] = window.suppressed
            window.suppressed = 0
        self._log.log(level, name, extra={"fields": shown}, exc_info=failure)
