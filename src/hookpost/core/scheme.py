"""How publishers sign: one grammar, of which every provider's scheme is a row.

Where signature, timestamp and id stand in a request, what text is signed, by which algorithm, and
how the signature is written down. These are values; `core.signature` judges by them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from hookpost.core.expression import Expression
from hookpost.core.secrets import Secret
from hookpost.core.template import Template

TOLERANCE = 300.0  # seconds


class Encoding(StrEnum):
    """How bytes are written as text. BASE64URL is without padding."""

    HEX = "hex"
    BASE64 = "base64"
    BASE64URL = "base64url"


class Form(StrEnum):
    """What a signature header holds: one signature, a list of them, or a list of `key=value`."""

    RAW = "raw"
    LIST = "list"
    KV = "kv"


Check = Callable[[bytes, bytes], bool]
"""A public key: what was signed, a signature → whether it fits. Raises nothing."""

Sign = Callable[[bytes], bytes]
"""A private key: what is signed → its signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A secret made ready: the bytes of an HMAC key, what checks a signature, or what signs."""

    secret: Secret
    value: bytes = field(default=b"", repr=False)
    check: Check | None = field(default=None, compare=False, repr=False)
    sign: Sign | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignaturePlace:
    """Where signatures stand, and in which form. `headers`: the first that is there counts."""

    headers: tuple[str, ...] = ()
    json: Expression | None = field(default=None, compare=False)
    form: Form = Form.RAW
    header_prefix: str = ""  # before a list; without it there is none
    prefix: str = ""  # of each signature that counts
    separator: str = ","
    pair_separator: str = "="
    keys: tuple[str, ...] = ()  # of the pairs that are signatures
    encoding: Encoding = Encoding.HEX


@dataclass(frozen=True, slots=True, kw_only=True)
class TimestampPlace:
    """Where the time of signing stands: exactly one of `headers`, `kv` and `json`.

    `text`: in JSON it is a text of digits, not a number.
    """

    headers: tuple[str, ...] = ()
    kv: str | None = None
    json: Expression | None = field(default=None, compare=False)
    text: bool = False
    milliseconds: bool = False
    tolerance: float = TOLERANCE  # seconds, into the past and into the future


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureScheme:
    """One way to sign. `algorithm`: an HMAC's hash, or `ed25519` or `ecdsa-p256`."""

    algorithm: str
    keys: tuple[Key, ...]
    signature: SignaturePlace
    template: Template
    id_headers: tuple[str, ...] = ()
    timestamp: TimestampPlace | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioScheme:
    """Twilio's own way; see core.twilio."""

    keys: tuple[Key, ...]
    id_headers: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BodySecret:
    """A secret in the body itself: where `json` finds a list, it must be each of it."""

    json: Expression = field(compare=False)
    secrets: tuple[Secret, ...]
    id_headers: ClassVar[tuple[str, ...]] = ()


Proof = SignatureScheme | TwilioScheme | BodySecret
"""What can be judged only with the body."""
