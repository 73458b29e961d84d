"""The other side of a signature: what a publisher adds to its request, for trying out a source."""

from collections.abc import Mapping

from hookpost.core import twilio
from hookpost.core.proof import prove_one
from hookpost.core.received import Received
from hookpost.core.scheme import (
    BodySecret,
    Key,
    Proof,
    Sign,
    SignatureScheme,
    TimestampPlace,
    TwilioScheme,
)
from hookpost.core.signature import Unproven, age_of, live_keys, timestamp_of
from hookpost.core.template import Absent, Values, render
from hookpost.core.writing import mac, stamp_at, written


class Unsignable(ValueError):
    """Why a request cannot be signed here; says what to do."""


def added_query(proofs: tuple[Proof, ...], received: Received) -> str:
    """What a publisher adds to the address that it calls, before it signs; mostly nothing."""
    for proof in proofs:
        if isinstance(proof, TwilioScheme) and received.body and not twilio.is_form(received):
            return f"{twilio.DIGEST}={twilio.body_digest(received.body).decode()}"
    return ""


def signed_headers(
    proof: Proof, received: Received, wall: float, event_id: str, sign: Sign | None = None
) -> Mapping[str, str]:
    """The headers with which `received` passes `proof`, by its first live key.

    `event_id` goes where the scheme has an id; `sign` is the private key of a scheme that has one.
    Raises Unsignable, or Unproven without a live key.
    """
    match proof:
        case SignatureScheme():
            return _signed(proof, received, wall, event_id, sign)
        case TwilioScheme():
            return _as_twilio(proof, received, wall)
        case BodySecret():
            return _holding(proof, received, wall)


def _holding(proof: BodySecret, received: Received, wall: float) -> Mapping[str, str]:
    try:
        prove_one(proof, received, wall)
    except Unproven as mistake:
        if mistake.code != "unauthorized":
            raise
        names = " or ".join(secret.name for secret in proof.secrets if secret.live(wall))
        raise Unsignable(
            f"the body itself must hold the secret ({names}) where this source looks for it: "
            "write it there"
        ) from None
    return {}


def _as_twilio(proof: TwilioScheme, received: Received, wall: float) -> Mapping[str, str]:
    key = live_keys(proof.keys, wall)[0]
    try:
        tail = b"" if received.field(twilio.DIGEST) else twilio.form_text(received.body)
    except ValueError:
        raise Unsignable("the body is no form in UTF-8, which Twilio would sign") from None
    return {twilio.HEADER: twilio.sign(key.value, received.url.encode() + tail).decode()}


def _signed(
    scheme: SignatureScheme, received: Received, wall: float, event_id: str, sign: Sign | None
) -> Mapping[str, str]:
    place, when = scheme.signature, scheme.timestamp
    key = live_keys(scheme.keys, wall)[0]
    if key.check is not None and sign is None:
        raise Unsignable(
            "only the publisher has the private key to this source's public key; "
            "give --key FILE where you have it (a key made for the trial), or send a request "
            "that the publisher has made"
        )
    if not place.headers:
        raise Unsignable("the signature is part of the body; send one that the publisher has made")
    headers: dict[str, str] = {}
    stamp: bytes | None = None
    if when is not None:
        stamp = stamp_at(when, wall)
        if when.headers:
            headers[when.headers[0]] = stamp.decode()
        if when.json is not None:
            stamp = _inside(when, received, wall, stamp)
    if scheme.id_headers:
        headers[scheme.id_headers[0]] = event_id
    try:
        signed = render(scheme.template, Values(received, stamp, event_id.encode()))
    except Absent as mistake:
        raise Unsignable(f"what is signed cannot be put together: {mistake}") from None
    signature = _signature(scheme, key, signed, wall, sign)
    headers[place.headers[0]] = written(scheme, [signature], stamp)
    return headers


def _inside(when: TimestampPlace, received: Received, wall: float, now: bytes) -> bytes:
    """The timestamp that is part of the body, which must be a fresh one."""
    unit = "milliseconds" if when.milliseconds else "seconds"
    remedy = f"write the time of sending there; now it is {now.decode()} ({unit})"
    try:
        found = timestamp_of(when, received, ())
    except Unproven:
        raise Unsignable(f"the timestamp is part of the body, which has none: {remedy}") from None
    if abs(age_of(when, found, wall)) > when.tolerance * (1000 if when.milliseconds else 1):
        raise Unsignable(f"the timestamp in the body is stale: {remedy}")
    return found


def _signature(
    scheme: SignatureScheme, key: Key, signed: bytes, wall: float, sign: Sign | None
) -> bytes:
    if key.check is None or sign is None:
        return mac(key, signed, scheme.algorithm)
    made = sign(signed)
    live = live_keys(scheme.keys, wall)
    if not any(one.check is not None and one.check(signed, made) for one in live):
        names = ", ".join(one.secret.name for one in live)
        raise Unsignable(
            f"the private key is not the other half of a public key of this source ({names})"
        )
    return made
