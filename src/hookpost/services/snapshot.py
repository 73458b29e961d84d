"""One configuration in force: what a request or an attempt sees from its first line to its last."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hookpost.core.fanout import Choice, Interest, Owed
from hookpost.core.model import EndpointId
from hookpost.core.payload_links import Links
from hookpost.core.routing import Routes
from hookpost.core.settings import Config

ROUTES_REMEMBERED = 4096  # (source, type) pairs; a flood of new types only costs their matching


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A configuration with its endpoint rows and its compiled routes.

    `links` make and know links to payloads; None: none was ever sent.
    """

    config: Config
    endpoint_ids: Mapping[str, EndpointId]
    routes: Routes
    links: Links | None = None
    _remembered: dict[tuple[str, str], Owed | Choice] = field(
        default_factory=dict, repr=False, compare=False
    )

    def route(self, source: str, event_type: str) -> Owed | Choice:
        """The endpoints that an event of this type from this source is owed to, in file order.

        A Choice where a subscription looks into the event first, or an endpoint orders it.
        """
        key = (source, event_type)
        known = self._remembered.get(key)
        if known is not None:
            return known
        found = self._routed(source, event_type)
        if len(self._remembered) >= ROUTES_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = found
        return found

    def _routed(self, source: str, event_type: str) -> Owed | Choice:
        wanting = self.routes.wanting(source, event_type)
        names = dict.fromkeys(name for one in wanting for name in one.endpoints)
        orderings = {
            self.endpoint_ids[name]: ordering
            for name in names
            if (ordering := self.config.endpoints[name].ordering) is not None
        }
        if not orderings and not any(one.filter or one.transform for one in wanting):
            return tuple(self.endpoint_ids[name] for name in names)
        interests = [
            Interest(
                one.name,
                tuple(self.endpoint_ids[name] for name in one.endpoints),
                one.filter,
                one.transform,
            )
            for one in wanting
        ]
        return Choice.of(interests, orderings)


@dataclass(slots=True)
class Current:
    """Where the snapshot in force is found; a reload replaces it by one assignment."""

    snapshot: Snapshot
