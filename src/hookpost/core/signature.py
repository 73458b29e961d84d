"""Is a request signed by whom we share a key with: one verifier for every scheme of the grammar.

What is compared are bytes, in constant time, with every live key and every signature that the
request offers: text that the key gives against text that came. A signature by a public key is
decoded strictly (it must be the one way to write its bytes) and then checked. The timestamp is
judged last, so that only who has the key is told that it is stale.
"""

import base64
import binascii
import hmac
import re
from typing import NamedTuple

from hookpost.core.expression import Expression
from hookpost.core.received import Received, Twice
from hookpost.core.scheme import (
    Encoding,
    Form,
    Key,
    SignaturePlace,
    SignatureScheme,
    TimestampPlace,
)
from hookpost.core.template import Absent, Values, render

MOST = 16  # signatures of one request that are looked at

_DIGITS = re.compile(rb"0|[1-9][0-9]*")


class Unproven(Exception):
    """Why a request is not proved: a code of core.refusals, and the reason for the operator."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


Pairs = tuple[tuple[bytes, bytes], ...]


class Claim(NamedTuple):
    """What a request says of its signing: signatures, timestamp, and the text that they sign."""

    candidates: list[bytes]
    timestamp: bytes | None
    signed: bytes


def verify(scheme: SignatureScheme, received: Received, wall: float) -> Key:
    """The key that the request is signed with, at wall-clock time `wall`; raises Unproven."""
    live = live_keys(scheme.keys, wall)
    claim = claimed(scheme, received)
    key = _match(scheme, live, claim)
    if key is None:
        raise Unproven("unauthorized", "the signature does not fit")
    place, timestamp = scheme.timestamp, claim.timestamp
    if place is not None and timestamp is not None:
        _fresh(place, timestamp, wall)
    return key


def claimed(scheme: SignatureScheme, received: Received) -> Claim:
    """What is to be judged of a request; raises Unproven where something is missing."""
    candidates, pairs = offered(scheme.signature, received)
    place = scheme.timestamp
    timestamp = None if place is None else timestamp_of(place, received, pairs)
    named = _named(scheme.id_headers, received, "id") if scheme.id_headers else None
    try:
        signed = render(scheme.template, Values(received, timestamp, named))
    except Absent as mistake:
        raise Unproven(
            "unauthorized", f"what is signed cannot be put together: {mistake}"
        ) from None
    return Claim(candidates, timestamp, signed)


def live_keys(keys: tuple[Key, ...], wall: float) -> list[Key]:
    """The keys that live; Unproven where none does."""
    live = [key for key in keys if key.secret.live(wall)]
    if not live:
        raise Unproven("no_live_key", "no secret of this source is live")
    return live


def encoded(value: bytes, encoding: Encoding) -> bytes:
    """Bytes as text of one encoding."""
    match encoding:
        case Encoding.HEX:
            return value.hex().encode()
        case Encoding.BASE64:
            return base64.b64encode(value)
        case Encoding.BASE64URL:
            return base64.urlsafe_b64encode(value).rstrip(b"=")


def strictly_decoded(text: bytes, encoding: Encoding) -> bytes | None:
    """The bytes that are written so in exactly this way; None: not so."""
    try:
        match encoding:
            case Encoding.HEX:
                value = bytes.fromhex(text.decode("ascii"))
            case Encoding.BASE64:
                value = base64.b64decode(text, validate=True)
            case Encoding.BASE64URL:
                value = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return value if encoded(value, encoding) == text else None


# -- where things stand ----------------------------------------------------------------------


def offered(place: SignaturePlace, received: Received) -> tuple[list[bytes], Pairs]:
    """The signatures that a request offers, and the pairs of its header; Unproven: none."""
    pairs: Pairs = ()
    if place.json is not None:
        value = _member(place.json, received, str)
    else:
        value = _named(place.headers, received, "signature")
    if place.header_prefix:
        start = place.header_prefix.encode()
        if not value.startswith(start):
            raise Unproven("unauthorized", f"the signature does not begin {place.header_prefix!r}")
        value = value[len(start) :]
    match place.form:
        case Form.RAW:
            found = [value]
        case Form.LIST:
            parts = (part.strip(b" ") for part in value.split(place.separator.encode()))
            found = [part for part in parts if part]
        case Form.KV:
            pairs = _pairs(value, place)
            keys = {key.encode() for key in place.keys}
            found = [text for name, text in pairs if name in keys]
    prefix = place.prefix.encode()
    found = [part[len(prefix) :] for part in found if part.startswith(prefix)]
    if not found:
        raise Unproven("unauthorized", "no signature of a known kind is there")
    if len(found) > MOST:
        raise Unproven("unauthorized", f"there are {len(found)} signatures; at most {MOST} count")
    return found, pairs


def _pairs(value: bytes, place: SignaturePlace) -> Pairs:
    middle = place.pair_separator.encode()
    members = (member.partition(middle) for member in value.split(place.separator.encode()))
    return tuple((name, text) for name, found, text in members if found)


def _named(names: tuple[str, ...], received: Received, what: str) -> bytes:
    """The first of these headers that is there."""
    for name in names:
        try:
            value = received.header(name)
        except Twice as mistake:
            raise Unproven("unauthorized", str(mistake)) from None
        if value is not None:
            return value
    raise Unproven("unauthorized", f"there is no header {' or '.join(names)} with the {what}")


def _member(path: Expression, received: Received, kind: type) -> bytes:
    """A text or a whole number in the body's JSON, as text."""
    try:
        value = path(received.json)
    except ValueError as mistake:
        raise Unproven("unauthorized", str(mistake)) from None
    if type(value) is not kind:
        raise Unproven("unauthorized", "the signature's part of the body is missing or no text")
    return str(value).encode("utf-8", "surrogatepass")


