"""Other bodies that the one at hand may have been when it was signed."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

_BOM = b"\xef\xbb\xbf"
_MARK = "\x00n"
_MARKED = re.compile(r'"\\u0000n([^"]*)"')
_SPACING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("compact JSON", {"separators": (",", ":")}),
    ("JSON with spaces behind , and :", {"separators": (", ", ": ")}),
    ("JSON indented by 2", {"indent": 2}),
    ("JSON indented by 4", {"indent": 4}),
)
_MARKUP = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def others(body: bytes) -> Iterator[tuple[str, str, bytes]]:
    """A code, what was done to the body (a participle), and the body that comes of it."""
    for code, what, other in (*_ends(body), *_line_ends(body), *_coded(body)):
        if other != body:
            yield code, what, other
    for what, other in _written_again(body):
        if other != body:
            yield "body-reserialised", what, other


def _ends(body: bytes) -> Iterator[tuple[str, str, bytes]]:
    for name, end in (("newline", b"\n"), ("CR LF", b"\r\n")):
        yield "body-newline", f"with a {name} added at its end", body + end
        yield "body-newline", f"without the {name} at its end", body.removesuffix(end)
    yield "body-newline", "without the space around it", body.strip()
    yield "body-bom", "without the byte order mark before it", body.removeprefix(_BOM)
    yield "body-bom", "with a byte order mark before it", _BOM + body


def _line_ends(body: bytes) -> Iterator[tuple[str, str, bytes]]:
    unix = body.replace(b"\r\n", b"\n")
    dos = unix.replace(b"\n", b"\r\n")
    yield "body-line-ends", "with lines that end in LF", unix
    yield "body-line-ends", "with lines that end in CR LF", dos
    yield "body-line-ends", "with lines that end in CR LF, the last one too", dos.rstrip() + b"\r\n"


def _coded(body: bytes) -> Iterator[tuple[str, str, bytes]]:
    try:
        yield "body-base64", "decoded from base64", base64.b64decode(body.strip(), validate=True)
    except (binascii.Error, ValueError):
        return


def _written_again(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The same JSON as other programs write it."""
    kept: Callable[[str], Any] = lambda digits: _MARK + digits  # noqa: E731
    numbers: tuple[tuple[str, Callable[[str], Any], Callable[[str], Any]], ...] = (
        ("", kept, kept),
        ("numbers rewritten", _number, float),
        ("whole numbers without .0", _number, _whole),
    )
    for about, whole, broken in numbers:
        try:
            value = json.loads(body, parse_int=whole, parse_float=broken)
        except (ValueError, RecursionError):
            return
        if not isinstance(value, dict | list):
            return
        for (spacing, options), ordered, ascii_only in product(
            _SPACING, (False, True), (False, True)
        ):
            text = json.dumps(value, sort_keys=ordered, ensure_ascii=ascii_only, **options)
            text = _MARKED.sub(r"\1", text)
            said = [spacing, *(["keys sorted"] if ordered else []), *([about] if about else [])]
            said.append("with \\u-escapes" if ascii_only else "without \\u-escapes")
            yield from _escaped(", ".join(said), text)


def _escaped(what: str, text: str) -> Iterator[tuple[str, bytes]]:
    marked = text
    for character, escape in _MARKUP.items():
        marked = marked.replace(character, escape)
    for about, one in (
        ("", text),
        (", / escaped", text.replace("/", "\\/")),
        (", <, > and & escaped", marked),
    ):
        for end, last in (("", ""), (", a newline at the end", "\n")):
            try:
                yield f"written as {what}{about}{end}", (one + last).encode()
            except UnicodeEncodeError:
                continue


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= 4000 else float(digits)


def _whole(digits: str) -> int | float:
    value = float(digits)
    return int(value) if value.is_integer() and abs(value) < 1e21 else value
