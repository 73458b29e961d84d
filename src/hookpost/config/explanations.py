"""Why data does not fit a schema: a bounded walk over both, from what fails to what fails in it.

Whether a part fits is asked of the library; of many members that one rule is for, those that fail
are found by halving. So a walk takes few steps, however large the data; when they are used up, what
was found until then is told.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hookpost.config.keywords import LEAVES, LOOKS, OPAQUE, shown
from hookpost.config.schema_files import REFERENCES, Place
from hookpost.core.violations import MOST, Step, Violation, violation

if TYPE_CHECKING:
    from hookpost.config.event_schemas import Schema

STEPS = 2000
"""Questions to the library in one walk, each about few values; those about many count for more."""
_PER_STEP = 10_000  # values, or characters to be compiled, that cost as much as a question
_PER_NAME = 100
_DEEPEST = 100

Member = tuple[Step, Any]
Steps = tuple[Step, ...]


class _Spent(Exception):
    """There were enough steps, or violations."""


def explain(schema: "Schema", value: Any, root: str) -> Sequence[Violation]:
    """Where a value that does not fit fails, at least one place and at most MOST."""
    walk = Walk(schema, root)
    with suppress(_Spent):  # what was found by then is told
        walk.node(schema.root, (), value)
    return walk.found or (violation(root, (), "does not fit the schema"),)


class Walk:
    """One explanation. `found` grows until it is full."""

    def __init__(self, schema: "Schema", root: str) -> None:
        self.schema = schema
        self.found: list[Violation] = []
        self._root = root
        self._left: float = STEPS
        self._size = schema.size
        self._depth = 0
        self._seen: set[tuple[Place, Steps]] = set()

    def tell(self, path: Steps, message: str) -> None:
        """One violation, once."""
        told = violation(self._root, path, message)
        if told not in self.found:
            self.found.append(told)
        if len(self.found) >= MOST:
            raise _Spent

    def fit(self, place: Place, values: Sequence[Any]) -> bool:
        """Whether all values fit a part of the schema."""
        self._step(values, self.schema.name(place))
        return self.schema.fit(place, values)

    def meets(self, place: Place, rule: Mapping[str, Any], value: Any) -> bool:
        """Whether a value meets keywords that stand at a place."""
        name = f"{'+'.join(rule)} {self.schema.name(place)}"
        self._step([value], name)
        return self.schema.rule(name, dict(rule))(value)

    def matching(self, place: Place, names: Collection[str]) -> list[str]:
        """The names that match the pattern that leads to a place."""
        self._left -= len(names) / _PER_NAME
        name = f"name {self.schema.name(place)}"
        self._step((), name)
        matches = self.schema.rule(name, {"pattern": place[1][-1]})
        return [name for name in names if matches(name)]

    def _step(self, values: Sequence[Any], rule: str) -> None:
        if not self.schema.knows(rule):
            self._left -= self._size / _PER_STEP
        weight = len(values)
        if weight == 1 and isinstance(values[0], list | dict):
            weight = len(values[0])
        self._left -= 1 + weight / _PER_STEP
        if self._left < 0:
            raise _Spent

    def here(self, place: Place, path: Steps, value: Any) -> None:
        """Look into a part of the schema that is for the same value, if the value fails it."""
        if not self.fit(place, [value]):
            self.node(place, path, value)

    def members(self, place: Place, path: Steps, members: Sequence[Member]) -> None:
        """Look into those members of a value that fail a part of the schema."""
        for step, value in self.failing(place, members):
            self.node(place, (*path, step), value)

    def failing(self, place: Place, members: Sequence[Member]) -> Iterator[Member]:
        """Those members that fail a part of the schema."""
        if not members or self.fit(place, [value for _, value in members]):
            return
        if len(members) == 1:
            yield members[0]
            return
        half = len(members) // 2
        yield from self.failing(place, members[:half])
        yield from self.failing(place, members[half:])

    def node(self, place: Place, path: Steps, value: Any) -> None:
        """Tell why a value fails a part of the schema, which it does."""
        if (place, path) in self._seen or self._depth > _DEEPEST:
            return
        self._seen.add((place, path))
        self._depth += 1
        schema, before = self.schema.at(place), len(self.found)
        if schema is False:
            self.tell(path, "is not allowed")
        else:
            self._keywords(place, schema, path, value)
        if len(self.found) == before:
            opaque = ", ".join(key for key in OPAQUE if isinstance(schema, dict) and key in schema)
            self.tell(path, f"does not fit {opaque or 'the schema'}")
        self._depth -= 1

    def _keywords(self, place: Place, schema: Any, path: Steps, value: Any) -> None:
        for key in REFERENCES:
            reference = schema.get(key)
            target = self.schema.follow(place, reference) if isinstance(reference, str) else None
            if target is not None:
                self.here(target, path, value)
        if "$ref" in schema and self.schema.draft in ("04", "06", "07"):
            return  # what stands beside it has no meaning there
        for key, message in LEAVES.items():
            if key in schema:
                self._leaf(place, schema, key, message, path, value)
        for key, look in LOOKS.items():
            if key in schema:
                look(self, place, schema, path, value)

    def _leaf(
        self, place: Place, schema: Any, key: str, message: str, path: Steps, value: Any
    ) -> None:
        rule = {key: schema[key]}
        bound = f"exclusive{key.capitalize()}"
        if schema.get(bound) is True:  # draft 04
            rule[bound] = True
        if schema[key] is True and key.startswith("exclusive"):
            return
        if self.meets(place, rule, value):
            return
        if key == "required":
            for name in schema[key]:
                if name not in value:
                    self.tell(path, f"the member {shown(name)} is missing")
        else:
            self.tell(path, message.format(shown(schema[key])))
