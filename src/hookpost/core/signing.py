"""Outgoing signatures: Standard Webhooks, scheme v1 (https://www.standardwebhooks.com).

What is signed is `{webhook-id}.{webhook-timestamp}.{body}`, by HMAC-SHA256; each live key gives one
`v1,<base64>`, separated by spaces, in the order in which the keys are configured: newest first.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from functools import lru_cache

from hookpost.core.secrets import Secret

PREFIX = b"whsec_"
SHORTEST, LONGEST = 24, 64  # bytes of a key

_ID = re.compile(r"[!-\-/-~]{1,128}", re.ASCII)  # printable, no space, no dot: it ends the id


def signing_key(value: bytes) -> bytes:
    """The key in a configured secret: `whsec_` and the canonical base64 of 24 to 64 bytes.

    Raises ValueError with the reason and the remedy, never with the secret.
    """
    if value[:5] in (b"whsk_", b"whpk_"):
        raise ValueError(
            f"it begins with {value[:5].decode()}, an ed25519 key; "
            "standard_webhooks wants a shared secret, whsec_…"
        )
    if not value.startswith(PREFIX):
        raise ValueError(
            'it does not begin with "whsec_"; make one with: hookpost secrets generate'
        )
    text = value[len(PREFIX) :]
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("what follows whsec_ is not base64 (with padding)") from error
    if base64.b64encode(key) != text:
        raise ValueError("what follows whsec_ is not canonical base64: encode the bytes again")
    if not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(f"the key has {len(key)} bytes; {SHORTEST} to {LONGEST} are needed")
    return key


Keys = tuple[tuple[Secret, bytes], ...]


def signing_keys(secrets: Sequence[Secret]) -> Keys:
    """The secrets with their keys. One that is none (refused when the file is checked) is left out:
    it never lives, so an endpoint that has no other is held.
    """
    keys = []
    for secret in secrets:
        try:
            keys.append((secret, signing_key(secret.value)))
        except ValueError:
            continue
    return tuple(keys)


def sign(event_id: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> str:
    """The `webhook-signature` of one attempt. `timestamp` is whole UNIX seconds.

    Raises ValueError without a key, for an id that is not 1-128 printable ASCII characters without
    space and dot, and for a negative timestamp.
    """
    if not keys:
        raise ValueError("there is no live key to sign with")
    if _ID.fullmatch(event_id) is None:
        raise ValueError(
            f"event id {event_id!r} cannot be signed: "
            "1 to 128 printable ASCII characters without space or dot are needed"
        )
    if timestamp < 0:
        raise ValueError(f"timestamp {timestamp} is before 1970: set the clock")
    signed = b"%b.%d.%b" % (event_id.encode(), timestamp, body)
    return " ".join([_signature(key, signed) for key in keys])


def _signature(key: bytes, signed: bytes) -> str:
    keyed = _keyed(key).copy()
    keyed.update(signed)
    return "v1," + binascii.b2a_base64(keyed.digest(), newline=False).decode()


@lru_cache(maxsize=1024)
def _keyed(key: bytes) -> hmac.HMAC:
    """HMAC with the key taken in, to be copied.

    Cheaper than `hmac.digest`, which also gives the interpreter away at each call and then waits
    for whoever took it; this does so for large bodies only.
    """
    return hmac.new(key, digestmod="sha256")
