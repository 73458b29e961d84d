"""What an endpoint asks of its callers: a password, a token, a key, or a token that is fetched.

The values, what they come to in a request, and what an OAuth token server's answer says.
"""

import base64
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlencode

from hookpost.core.envelope import strict_json
from hookpost.core.secrets import Secret

LONGEST_ANSWER = 64 << 10  # bytes of a token server's answer
LIFETIME = 300.0  # seconds that a token is used where its server does not say
LONGEST_LIFETIME = 86400.0  # seconds that any token is used
MARGIN = 30.0  # seconds before its end in which a token is not used any more; a fifth at most

_TOKEN = re.compile(r"[!-~]{1,32768}", re.ASCII)
_ERRORS = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client"),
        *("unsupported_grant_type", "invalid_scope", "invalid_target", "access_denied"),
        *("server_error", "temporarily_unavailable"),
    }
)
"""Codes of RFC 6749 and 8707. Other texts of a token server are not repeated: they may hold all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicAuth:
    """HTTP Basic."""

    username: str
    password: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerAuth:
    """A token that does not change."""

    token: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAuth:
    """A secret in a header of the receiver's own."""

    header: str
    secret: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2:
    """Client credentials (RFC 6749, 4.4). `post`: they stand in the body, not in a header."""

    token_url: str
    client_id: str
    client_secret: Secret
    scope: str | None = None
    audience: str | None = None
    post: bool = False


Credentials = BasicAuth | BearerAuth | KeyAuth | OAuth2


def secret_of(credentials: Credentials) -> Secret:
    """The secret that must live for a request to be made."""
    match credentials:
        case BasicAuth(password=secret) | KeyAuth(secret=secret):
            return secret
        case BearerAuth(token=secret) | OAuth2(client_secret=secret):
            return secret


def header_name(credentials: Credentials) -> str:
    """The header that carries them."""
    return credentials.header if isinstance(credentials, KeyAuth) else "Authorization"


def header_of(credentials: Credentials) -> tuple[str, str] | None:
    """The header of every request; None: it has a token that is fetched."""
    match credentials:
        case BasicAuth(username=username, password=password):
            return "Authorization", _basic(username.encode() + b":" + password.value)
        case BearerAuth(token=token):
            return bearer(_text(token))
        case KeyAuth(header=header, secret=secret):
            return header, _text(secret)
        case OAuth2():
            return None


def bearer(token: str) -> tuple[str, str]:
    """The header of a bearer token."""
    return "Authorization", f"Bearer {token}"


def kind(credentials: Credentials) -> str:
    """Its key in the configuration, for people."""
    names = {BasicAuth: "basic", BearerAuth: "bearer", KeyAuth: "api_key", OAuth2: "oauth2"}
    return names[type(credentials)]


def telling(credentials: Credentials) -> tuple[bytes, ...]:
    """What a receiver that repeats a request would give away."""
    header = header_of(credentials)
    written = () if header is None else (header[1].rpartition(" ")[2].encode(),)
    return tuple({*written, secret_of(credentials).value} - {b""})


def _basic(pair: bytes) -> str:
    return "Basic " + base64.b64encode(pair).decode()


def _text(secret: Secret) -> str:
    return secret.value.decode("utf-8", "replace")


# -- fetching a token --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Token:
    """A token and the seconds, from its request on, in which it is used."""

    text: str = field(repr=False)
    lifetime: float


class NoToken(ValueError):
    """Why an answer holds no token; nothing of the answer is in it but a known code."""


def token_request(oauth: OAuth2) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """Headers and body of the POST that asks for a token."""
    fields = {"grant_type": "client_credentials"}
    fields |= {"scope": oauth.scope} if oauth.scope is not None else {}
    fields |= {"audience": oauth.audience} if oauth.audience is not None else {}
    headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Accept", "application/json"),
    ]
    secret = oauth.client_secret.value.decode("utf-8", "surrogateescape")
    if oauth.post:
        fields |= {"client_id": oauth.client_id, "client_secret": secret}
    else:  # both are forms' fields first (RFC 6749, 2.3.1)
        pair = f"{quote_plus(oauth.client_id)}:{quote_plus(secret, errors='surrogateescape')}"
        headers.append(("Authorization", _basic(pair.encode())))
    return tuple(headers), urlencode(fields, errors="surrogateescape").encode()


def token_of(answer: bytes) -> Token:
    """The token in a 2xx answer of a token server; raises NoToken."""
    if len(answer) > LONGEST_ANSWER:
        raise NoToken(f"the answer has more than {LONGEST_ANSWER >> 10} KiB")
    found = _members(answer)
    if found is None:
        raise NoToken("the answer is no JSON object")
    text = found.get("access_token")
    if text is None:
        raise NoToken(f"the answer has no access_token{_said(found)}")
    if not isinstance(text, str) or _TOKEN.fullmatch(text) is None:
        raise NoToken("the access_token is not a text that a header can carry")
    type_ = found.get("token_type", "bearer")
    if not isinstance(type_, str) or type_.lower() != "bearer":
        raise NoToken("the token_type is not bearer")
    return Token(text, _usable(_seconds(found.get("expires_in"))))


def refusal_of(answer: bytes) -> str:
    """What a refusing answer says in a known code: ", which says invalid_client", or nothing."""
    return _said(_members(answer) or {})


def _members(answer: bytes) -> Mapping[str, Any] | None:
    try:
        found = strict_json(answer)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _said(found: Mapping[str, Any]) -> str:
    code = found.get("error")
    return f", which says {code}" if isinstance(code, str) and code in _ERRORS else ""


def _seconds(value: Any) -> float:
    """`expires_in`, which some servers write as a text."""
    if value is None:
        return LIFETIME
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NoToken("expires_in is no number of seconds")
    if not (0 < value < math.inf):
        raise NoToken("expires_in says that the token is over already")
    return min(float(min(value, LONGEST_LIFETIME)), LONGEST_LIFETIME)


def _usable(lifetime: float) -> float:
    return lifetime - min(MARGIN, lifetime / 5)
