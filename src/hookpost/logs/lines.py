"""A log record → one line: text, JSON or journal form.

Whatever a stranger put into a field stays inside its line: control, bidirectional, surrogate and
other unprintable characters are escaped, and a line has at most MAX_LINE bytes.
"""

import json
import logging
import re
import time
import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import isfinite
from typing import Any

MAX_LINE = 8192  # bytes, the line feed not counted
CUTS = (2048, 512, 128, 32)  # characters that a value keeps, tried in this order

LEVELS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}
PRIORITIES = {10: "<7>", 20: "<6>", 30: "<4>", 40: "<3>", 50: "<2>"}
COLOURS = {10: "\x1b[2m", 20: "\x1b[32m", 30: "\x1b[33m", 40: "\x1b[31m", 50: "\x1b[1;31m"}
PLAIN = "\x1b[0m"
RESERVED = frozenset({"ts", "level", "msg"})  # in JSON
ADDED = frozenset({"logger", "traceback", "cut"})  # fields that are not the caller's

Line = Callable[[logging.LogRecord, Mapping[str, Any]], str]
plain = re.compile(r"[!#-<>-\[\]-~]+").fullmatch  # printable ASCII but space " = and backslash
_encode = json.JSONEncoder(
    separators=(",", ":"), default=str, skipkeys=True, allow_nan=False
).encode


def moment(at: float) -> str:
    """UNIX seconds as RFC 3339 in UTC, to the millisecond."""
    return _moment(int(at * 1000))


@lru_cache(maxsize=16)  # most records share theirs with their neighbour
def _moment(number: int) -> str:
    second, thousandths = divmod(number, 1000)
    return f"{_second(second)}.{thousandths:03d}Z"


@lru_cache(maxsize=4)
def _second(number: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(number))


def escaped(text: str) -> str:
    """`text` with everything unprintable, the backslash and the double quote escaped."""
    if text.isprintable():
        return text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(map(_escaped_character, text))


def _escaped_character(character: str) -> str:
    if character in '\\"':
        return "\\" + character
    if character.isprintable():
        return character
    if character == "\n":
        return "\\n"
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def shown(value: Any) -> str:
    """A field's value as text and journal lines show it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return text if plain(text) else f'"{escaped(text)}"'


def pairs(record: logging.LogRecord, fields: Mapping[str, Any]) -> str:
    """The name of what happened and its fields, `name key=value key=value`."""
    name = record.getMessage() if record.args else str(record.msg)
    line = name if plain(name) else f'"{escaped(name)}"'
    for key, value in fields.items():  # the two commonest kinds inline: this is the hot loop
        kind = type(value)
        if kind is str:
            line += f" {key}={value}" if plain(value) else f' {key}="{escaped(value)}"'
        elif kind is int:
            line += f" {key}={value}"
        elif value is not None:
            line += f" {key}={shown(value)}"
    return line


class Form:
    """How a record becomes a line: by `line`, or by a pattern made once for many of them.

    `start` is a pattern's beginning for a level and a name, `fields` holds what stands for a field
    of each kind (`KEY` is its key), `end` its end; `timed` says that it begins with the time.
    """

    __slots__ = ("_end", "_fields", "_line", "_start", "timed")

    def __init__(
        self,
        line: Line,
        start: Callable[[int, str], str],
        fields: Mapping[type, str],
        end: str = "",
        *,
        timed: bool = True,
    ) -> None:
        self._line = line
        self._start = start
        self._fields = fields
        self._end = end
        self.timed = timed

    def __call__(self, record: logging.LogRecord) -> bytes:
        """The record's line; one that is too long is made again from shortened values."""
        fields = _fields(record)
        encoded = self._line(record, fields).encode("utf-8", "backslashreplace")
        if len(encoded) <= MAX_LINE:
            return encoded + b"\n"
        return _cut(self._line, record, fields) + b"\n"

    def pattern(self, level: int, name: str, fields: Mapping[str, type]) -> str:
        """What `%` makes the same line of, from the time (if timed) and plain values in order."""
        parts = [self._fields[kind].replace("KEY", key) for key, kind in fields.items()]
        return f"{self._start(level, name)}{''.join(parts)}{self._end}\n"


