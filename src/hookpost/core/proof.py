"""What a source's `auth` asks of the body: every proof must hold."""

import hmac

from hookpost.core import signature, twilio
from hookpost.core.received import Received
from hookpost.core.scheme import BodySecret, Key, Proof, SignatureScheme, TwilioScheme
from hookpost.core.signature import Unproven


def prove(proofs: tuple[Proof, ...], received: Received, wall: float) -> Key | None:
    """The key of the first proof that has one; None where there is none. Raises Unproven."""
    found: Key | None = None
    for proof in proofs:
        key = prove_one(proof, received, wall)
        found = found or key
    return found


def prove_one(proof: Proof, received: Received, wall: float) -> Key:
    """The key, or the secret as one, with which one proof holds; raises Unproven."""
    match proof:
        case SignatureScheme():
            return signature.verify(proof, received, wall)
        case TwilioScheme():
            return twilio.verify(proof, received, wall)
        case BodySecret():
            return _in_the_body(proof, received, wall)


def _in_the_body(proof: BodySecret, received: Received, wall: float) -> Key:
    """Each value that the expression finds, at least one, is a live secret."""
    live = [secret for secret in proof.secrets if secret.value and secret.live(wall)]
    if not live:
        raise Unproven("no_live_key", "no secret of this source is live")
    try:
        found = proof.json(received.json)
    except ValueError as mistake:
        raise Unproven("unauthorized", str(mistake)) from None
    values = found if isinstance(found, list) else [found]
    passed = [secret for secret in live if _all_are(values, secret.value)]
    if not values or not passed:
        raise Unproven("unauthorized", "the secret in the body is missing or wrong")
    return Key(secret=passed[0], value=passed[0].value)


def _all_are(values: list[object], secret: bytes) -> bool:
    same = True
    for value in values:
        text = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b""
        same &= hmac.compare_digest(text, secret)
    return same
