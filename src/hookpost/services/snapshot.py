"""One configuration in force: what a request or an attempt sees from its first line to its last."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hookpost.core.model import EndpointId
from hookpost.core.routing import Routes
from hookpost.core.settings import Config

ROUTES_REMEMBERED = 4096  # (source, type) pairs; a flood of new types only costs their matching


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A configuration with its endpoint rows and its compiled routes."""

    config: Config
    endpoint_ids: Mapping[str, EndpointId]
    routes: Routes
    _remembered: dict[tuple[str, str], tuple[EndpointId, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def route(self, source: str, event_type: str) -> tuple[EndpointId, ...]:
        """The endpoints that an event of this type from this source is owed to, in file order."""
        key = (source, event_type)
        known = self._remembered.get(key)
        if known is not None:
            return known
        found = tuple(self.endpoint_ids[name] for name in self.routes.endpoints(source, event_type))
        if len(self._remembered) >= ROUTES_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = found
        return found


@dataclass(slots=True)
class Current:
    """Where the snapshot in force is found; a reload replaces it by one assignment."""

    snapshot: Snapshot
