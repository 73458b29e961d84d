"""JSON Web Key Sets (RFC 7517): a file → what verifies tokens, each key by its own algorithm."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from hookpost.config import material
from hookpost.config.diagnostics import Path, quoted
from hookpost.config.draft import Draft
from hookpost.config.schema import Json
from hookpost.core import units
from hookpost.core.settings import Jwt

MOST_KEYS = 16
SMALLEST, LARGEST = 2048, 8192
"""Bits of an RSA key: fewer are broken, more take too long."""

_ALGORITHMS = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""By a key's kind and curve; the first is meant where the key names none (RFC 7518, 8037)."""


class _Unfit(ValueError):
    """Why a key cannot be taken."""


@dataclass(frozen=True, slots=True)
class _Key:
    kid: str | None
    algorithm: str
    public: Any


def check(draft: Draft, name: str, data: Json) -> None:
    """Fill `draft.jwts` where the source takes tokens; every mistake in its key set is reported."""
    auth = data.get("auth")
    jwt = auth.get("jwt") if isinstance(auth, dict) else None
    if not isinstance(jwt, dict) or not {"jwks_file", "issuer", "audience"} <= jwt.keys():
        return
    path: Path = ("sources", name, "auth", "jwt", "jwks_file")
    text, file = material.read(draft, path, "JSON"), material.place(draft, path)
    if text is None or file is None:
        return
    found = _usable(draft, path, str(file), _listed(draft, path, str(file), text))
    if not found:
        return
    leeway = {"leeway": units.duration(jwt["leeway"])} if "leeway" in jwt else {}
    draft.jwts[name] = Jwt(
        jwks_file=file,
        issuer=jwt["issuer"],
        audience=jwt["audience"],
        digest=sha256(text.encode()).hexdigest(),
        payload=_verifier(found),
        **leeway,
    )


def _listed(draft: Draft, path: Path, file: str, text: str) -> list[Any]:
    try:
        keys = json.loads(text)["keys"]
    except (ValueError, RecursionError, TypeError, KeyError):
        keys = None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        message = f'{file} is no key set; write {{"keys": [{{"kty": …}}]}}'
        draft.error(path, "bad-key-set", message)
        return []
    if len(keys) > MOST_KEYS:
        message = f"{file} has {len(keys)} keys, and at most {MOST_KEYS} are tried; remove old ones"
        draft.error(path, "bad-key-set", message)
        return []
    if not keys:
        draft.error(path, "bad-key-set", f"{file} has no key; no token could be verified")
    return keys


def _usable(draft: Draft, path: Path, file: str, keys: Sequence[Json]) -> list[_Key]:
    """The keys that verify; those for something else are left out with a warning."""
    found: list[_Key] = []
    failed = False
    for number, data in enumerate(keys, start=1):
        where = f"key {number} of {file}"
        if _is_for_something_else(data):
            message = f"{where} verifies no tokens; it is left out"
            draft.warning(path, "unusable-key", message)
            continue
        try:
            found.append(_key(data))
        except _Unfit as mistake:
            failed = True
            draft.error(path, "bad-key", f"{where} {mistake}")
    if keys and not found and not failed:
        draft.error(path, "bad-key-set", f"{file} has no key that verifies tokens")
    return [] if failed else found


def _is_for_something_else(data: Json) -> bool:
    """RFC 7517, 4.2, 4.3 and 5: another use, or a kind that is not known here."""
    kind, curve, operations = data.get("kty"), data.get("crv"), data.get("key_ops")
    if data.get("use", "sig") != "sig" or (
        isinstance(operations, list) and "verify" not in operations
    ):
        return True
    known = {kind for kind, _ in _ALGORITHMS} | {"oct"}
    if not isinstance(kind, str):
        return False
    strange = kind in ("EC", "OKP") and isinstance(curve, str) and (kind, curve) not in _ALGORITHMS
    return kind not in known or strange


def _key(data: Json) -> _Key:
    """Raises _Unfit."""
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    if data.get("kty") == "oct":
        raise _Unfit("is a shared secret (oct), which a file of public keys must not hold")
    if "d" in data:
        raise _Unfit("is a private key; whoever reads it makes tokens: keep the public part only")
    kind: Any = data.get("kty")
    curve: Any = None if kind == "RSA" else data.get("crv")
    known = isinstance(kind, str) and isinstance(curve, str | None)
    allowed = _ALGORITHMS.get((kind, curve)) if known else None
    if allowed is None:
        raise _Unfit("has no kind that is known here; RSA, EC and Ed25519 keys are taken")
    algorithm, kid = data.get("alg", allowed[0]), data.get("kid")
    if algorithm not in allowed:
        raise _Unfit(f"says alg {quoted(str(algorithm))}; with it go {', '.join(allowed)}")
    if not isinstance(kid, str | None):
        raise _Unfit("has a kid that is no text")
    try:
        public = PyJWK({**data, "alg": algorithm}).key
    except (PyJWTError, ValueError, TypeError):
        raise _Unfit("cannot be read: a number of it is missing or wrong") from None
    size = getattr(public, "key_size", SMALLEST) if curve is None else SMALLEST
    if not SMALLEST <= size <= LARGEST:
        raise _Unfit(f"has {size} bits; take an RSA key of {SMALLEST} to {LARGEST}")
    return _Key(kid, algorithm, public)


def _verifier(keys: Sequence[_Key]) -> Callable[[bytes], bytes | None]:
    """A token → its payload, if one of the keys has signed it by that key's own algorithm.

    What the token says of its algorithm only leaves keys out; it brings none in. A header that asks
    for more (`crit`, `b64`) is refused; keys and addresses in it are not looked at.
    """
    from jwt.api_jws import PyJWS
    from jwt.exceptions import InvalidSignatureError, PyJWTError

    jws = PyJWS(algorithms=sorted({key.algorithm for key in keys}))

    def payload(token: bytes) -> bytes | None:
        try:
            header = jws.get_unverified_header(token)
        except (PyJWTError, ValueError, RecursionError):
            return None
        if "crit" in header or "b64" in header:
            return None
        for key in keys:
            if header.get("alg") != key.algorithm or header.get("kid", key.kid) != key.kid:
                continue
            try:
                verified: bytes = jws.decode_complete(
                    token, key.public, algorithms=[key.algorithm]
                )["payload"]
            except InvalidSignatureError:
                continue
            except (PyJWTError, ValueError, RecursionError):
                return None
            return verified
        return None

    return payload
