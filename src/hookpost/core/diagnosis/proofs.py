"""The steps of one proof: what was looked for, what was there, and whether it fits."""

from hookpost.core import twilio
from hookpost.core.diagnosis import trying
from hookpost.core.diagnosis.case import Case
from hookpost.core.diagnosis.findings import Diagnosis, life, quoted, span
from hookpost.core.proof import prove_one
from hookpost.core.received import Received
from hookpost.core.scheme import (
    BodySecret,
    Encoding,
    Form,
    Key,
    Proof,
    SignatureScheme,
    TimestampPlace,
    TwilioScheme,
)
from hookpost.core.secrets import Secret
from hookpost.core.signature import Unproven, age_of, claimed, offered, timestamp_of
from hookpost.core.template import Template, Token

_HEX = frozenset(b"0123456789abcdefABCDEF")
_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-")


def judged(found: Diagnosis, case: Case, proof: Proof) -> Key | None:
    """The key with which the proof holds; None where it does not, and the hints say why."""
    received, wall = case.received, case.wall
    if not _keys(found, _secrets(proof), wall):
        trying.hints(found, case, proof)
        return None
    match proof:
        case SignatureScheme():
            sound = _signature(found, proof, received, wall)
        case TwilioScheme():
            sound = _twilio(found, received)
        case BodySecret():
            sound = True
    try:
        key = prove_one(proof, received, wall)
    except Unproven as mistake:
        if sound:
            _unfit(found, case, proof, mistake)
        trying.hints(found, case, proof)
        return None
    what = "the secret in the body is" if isinstance(proof, BodySecret) else "the signature fits"
    found.ok("match", f'{what} the secret "{key.secret.name}"')
    return key


def _secrets(proof: Proof) -> list[Secret]:
    if isinstance(proof, BodySecret):
        return list(proof.secrets)
    return [key.secret for key in proof.keys]


def _keys(found: Diagnosis, secrets: list[Secret], wall: float) -> bool:
    """Which secrets are compared with."""
    live = [secret.name for secret in secrets if secret.live(wall)]
    over = [f'"{one.name}", {life(one, wall)}' for one in secrets if not one.live(wall)]
    rest = f"; not with {' and '.join(over)}" if over else ""
    if not live:
        found.failed("secrets", f"no secret of the source lives{rest}", "no_live_key")
        return False
    found.ok("secrets", f"compared with {quoted(live)}{rest}")
    return True


def _unfit(found: Diagnosis, case: Case, proof: Proof, mistake: Unproven) -> None:
    if mistake.code == "timestamp_stale":
        key = trying.fits(proof, case.received, case.wall)
        if key is not None:
            found.ok("match", f'the signature fits the secret "{key.secret.name}"')
        _stale(found, case, proof)
        return
    live = [one.name for one in _secrets(proof) if one.live(case.wall)]
    why = mistake.why
    if isinstance(proof, SignatureScheme | TwilioScheme) and "fit" in why:
        why = f"the signature fits none of the live secrets ({quoted(live)})"
    found.failed("match", why, mistake.code)


def _stale(found: Diagnosis, case: Case, proof: Proof) -> None:
    """The signature fits, the time does not."""
    assert isinstance(proof, SignatureScheme) and proof.timestamp is not None  # noqa: S101, PT018 - it was judged
    place = proof.timestamp
    _, pairs = offered(proof.signature, case.received)
    off = _off(place, timestamp_of(place, case.received, pairs), case.wall)
    message = f"the timestamp is {off}; at most {span(place.tolerance)} are taken"
    found.failed("freshness", message, "timestamp_stale")
    found.hint(
        "clock",
        "the signature is right, only the time is not: a clock is off, or the request was held up "
        "on its way; for one that was saved earlier say when it came: --at TIME",
    )


# -- signatures of the grammar ---------------------------------------------------------------


