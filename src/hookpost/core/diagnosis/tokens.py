"""The step of a JSON Web Token: who signed it, for whom it is, and when it counts."""

import json
from typing import Any

from hookpost.core.diagnosis.case import Case
from hookpost.core.diagnosis.findings import Diagnosis, span
from hookpost.core.settings import Auth, Jwt
from hookpost.core.verification import Verdict, verify


def judged(found: Diagnosis, case: Case, jwt: Jwt) -> None:
    """What the token comes to; of its claims only those are shown that count here."""
    if verify(Auth(jwt=jwt), case.received.headers, case.wall, case.tokens) is Verdict.PASSED:
        found.ok("jwt", f"the token is signed by a key of {jwt.jwks_file.name} and counts now")
        return
    found.failed("jwt", _why(case, jwt), "unauthorized")


def _why(case: Case, jwt: Jwt) -> str:
    values = [*case.received.headers.getall("Authorization", ())]
    scheme, _, rest = (values or [""])[0].partition(" ")
    if values and scheme.lower() != "bearer":
        return "the header Authorization has no token behind the word Bearer"
    given = [rest.strip(), *case.tokens] if values else case.tokens
    if len(given) != 1 or len(values) > 1:
        return "there is no token" if not given else "there are several tokens: none counts then"
    payload = jwt.payload(given[0].encode("utf-8", "surrogateescape"))
    if payload is None:
        return f"no key of {jwt.jwks_file.name} has signed the token"
    try:
        claims: Any = json.loads(payload)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        return "the token says nothing: its payload is no JSON object"
    return _claims(claims, jwt, case.wall)


def _claims(claims: dict[str, Any], jwt: Jwt, wall: float) -> str:
    if claims.get("iss") != jwt.issuer:
        return f"the token is of the issuer {claims.get('iss')!a}, not {jwt.issuer!a}"
    meant = claims.get("aud")
    if jwt.audience not in (meant if isinstance(meant, list) else [meant]):
        return f"the token is for {meant!a}, not for {jwt.audience!a}"
    expires = claims.get("exp")
    if isinstance(expires, int | float) and expires <= wall - jwt.leeway:
        return f"the token expired {span(wall - expires)} ago"
    for name in ("nbf", "iat"):
        begins = claims.get(name)
        if isinstance(begins, int | float) and begins > wall + jwt.leeway:
            return f"the token counts in {span(begins - wall)} only ({name}): a clock is wrong"
    return "the token does not say, as a number, when it expires (exp) or begins (nbf, iat)"
