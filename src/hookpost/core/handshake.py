"""Handshakes: what a provider asks before it sends events, and what it wants to hear.

A handshake is chosen by what the request is (`Condition`), is proved like an event, by a secret of
its own, or not at all, and is answered from a template. It is never an event.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hookpost.core.expression import Expression
from hookpost.core.received import Received, Twice
from hookpost.core.refusals import Refused
from hookpost.core.scheme import Key
from hookpost.core.secrets import Secret
from hookpost.core.template import Absent, Template, Values, render

Wanted = str | int | bool
"""What a value must be; True: that it is there, False: that it is not."""


class Verify(StrEnum):
    """What proves a handshake: what proves an event, a secret of its own, or nothing."""

    AUTH = "auth"
    SECRET = "secret"  # noqa: S105 - a word of the configuration
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Which requests are meant: all of it must hold."""

    method: str = "POST"
    query: tuple[tuple[str, Wanted], ...] = ()
    headers: tuple[tuple[str, Wanted], ...] = ()
    json: tuple[tuple[Expression, Wanted], ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """One kind of handshake. `json` is a JSON value with templates in place of its texts."""

    when: Condition
    verify: Verify = Verify.AUTH
    secret_field: str | None = None  # of the query, that holds one of `secrets`
    secrets: tuple[Secret, ...] = ()
    status: int = 200
    text: Template | None = None
    json: Any = None

    @property
    def oracle(self) -> bool:
        """Whether it tells anybody the HMAC of their text, and so how that would be signed."""
        return self.verify is not Verify.AUTH and _keyed((self.text, self.json))


@dataclass(frozen=True, slots=True)
class Greeting:
    """The answer to a handshake. `content_type` None: there is no body."""

    status: int
    content_type: str | None
    body: str | Mapping[str, Any]


def meant_by_head(handshake: Handshake, received: Received) -> bool:
    """Whether method, query and headers are those of this handshake."""
    when = handshake.when
    if when.method != received.method:
        return False
    try:
        return all(_is(received.field(name), wanted) for name, wanted in when.query) and all(
            _is(received.headers.get(name), wanted) for name, wanted in when.headers
        )
    except Twice:
        return False


def meant(handshake: Handshake, received: Received) -> bool:
    """Whether the whole request is this handshake."""
    if not meant_by_head(handshake, received):
        return False
    conditions = handshake.when.json
    return not conditions or all(_member(path, received, wanted) for path, wanted in conditions)


def unproved(handshakes: tuple[Handshake, ...], received: Received) -> Handshake | None:
    """The handshake that this is, where it needs no proof of an event's kind.

    Told by the head alone; what is taken for one is answered as one, whatever its body is.
    """
    for handshake in handshakes:
        if handshake.verify is not Verify.AUTH and meant_by_head(handshake, received):
            return handshake
    return None


def answer(
    handshake: Handshake, received: Received, key: Key | None, wall: float
) -> Greeting | Refused:
    """What the provider is told, or why not. `key` proved the request, where one did."""
    if handshake.verify is Verify.SECRET and not _known(handshake, received, wall):
        return Refused("handshake_refused", "the handshake's secret is missing or wrong")
    if key is None:
        live = [secret for secret in handshake.secrets if secret.live(wall)]
        key = Key(secret=live[0], value=live[0].value) if live else None
    values = Values(received, key=key.value if key else None, oracle=handshake.oracle)
    try:
        if handshake.text is not None:
            text = render(handshake.text, values).decode()
            return Greeting(handshake.status, "text/plain; charset=utf-8", text)
        if handshake.json is not None:
            written = _filled(handshake.json, values)
            return Greeting(handshake.status, "application/json", written)
    except (Absent, UnicodeDecodeError) as mistake:
        return Refused("handshake_invalid", f"the handshake cannot be answered: {mistake}")
    return Greeting(handshake.status, None, "")


def _keyed(value: Any) -> bool:
    match value:
        case Template():
            return value.uses("hmac_hex") or value.uses("hmac_base64")
        case dict():
            return any(_keyed(member) for member in value.values())
        case list() | tuple():
            return any(_keyed(member) for member in value)
    return False


def _filled(value: Any, values: Values) -> Any:
    match value:
        case Template():
            return render(value, values).decode()
        case dict():
            return {name: _filled(member, values) for name, member in value.items()}
        case list():
            return [_filled(member, values) for member in value]
    return value


def _is(found: str | None, wanted: Wanted) -> bool:
    return (found is not None) is wanted if isinstance(wanted, bool) else found == str(wanted)


def _member(path: Expression, received: Received, wanted: Wanted) -> bool:
    try:
        found = path(received.json)
    except ValueError:
        return False
    if isinstance(wanted, bool):
        return (found is not None) is wanted
    return type(found) is type(wanted) and bool(found == wanted)


def _known(handshake: Handshake, received: Received, wall: float) -> bool:
    try:
        given = received.field(handshake.secret_field or "")
    except Twice:
        given = None
    text = (given or "").encode("utf-8", "surrogatepass")
    known = False
    for secret in handshake.secrets:
        if secret.value and secret.live(wall):
            known |= hmac.compare_digest(text, secret.value)
    return known
