"""Links to payloads: what `payload: thin` sends in place of the data, and who may follow it.

`{public_url}/payloads/{event id}?sig={endpoint}.{delivery}.{mac}`: the two numbers say which row is
meant, the mac is an HMAC-SHA256 over event id, delivery and endpoint. It needs no key of the
endpoint's, so a link outlives the rotation of one.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote

from hookpost.core.model import Delivery, DeliveryId, EndpointId

PREFIX = "/payloads/"

_SIGNATURE = re.compile(r"([1-9][0-9]{0,17})\.([1-9][0-9]{0,17})\.([A-Za-z0-9_-]{43})", re.ASCII)


class Link(NamedTuple):
    """Whose data a link is to: one delivery's, as its endpoint is sent it."""

    event_id: str
    delivery: DeliveryId
    endpoint: EndpointId


@dataclass(frozen=True, slots=True)
class Links:
    """Makes links that begin with `base`, and knows them again. `base` None: makes none."""

    key: bytes = field(repr=False)
    base: str | None = None

    def url(self, delivery: Delivery) -> str:
        """The link to a delivery's data. Raises ValueError where there is no `base`."""
        if self.base is None:
            raise ValueError("there is no listen.ingest.public_url that a dataUrl could begin with")
        link = Link(delivery.event.id, delivery.id, delivery.endpoint)
        path = PREFIX + quote(link.event_id, safe="")
        return f"{self.base}{path}?sig={link.endpoint}.{link.delivery}.{self._mac(link)}"

    def link(self, event_id: str, signature: str) -> Link | None:
        """The link that was made for this event and signature; None: none was."""
        found = _SIGNATURE.fullmatch(signature)
        if found is None:
            return None
        link = Link(event_id, DeliveryId(int(found[2])), EndpointId(int(found[1])))
        return link if hmac.compare_digest(self._mac(link), found[3]) else None

    def _mac(self, link: Link) -> str:
        signed = f"payload\n{link.event_id}\n{link.delivery}\n{link.endpoint}"
        digest = hmac.digest(self.key, signed.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
