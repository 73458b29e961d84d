"""The envelope `{"eventType", "data", "eventId"?, "occurredAt"?}`, read without rewriting it.

The top object is walked with the JSON scanner of the standard library, which says where each
value ends: `data` is cut out of the body as the bytes that came. A value that was parsed and
written again would be another value (1.0 or 1.00, 1e400, the order of members), and the
signature covers bytes.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from functools import lru_cache
from json import JSONDecoder
from typing import Any, NoReturn, cast

MAX_DEPTH = 64
_SHOWN = 64  # characters of an unknown member's name in an answer
_MEMBERS = frozenset({"eventType", "data", "eventId", "occurredAt"})


@dataclass(slots=True)
class Envelope:
    """A well-formed envelope; `event_type` and `event_id` are not judged yet."""

    event_type: str
    data: bytes
    event_id: str | None
    occurred_at: str | None


@dataclass(frozen=True, slots=True)
class Malformed:
    """Not JSON as RFC 8259 has it, or beyond the limits of this gateway: 400."""

    detail: str


@dataclass(frozen=True, slots=True)
class Invalid:
    """JSON, but no envelope: 422. `member` is the one to blame ("" for the whole)."""

    member: str
    detail: str


class Media(Enum):
    """What a Content-Type says of a body."""

    JSON = auto()
    NDJSON = auto()
    OTHER = auto()


@lru_cache(maxsize=256)
def media(content_type: str) -> Media:
    """Read a Content-Type: `application/json`, `…+json`, `application/x-ndjson`, or other.

    A charset other than UTF-8 makes it OTHER: JSON between systems is UTF-8 (RFC 8259, 8.1).
    """
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if not _all_utf8(parameters):
        return Media.OTHER
    if kind == "application/x-ndjson":
        return Media.NDJSON
    if kind == "application/json" or (kind.endswith("+json") and "/" in kind):
        return Media.JSON
    return Media.OTHER


def is_utf8(content_type: str) -> bool:
    """Whether a Content-Type names no other charset than UTF-8."""
    return _all_utf8(content_type.lower().split(";")[1:])


def _all_utf8(parameters: Iterable[str]) -> bool:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') not in ("utf-8", "utf8"):
            return False
    return True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON; write null or a number")


Scan = Callable[[str, int], tuple[Any, int]]
"""A text and where a value begins → the value, and where it ends."""


def scanner(
    parse_int: Callable[[str], Any], parse_constant: Callable[[str], Any] = _no_constant
) -> Scan:
    """A scanner whose integers are what `parse_int` makes of them; other numbers are any int."""
    decoder = JSONDecoder(parse_int=parse_int, parse_float=len, parse_constant=parse_constant)
    return cast(Scan, decoder.scan_once)  # type: ignore[attr-defined]


# Numbers are only stepped over: `len` is no text, costs least and meets no limit of digits.
_scan = scanner(len)


def _integer(digits: str) -> int | float:
    """An integer of any length is JSON; where Python reads none, a float, as in JavaScript."""
    return int(digits) if len(digits) <= 4000 else float(digits)


_strict = JSONDecoder(parse_constant=_no_constant, parse_int=_integer)

_SPACE = r"[ \t\n\r]*"
_PLAIN = rf'"([^"\\\x00-\x1f]*)"{_SPACE}:{_SPACE}'  # a member's name without escapes
_END = rf"(\}}{_SPACE})"
# What comes before a value, in one match: group 1 is a plain name, group 2 the end of the object;
# neither: a name that is not plain, or none.
_FIRST = re.compile(rf"{_SPACE}\{{{_SPACE}(?:{_PLAIN}|{_END})?")
_NEXT = re.compile(rf"{_SPACE}(?:,{_SPACE}(?:{_PLAIN})?|{_END})")
_COLON = re.compile(rf"{_SPACE}:{_SPACE}")
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:)(\d\d)(?:\.\d{1,18})?(?:[Zz]|[+-](\d\d):(\d\d))", re.ASCII
)


def parse(body: bytes) -> Envelope | Malformed | Invalid:
    """Read one envelope. Anything that is not JSON comes before anything that is no envelope."""
    read = members(body)
    return _judge(*read) if isinstance(read, tuple) else read


def members(body: bytes, scan: Scan = _scan) -> tuple[dict[str, Any], bytes] | Malformed | Invalid:
    """The members of the top object, and `data` as the bytes that came (empty: there is none)."""
    try:
        text = body.decode()
        walked = _walk(text, scan)
    except UNREADABLE as mistake:
        return unreadable(mistake)
    if too_deep(body):
        return Malformed(_TOO_DEEP)
    if isinstance(walked, Invalid):
        return walked
    found, start, end = walked
    return found, body[start:end] if len(text) == len(body) else text[start:end].encode()


UNREADABLE = (ValueError, StopIteration, RecursionError)
"""What decoding and scanning raise."""


def unreadable(mistake: Exception) -> Malformed:
    """Why a body is not JSON, from what was raised."""
    match mistake:
        case UnicodeDecodeError():
            return Malformed(f"the body is not UTF-8 at byte {mistake.start}")
        case StopIteration():
            return Malformed(f"the body is not JSON: no value at character {mistake.value}")
        case RecursionError():
            return Malformed(_TOO_DEEP)
    return Malformed(f"the body is not JSON: {mistake}")


_TOO_DEEP = f"the body is nested deeper than {MAX_DEPTH}"


def _walk(text: str, scan: Scan) -> tuple[dict[str, Any], int, int] | Invalid:
    """The members of the top object, and from where to where `data` goes.

    Invalid: other JSON than an object.
    """
    found = _FIRST.match(text)
    if found is None:
        strict_text(text)
        return Invalid("", "the body is JSON, but no object; send one object")
    read: dict[str, Any] = {}
    first, last = 0, 0
    while found.lastindex != 2:
        at = found.end()
        name, start = (found[1], at) if found.lastindex else _name(text, at)
        if name in read:
            raise ValueError(f"the member {name[:_SHOWN]!a} occurs twice")
        read[name], end = scan(text, start)
        if name == "data":
            first, last = start, end
        found = _NEXT.match(text, end)
        if found is None:
            raise ValueError(f"',' or '}}' expected at character {end}")
    if found.end() != len(text):
        raise ValueError(f"more text after the object, at character {found.end()}")
    return read, first, last


def _name(text: str, at: int) -> tuple[str, int]:
    """A member's name that is not plain, and where its value starts."""
    if not text.startswith('"', at):
        raise ValueError(f"a member's name in double quotes expected at character {at}")
    name, end = _scan(text, at)
    colon = _COLON.match(text, end)
    if colon is None:
        raise ValueError(f"':' expected at character {end}")
    return name, colon.end()


