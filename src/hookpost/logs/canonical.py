"""A line that is written for every delivery: its form is made once, each writing only fills it in.

Looks and levels are those of an ordinary record. Where anybody else listens, where a value is not
plain, or where the line would be long, an ordinary record is what is made.
"""

import logging
from collections.abc import Mapping
from typing import Any

from hookpost.logs.lines import Form, moment, plain
from hookpost.logs.writer import LineHandler

Value = str | int | float
LONGEST = 4096  # characters of all texts together that are filled in as they are

_root = logging.getLogger()
_ours = logging.getLogger("hookpost")


class CanonicalLine:
    """One event's line: always this level, this name and these fields, of str, int or float."""

    __slots__ = ("_fields", "_form", "_level", "_log", "_name", "_pattern", "_texts")

    def __init__(
        self, log: logging.Logger, level: int, name: str, fields: Mapping[str, type]
    ) -> None:
        self._log = log
        self._level = level
        self._name = name
        self._fields = dict(fields)
        self._texts = tuple(place for place, kind in enumerate(fields.values()) if kind is str)
        self._form: Form | None = None
        self._pattern = ""

    def write(self, at: float, values: tuple[Value, ...]) -> None:
        """Write it with these values, in the order of the fields; `at` is wall-clock seconds."""
        if not self._log.isEnabledFor(self._level):
            return
        handler = self._only_handler()
        if handler is None or not self._all_plain(values):
            self._record(at, values)
            return
        form = handler.form
        if form is not self._form:
            self._pattern = form.pattern(self._level, self._name, self._fields)
            self._form = form
        line = self._pattern % (moment(at), *values) if form.timed else self._pattern % values
        with handler.lock:  # type: ignore[union-attr]
            handler.put(line.encode("ascii"), self._level)

    def _all_plain(self, values: tuple[Value, ...]) -> bool:
        texts = [values[place] for place in self._texts]
        together = "".join(texts)  # type: ignore[arg-type]
        return plain(together) is not None and len(together) <= LONGEST and "" not in texts

    def _only_handler(self) -> LineHandler | None:
        """Ours, if nobody else would see the record on its way to it."""
        handlers, log = _root.handlers, self._log
        if len(handlers) != 1 or log.handlers or _ours.handlers or log.filters:
            return None
        handler = handlers[0]
        if not isinstance(handler, LineHandler) or handler.filters or self._level < handler.level:
            return None
        return handler

    def _record(self, at: float, values: tuple[Value, ...]) -> None:
        # Made by hand: Logger.log would spend as long again on finding out where it was called.
        record = logging.LogRecord(self._log.name, self._level, "", 0, self._name, None, None)
        record.created = at
        fields: dict[str, Any] = dict(zip(self._fields, values, strict=True))
        record.__dict__["fields"] = fields
        self._log.handle(record)
