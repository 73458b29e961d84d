"""How signatures are written down: the other direction of core.signature's reading."""

import hmac
from collections.abc import Sequence

from hookpost.core.scheme import Form, Key, SignatureScheme, TimestampPlace
from hookpost.core.signature import encoded


def stamp_at(place: TimestampPlace, wall: float) -> bytes:
    """Wall-clock time `wall` (UNIX seconds) as the digits of a scheme's timestamp."""
    return str(int(wall * (1000 if place.milliseconds else 1))).encode()


def mac(key: Key, signed: bytes, algorithm: str) -> bytes:
    """The HMAC of what is signed."""
    return hmac.digest(key.value, signed, algorithm)


def room_for_several(scheme: SignatureScheme) -> bool:
    """Whether a header of the scheme holds the signatures of several keys."""
    return scheme.signature.form is not Form.RAW


def written(scheme: SignatureScheme, signatures: Sequence[bytes], stamp: bytes | None) -> str:
    """The value of the signature header; of a form without room for several the first counts."""
    place = scheme.signature
    members = [place.prefix + encoded(one, place.encoding).decode() for one in signatures]
    match place.form:
        case Form.RAW:
            return members[0]
        case Form.LIST:
            return place.header_prefix + place.separator.join(members)
        case Form.KV:
            pairs = [(place.keys[0], member) for member in members]
            if scheme.timestamp is not None and scheme.timestamp.kv is not None:
                pairs.insert(0, (scheme.timestamp.kv, (stamp or b"").decode()))
            return place.header_prefix + place.separator.join(
                f"{name}{place.pair_separator}{value}" for name, value in pairs
            )
