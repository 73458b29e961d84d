"""What a JSON Web Token says (RFC 7519), once its signature is verified: for whom, and when."""

import json
from typing import Any

_LATEST = 1e12  # seconds; no time that is meant lies beyond it


def hold(payload: bytes, *, issuer: str, audience: str, leeway: float, at: float) -> bool:
    """Whether the claims are those of a token for this gateway, at wall-clock time `at`.

    `exp` must be there, `nbf` and `iat` may be. `leeway` is seconds that the clocks may differ.
    """
    try:
        claims: Any = json.loads(payload)
    except (ValueError, RecursionError):
        return False
    if not isinstance(claims, dict):
        return False
    meant = claims.get("aud")
    return (
        claims.get("iss") == issuer
        and (meant == audience or (isinstance(meant, list) and audience in meant))
        and "exp" in claims
        and _time(claims["exp"]) > at - leeway
        and all(_time(claims[name], _LATEST) <= at + leeway for name in _BEGINS & claims.keys())
    )


_BEGINS = frozenset({"nbf", "iat"})


def _time(value: Any, otherwise: float = -_LATEST) -> float:
    """A NumericDate in UNIX seconds; `otherwise` for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return otherwise
    return float(value) if -_LATEST < value < _LATEST else otherwise
