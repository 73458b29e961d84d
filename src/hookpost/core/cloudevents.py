"""CloudEvents 1.0 over HTTP: `ce-` headers or a JSON document → attributes and data.

A *binary* request has the attributes in its headers and the data as its body, a *structured* one
is a JSON document with both, a *batch* an array of such documents. Inside they are one thing: the
attributes as text, the content type of the data, and its bytes, which are never parsed and written
again.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Any

from hookpost.core.attributes import (
    BATCH,
    CONTENT_TYPE,
    DATA,
    MEDIA,
    PREFIX,
    SHOWN,
    STRUCTURED,
    TEXTS,
    decoded,
    is_json_type,
    is_media_type,
    judge,
)
from hookpost.core.envelope import (
    UNREADABLE,
    Invalid,
    Malformed,
    is_utf8,
    members,
    scanner,
    unreadable,
)
from hookpost.core.received import Headers


@dataclass(slots=True)
class CloudEvent:
    """A valid event; its type is not judged by the gateway's own rules yet.

    `attributes` are in the order in which they came, without datacontenttype: that is
    `content_type`, None where nobody said.
    """

    attributes: Mapping[str, str]
    content_type: str | None
    data: bytes


class Mode(Enum):
    """How a request carries an event."""

    BINARY = auto()
    STRUCTURED = auto()
    BATCH = auto()
    UNKNOWN = auto()


@lru_cache(maxsize=256)
def mode(content_type: str) -> Mode:
    """What a Content-Type says; of the JSON forms only UTF-8 is known."""
    kind = content_type.partition(";")[0].strip(" \t").lower()
    if not kind.startswith(MEDIA):
        return Mode.BINARY
    if kind == STRUCTURED and is_utf8(content_type):
        return Mode.STRUCTURED
    return Mode.BATCH if kind == BATCH and is_utf8(content_type) else Mode.UNKNOWN


# -- binary ----------------------------------------------------------------------------------


def binary(headers: Headers, body: bytes) -> CloudEvent | Malformed | Invalid:
    """Read a request in binary mode."""
    attributes: dict[str, str] = {}
    for header, value in headers.items():
        lower = header.lower()
        if not lower.startswith(PREFIX):
            continue
        name, text = lower[len(PREFIX) :], decoded(value)
        if name in attributes:
            return Malformed(f"the header {lower} occurs twice")
        if text is None:
            return Malformed(
                f"the value of the header {lower} is neither percent-encoded UTF-8 nor a whole "
                "quoted-string"
            )
        attributes[name] = text
    if CONTENT_TYPE in attributes:
        return Malformed("Content-Type is the datacontenttype: leave ce-datacontenttype out")
    types = headers.getall("Content-Type", ())
    if len(types) > 1:
        return Malformed("the header Content-Type occurs twice")
    return _whole(attributes, types[0] or None if types else None, body)


# -- structured ------------------------------------------------------------------------------


class _Whole(str):
    """The digits of an integer: read only where an attribute wants them."""

    __slots__ = ()


_scan = scanner(_Whole)


def structured(body: bytes) -> CloudEvent | Malformed | Invalid:
    """Read a JSON document. A member that is null is not there."""
    read = members(body, _scan)
    if not isinstance(read, tuple):
        return read
    found, data = read
    attributes: dict[str, str] = {}
    for name, value in found.items():
        if name in DATA or value is None:
            continue
        text = _text(name, value)
        if text is None:
            wanted = "text" if name in TEXTS else "text, a boolean or an integer of 32 bits"
            return Invalid(name, f"the attribute {name[:SHOWN]!a} is not {wanted}")
        attributes[name] = text
    content_type = attributes.pop(CONTENT_TYPE, None)
    content = _content(found, data, content_type)
    if isinstance(content, Invalid):
        return content
    return _whole(attributes, *content)


def _text(name: str, value: Any) -> str | None:
    """The canonical text of an attribute's value; None: it is of another type."""
    if type(value) is str:
        return value
    if name in TEXTS:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, _Whole) or len(value) > 11:
        return None
    number = int(value)
    return str(number) if -(1 << 31) <= number < 1 << 31 else None


def _content(
    found: Mapping[str, Any], data: bytes, content_type: str | None
) -> tuple[str | None, bytes] | Invalid:
    """The data with its content type: JSON as the bytes that came, text as UTF-8."""
    if found.keys() >= DATA:
        return Invalid("data", "an event has data or data_base64, not both")
    binary = found.get("data_base64")
    if binary is not None:
        try:
            text = binary if type(binary) is str else "-"
            return content_type, base64.b64decode(text, validate=True)
        except ValueError:
            return Invalid("data_base64", "data_base64 is not base64 with padding")
    if "data" not in found:
        return content_type, b""
    if content_type is None:
        return "application/json", data
    if not is_utf8(content_type):
        return Invalid("data", "data in another charset than UTF-8 goes into data_base64")
    if is_json_type(content_type):
        return content_type, data
    value = found["data"]
    try:
        if value is None or type(value) is str:
            return content_type, (value or "").encode()
    except UnicodeEncodeError:
        return Invalid("data", "data holds half of a surrogate pair, which is no text")
    return Invalid("data", "data is no text, and the datacontenttype is not JSON's")


# -- batch -----------------------------------------------------------------------------------

_SPACE = r"[ \t\n\r]*"
_FIRST = re.compile(rf"{_SPACE}\[{_SPACE}(\]{_SPACE})?")
_NEXT = re.compile(rf"{_SPACE}(?:,{_SPACE}|(\]{_SPACE}))")
_step = scanner(len, len)  # what is no JSON in an entry is for that entry to answer for


def entries(body: bytes, most: int) -> list[bytes] | Malformed:
    """The entries of an array as the bytes that came; of more than `most`, one more than that."""
    try:
        text = body.decode()
        found = _FIRST.match(text)
        if found is None:
            return Malformed("the body is no JSON array")
        cut: list[bytes] = []
        while found.lastindex is None:
            start = found.end()
            _, end = _step(text, start)
            cut.append(text[start:end].encode())
            if len(cut) > most:
                return cut
            found = _NEXT.match(text, end)
            if found is None:
                raise ValueError(f"',' or ']' expected at character {end}")
        if found.end() != len(text):
            raise ValueError(f"more text after the array, at character {found.end()}")
    except UNREADABLE as mistake:
        return unreadable(mistake)
    return cut


def _whole(
    attributes: Mapping[str, str], content_type: str | None, data: bytes
) -> CloudEvent | Invalid:
    """The event, if it is one however it came."""
    wrong = judge(attributes)
    if wrong is not None:
        return wrong
    if content_type is not None:
        content_type = content_type.strip(" \t")
        if not is_media_type(content_type):
            return Invalid(CONTENT_TYPE, "the content type of the data is no media type")
    return CloudEvent(attributes, content_type, data)
