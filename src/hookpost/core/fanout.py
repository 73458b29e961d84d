"""Who is owed an event that subscriptions look into: filters, transforms, and what they may cost.

Theory. For each (source, type) the subscriptions that want it are known; a *Choice* is a list of
them of which one at least has an expression. One document is made of the event for all of them, and
each different expression is evaluated once. Together all filters of an event have one budget, and
all transforms another. Half of it is divided equally, so that whatever others cost each can use its
share; the other half is for those that need more, in file order.

A filter matches when its value is true. Of several subscriptions that match, the first in file
order gives an endpoint its transform. An endpoint that keeps an order adds its key's expression.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from hookpost.core.attributes import PREFIX
from hookpost.core.expression import BUDGET, Allowance, Formula, Mishap, TooCostly
from hookpost.core.model import EndpointId, Event
from hookpost.core.ordering import FIFO_KEY, Keys, Ordering, key_of
from hookpost.core.written import Oversized, Unwritable, written

JSON = "application/json"
LEAST = 20_000
"""Steps that the filters, or the transforms, of each event in a batch have together."""

Owed = tuple[EndpointId, ...]
Transformed = Mapping[EndpointId, bytes | None]
"""What is sent as the event's data; None: nothing can be."""


class Interest(NamedTuple):
    """A subscription that wants events of a source and a type; `endpoints` in its order."""

    subscription: str
    endpoints: Owed
    filter: Formula | None = None
    transform: Formula | None = None


class Slip(NamedTuple):
    """An expression of a subscription went wrong. `detail` holds nothing of the event."""

    subscription: str
    mishap: Mishap
    detail: str


class Unkeyed(NamedTuple):
    """An endpoint's key could not be told; as a Slip."""

    endpoint: EndpointId
    mishap: Mishap
    detail: str


class Chosen(NamedTuple):
    """Who is owed an event, what transforms made of it, its keys, and what went wrong."""

    owed: Owed
    transformed: Transformed | None
    slips: Sequence[Slip]
    keys: Keys | None = None
    unkeyed: Sequence[Unkeyed] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """The subscriptions that may want an event; each names its expressions by number."""

    interests: tuple[tuple[Interest, int | None, int | None], ...]
    filters: tuple[Formula, ...]
    transforms: tuple[Formula, ...]
    orderings: Mapping[EndpointId, Ordering]
    looks: bool  # into the event: else nobody needs the document
    reads_data: bool

    @classmethod
    def of(
        cls,
        interests: Sequence[Interest],
        orderings: Mapping[EndpointId, Ordering] = MappingProxyType({}),
    ) -> "Choice":
        """Of subscriptions in file order; `orderings` of those endpoints that keep one."""
        filters: dict[Formula, int] = {}
        transforms: dict[Formula, int] = {}
        numbered = [
            (interest, _number(filters, interest.filter), _number(transforms, interest.transform))
            for interest in interests
        ]
        keys = [ordering.key for ordering in orderings.values() if ordering.key is not None]
        every = (*filters, *transforms, *keys)
        reads = any(one.names is None or "data" in one.names for one in every)
        return cls(
            tuple(numbered), tuple(filters), tuple(transforms), orderings, bool(every), reads
        )


def _number(known: dict[Formula, int], formula: Formula | None) -> int | None:
    return None if formula is None else known.setdefault(formula, len(known))


class _Mistake(NamedTuple):
    mishap: Mishap
    detail: str


def document_of(event: Event, data: Any) -> dict[str, Any]:
    """What filters and transforms see: the event as it is kept, its data as a JSON value.

    Headers are those kept with the event and its content type; names in lower case, values of one
    name joined.
    """
    headers: dict[str, str] = {}
    if event.content_type is not None:
        headers["content-type"] = event.content_type
    for name, text in event.headers:
        key = _lower(name)
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return {
        "type": event.type,
        "source": event.source,
        "id": event.id,
        "time": event.occurred_at,
        "headers": headers,
        "data": data,
    }


@lru_cache(maxsize=1024)
def _lower(name: str) -> str:
    return name.lower()


