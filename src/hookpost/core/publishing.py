"""The other side of a signature: what a publisher adds to its request, for trying out a source."""

import hmac
from collections.abc import Mapping

from hookpost.core import twilio
from hookpost.core.received import Received
from hookpost.core.scheme import BodySecret, Form, Key, Proof, SignatureScheme, TwilioScheme
from hookpost.core.signature import encoded, live_keys
from hookpost.core.template import Absent, Values, render


class Unsignable(ValueError):
    """Why a request cannot be signed here; says what to do."""


def signed_headers(
    proof: Proof, received: Received, wall: float, event_id: str
) -> Mapping[str, str]:
    """The headers with which `received` passes `proof`, by its first live key.

    `event_id` goes where the scheme has an id. Raises Unsignable, or Unproven without a live key.
    """
    match proof:
        case SignatureScheme():
            return _signed(proof, received, wall, event_id)
        case TwilioScheme():
            return _as_twilio(proof, received, wall)
        case BodySecret():
            return {}  # it is the body that holds it


def _as_twilio(proof: TwilioScheme, received: Received, wall: float) -> Mapping[str, str]:
    key = live_keys(proof.keys, wall)[0]
    try:
        tail = twilio.form_text(received.body)
    except ValueError:
        raise Unsignable("the body is no form; Twilio signs forms") from None
    return {twilio.HEADER: twilio.sign(key.value, received.url.encode() + tail).decode()}


def _signed(
    scheme: SignatureScheme, received: Received, wall: float, event_id: str
) -> Mapping[str, str]:
    place, when = scheme.signature, scheme.timestamp
    key = live_keys(scheme.keys, wall)[0]
    if key.check is not None:
        raise Unsignable("only the publisher has the private key; send a request that it has made")
    if not place.headers:
        raise Unsignable("the signature is part of the body; send one that the publisher has made")
    headers: dict[str, str] = {}
    stamp: bytes | None = None
    if when is not None:
        stamp = str(int(wall * (1000 if when.milliseconds else 1))).encode()
        if when.headers:
            headers[when.headers[0]] = stamp.decode()
        if when.json is not None:
            value = when.json(received.json)
            if value is None:
                raise Unsignable(
                    f"the timestamp is part of the body, which has none; now is {stamp.decode()}"
                )
            stamp = str(value).encode()
    if scheme.id_headers:
        headers[scheme.id_headers[0]] = event_id
    headers[place.headers[0]] = _written(scheme, key, received, stamp, event_id)
    return headers


def _written(
    scheme: SignatureScheme, key: Key, received: Received, stamp: bytes | None, event_id: str
) -> str:
    """The header's value."""
    place = scheme.signature
    try:
        signed = render(scheme.template, Values(received, stamp, event_id.encode()))
    except Absent as mistake:
        raise Unsignable(f"what is signed cannot be put together: {mistake}") from None
    mac = hmac.digest(key.value, signed, scheme.algorithm)
    one = place.prefix + encoded(mac, place.encoding).decode()
    if place.form is not Form.KV:
        return place.header_prefix + one
    pairs = [(place.keys[0], one)]
    if scheme.timestamp is not None and scheme.timestamp.kv is not None:
        pairs.insert(0, (scheme.timestamp.kv, (stamp or b"").decode()))
    return place.header_prefix + place.separator.join(
        f"{name}{place.pair_separator}{value}" for name, value in pairs
    )
