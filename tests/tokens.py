"""Keys that issue tokens, their public halves as a key set, and tokens of any kind."""

import base64
import json
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

NOW = 1_750_000_000
ISSUER, AUDIENCE = "https://id.example.com/", "hookpost"
RSA = rsa.generate_private_key(65537, 2048)
SMALL_RSA = rsa.generate_private_key(65537, 1024)
CURVE = ec.generate_private_key(ec.SECP256R1())
CURVE_384 = ec.generate_private_key(ec.SECP384R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
CLAIMS: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 60}


def public(key: Any, **members: Any) -> dict[str, Any]:
    """A key's public half as a JSON Web Key."""
    kinds = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    found = next((each for kind, each in kinds.items() if isinstance(key, kind)), OKPAlgorithm)
    data: dict[str, Any] = found.to_jwk(key.public_key(), as_dict=True)
    data.pop("key_ops", None)
    return data | members


def write(file: Path, *keys: dict[str, Any]) -> None:
    """A key set, in one instant: somebody may read at any time."""
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps({"keys": list(keys)}))
    fresh.replace(file)


def token(key: Any = RSA, algorithm: str = "RS256", *, headers: Any = None, **claims: Any) -> str:
    """A signed token; a claim that is None is left out."""
    whole = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    return jwt.api_jws.encode(json.dumps(whole).encode(), key, algorithm, headers=headers)


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def bearer(text: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {text}")
