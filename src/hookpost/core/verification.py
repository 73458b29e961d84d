"""Who is speaking: bearer, basic and api key credentials, and tokens.

Every comparison is made on bytes and in constant time, with every live secret, whether or not
an earlier one passed. What is wrong with a credential is not told: an unknown key, a bad
encoding and a missing header are one verdict.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence
from enum import Enum, auto

from hookpost.core import claims
from hookpost.core.received import Headers as Headers
from hookpost.core.secrets import Secret
from hookpost.core.settings import ApiKey, Auth, Basic, Jwt

LONGEST_TOKEN = 8192
"""Bytes of a JSON Web Token."""


class Verdict(Enum):
    """What came of it. NO_KEY: there is no live secret to compare with (503, not 401)."""

    PASSED = auto()
    REFUSED = auto()
    NO_KEY = auto()


def verify(auth: Auth, headers: Headers, at: float, tokens: Sequence[str] = ()) -> Verdict:
    """Judge a request's credentials at wall-clock time `at`. Every member that is set must pass.

    `tokens` are bearer tokens from elsewhere than the headers: one, and then no Authorization.
    """
    if auth.basic is None and auth.api_key is None and auth.jwt is None:
        # the usual case, without the list
        return Verdict.PASSED if auth.bearer is None else _bearer(auth.bearer, headers, at, tokens)
    verdicts: list[Verdict] = []
    if auth.bearer is not None:
        verdicts.append(_bearer(auth.bearer, headers, at, tokens))
    if auth.basic is not None:
        verdicts.append(_basic(auth.basic, headers, at))
    if auth.api_key is not None:
        verdicts.append(_api_key(auth.api_key, headers, at))
    if auth.jwt is not None:
        verdicts.append(_jwt(auth.jwt, headers, at, tokens))
    if Verdict.NO_KEY in verdicts:
        return Verdict.NO_KEY
    return Verdict.REFUSED if Verdict.REFUSED in verdicts else Verdict.PASSED


def challenge(auth: Auth) -> str:
    """The WWW-Authenticate value that goes with a 401 (RFC 9110, 11.6.1)."""
    asked = []
    if auth.bearer is not None or auth.jwt is not None:
        asked.append('Bearer realm="hookpost"')
    if auth.basic is not None:
        asked.append('Basic realm="hookpost", charset="UTF-8"')
    if auth.api_key is not None:
        asked.append('ApiKey realm="hookpost"')
    if auth.proofs:
        asked.append('Signature realm="hookpost"')
    return ", ".join(asked)


def _bearer(
    secrets: tuple[Secret, ...], headers: Headers, at: float, tokens: Sequence[str]
) -> Verdict:
    return _compare(_token(headers, tokens), secrets, at)


def _token(headers: Headers, tokens: Sequence[str]) -> bytes | None:
    """RFC 6750, 2.1 and 2.3; the scheme's name is case-insensitive (RFC 9110, 11.1)."""
    if not tokens:
        return _authorization(headers, b"bearer")
    alone = len(tokens) == 1 and not headers.getall("Authorization", ())
    return tokens[0].encode("utf-8", "surrogateescape") if alone else None


def _basic(basic: Basic, headers: Headers, at: float) -> Verdict:
    """RFC 7617: base64 of UTF-8 `name:password`; the name ends at the first colon."""
    token = _authorization(headers, b"basic")
    try:
        plain = None if token is None else base64.b64decode(token, validate=True)
    except (binascii.Error, ValueError):
        plain = None
    username, colon, password = (plain or b"").partition(b":")
    named = hmac.compare_digest(username, basic.username.encode())
    verdict = _compare(password if plain and colon else None, basic.passwords, at)
    return Verdict.REFUSED if verdict is Verdict.PASSED and not named else verdict


def _api_key(api_key: ApiKey, headers: Headers, at: float) -> Verdict:
    return _compare(_single(headers, api_key.header), api_key.secrets, at)


def _jwt(jwt: Jwt, headers: Headers, at: float, tokens: Sequence[str]) -> Verdict:
    """A bearer that says by itself for whom and how long it counts."""
    token = _token(headers, tokens)
    if token is None or len(token) > LONGEST_TOKEN:
        return Verdict.REFUSED
    payload = jwt.payload(token)
    holds = payload is not None and claims.hold(
        payload, issuer=jwt.issuer, audience=jwt.audience, leeway=jwt.leeway, at=at
    )
    return Verdict.PASSED if holds else Verdict.REFUSED


def _authorization(headers: Headers, scheme: bytes) -> bytes | None:
    """What follows the scheme in the one Authorization header; None: no such credential."""
    value = _single(headers, "Authorization")
    if value is None:
        return None
    name, _, rest = value.partition(b" ")
    return rest.strip(b" ") if name.lower() == scheme else None


def _single(headers: Headers, name: str) -> bytes | None:
    """The value's bytes; None where the header is absent, empty or occurs more than once.

    Two credentials are none: which one counts must not depend on who reads them.
    """
    values = headers.getall(name, ())
    if len(values) != 1 or not values[0]:
        return None
    return values[0].encode("utf-8", "surrogateescape")


def _compare(given: bytes | None, secrets: tuple[Secret, ...], at: float) -> Verdict:
    passed = False
    alive = False
    for secret in secrets:
        if secret.value and secret.live(at):
            alive = True
            passed |= given is not None and hmac.compare_digest(given, secret.value)
    if not alive:
        return Verdict.NO_KEY
    return Verdict.PASSED if passed else Verdict.REFUSED