def _signature(found: Diagnosis, scheme: SignatureScheme, received: Received, wall: float) -> bool:
    """Whether everything that is to be judged is there."""
    step = "signature"
    try:
        candidates, pairs = offered(scheme.signature, received)
        found.ok(step, _candidates(scheme, candidates, received))
        if scheme.timestamp is not None:
            step = "timestamp"
            stamp = timestamp_of(scheme.timestamp, received, pairs)
            found.note(step, _distance(scheme.timestamp, stamp, wall))
        step = "signed"
        claim = claimed(scheme, received)
    except Unproven as mistake:
        found.failed(step, mistake.why, mistake.code)
        if step == "timestamp":
            _unit(found, scheme.timestamp, received)
        return False
    found.ok(step, _described(scheme.template, received, len(claim.signed)))
    return True


def _candidates(scheme: SignatureScheme, candidates: list[bytes], received: Received) -> str:
    place = scheme.signature
    there = [name for name in place.headers if received.headers.get(name) is not None]
    where = f"the header {there[0]}" if there else "the body"
    wanted = place.encoding.value
    keys = f" under {', '.join(place.keys)}" if place.form is Form.KV else ""
    kinds = ", ".join(dict.fromkeys(_looks(one, place.encoding) for one in candidates))
    number = "one signature" if len(candidates) == 1 else f"{len(candidates)} signatures"
    return f"{where} holds {number}{keys}, {kinds}; wanted is {scheme.algorithm} in {wanted}"


def _looks(text: bytes, encoding: Encoding) -> str:
    """What a signature looks like, without showing it."""
    letters = set(text)
    if not text:
        return "empty"
    if letters <= _HEX and encoding is Encoding.HEX:
        upper = " in upper case" if text != text.lower() else ""
        return f"{len(text)} hex digits{upper}"
    if letters <= _BASE64:
        kind = "hex digits" if letters <= _HEX else "characters of base64"
        return f"{len(text)} {kind}"
    return f"{len(text)} characters of another kind"


def _distance(place: TimestampPlace, stamp: bytes, wall: float) -> str:
    said = f"{stamp.decode()}: {_off(place, stamp, wall)}"
    return f"{said}; {span(place.tolerance)} are taken either way"


def _off(place: TimestampPlace, stamp: bytes, wall: float) -> str:
    seconds = age_of(place, stamp, wall) / (1000 if place.milliseconds else 1)
    if abs(seconds) < 1:
        return "that of this clock"
    return f"{span(seconds)} {'behind' if seconds > 0 else 'ahead of'} this clock"


def _unit(found: Diagnosis, place: TimestampPlace | None, received: Received) -> None:
    """A hint where the timestamp is one, but in another unit or form."""
    if place is None:
        return
    for name in place.headers:
        value = received.headers.get(name) or ""
        if value.isascii() and value.isdigit() and len(value) > 12 and not place.milliseconds:
            found.hint("timestamp-unit", "these are milliseconds, or less: say unit: ms")
        elif value and not value.isdigit():
            found.hint("timestamp-form", f"{name} must hold digits only, UNIX time")


def _described(template: Template, received: Received, size: int) -> str:
    """What is signed, by its parts and their sizes."""
    parts = [str(part) for part in template.parts if isinstance(part, Token)]
    sizes = {"body": f"{len(received.body)} bytes", "url": received.url.partition("?")[0]}
    named = [f"{part} ({sizes[part]})" if part in sizes else part for part in parts]
    return f"{template.text}: {', '.join(named) or 'a fixed text'}; {size} bytes in all"


# -- Twilio ----------------------------------------------------------------------------------


def _twilio(found: Diagnosis, received: Received) -> bool:
    given = received.headers.get(twilio.HEADER)
    if given is None:
        why = f"there is no header {twilio.HEADER}"
        found.failed("signature", why, "unauthorized")
        return False
    looks = _looks(given.encode("utf-8", "surrogateescape"), Encoding.BASE64)
    found.ok("signature", f"the header {twilio.HEADER} holds {looks}")
    shown = received.url.partition("?")[0] or "an address that nobody has told (url)"
    query = " with its query" if "?" in received.url else ""
    digest = f"{twilio.DIGEST}=" in received.query
    rest = f"the body by {twilio.DIGEST}" if digest else "the form's fields in order"
    found.ok("signed", f"{shown}{query}, then {rest}")
    return True
