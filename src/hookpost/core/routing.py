"""Which endpoints an event is owed to.

Subscriptions are indexed by the first segment of their patterns where it is literal, so that an
event is compared with those that might want it and not with all of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from hookpost.core.patterns import Pattern
from hookpost.core.settings import Subscription


@dataclass(frozen=True, slots=True)
class _Route:
    order: int  # the subscription's place in the file
    pattern: Pattern
    sources: frozenset[str] | None
    endpoints: tuple[str, ...]

    def wants(self, source: str, event_type: str) -> bool:
        return (self.sources is None or source in self.sources) and self.pattern.matches(event_type)


class Routes:
    """The compiled subscriptions. Raises ValueError for a pattern that cannot be read."""

    def __init__(self, subscriptions: Iterable[Subscription]) -> None:
        self._by_first: dict[str, list[_Route]] = {}
        self._open: list[_Route] = []
        for order, subscription in enumerate(subscriptions):
            sources = None if subscription.sources is None else frozenset(subscription.sources)
            for text in subscription.events:
                pattern = Pattern.parse(text)
                route = _Route(order, pattern, sources, subscription.endpoints)
                if pattern.first is None:
                    self._open.append(route)
                else:
                    self._by_first.setdefault(pattern.first, []).append(route)

    def endpoints(self, source: str, event_type: str) -> tuple[str, ...]:
        """The names of the endpoints, each once: by place of the subscription, then in it."""
        first = event_type.partition(".")[0]
        candidates = self._by_first.get(first, [])
        wanted = [route for route in candidates if route.wants(source, event_type)]
        wanted += [route for route in self._open if route.wants(source, event_type)]
        wanted.sort(key=lambda route: route.order)
        return tuple(dict.fromkeys(name for route in wanted for name in route.endpoints))
