"""One request, read whole: what proofs, handshakes and templates look at."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qsl

from hookpost.core.envelope import strict_json

_UNREAD = object()
_MOST_FIELDS = 100  # of a query that are looked at


class Headers(Protocol):
    """A request's headers, names compared without regard to case.

    Bytes that are not UTF-8 appear as lone surrogates (`surrogateescape`).
    """

    def get(self, name: str, /) -> str | None:
        """The first value, or None."""
        ...

    def getall(self, name: str, default: Sequence[str], /) -> Sequence[str]:
        """All values in the order they came, or `default`."""
        ...

    def items(self) -> Iterable[tuple[str, str]]:
        """All pairs in the order they came."""
        ...


class HeaderList:
    """Headers as a plain list of pairs, in the order they came."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = tuple(pairs)

    def get(self, name: str, /) -> str | None:
        """See Headers."""
        return next(iter(self.getall(name, ())), None)

    def getall(self, name: str, default: Sequence[str], /) -> Sequence[str]:
        """See Headers."""
        lower = name.lower()
        return [value for key, value in self._pairs if key.lower() == lower] or default

    def items(self) -> Iterable[tuple[str, str]]:
        """See Headers."""
        return self._pairs


class Twice(ValueError):
    """A header, or a field of the query, that counts only once is there several times."""


class Received:
    """A request as it came. `query` is undecoded, without its question mark.

    `url` is the address that the publisher called, as it was given to it ("" where nobody said):
    never put together from what the request says of its host.
    """

    __slots__ = ("_json", "body", "headers", "method", "query", "url")

    def __init__(
        self, *, method: str, url: str = "", query: str = "", headers: Headers, body: bytes
    ) -> None:
        self.method = method
        self.url = url
        self.query = query
        self.headers = headers
        self.body = body
        self._json: Any = _UNREAD

    def header(self, name: str) -> bytes | None:
        """The value's bytes, None where the header is absent; raises Twice."""
        values = self.headers.getall(name, ())
        if len(values) > 1:
            raise Twice(f"the header {name} occurs {len(values)} times")
        return values[0].encode("utf-8", "surrogateescape") if values else None

    def field(self, name: str) -> str | None:
        """A field of the query, decoded as HTML forms are; None: absent. Raises Twice."""
        try:
            fields = parse_qsl(
                self.query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
            )
        except ValueError:
            return None
        found = [value for key, value in fields if key == name]
        if len(found) > 1:
            raise Twice(f"the field {name} occurs {len(found)} times in the query")
        return found[0] if found else None

    @property
    def json(self) -> Any:
        """The body's JSON value, None where it is no JSON; parsed once."""
        if self._json is _UNREAD:
            try:
                self._json = strict_json(self.body)
            except ValueError:
                self._json = None
        return self._json


def called(url: str, query: str) -> str:
    """The address with the query of one request."""
    return f"{url}?{query}" if query and url else url
