"""What a receiver of webhooks has to do, written from the Standard Webhooks text alone.

It shares no code with the signing side, so that it can tell when that side is wrong.
"""

import base64
import binascii
import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from hookpost.core.patterns import Pattern

TOLERANCE = 300.0  # seconds that a timestamp may differ from the receiver's clock
REMEMBERED = 100_000  # events whose attempts are counted
FAILURE_STATUS = 503
PREFIX, PUBLIC = "whsec_", "whpk_"


Key = bytes | Callable[[bytes, bytes], bool]
"""A shared secret, or what checks a signature by a public key: signed, signature → whether it fits.
"""


def key_of(text: str) -> Key:
    """The key in a secret file: `whsec_` or `whpk_`, and base64. ValueError says what is wrong."""
    text = text.strip()
    if text.startswith(PUBLIC):
        from hookpost.config.keys import ed25519_check

        return ed25519_check(text.encode())
    if not text.startswith(PREFIX):
        raise ValueError(f"it does not begin with {PREFIX} or {PUBLIC}")
    try:
        key = base64.b64decode(text[len(PREFIX) :], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"what follows {PREFIX} is not base64") from None
    if not key:
        raise ValueError(f"nothing follows {PREFIX}")
    return key


def refusal(
    headers: Mapping[str, str], body: bytes, keys: Sequence[Key], wall: float
) -> str | None:
    """Why a request does not verify (Standard Webhooks, schemes v1 and v1a); None: it does.

    `headers` must find names in any case; `wall` is UNIX seconds.
    """
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        if name not in headers:
            return f"no {name} header"
    stamp = headers["webhook-timestamp"]
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        return "webhook-timestamp is not a number of seconds"
    age = wall - int(stamp)
    if abs(age) > TOLERANCE:
        words = "old" if age > 0 else "in the future"
        return f"the timestamp is {abs(age):.0f} s {words}, more than {TOLERANCE:.0f} s"
    signed = f"{headers['webhook-id']}.{stamp}.".encode("utf-8", "surrogateescape") + body
    given = [each.partition(",") for each in headers["webhook-signature"].split(" ")]
    kinds = sorted({"v1" if isinstance(key, bytes) else "v1a" for key in keys})
    offered = [(kind, text) for kind, comma, text in given if comma and kind in kinds]
    if not offered:
        return f"no {' or '.join(kinds)} signature"
    matches = [_fits(key, signed, kind, text) for key in keys for kind, text in offered]
    return None if any(matches) else "no signature matches"


def _fits(key: Key, signed: bytes, kind: str, text: str) -> bool:
    """Whether a signature of one kind is by this key."""
    given = text.encode("utf-8", "surrogateescape")
    if isinstance(key, bytes):
        expected = base64.b64encode(hmac.digest(key, signed, "sha256"))
        return kind == "v1" and hmac.compare_digest(expected, given)
    try:
        signature = base64.b64decode(given, validate=True)
    except binascii.Error:
        return False
    return kind == "v1a" and base64.b64encode(signature) == given and key(signed, signature)


@dataclass(slots=True, kw_only=True)
class Fail:
    """One `--fail` rule: which attempts are answered with `status` on purpose.

    Written `[type=PATTERN:]WHAT[,status:CODE]`. WHAT is `always`, `first:N` (the first N attempts
    of each event), `rate:R` (0 to 1), or left out (`status:CODE` alone is `always`).
    """

    pattern: Pattern | None = None
    first: int | None = None
    rate: float | None = None
    status: int = FAILURE_STATUS
    _seen: OrderedDict[str, int] = field(default_factory=OrderedDict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one rule; ValueError names the part that is wrong."""
        rule = cls()
        rest = text
        if text.startswith("type="):
            pattern, colon, rest = text.removeprefix("type=").partition(":")
            if not colon:
                raise ValueError(f"{text!r}: write type=PATTERN:always, or another rule")
            rule.pattern = Pattern.parse(pattern)
        for part in rest.split(","):
            rule._read(part)
        return rule

    def _read(self, part: str) -> None:
        name, _, value = part.partition(":")
        match name:
            case "always" if not value:
                return
            case "first" if value.isdecimal() and int(value) > 0:
                self.first = int(value)
            case "rate" if _is_ratio(value):
                self.rate = float(value)
            case "status" if value.isdecimal() and 300 <= int(value) <= 599:
                self.status = int(value)
            case _:
                raise ValueError(
                    f"{part!r} is no rule: use always, first:N, rate:R (0 to 1) or "
                    "status:CODE (300 to 599)"
                )

    def answer(self, event_id: str, event_type: str, dice: Callable[[], float]) -> int | None:
        """The status to fail this attempt with; None lets it pass. Counts the attempt."""
        if self.pattern is not None and not self.pattern.matches(event_type):
            return None
        if self.first is not None:
            seen = self._seen.pop(event_id, 0) + 1
            self._seen[event_id] = seen
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
            if seen > self.first:
                return None
        if self.rate is not None and dice() >= self.rate:
            return None
        return self.status


def _is_ratio(text: str) -> bool:
    whole, _, part = text.partition(".")
    return (whole + part).isdecimal() and 0.0 <= float(text) <= 1.0