def _judge(found: dict[str, Any], data: bytes) -> Envelope | Invalid:
    if not found.keys() <= _MEMBERS:
        unknown = next(name for name in found if name not in _MEMBERS)
        return Invalid(
            unknown,
            f"unknown member {unknown[:_SHOWN]!a}; an envelope has eventType, data, eventId and "
            "occurredAt",
        )
    if "data" not in found:
        return Invalid("data", "the member data is missing")
    event_type = found.get("eventType")
    if not isinstance(event_type, str):
        return Invalid("eventType", "the member eventType is missing or no text")
    event_id = occurred_at = None
    if "eventId" in found:
        event_id = found["eventId"]
        if not isinstance(event_id, str):
            return Invalid("eventId", "the member eventId is no text")
    if "occurredAt" in found:
        occurred_at = found["occurredAt"]
        if not isinstance(occurred_at, str) or not is_time(occurred_at):
            return Invalid("occurredAt", _TIME_WANTED)
    return Envelope(event_type, data, event_id, occurred_at)


_TIME_WANTED = (
    "the member occurredAt is no RFC 3339 time with an offset, such as 2026-01-31T12:00:00Z"
)


def is_time(text: str) -> bool:
    """Whether the text is an RFC 3339 time with an offset; second 60 is a leap second."""
    found = _TIME.fullmatch(text)
    if found is None:
        return False
    date, minutes, seconds, hour, minute = found.groups()
    if hour is not None and (int(hour) > 23 or int(minute) > 59):
        return False
    try:
        datetime.fromisoformat(f"{date}T{minutes}{'59' if seconds == '60' else seconds}")
    except ValueError:
        return False
    return True


def too_deep(body: bytes) -> bool:
    """Whether well-formed JSON is nested deeper than MAX_DEPTH; the outermost level counts.

    The brackets, made one kind, lose their innermost pairs level by level, at the speed of C.
    """
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return False
    brackets = _STRINGS.sub(b"", body).translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return False
    return True


def strict_json(body: bytes) -> Any:
    """The value of a whole JSON text (RFC 8259); ValueError says why it is none.

    UTF-8 without a byte order mark, no NaN or Infinity, at most MAX_DEPTH levels.
    """
    value = strict_text(body.decode())
    if too_deep(body):
        raise ValueError(_TOO_DEEP)
    return value


def strict_text(text: str) -> Any:
    """The value of a JSON text, of any depth that the scanner takes; ValueError otherwise."""
    try:
        if text.startswith("\ufeff"):
            raise ValueError("it begins with a byte order mark; send UTF-8 without one")
        return _strict.decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def lines(body: bytes) -> list[bytes]:
    """The lines of an NDJSON body; empty ones are left out."""
    return [line for line in body.split(b"\n") if line.strip(b" \t\r")]
