"""A CloudEvent's attributes as text: what one may be, and its form as a header.

By CloudEvents 1.0, "Type System", and its HTTP binding 1.0, section 3.1.3.
"""

import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from hookpost.core.envelope import Invalid, is_time

PREFIX = "ce-"
MEDIA = "application/cloudevents"
STRUCTURED = f"{MEDIA}+json"
BATCH = f"{MEDIA}-batch+json"
SPECVERSION = "1.0"
LONGEST = 16 << 10  # bytes of all attributes as headers: more no receiver's head has room for

CONTENT_TYPE = "datacontenttype"
REQUIRED = ("specversion", "id", "source", "type")
DATA = frozenset({"data", "data_base64"})
_FULL = ("subject", "dataschema")  # not empty where they are there
TEXTS = frozenset({*REQUIRED, *_FULL, CONTENT_TYPE, "time"})
SHOWN = 64  # characters of an attribute's name in an answer

_NAME = re.compile(r"[a-z0-9]+")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110, 5.6.2
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}[ \t]*(?:;[\t -~]*)?")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PLAIN = re.compile(r"[!#$&-~]*")
_LAST_TWO = "".join(chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF))
# No control characters, surrogates and noncharacters.
_FORBIDDEN = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_LAST_TWO}]")


def encoded(text: str) -> str:
    """An attribute as a header value: space, `"`, `%` and all but printable ASCII are %XX."""
    if _PLAIN.fullmatch(text):
        return text
    raw = text.encode("utf-8", "backslashreplace")
    return "".join([chr(byte) if _plain(byte) else f"%{byte:02X}" for byte in raw])


def _plain(byte: int) -> bool:
    return 0x21 <= byte <= 0x7E and byte not in (0x22, 0x25)


def decoded(value: str) -> str | None:
    """A header value as an attribute: unquoted, then percent-decoded once; None: it is broken.

    A `%` that no two hexadecimal digits follow stands for itself.
    """
    if value.startswith('"'):
        if _QUOTED.fullmatch(value) is None:
            return None
        value = _ESCAPED.sub(r"\1", value[1:-1])
    try:
        return unquote_to_bytes(value.encode("utf-8", "surrogateescape")).decode()
    except UnicodeError:
        return None


def is_media_type(text: str) -> bool:
    """Whether a text is a media type with or without parameters, as a header can hold it."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def is_json_type(content_type: str) -> bool:
    """Whether a media type is that of JSON: its subtype is `json` or ends in `+json`."""
    kind = content_type.partition(";")[0].rstrip(" \t").lower()
    return kind.endswith(("/json", "+json"))


def is_cloudevents_type(content_type: str) -> bool:
    """Whether a media type says that the body is a whole CloudEvent, or several."""
    return content_type.lstrip(" \t").lower().startswith(MEDIA)


def judge(attributes: Mapping[str, str]) -> Invalid | None:
    """What keeps attributes from being those of a CloudEvent; None: nothing."""
    size = 0
    for name, text in attributes.items():
        wrong = _mistake(name, text)
        if wrong is not None:
            return Invalid(name, wrong)
        size += len(name) + len(encoded(text))
    for name in REQUIRED:
        if not attributes.get(name):
            return Invalid(name, f"the attribute {name} is missing or empty")
    if attributes["specversion"] != SPECVERSION:
        return Invalid("specversion", f"only CloudEvents {SPECVERSION} is read")
    if size > LONGEST:
        return Invalid("", f"the attributes take {size} bytes as headers; at most {LONGEST} may")
    return None


def _mistake(name: str, text: str) -> str | None:
    """What is wrong with one attribute; None: nothing."""
    if _NAME.fullmatch(name) is None or name in DATA:
        return f"{name[:SHOWN]!a} is no attribute's name: lower-case letters and digits"
    if _FORBIDDEN.search(text):
        return f"the attribute {name[:SHOWN]} holds a character that no attribute may hold"
    if name == "time" and not is_time(text):
        return "the attribute time is no RFC 3339 time with an offset, such as 2026-01-31T12:00:00Z"
    if name in _FULL and not text:
        return f"the attribute {name} is empty: leave it out"
    return None
