"""HTTP/1.1 as RFC 9112 has it, read strictly: requests to know what was asked, answers to trust.

What a lenient reader would take for a request, and this one does not, is how requests are smuggled.
"""

import re
from dataclasses import dataclass, field
from enum import Enum, auto

LINE, FIELDS = 8190, 128  # the listener's own limits: bytes of a line, number of fields

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2}) ([\t \x21-\x7e]*)")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*((?:[\x21-\xff][\t \x21-\xff]*)?)")
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,16})(?:[ \t]*;[\t \x21-\x7e\x80-\xff]*)?")


class End(Enum):
    """How a stream ends: where a message does, inside of one, or where none can be read."""

    WHOLE = auto()
    PARTIAL = auto()
    BAD = auto()


@dataclass(slots=True)
class Message:
    """One request or answer."""

    first: tuple[
        bytes, ...
    ]  # method, target and minor version; or status, reason and minor version
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""

    def all(self, name: bytes) -> list[bytes]:
        return [value for one, value in self.fields if one.lower() == name]

    @property
    def status(self) -> int:
        return int(self.first[0])

    @property
    def closes(self) -> bool:
        """Whether the connection ends after it."""
        said = {part.strip().lower() for one in self.all(b"connection") for part in one.split(b",")}
        return b"close" in said or (self.first[-1] == b"0" and b"keep-alive" not in said)


@dataclass(slots=True)
class Stream:
    """What was read."""

    messages: list[Message] = field(default_factory=list)
    end: End = End.WHOLE


class _Bad(Exception):
    """No message can be read here."""


class _Partial(Exception):
    """The bytes end inside a message."""


def requests(data: bytes) -> Stream:
    """Read pipelined requests."""
    stream, at = Stream(), 0
    try:
        while True:
            while data[at : at + 1] in (b"\r", b"\n"):  # RFC 9112, 2.2: empty lines in front
                at += 1
            if at == len(data):
                return stream
            message, at = _request(data, at)
            stream.messages.append(message)
            if message.first[0] == b"CONNECT":  # has no body; behind it is no HTTP
                raise _Bad
    except _Partial:
        stream.end = End.PARTIAL
    except _Bad:
        stream.end = End.BAD
    return stream


def _request(data: bytes, at: int) -> tuple[Message, int]:
    found, fields, at = _head(data, at, _REQUEST)
    message = Message((found[1], found[2], found[3]), fields)
    hosts, lengths = message.all(b"host"), message.all(b"content-length")
    codings = [part.strip().lower() for one in message.all(b"transfer-encoding")
               for part in one.split(b",")]  # fmt: skip
    if len(hosts) > 1 or (found[3] == b"1" and not hosts):
        raise _Bad
    if found[1] == b"CONNECT":
        return message, at
    if codings:
        if (
            lengths
            or found[3] == b"0"
            or codings.count(b"chunked") != 1
            or codings[-1] != b"chunked"
        ):
            raise _Bad
        message.body, at = _chunked(data, at)
    elif lengths:
        message.body, at = _sized(data, at, lengths)
    return message, at


def _head(
    data: bytes, at: int, form: re.Pattern[bytes]
) -> tuple[re.Match[bytes], list[tuple[bytes, bytes]], int]:
    """The first line and the fields, up to the empty line."""
    first, at = _line(data, at)
    found = form.fullmatch(first)
    if found is None:
        raise _Bad
    fields, at = _fields(data, at)
    return found, fields, at


def _line(data: bytes, at: int, most: int | None = LINE) -> tuple[bytes, int]:
    end = data.find(b"\n", at)
    if end < 0:
        raise _Partial
    line = data[at : end - 1]
    if data[end - 1 : end] != b"\r" or b"\r" in line or b"\0" in line:
        raise _Bad
    if most is not None and len(line) > most:
        raise _Bad
    return line, end + 1


def _fields(data: bytes, at: int) -> tuple[list[tuple[bytes, bytes]], int]:
    fields: list[tuple[bytes, bytes]] = []
    while True:
        line, at = _line(data, at)
        if not line:
            return fields, at
        found = _FIELD.fullmatch(line)
        if found is None or b"\x7f" in line or len(fields) == FIELDS:
            raise _Bad
        fields.append((found[1], found[2].rstrip(b" \t")))


def _sized(data: bytes, at: int, lengths: list[bytes]) -> tuple[bytes, int]:
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]+", lengths[0]):
        raise _Bad
    digits = lengths[0].lstrip(b"0") or b"0"
    end = at + int(digits) if len(digits) < 15 else len(data) + 1
    if end > len(data):
        raise _Partial
    return data[at:end], end


def _chunked(data: bytes, at: int) -> tuple[bytes, int]:
    parts = []
    while True:
        line, at = _line(data, at, None)  # extensions of chunks are skipped, not kept
        found = _CHUNK.fullmatch(line)
        if found is None:
            raise _Bad
        size = int(found[1], 16)
        if not size:
            _, at = _fields(data, at)
            return b"".join(parts), at
        if at + size + 2 > len(data):
            if data[at + size : at + size + 2] not in (b"", b"\r"):
                raise _Bad
            raise _Partial
        if data[at + size : at + size + 2] != b"\r\n":
            raise _Bad
        parts.append(data[at : at + size])
        at += size + 2


def answers(data: bytes, methods: list[bytes]) -> Stream:
    """Read answers to requests of these methods; those to a HEAD have no body."""
    stream, at, final = Stream(), 0, 0
    try:
        while at < len(data):
            found, fields, at = _head(data, at, _STATUS)
            message = Message((found[2], found[3], found[1]), fields)
            bare = final < len(methods) and methods[final] == b"HEAD"
            if message.status >= 200:
                final += 1
                lengths = message.all(b"content-length")
                if len(lengths) != 1 or message.all(b"transfer-encoding"):
                    raise _Bad  # all answers here are of a known length
                if not bare:
                    message.body, at = _sized(data, at, lengths)
            stream.messages.append(message)
    except _Partial:
        stream.end = End.PARTIAL
    except _Bad:
        stream.end = End.BAD
    return stream
