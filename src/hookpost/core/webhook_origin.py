"""May this sender send here: abuse protection of CloudEvents' HTTP 1.1 Web Hooks, section 4.

The sender asks by OPTIONS with `WebHook-Request-Origin`, a DNS name. A status is no consent, the
headers of a Grant are. `WebHook-Request-Callback`, by which consent could be given later, is not
followed: it is an address that a stranger chose.
"""

import re
from dataclasses import dataclass

from hookpost.core.received import Headers
from hookpost.core.refusals import Refused
from hookpost.core.settings import Source

REQUEST = "WebHook-Request-Origin"
EVERYBODY = "*"

_ORIGIN = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")


@dataclass(frozen=True, slots=True)
class Grant:
    """Consent. `origin` is as it was asked for, `rate` events a minute, None: no limit."""

    origin: str
    rate: int | None

    @property
    def headers(self) -> dict[str, str]:
        """What says so in the answer."""
        rate = EVERYBODY if self.rate is None else f"{self.rate}"
        return {
            "Allow": "POST",
            "WebHook-Allowed-Origin": self.origin,
            "WebHook-Allowed-Rate": rate,
        }


def is_origin(text: str) -> bool:
    """Whether a text is the DNS name of a sender."""
    return _ORIGIN.fullmatch(text) is not None


def grant(source: Source, headers: Headers) -> Grant | Refused:
    """Judge a handshake by its source's `webhook_origins`: compared exactly, but for case."""
    asked = headers.getall(REQUEST, ())
    if len(asked) != 1 or not is_origin(asked[0]):
        return Refused("origin_missing", f"send one header {REQUEST} with a DNS name")
    origin = asked[0]
    if not {origin.lower(), EVERYBODY} & set(source.webhook_origins):
        return Refused("origin_not_allowed", "this origin is not in the source's webhook_origins")
    limit = source.rate_limit
    return Grant(origin, None if limit is None else max(1, int(limit.rate * 60 + 1e-6)))
