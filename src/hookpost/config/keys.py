"""Secrets that verify signatures → keys: HMAC keys as bytes, public keys as what checks.

And private keys, for `hookpost send`.
"""

import base64
import binascii
from functools import partial
from typing import Any

from hookpost.config.schema import Json
from hookpost.core.scheme import Check, Key, Sign
from hookpost.core.secrets import Secret
from hookpost.core.signing import PRIVATE, PUBLIC, private_key


def key_of(member: Json, secret: Secret) -> Key:
    """The key in a secret, as a member of `auth` says; ValueError: why it is none.

    The reason never shows the secret.
    """
    form = member.get("key", {})
    text = secret.value.removeprefix(form.get("strip_prefix", "").encode())
    if not text:
        raise ValueError("nothing is left of it behind its prefix")
    if "signature" not in member or member.get("algorithm", "sha256").startswith("sha"):
        return Key(secret=secret, value=_bytes(text, form.get("encoding", "utf8")))
    return Key(secret=secret, check=_check(text, member["algorithm"], form.get("encoding", "hex")))


def _bytes(text: bytes, encoding: str) -> bytes:
    if encoding == "utf8":
        return text
    try:
        if encoding == "hex":
            return bytes.fromhex(text.decode("ascii"))
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"it is not written in {encoding}, as key.encoding says") from None
    if base64.b64encode(key) != text:
        raise ValueError("it is not canonical base64: encode the bytes again")
    return key


def _check(text: bytes, algorithm: str, encoding: str) -> Check:
    """A public key. cryptography is slow to load, so it is only where there is one."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    key = _public(text, encoding)
    match algorithm, key:
        case "ed25519", ed25519.Ed25519PublicKey():
            verify = key.verify
        case "ecdsa-p256", ec.EllipticCurvePublicKey() if key.curve.name == "secp256r1":
            verify = partial(key.verify, signature_algorithm=ec.ECDSA(hashes.SHA256()))
        case _:
            raise ValueError(f"it is no public key of the kind {algorithm}")

    def fits(signed: bytes, signature: bytes) -> bool:
        try:
            verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    return fits


def ed25519_key(secret: Secret) -> Key:
    """What signs with a secret of the form `whsk_…`; ValueError: why it cannot.

    A public half that is not that of the seed is refused: the receiver would have been given
    another. The reason never shows the secret.
    """
    seed, public = private_key(secret.value)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(seed)
    if key.public_key().public_bytes_raw() != public:
        raise ValueError("its second half is not the public key of its first: make another")
    return Key(secret=secret, sign=key.sign)


def new_ed25519() -> tuple[str, str]:
    """A new private key, `whsk_…`, and the public key for receivers, `whpk_…`."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    whole = base64.b64encode(key.private_bytes_raw() + public)
    return (PRIVATE + whole).decode(), (PUBLIC + base64.b64encode(public)).decode()


def ed25519_check(text: bytes) -> Check:
    """What checks signatures with a public key of the form `whpk_…`; ValueError: it is none."""
    if not text.startswith(PUBLIC):
        raise ValueError("it does not begin with whpk_")
    return _check(text.removeprefix(PUBLIC), "ed25519", "base64")


def signer(pem: bytes, algorithm: str) -> Sign:
    """What signs with a private key in PEM, as publishers with public keys do.

    ValueError: why it cannot; the reason never shows the key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("it is no private key in PEM") from None
    except TypeError:
        raise ValueError("it is locked by a password; write it without one") from None
    match algorithm, key:
        case "ed25519", ed25519.Ed25519PrivateKey():
            return key.sign
        case "ecdsa-p256", ec.EllipticCurvePrivateKey() if key.curve.name == "secp256r1":
            return partial(key.sign, signature_algorithm=ec.ECDSA(hashes.SHA256()))
    raise ValueError(f"it is no private key of the kind {algorithm}")


def _public(text: bytes, encoding: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    try:
        if encoding != "spki":
            return ed25519.Ed25519PublicKey.from_public_bytes(_bytes(text, encoding))
        if text.startswith(b"-----BEGIN"):
            return serialization.load_pem_public_key(text)
        return serialization.load_der_public_key(_bytes(text, "base64"))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(f"it is no public key in {encoding}, as key.encoding says") from None
