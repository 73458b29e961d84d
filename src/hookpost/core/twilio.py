"""Twilio's signature (https://www.twilio.com/docs/usage/security): no template can say it.

Signed is the address that was called; of a form, every name and value behind it, names in order
of their code points and each value once; of any other body its SHA-256, which stands in the
address as `bodySHA256`. HMAC-SHA1, base64; an account that has a key of its own for webhooks signs
by HMAC-SHA256. The address may have been written with the port that
goes without saying, or without it.
"""

import base64
import hashlib
import hmac
from itertools import product
from urllib.parse import parse_qsl, urlsplit

from hookpost.core.received import Received, Twice
from hookpost.core.scheme import Key, TwilioScheme
from hookpost.core.signature import Unproven, live_keys

HEADER = "X-Twilio-Signature"
FORM = "application/x-www-form-urlencoded"
DIGEST = "bodySHA256"
_PORTS = {"https": 443, "http": 80}
ALGORITHMS = ("sha1", "sha256")
MOST_FIELDS = 1000


def verify(scheme: TwilioScheme, received: Received, wall: float) -> Key:
    """The key that the request is signed with; raises Unproven."""
    live = live_keys(scheme.keys, wall)
    try:
        given = received.header(HEADER)
        digest = received.field(DIGEST)
    except Twice as mistake:
        raise Unproven("unauthorized", str(mistake)) from None
    if given is None:
        raise Unproven("unauthorized", f"there is no header {HEADER}")
    if digest is not None:
        if not hmac.compare_digest(digest.encode(), body_digest(received.body)):
            raise Unproven("unauthorized", f"{DIGEST} is not the SHA-256 of the body")
        tail = b""
    else:
        tail = _form(received)
    found: Key | None = None
    for key in live:
        for address, algorithm in product(addresses(received.url), ALGORITHMS):
            expected = sign(key.value, address.encode() + tail, algorithm)
            if hmac.compare_digest(expected, given):
                found = found or key
    if found is None:
        raise Unproven("unauthorized", "the signature does not fit")
    return found


def sign(key: bytes, signed: bytes, algorithm: str = ALGORITHMS[0]) -> bytes:
    """The signature of an address and what stands behind it."""
    return base64.b64encode(hmac.digest(key, signed, algorithm))


def body_digest(body: bytes) -> bytes:
    """What `bodySHA256` says of a body that is no form."""
    return hashlib.sha256(body).hexdigest().encode()


def form_text(body: bytes) -> bytes:
    """A form's names and values as they are signed; ValueError: it is none."""
    fields = parse_qsl(
        body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS
    )
    values: dict[str, set[str]] = {}
    for name, value in fields:
        values.setdefault(name, set()).add(value)
    return "".join(
        name + value for name in sorted(values) for value in sorted(values[name])
    ).encode()


def is_form(received: Received) -> bool:
    """Whether a request says that its body is a form."""
    kind = (received.headers.get("Content-Type") or "").partition(";")[0]
    return kind.strip().lower() == FORM


def addresses(url: str) -> list[str]:
    """The ways in which an address may be written: with its usual port, and without."""
    parts = urlsplit(url)
    usual = _PORTS.get(parts.scheme)
    if usual is None or parts.port not in (None, usual):
        return [url]
    host = parts.netloc.removesuffix(f":{usual}")
    start = f"{parts.scheme}://"
    rest = url[len(start) + len(parts.netloc) :]
    return [f"{start}{host}{rest}", f"{start}{host}:{usual}{rest}"]


def _form(received: Received) -> bytes:
    if not received.body:
        return b""
    if not is_form(received):
        raise Unproven("unauthorized", f"a body that is no form needs {DIGEST} in the address")
    try:
        return form_text(received.body)
    except ValueError:
        raise Unproven("unauthorized", "the body is no form in UTF-8") from None