def budget_of(events: int) -> int:
    """Steps for the filters, or the transforms, of one event of a request with so many.

    What a line of a batch holds, and what looking it over costs, is a part of what one event may.
    """
    return max(BUDGET // events, LEAST)


def choose(choice: Choice, document: Any, *, budget: int, largest: int) -> Chosen:
    """Evaluate what must be. `largest` bounds the bytes of a transform's value."""
    slips: list[Slip] = []
    verdicts = [_verdict(value) for value in _evaluated(choice.filters, document, budget)]
    owed: dict[EndpointId, int | None] = {}
    used: dict[int, list[str]] = {}
    for interest, condition, change in choice.interests:
        verdict = True if condition is None else verdicts[condition]
        if isinstance(verdict, _Mistake):
            slips.append(Slip(interest.subscription, *verdict))
        elif verdict:
            new = [endpoint for endpoint in interest.endpoints if endpoint not in owed]
            owed.update(dict.fromkeys(new, change))
            if new and change is not None:
                used.setdefault(change, []).append(interest.subscription)
    keys, unkeyed = _keys(choice, owed, document, budget)
    if not used:
        return Chosen(tuple(owed), None, slips, keys, unkeyed)
    wanted = [choice.transforms[number] for number in used]
    values = _evaluated(wanted, document, budget)
    made: dict[int, bytes | None] = {}
    for (number, subscriptions), value in zip(used.items(), values, strict=True):
        text = _written(value, largest)
        made[number] = None if isinstance(text, _Mistake) else text
        if isinstance(text, _Mistake):
            slips += [Slip(subscription, *text) for subscription in subscriptions]
    transformed = {
        endpoint: made[number] for endpoint, number in owed.items() if number is not None
    }
    return Chosen(tuple(owed), transformed, slips, keys, unkeyed)


def _keys(
    choice: Choice, owed: Collection[EndpointId], document: Any, budget: int
) -> tuple[Keys | None, Sequence[Unkeyed]]:
    """The event's key at each endpoint that orders it. One that cannot be told is none."""
    ordered = {one: choice.orderings[one] for one in owed if one in choice.orderings}
    if not ordered:
        return None, ()
    formulas = list(dict.fromkeys(one.key for one in ordered.values() if one.key is not None))
    values = [_key(value) for value in _evaluated(formulas, document, budget)]
    told: dict[Formula | None, int | _Mistake | None] = {
        None: FIFO_KEY,
        **dict(zip(formulas, values, strict=True)),
    }
    found = {endpoint: told[ordering.key] for endpoint, ordering in ordered.items()}
    keys = {endpoint: key for endpoint, key in found.items() if isinstance(key, int)}
    unkeyed = [Unkeyed(one, *key) for one, key in found.items() if isinstance(key, _Mistake)]
    return keys or None, unkeyed


def _key(value: Any) -> int | _Mistake | None:
    if isinstance(value, _Mistake):
        return value
    try:
        return key_of(value)
    except Oversized as mistake:
        return _Mistake(Mishap.TOO_LARGE, str(mistake))
    except Unwritable as mistake:
        return _Mistake(Mishap.NOT_JSON, str(mistake))


def carrying(event: Event, data: bytes) -> Event:
    """The event as an endpoint is sent it: with a transform's value for its data.

    A CloudEvent's `dataschema` is that of other data, so it goes.
    """
    schema = f"{PREFIX}dataschema"
    headers = event.headers
    if any(name == schema for name, _ in headers):
        headers = tuple([pair for pair in headers if pair[0] != schema])
    return replace(
        event, body=data, content_type=JSON, headers=headers, transformed=None, keys=None
    )


def _verdict(value: Any) -> bool | _Mistake:
    if value is True or value is False:
        return value
    if isinstance(value, _Mistake):
        return value
    kind = _KINDS.get(type(value), "an object")
    return _Mistake(Mishap.NOT_BOOLEAN, f"its value is {kind}, neither true nor false")


_KINDS = {type(None): "null", str: "a text", int: "a number", float: "a number", list: "a list"}


def _written(value: Any, largest: int) -> bytes | _Mistake:
    if isinstance(value, _Mistake):
        return value
    try:
        return written(value, largest)
    except Oversized as mistake:
        return _Mistake(Mishap.TOO_LARGE, str(mistake))
    except Unwritable as mistake:
        return _Mistake(Mishap.NOT_JSON, str(mistake))


def _evaluated(formulas: Sequence[Formula], document: Any, budget: int) -> list[Any]:
    """The value of each, or a _Mistake. A step that took more than was left is the last of all."""
    count = len(formulas)
    values: list[Any] = [_TOO_COSTLY] * count
    late: list[int] = []
    left, share = budget, budget if count < 2 else budget // (2 * count)
    for number, formula in enumerate(formulas):
        if left <= 0:
            break
        values[number], spent = _value(formula, document, share)
        left -= spent
        if values[number] is _TOO_COSTLY and count > 1:
            late.append(number)
    for number in late:
        if left <= 0:
            break
        values[number], spent = _value(formulas[number], document, left)
        left -= spent
    return values


_TOO_COSTLY = _Mistake(Mishap.COST, "it costs too much for this event")


def _value(formula: Formula, document: Any, most: int) -> tuple[Any, int]:
    """The value, or a _Mistake, and the steps that it took."""
    allowance = Allowance(most)
    try:
        value = formula.evaluate(document, allowance)
    except TooCostly:
        return _TOO_COSTLY, most - min(allowance.left, 0)
    except ValueError as mistake:
        value = _Mistake(Mishap.FAILED, str(mistake))
    return value, most - allowance.left