_PAIRS = {str: " KEY=%s", int: " KEY=%d", float: " KEY=%.6g"}
_MEMBERS = {str: ',"KEY":"%s"', int: ',"KEY":%d', float: ',"KEY":%r'}


def text_form(*, colour: bool) -> Form:
    """`2026-11-25T10:00:00.123Z info attempt.finished endpoint=crm …`."""

    def shown(number: int, level: str) -> str:
        return f"{COLOURS.get(number, '')}{level}{PLAIN}" if colour else level

    def line(record: logging.LogRecord, fields: Mapping[str, Any]) -> str:
        level = shown(record.levelno, _level(record))
        return f"{moment(record.created)} {level} {pairs(record, fields)}"

    return Form(line, lambda level, name: f"%s {shown(level, LEVELS[level])} {name}", _PAIRS)


def journal_form() -> Form:
    """`<6>attempt.finished endpoint=crm …`: the journal adds the time, and reads the priority."""

    def line(record: logging.LogRecord, fields: Mapping[str, Any]) -> str:
        return f"{PRIORITIES.get(record.levelno, '<5>')}{pairs(record, fields)}"

    return Form(line, lambda level, name: PRIORITIES[level] + name, _PAIRS, timed=False)


def json_form() -> Form:
    """`{"ts":"…","level":"info","msg":"attempt.finished","endpoint":"crm",…}`, ASCII only.

    A field whose name is taken is shown as `field_<name>`.
    """

    def line(record: logging.LogRecord, fields: Mapping[str, Any]) -> str:
        name = record.getMessage() if record.args else str(record.msg)
        line = f'{{"ts":"{moment(record.created)}","level":"{_level(record)}","msg":{_json(name)}'
        if not RESERVED.isdisjoint(fields):
            fields = {f"field_{k}" if k in RESERVED else k: v for k, v in fields.items()}
        for key, value in fields.items():
            if type(value) is str and plain(value):
                line += f',"{key}":"{value}"'
            elif type(value) is int:
                line += f',"{key}":{value}'
            else:
                line += f',"{key}":{_json(value)}'
        return line + "}"

    def start(level: int, name: str) -> str:
        return f'{{"ts":"%s","level":"{LEVELS[level]}","msg":"{name}"'

    return Form(line, start, _MEMBERS, "}")


def _json(value: Any) -> str:
    """Any value as JSON, in printable ASCII."""
    if value is None:
        return "null"
    if isinstance(value, float):
        return repr(value) if isfinite(value) else "null"
    try:
        return _encode(value)
    except (ValueError, RecursionError):  # a circular or endless value
        return _encode(str(value))


def _level(record: logging.LogRecord) -> str:
    return LEVELS.get(record.levelno) or record.levelname.lower()


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    """The record's fields; those of other libraries tell who speaks, errors carry their trace."""
    fields: Mapping[str, Any] = getattr(record, "fields", None) or {}
    if record.name.startswith("hookpost") and not record.exc_info and not record.stack_info:
        return fields
    fields = {f"field_{k}" if k in ADDED else k: v for k, v in fields.items()}
    if not record.name.startswith("hookpost"):
        fields["logger"] = record.name
    if record.exc_info and record.exc_info[0] is not None:
        fields["traceback"] = "".join(traceback.format_exception(*record.exc_info))
    elif record.stack_info:
        fields["traceback"] = record.stack_info
    return fields


def _cut(line: Line, record: logging.LogRecord, fields: Mapping[str, Any]) -> bytes:
    name = record.getMessage()
    for length in CUTS:
        record = logging.makeLogRecord({**record.__dict__, "msg": name[:length], "args": None})
        shorter = {key: _shorter(key, value, length) for key, value in fields.items()}
        encoded = line(record, {**shorter, "cut": True}).encode("utf-8", "backslashreplace")
        if len(encoded) <= MAX_LINE:
            return encoded
    return line(record, {"cut": True}).encode("utf-8", "backslashreplace")


def _shorter(key: str, value: Any, length: int) -> Any:
    """A value of at most `length` characters: a trace keeps its end, which says what failed."""
    if value is None or isinstance(value, int | float):
        return value
    text = str(value)
    return text[-length:] if key == "traceback" else text[:length]
