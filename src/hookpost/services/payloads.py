"""Who follows a link to a payload: the signature judged first, then one read, bounded in number."""

from collections.abc import Callable

from hookpost.core.errors import OutboxError
from hookpost.core.model import Event, Payload
from hookpost.core.payload_links import Link, Links
from hookpost.core.refusals import Refused
from hookpost.core.settings import Config
from hookpost.services.running import Failed, Running
from hookpost.services.snapshot import Current
from hookpost.storage.link_key import LinkKey
from hookpost.storage.outbox import Outbox

AT_ONCE = 64  # reads under way or waiting for the disk; each may hold a body in memory

Told = Callable[[Event | Refused], None]

UNKNOWN = Refused("payload_unknown", "follow the whole link, as it was sent")
GONE = Refused("payload_gone", "its time of retention is over")
BUSY = Refused("payload_busy", "too many payloads are being read; come back", 1.0)
UNREAD = Refused("payload_unavailable", "it could not be read; come back", 5.0)


def links_of(config: Config, key: LinkKey) -> Links | None:
    """The links of a configuration; the key is made where an endpoint is sent links.

    None: there is no key, so no link was ever sent. Blocks; raises OutboxError.
    """
    thin = any(endpoint.payload is Payload.THIN for endpoint in config.endpoints.values())
    found = key.get(make=thin)
    return None if found is None else Links(found, config.listen.ingest.public_url)


class Payloads:
    """Gives out what links lead to."""

    def __init__(self, current: Current, outbox: Outbox, failed: Failed) -> None:
        self._current = current
        self._outbox = outbox
        self._running = Running(failed)
        self._reading = 0

    def find(self, event_id: str, signature: str) -> Link | Refused:
        """Whose data is asked for. A wrong signature, and an endpoint that has left, look alike."""
        snapshot = self._current.snapshot
        link = None if snapshot.links is None else snapshot.links.link(event_id, signature)
        if link is None or link.endpoint not in snapshot.endpoint_ids.values():
            return UNKNOWN
        return link if self._reading < AT_ONCE else BUSY

    def read(self, link: Link, told: Told) -> None:
        """Read it, and tell."""
        self._reading += 1
        self._running.start(self._read(link, told), f"payload of delivery {link.delivery}")

    async def _read(self, link: Link, told: Told) -> None:
        found: Event | Refused | None = UNREAD
        try:
            found = await self._outbox.payload(link.delivery, link.endpoint)
        except OutboxError:
            pass  # UNREAD: counted, and logged sparsely, by the face
        finally:
            self._reading -= 1
            if found is None or (isinstance(found, Event) and found.id != link.event_id):
                found = GONE
            told(found)
