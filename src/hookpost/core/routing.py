"""Which subscriptions want events of a source and a type.

All patterns form one tree, a step for each segment, so that a type is compared with what begins as
it does and not with every subscription.
"""

from collections.abc import Iterable

from hookpost.core.patterns import Pattern, reserved
from hookpost.core.settings import Subscription


class _Node:
    """The patterns that begin alike. `sticky`: it was reached by `**`, where any segment stays."""

    __slots__ = ("any", "ends", "many", "named", "sticky")

    def __init__(self, *, sticky: bool = False) -> None:
        self.sticky = sticky
        self.named: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.many: _Node | None = None
        self.ends: list[int] = []  # places of the subscriptions whose pattern ends here

    def step(self, segment: str) -> "_Node":
        """Where a pattern goes on with this segment."""
        if segment == "*":
            self.any = self.any or _Node()
            return self.any
        if segment == "**":
            self.many = self.many or _Node(sticky=True)
            return self.many
        return self.named.setdefault(segment, _Node())

    def after(self, segment: str) -> "list[_Node]":
        """Where a type with this segment may stand."""
        named = self.named.get(segment)
        found = (named, self.any, self.many, self if self.sticky else None)
        return [node for node in found if node is not None]


class Routes:
    """The compiled subscriptions. Raises ValueError for a pattern that cannot be read."""

    def __init__(self, subscriptions: Iterable[Subscription]) -> None:
        self._subscriptions = tuple(subscriptions)
        self._sources = [
            None if one.sources is None else frozenset(one.sources) for one in self._subscriptions
        ]
        self._root = _Node()
        for place, subscription in enumerate(self._subscriptions):
            for text in subscription.events:
                node = self._root
                for segment in Pattern.parse(text).text.split("."):
                    node = node.step(segment)
                node.ends.append(place)

    def wanting(self, source: str, event_type: str) -> tuple[Subscription, ...]:
        """The subscriptions whose patterns and sources fit, each once, in file order."""
        places = {
            place
            for node in self._reached(event_type)
            for place in node.ends
            if (sources := self._sources[place]) is None or source in sources
        }
        return tuple(self._subscriptions[place] for place in sorted(places))

    def _reached(self, event_type: str) -> Iterable[_Node]:
        """The nodes where the type ends. A star is no name: it does not match what is reserved."""
        first, *rest = event_type.split(".")
        if reserved(event_type):
            named = self._root.named.get(first)
            reached = [] if named is None else [named]
        else:
            reached = self._root.after(first)
        for segment in rest:
            # each node once, in a fixed order
            reached = list(dict.fromkeys(n for node in reached for n in node.after(segment)))
            if not reached:
                break
        return reached
