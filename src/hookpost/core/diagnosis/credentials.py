"""The steps of what the head of a request proves: bearer, basic, api key, token."""

import base64
import binascii
import hmac
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

from hookpost.core.diagnosis import keys, tokens
from hookpost.core.diagnosis.case import Case
from hookpost.core.diagnosis.findings import Diagnosis, life, quoted
from hookpost.core.received import HeaderList, Received
from hookpost.core.secrets import Secret
from hookpost.core.settings import Auth
from hookpost.core.verification import Verdict, verify

_SCHEMES = frozenset({"bearer", "basic", "digest", "token", "apikey", "hmac", "negotiate"})
_AUTHORIZATION = "Authorization"

With = Callable[[tuple[Secret, ...]], Auth]
Fits = Callable[[Secret, HeaderList | None], bool]


def judged(found: Diagnosis, case: Case) -> None:
    """A step for each member of the source's `auth` that the head alone decides."""
    auth = case.source.auth
    basic, api_key = auth.basic, auth.api_key
    if auth.bearer is not None:
        _member(found, case, "bearer", auth.bearer, lambda secrets: Auth(bearer=secrets))
    if basic is not None:
        _member(
            found, case, "basic", basic.passwords,
            lambda secrets: Auth(basic=replace(basic, passwords=secrets)),
        )  # fmt: skip
    if api_key is not None:
        _member(
            found, case, "api_key", api_key.secrets,
            lambda secrets: Auth(api_key=replace(api_key, secrets=secrets)),
        )  # fmt: skip
    if auth.jwt is not None:
        tokens.judged(found, case, auth.jwt)


def _member(
    found: Diagnosis, case: Case, member: str, secrets: tuple[Secret, ...], asking: With
) -> None:
    received, wall, given = case.received, case.wall, case.tokens

    def fits(secret: Secret, headers: HeaderList | None = None) -> bool:
        auth = asking((keys.immortal(secret),))
        return verify(auth, headers or received.headers, wall, given) is Verdict.PASSED

    match verify(asking(secrets), received.headers, wall, given):
        case Verdict.PASSED:
            name = next(one.name for one in secrets if one.live(wall) and fits(one))
            found.ok(member, f'the credential is the secret "{name}"')
            return
        case Verdict.NO_KEY:
            over = [f'"{one.name}", {life(one, wall)}' for one in secrets]
            message = f"no secret of the source lives: not {' and not '.join(over)}"
            found.failed(member, message, "no_live_key")
        case Verdict.REFUSED:
            found.failed(member, _why(case, member, secrets), "unauthorized")
    _hints(found, case, secrets, fits)


def _why(case: Case, member: str, secrets: tuple[Secret, ...]) -> str:
    """What is wrong with a credential, without showing it."""
    api_key, basic = case.source.auth.api_key, case.source.auth.basic
    name = api_key.header if member == "api_key" and api_key is not None else _AUTHORIZATION
    values = case.received.headers.getall(name, ())
    if len(values) != 1:
        times = "is not there" if not values else f"occurs {len(values)} times: none counts then"
        return f"the header {name} {times}"
    if not values[0]:
        return f"the header {name} is empty"
    scheme, _, rest = values[0].partition(" ")
    if member in ("bearer", "basic") and scheme.lower() != member:
        shown = f"has the scheme {scheme}" if scheme.lower() in _SCHEMES else "names no scheme"
        return f"the header {name} {shown}; {member.capitalize()} is asked for"
    if member == "basic" and basic is not None:
        wrong = _username(rest.strip(), basic.username)
        if wrong is not None:
            return wrong
    live = [secret.name for secret in secrets if secret.live(case.wall)]
    return f"the header {name} is none of the live secrets ({quoted(live)})"


def _username(token: str, username: str) -> str | None:
    try:
        plain = base64.b64decode(token, validate=True)
    except (binascii.Error, ValueError):
        return "what follows Basic is not base64"
    given, colon, _ = plain.partition(b":")
    if not colon:
        return "what follows Basic has no colon between name and password"
    if not hmac.compare_digest(given, username.encode()):
        return f'the user name is not "{username}"'
    return None


def _hints(found: Diagnosis, case: Case, secrets: tuple[Secret, ...], fits: Fits) -> None:
    for code, text in _tried(case, secrets, fits):
        found.hint(code, text)
        return


def _tried(case: Case, secrets: tuple[Secret, ...], fits: Fits) -> Iterator[tuple[str, str]]:
    """What the credential is, if not one that counts."""
    for secret in secrets:
        if not secret.live(case.wall) and fits(secret, None):
            message = f'it is the secret "{secret.name}", {life(secret, case.wall)}'
            yield "secret-not-live", message
    for secret in secrets:
        for how, value in keys.readings(secret.value):
            if value and fits(replace(secret, value=value), None):
                yield "secret-form", f'it is the secret "{secret.name}" {how}'
    for secret, (what, headers) in product(secrets, _rewritten(case.received)):
        if fits(secret, headers):
            yield "credential-form", f'it is the secret "{secret.name}", but {what}'
    for secret in keys.foreign(case.config, case.source):
        if fits(secret, None):
            yield "other-secret", f"it is {keys.whose(case.config, secret.name)}"


def _rewritten(received: Received) -> list[tuple[str, HeaderList]]:
    """The request with its credentials written otherwise."""
    pairs = list(received.headers.items())

    def each(change: Callable[[str], str]) -> HeaderList:
        return HeaderList((name, change(value)) for name, value in pairs)

    def bare(value: str) -> str:
        start, _, rest = value.partition(" ")
        return rest if start.lower() in _SCHEMES else value

    return [
        ("with quotation marks around it", each(lambda value: value.strip("\"'"))),
        ("with a scheme before it", each(bare)),
        ("without Bearer before it", each(lambda value: f"Bearer {value}")),
        ("behind another scheme than Bearer", each(lambda value: f"Bearer {bare(value)}")),
        ("without Basic before it", each(lambda value: f"Basic {value}")),
    ]
