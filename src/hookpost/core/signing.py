"""Outgoing signatures: Standard Webhooks (https://www.standardwebhooks.com), and any HMAC scheme.

Of Standard Webhooks what is signed is `{webhook-id}.{webhook-timestamp}.{body}`: each live key
gives one `v1,<base64>` by HMAC-SHA256 or one `v1a,<base64>` by ed25519, separated by spaces, v1
first, in the order in which the keys are configured: newest first. An HMAC scheme is of the same
grammar that sources verify by (core.scheme).
"""

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from hookpost.core.received import HeaderList, Received
from hookpost.core.scheme import Key, Sign, SignatureScheme
from hookpost.core.secrets import Secret
from hookpost.core.template import Absent, Values, render
from hookpost.core.writing import mac, room_for_several, stamp_at, written

PREFIX = b"whsec_"
PRIVATE, PUBLIC = b"whsk_", b"whpk_"
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
    key = _decoded(value, PREFIX)
    if not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(f"the key has {len(key)} bytes; {SHORTEST} to {LONGEST} are needed")
    return key


def private_key(value: bytes) -> tuple[bytes, bytes]:
    """Seed and public key in a configured secret: `whsk_` and the canonical base64 of 64 bytes.

    Whether they belong together is for whoever has the mathematics. Raises ValueError with the
    reason and the remedy, never with the secret.
    """
    if value.startswith(PUBLIC):
        raise ValueError("it begins with whpk_, a public key: that is the receiver's; give whsk_…")
    if not value.startswith(PRIVATE):
        raise ValueError(
            'it does not begin with "whsk_"; make one with: hookpost secrets generate --ed25519'
        )
    key = _decoded(value, PRIVATE)
    if len(key) != 64:
        raise ValueError(f"the key has {len(key)} bytes; 64 are needed: seed, then public key")
    return key[:32], key[32:]


def _decoded(value: bytes, prefix: bytes) -> bytes:
    """The bytes that follow a prefix in canonical base64."""
    text, named = value[len(prefix) :], prefix.decode()
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"what follows {named} is not base64 (with padding)") from error
    if base64.b64encode(key) != text:
        raise ValueError(f"what follows {named} is not canonical base64: encode the bytes again")
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """How an endpoint's requests are signed: every key of every member, while it lives."""

    standard_webhooks: tuple[Key, ...] = ()
    ed25519: tuple[Key, ...] = ()
    hmac: SignatureScheme | None = None

    @property
    def keys(self) -> tuple[Key, ...]:
        """All of them; one that lives is enough to send."""
        return (*self.standard_webhooks, *self.ed25519, *(self.hmac.keys if self.hmac else ()))

    @property
    def headers(self) -> frozenset[str]:
        """The headers of the HMAC scheme, in lower case."""
        if self.hmac is None:
            return frozenset()
        when = self.hmac.timestamp
        names = (
            *self.hmac.signature.headers,
            *self.hmac.id_headers,
            *(when.headers if when else ()),
        )
        return frozenset(name.lower() for name in names)


def standard_webhooks(*secrets: Secret) -> Signing:
    """Signing by shared secrets. One that is no key (refused when the file is checked) is left out:
    it never lives, so an endpoint that has no other is held.
    """
    keys = []
    for secret in secrets:
        try:
            keys.append(Key(secret=secret, value=signing_key(secret.value)))
        except ValueError:
            continue
    return Signing(standard_webhooks=tuple(keys))


@dataclass(frozen=True, slots=True)
class Live:
    """The keys that live at one time: at least one."""

    shared: tuple[bytes, ...]
    private: tuple[Sign, ...]
    hmac: tuple[Key, ...]


class Signer:
    """Signs all requests of one endpoint. `url` is where they go."""

    __slots__ = ("_always", "_signing", "_url")

    def __init__(self, signing: Signing, url: str) -> None:
        self._signing = signing
        self._url = url
        mortal = any(key.secret.mortal for key in signing.keys)
        self._always = None if mortal or not signing.keys else self._living(0.0)

    def live(self, wall: float) -> Live | None:
        """The keys to sign with at wall-clock time `wall`; None: there is none."""
        if self._always is not None:
            return self._always
        living = self._living(wall)
        return living if living.shared or living.private or living.hmac else None

    def _living(self, wall: float) -> Live:
        mine = self._signing
        return Live(
            tuple(key.value for key in _alive(mine.standard_webhooks, wall)),
            tuple(key.sign for key in _alive(mine.ed25519, wall) if key.sign is not None),
            tuple(_alive(mine.hmac.keys if mine.hmac else (), wall)),
        )

    def sign(
        self,
        headers: list[tuple[str, str]],
        event_id: str,
        wall: float,
        body: bytes,
        live: Live,
    ) -> None:
        """Add the signatures of an attempt at `wall` to its other headers.

        Raises ValueError for what cannot be signed: an id or a time (see `sign`), or a request that
        has not all that the scheme's template asks for.
        """
        if live.shared or live.private:
            made = sign(event_id, int(wall), body, live.shared, live.private)
            headers.append(("webhook-signature", made))
        if self._signing.hmac is not None and live.hmac:
            headers += self._by_hmac(self._signing.hmac, headers, event_id, wall, body, live.hmac)

    def _by_hmac(
        self,
        scheme: SignatureScheme,
        headers: Sequence[tuple[str, str]],
        event_id: str,
        wall: float,
        body: bytes,
        keys: Sequence[Key],
    ) -> list[tuple[str, str]]:
        _check(event_id, int(wall))
        when, added = scheme.timestamp, []
        stamp = b"%d" % int(wall) if when is None else stamp_at(when, wall)
        if when is not None:
            added += [(name, stamp.decode()) for name in when.headers]
        added += [(name, event_id) for name in scheme.id_headers]
        request = Received(
            method="POST", url=self._url, headers=HeaderList((*headers, *added)), body=body
        )
        try:
            signed = render(scheme.template, Values(request, stamp, event_id.encode()))
        except Absent as mistake:
            raise ValueError(f"what is signed cannot be put together: {mistake}") from None
        if not room_for_several(scheme):
            keys = keys[:1]
        made = written(scheme, [mac(key, signed, scheme.algorithm) for key in keys], stamp)
        return [*added, *((name, made) for name in scheme.signature.headers)]


def _alive(keys: Sequence[Key], wall: float) -> list[Key]:
    return [key for key in keys if key.secret.live(wall)]


def sign(
    event_id: str,
    timestamp: int,
    body: bytes,
    keys: Sequence[bytes],
    private: Sequence[Sign] = (),
) -> str:
    """The `webhook-signature` of one attempt. `timestamp` is whole UNIX seconds.

    Raises ValueError without a key, for an id that is not 1-128 printable ASCII characters without
    space and dot, and for a negative timestamp.
    """
    if not keys and not private:
        raise ValueError("there is no live key to sign with")
    _check(event_id, timestamp)
    signed = b"%b.%d.%b" % (event_id.encode(), timestamp, body)
    if not private:
        return " ".join([_signature(key, signed) for key in keys])
    made = [_signature(key, signed) for key in keys]
    made += ["v1a," + base64.b64encode(each(signed)).decode() for each in private]
    return " ".join(made)


def _check(event_id: str, timestamp: int) -> None:
    if _ID.fullmatch(event_id) is None:
        raise ValueError(
            f"event id {event_id!r} cannot be signed: "
            "1 to 128 printable ASCII characters without space or dot are needed"
        )
    if timestamp < 0:
        raise ValueError(f"timestamp {timestamp} is before 1970: set the clock")


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
