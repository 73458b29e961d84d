"""A saved request's head: as HTTP dumps have it, or as JSON → method, query, headers."""

import json
import re
from dataclasses import dataclass
from typing import Any

_REQUEST = re.compile(r"([A-Z]{3,16}) (\S+) HTTP/\d(?:\.\d)?")
_STATUS = re.compile(r"HTTP/\d(?:\.\d)? \d{3}\b")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BLANK = re.compile(rb"\r?\n\r?\n")


class Unreadable(ValueError):
    """What is wrong with a file of headers; never shows a header's value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A request's head; None: the file does not say. `body`: what followed a blank line."""

    headers: tuple[tuple[str, str], ...]
    method: str | None = None
    target: str | None = None
    body: bytes | None = None

    @property
    def query(self) -> str | None:
        """What follows the question mark of the target."""
        return None if self.target is None else self.target.partition("?")[2].partition("#")[0]


def parse(content: bytes) -> Saved:
    """Read a file of headers; raises Unreadable."""
    start = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] in (b"{", b"["):
        return Saved(headers=_from_json(start))
    head, body = start, None
    blank = _BLANK.search(start)
    if blank is not None:
        head, body = start[: blank.start()], start[blank.end() :] or None
    lines = [line.rstrip("\r") for line in head.decode("utf-8", "surrogateescape").split("\n")]
    return _from_lines([line for line in lines if line], body)


def _from_lines(lines: list[str], body: bytes | None) -> Saved:
    if all(line.startswith(">") for line in lines):  # as curl -v shows them
        lines = [line[1:].removeprefix(" ") for line in lines if line[1:].strip()]
    pairs: list[tuple[str, str]] = []
    for number, line in enumerate(lines, 1):
        asked, answered = _REQUEST.fullmatch(line), _STATUS.match(line)
        if number == 1 and answered is not None:
            raise Unreadable("line 1 begins an answer; the head of the request is wanted")
        if number == 1 and asked is not None:
            pairs += [(":method", asked[1]), (":path", asked[2])]
        elif line[0] in " \t" and pairs:
            name, value = pairs.pop()
            pairs.append((name, f"{value} {line.strip()}".strip()))
        else:
            pairs.append(_pair_of(line, number))
    named = dict(pairs)
    return Saved(
        headers=tuple(pair for pair in pairs if pair[0][0] != ":"),
        method=named.get(":method"),
        target=named.get(":path"),
        body=body,
    )


def _pair_of(line: str, number: int) -> tuple[str, str]:
    """A header, or what HTTP/2 has in place of a request line: `:method`, `:path` and others."""
    start = ":" if line[0] == ":" else ""
    name, colon, value = line.removeprefix(start).partition(":")
    if not colon or _NAME.fullmatch(name) is None:
        raise Unreadable(f"line {number} is no header: write Name: value")
    return start + name, value.strip(" \t")


def _from_json(content: bytes) -> tuple[tuple[str, str], ...]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise Unreadable("it begins like JSON, but is none") from None
    pairs: list[tuple[str, str]] = []
    members = document.items() if isinstance(document, dict) else map(_pair, document)
    for name, value in members:
        every = value if isinstance(value, list) else [value]
        pairs.extend((_checked_name(name), _text(name, one)) for one in every)
    return tuple(pairs)


def _pair(member: Any) -> tuple[Any, Any]:
    match member:
        case [name, value] | {"name": name, "value": value}:
            return name, value
    raise Unreadable('a list of headers is one of pairs: [["Name", "value"], …]')


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise Unreadable(f"{name!a} is no header's name")
    return name


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value.strip(" \t")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise Unreadable(f"the header {name} is no text")
