"""A JSON value → its text, bounded: sorted keys, no spaces, UTF-8.

A value may hold the same list a thousand times over (`[@,@] | [@,@] | …`), and its text all of
them: each step here writes a byte at least, and none is made beyond the limit.
"""

import math
from collections.abc import Iterator
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

DEEPEST = 64  # levels of nesting, like those of an event that comes in


class Oversized(ValueError):
    """The text would have too many bytes, or too many levels."""


class Unwritable(ValueError):
    """JSON has no text for the value."""


def written(value: Any, most: int) -> bytes:
    """The text of a value; Oversized beyond `most` bytes, Unwritable where there is none."""
    left, parts = most, []
    for part in _parts(value, most):
        left -= len(part)
        if left < 0:
            raise Oversized(f"it has more than {most} bytes as JSON")
        parts.append(part)
    return b"".join(parts)


def _parts(value: Any, most: int) -> Iterator[bytes]:
    """The text in pieces of a byte at least, each made when it is asked for."""
    ends: list[bytes] = []
    inside: list[Iterator[tuple[bytes, Any]]] = [iter([(b"", value)])]
    while inside:
        item = next(inside[-1], None)
        if item is None:
            inside.pop()
            if ends:
                yield ends.pop()
            continue
        before, value = item
        if not isinstance(value, list | dict):
            yield before + _scalar(value)
            continue
        if len(inside) > DEEPEST:
            raise Oversized(f"it is nested deeper than {DEEPEST} levels")
        if 2 * len(value) > most + 1:  # a member has two bytes at least
            raise Oversized(f"it has more than {most} bytes as JSON")
        if isinstance(value, dict):
            yield before + b"{"
            inside.append(_members(value))
            ends.append(b"}")
        else:
            yield before + b"["
            inside.append(_items(value))
            ends.append(b"]")


def _members(value: dict[str, Any]) -> Iterator[tuple[bytes, Any]]:
    comma = b""
    for name in sorted(value):
        yield comma + _text(name) + b":", value[name]
        comma = b","


def _items(value: list[Any]) -> Iterator[tuple[bytes, Any]]:
    comma = b""
    for item in value:
        yield comma, item
        comma = b","


def _scalar(value: Any) -> bytes:
    if isinstance(value, str):
        return _text(value)
    if value is None:
        return b"null"
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Unwritable("it holds a number that JSON has no text for (infinite, or none)")
        return float.__repr__(value).encode()
    if isinstance(value, int):
        try:
            return int.__repr__(value).encode()
        except ValueError:
            raise Unwritable("it holds a number of too many digits") from None
    raise Unwritable("it is no JSON value")


def _text(text: str) -> bytes:
    """Text as it is; one with half a surrogate pair, which UTF-8 has not, in escapes."""
    try:
        return encode_basestring(text).encode()
    except UnicodeEncodeError:
        return encode_basestring_ascii(text).encode()
