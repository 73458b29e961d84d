"""The event types that a source takes, and what their data must fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from hookpost.core.model import Event
from hookpost.core.patterns import Pattern
from hookpost.core.refusals import Refused
from hookpost.core.violations import Violation

Validate = Callable[[bytes, str], Sequence[Violation]]
"""(JSON, the path of its root) → where it does not fit; nothing where it does.

May be called in any thread. Never raises for what the bytes are.
"""

_SHOWN = 5  # listed types in an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """What an entry asks of its events. `schema` is the file's path, None where there is none.

    `digest` changes with the schema: two that are equal validate alike.
    """

    schema: str | None = None
    digest: str = ""
    validate: Validate | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class EventTypes:
    """The listed types: exact names come before patterns, of these the first counts."""

    exact: Mapping[str, EventType]
    patterns: tuple[tuple[Pattern, EventType], ...] = ()

    def find(self, event_type: str) -> EventType | None:
        """The entry of a type; None: it is not listed."""
        found = self.exact.get(event_type)
        if found is not None:
            return found
        for pattern, entry in self.patterns:
            if pattern.matches(event_type):
                return entry
        return None

    def unlisted(self, event_type: str) -> Refused:
        """What a publisher of another type is told."""
        names = [*self.exact, *(pattern.text for pattern, _ in self.patterns)]
        listed = ", ".join(islice(names, _SHOWN))
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return Refused("type_unlisted", f"{event_type!a} is none of {listed}{more}")


def wanted(types: EventTypes | None, event: Event) -> Validate | Refused | None:
    """What the event's data must fit; None: anything does. Refused: its type is not listed."""
    if types is None:
        return None
    found = types.find(event.type)
    return types.unlisted(event.type) if found is None else found.validate


def fitted(validate: Validate, event: Event, root: str) -> Event | Refused:
    """The event, if its data fits. `root` is the path of the data in what the publisher sent."""
    violations = tuple(validate(event.body, root))
    if not violations:
        return event
    first = violations[0]
    detail = f"the schema of {event.type!a} is not met at {first.path}: {first.message}"
    return Refused("schema_invalid", detail, violations=violations)


def judged(types: EventTypes | None, event: Event, root: str) -> Event | Refused:
    """The event, if its type is listed and its data fits."""
    rule = wanted(types, event)
    if isinstance(rule, Refused):
        return rule
    return event if rule is None else fitted(rule, event, root)
