"""Texts with parts of a request in braces: what a publisher signs, what a handshake answers.

`{body}`, `{timestamp}`, `{id}`, `{method}`, `{url}`, `{header:NAME}`, `{query:NAME}`, `{json:PATH}`
(JMESPath over the body's JSON), and in answers `{hmac_hex:…}` and `{hmac_base64:…}` around one of
these. `{{` and `}}` are braces. What is put in is never read as a template again.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from hookpost.core.expression import Expression
from hookpost.core.received import Received, Twice

PLAIN = ("body", "timestamp", "id", "method", "url")
_NAMED = ("header", "query", "json")
_KEYED = ("hmac_hex", "hmac_base64")
LONGEST_TOKEN = 512  # bytes of what is signed for a stranger
_PARTS = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")


class Absent(ValueError):
    """What a template asks for is not in the request; says which."""


@dataclass(frozen=True, slots=True)
class Token:
    """One part of a request. `inner` is what an HMAC is made of."""

    kind: str
    name: str = ""
    path: Expression | None = field(default=None, compare=False)
    inner: "Token | None" = None

    def __str__(self) -> str:
        inner = self.name if self.inner is None else str(self.inner)
        return f"{self.kind}:{inner}" if inner else self.kind


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: literal bytes and tokens, in order."""

    text: str
    parts: tuple[bytes | Token, ...]

    def uses(self, kind: str) -> bool:
        """Whether a token of this kind stands in it, inside an HMAC too."""
        tokens = [part for part in self.parts if isinstance(part, Token)]
        return any(kind in (one.kind, one.inner.kind if one.inner else "") for one in tokens)


@dataclass(frozen=True, slots=True)
class Values:
    """Where tokens find what they stand for. `key` is the one that proved the request.

    `oracle`: nobody did, so no HMAC is made of what could be a body that is signed (`is_document`).
    """

    received: Received
    timestamp: bytes | None = None
    id: bytes | None = None
    key: bytes | None = None
    oracle: bool = False


def parse(text: str, compiled: Callable[[str], Expression], *, keyed: bool = False) -> Template:
    """Read a template; ValueError says what is wrong. `keyed`: the hmac tokens are taken too."""
    parts: list[bytes | Token] = []
    for found in _PARTS.finditer(text):
        piece = found[0]
        if piece in ("{", "}"):
            raise ValueError(f"a single {piece} stands at character {found.start() + 1}; double it")
        if found[1] is not None:
            parts.append(_token(found[1], compiled, keyed=keyed))
        else:
            literal = piece if piece not in ("{{", "}}") else piece[0]
            parts.append(literal.encode())
    return Template(text, tuple(parts))


def _token(text: str, compiled: Callable[[str], Expression], *, keyed: bool) -> Token:
    kind, colon, name = text.partition(":")
    if kind in PLAIN and not colon:
        return Token(kind)
    if kind in _NAMED and name:
        return Token(kind, name, compiled(name) if kind == "json" else None)
    if keyed and kind in _KEYED and name:
        inner = _token(name, compiled, keyed=False)
        return Token(kind, inner=inner)
    known = [*PLAIN, *(f"{one}:…" for one in (*_NAMED, *(_KEYED if keyed else ())))]
    raise ValueError(f"{{{text}}} is not known; take one of {', '.join(known)}")


def render(template: Template, values: Values) -> bytes:
    """The bytes that the template stands for; raises Absent where something is missing."""
    parts = template.parts
    if len(parts) == 1 and isinstance(parts[0], Token):
        return _value(parts[0], values)
    return b"".join([part if isinstance(part, bytes) else _value(part, values) for part in parts])


def _value(token: Token, values: Values) -> bytes:
    received = values.received
    match token.kind:
        case "body":
            return received.body
        case "timestamp":
            return _there(values.timestamp, token)
        case "id":
            return _there(values.id, token)
        case "method":
            return received.method.encode()
        case "url":
            return _there(received.url.encode("utf-8", "surrogateescape") or None, token)
        case "hmac_hex":
            return _mac(token, values).hex().encode()
        case "hmac_base64":
            return base64.b64encode(_mac(token, values))
        case _:
            return _looked_up(token, received)


def _mac(token: Token, values: Values) -> bytes:
    """HMAC-SHA256 under the key that proved the request."""
    key, inner = values.key, token.inner
    if key is None or inner is None:
        raise Absent(f"{{{token}}} needs the key that proved the request")
    text = _value(inner, values)
    if values.oracle and (is_document(text) or len(text) > LONGEST_TOKEN):
        raise Absent(f"{{{inner}}} is no token")
    return hmac.digest(key, text, hashlib.sha256)


def is_document(text: bytes) -> bool:
    """Whether it may be a JSON object or array: what events of such providers are, and no token."""
    return text.lstrip(b" \t\r\n\v\f\0\xef\xbb\xbf")[:1] in (b"{", b"[")


def _looked_up(token: Token, received: Received) -> bytes:
    try:
        if token.kind == "header":
            return _there(received.header(token.name), token)
        found = received.field(token.name) if token.kind == "query" else _member(token, received)
    except Twice as mistake:
        raise Absent(str(mistake)) from None
    try:
        return _there(found.encode() if found else None, token)
    except UnicodeEncodeError:
        raise Absent(f"{{{token}}} is not Unicode text") from None


def _member(token: Token, received: Received) -> str | None:
    try:
        found = None if token.path is None else token.path(received.json)
    except ValueError as mistake:
        raise Absent(f"{{{token}}} cannot be computed: {mistake}") from None
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    return found if isinstance(found, str) else None


def _there(value: bytes | None, token: Token) -> bytes:
    if value is None:
        raise Absent(f"{{{token}}} is not in the request")
    return value