# -- when ------------------------------------------------------------------------------------


def timestamp_of(place: TimestampPlace, received: Received, pairs: Pairs) -> bytes:
    """The digits of the time of signing; raises Unproven."""
    if place.json is not None:
        value = _member(place.json, received, str if place.text else int)
    elif place.kv is not None:
        found = [text for name, text in pairs if name == place.kv.encode()]
        if not found:
            raise Unproven("unauthorized", f"there is no timestamp {place.kv}= in the header")
        if len(found) > 1:
            raise Unproven("timestamp_malformed", f"the timestamp {place.kv}= occurs twice")
        value = found[0]
    else:
        value = _named(place.headers, received, "timestamp")
    most = 15 if place.milliseconds else 12
    if _DIGITS.fullmatch(value) is None:
        raise Unproven("timestamp_malformed", "the timestamp is no plain decimal number")
    if len(value) > most:
        unit = "milliseconds" if place.milliseconds else "seconds (unit: ms takes milliseconds)"
        raise Unproven("timestamp_malformed", f"the timestamp has too many digits for {unit}")
    return value


def age_of(place: TimestampPlace, timestamp: bytes, wall: float) -> int:
    """How old a timestamp is, in its own unit; negative: it is ahead of this clock."""
    return int(wall * (1000 if place.milliseconds else 1)) - int(timestamp)


def _fresh(place: TimestampPlace, timestamp: bytes, wall: float) -> None:
    """Inside the tolerance, both ways, inclusive; milliseconds are compared as such."""
    scale = 1000 if place.milliseconds else 1
    age = age_of(place, timestamp, wall)
    if abs(age) > place.tolerance * scale:
        seconds = abs(age) // scale
        side = "old" if age > 0 else "ahead of this machine's clock"
        raise Unproven(
            "timestamp_stale",
            f"the timestamp is {seconds} s {side}; at most {place.tolerance:g} s are taken",
        )


# -- does it fit -----------------------------------------------------------------------------


def _match(scheme: SignatureScheme, live: list[Key], claim: Claim) -> Key | None:
    """The first key that any signature fits; all are tried all the same."""
    candidates, _, signed = claim
    encoding = scheme.signature.encoding
    found: Key | None = None
    for key in live:
        if key.check is not None:
            fits = _checked(key, signed, candidates, encoding)
        else:
            mac = hmac.digest(key.value, signed, scheme.algorithm)
            expected = encoded(mac, encoding)
            fits = False
            for candidate in candidates:
                fits |= hmac.compare_digest(expected, candidate)
        if fits and found is None:
            found = key
    return found


def _checked(key: Key, signed: bytes, candidates: list[bytes], encoding: Encoding) -> bool:
    fits = False
    for candidate in candidates:
        value = strictly_decoded(candidate, encoding)
        if value is not None and key.check is not None:
            fits |= key.check(signed, value)
    return fits
