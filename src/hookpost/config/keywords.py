"""The keywords of JSON Schema: what is said of a value that fails one, where to look further."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hookpost.config.schema_files import Place
from hookpost.core.violations import Step, cut

if TYPE_CHECKING:
    from hookpost.config.explanations import Member, Steps, Walk

_SHOWN = 120  # characters of a schema's value in a message


def shown(value: Any) -> str:
    """A value of the schema, as it stands in a message."""
    if isinstance(value, list):
        return cut(", ".join(map(shown, value[:20])), _SHOWN)
    return cut(json.dumps(value, ensure_ascii=False), _SHOWN)


LEAVES = {
    "type": "is not of type {}",
    "const": "is not {}",
    "enum": "is none of {}",
    "required": "",
    "minimum": "is below the minimum {}",
    "maximum": "is above the maximum {}",
    "exclusiveMinimum": "is not above {}",
    "exclusiveMaximum": "is not below {}",
    "multipleOf": "is no multiple of {}",
    "minLength": "is shorter than {} characters",
    "maxLength": "is longer than {} characters",
    "pattern": "does not match {}",
    "format": "is no {}",
    "minItems": "has fewer items than {}",
    "maxItems": "has more items than {}",
    "uniqueItems": "has an item twice",
    "minProperties": "has fewer members than {}",
    "maxProperties": "has more members than {}",
    "dependentRequired": "lacks members that others of it need: {}",
}
"""Keywords without a schema in them → what is said of a value that does not meet them."""

OPAQUE = ("unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef")
"""Keywords that are not looked into: what they do depends on everything around them."""


# -- keywords with schemas in them -----------------------------------------------------------


def _all_of(walk: "Walk", place: Place, schema: Any, path: "Steps", value: Any) -> None:
    for index in range(len(schema["allOf"])):
        walk.here(_below(place, "allOf", index), path, value)


def _alternatives(key: str) -> "Look":
    def look(walk: "Walk", place: Place, schema: Any, path: "Steps", value: Any) -> None:
        places = [_below(place, key, index) for index in range(len(schema[key]))]
        fitting = sum(walk.fit(each, [value]) for each in places)
        if fitting == 1 or (fitting and key == "anyOf"):
            return
        if fitting:
            walk.tell(path, f"fits {fitting} of the alternatives in oneOf, where one is wanted")
            return
        alike = [each for each in places if _of_its_type(walk, each, value)]
        if len(alike) == 1:
            walk.node(alike[0], path, value)
        else:
            walk.tell(path, f"fits none of the {len(places)} alternatives in {key}")

    return look


def _of_its_type(walk: "Walk", place: Place, value: Any) -> bool:
    """Whether a part of a schema is for values of this type at all."""
    for _ in range(8):
        schema = walk.schema.at(place)
        target = None
        if isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
            target = walk.schema.follow(place, schema["$ref"])
        if target is None:
            break
        place = target
    rules = [key for key in ("type", "const") if isinstance(schema, dict) and key in schema]
    return all(walk.meets(place, {key: schema[key]}, value) for key in rules)


def _not(walk: "Walk", place: Place, schema: Any, path: "Steps", value: Any) -> None:
    if walk.fit(_below(place, "not"), [value]):
        walk.tell(path, "fits what not forbids")


def _if(walk: "Walk", place: Place, schema: Any, path: "Steps", value: Any) -> None:
    branch = "then" if walk.fit(_below(place, "if"), [value]) else "else"
    if branch in schema:
        walk.here(_below(place, branch), path, value)


def _properties(walk: "Walk", place: Place, schema: Any, path: "Steps", value: Any) -> None:
    if isinstance(value, dict):
        for name in schema["properties"]:
            if name in value:
                walk.members(_below(place, "properties", name), path, [(name, value[name])])


def _pattern_properties(walk: "Walk", place: Place, schema: Any, path: "Steps", value: Any) -> None:
    if not isinstance(value, dict):
        return
    for pattern in schema["patternProperties"]:
        at = _below(place, "patternProperties", pattern)
        walk.members(at, path, [(name, value[name]) for name in walk.matching(at, value)])


def _additional(walk: "Walk", place: Place, schema: Any, path: "Steps", value: Any) -> None:
    if not isinstance(value, dict):
        return
    known = set(schema.get("properties", ()))
    for pattern in schema.get("patternProperties", ()):
        known.update(walk.matching(_below(place, "patternProperties", pattern), value))
    found = [(name, inner) for name, inner in value.items() if name not in known]
    walk.members(_below(place, "additionalProperties"), path, found)


def _names(walk: "Walk", place: Place, schema: Any, path: "Steps", value: Any) -> None:
    if isinstance(value, dict):
        names = [(name, name) for name in value]
        for name, _ in walk.failing(_below(place, "propertyNames"), names):
            walk.tell((*path, name), "has a name that is not allowed")


def _dependent(key: str) -> "Look":
    def look(walk: "Walk", place: Place, schema: Any, path: "Steps", value: Any) -> None:
        if not isinstance(value, dict):
            return
        for name, needed in schema[key].items():
            if name in value and not isinstance(needed, list):
                walk.here(_below(place, key, name), path, value)
            elif name in value:
                for other in needed:
                    if other not in value:
                        walk.tell(path, f"the member {shown(other)} is missing")

    return look


def _items(walk: "Walk", place: Place, schema: Any, path: "Steps", value: Any) -> None:
    if not isinstance(value, list):
        return
    members: list[Member] = list(enumerate(value))
    key = "prefixItems" if "prefixItems" in schema else "items"
    first = schema.get(key)
    rest = {"prefixItems": "items", "items": "additionalItems"}[key]
    if not isinstance(first, list):
        if first is not None:
            walk.members(_below(place, key), path, members)
        return
    for index, member in zip(range(len(first)), members, strict=False):
        walk.members(_below(place, key, index), path, [member])
    if rest in schema:
        walk.members(_below(place, rest), path, members[len(first) :])


def _contains(walk: "Walk", place: Place, schema: Any, path: "Steps", value: Any) -> None:
    rule = {key: schema[key] for key in ("minContains", "maxContains") if key in schema}
    rule["contains"] = {"$ref": walk.schema.name(_below(place, "contains"))}
    if not walk.meets(place, rule, value):
        walk.tell(path, "has too few or too many items that contains asks for")


def _below(place: Place, *steps: Step) -> Place:
    return place[0], (*place[1], *steps)


Look = Callable[["Walk", Place, Any, "Steps", Any], None]

LOOKS: Mapping[str, Look] = {
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "dependentSchemas": _dependent("dependentSchemas"),
    "dependencies": _dependent("dependencies"),
    "prefixItems": _items,
    "items": _items,
    "contains": _contains,
    "allOf": _all_of,
    "anyOf": _alternatives("anyOf"),
    "oneOf": _alternatives("oneOf"),
    "not": _not,
    "if": _if,
}
"""Keywords with schemas in them → how a value that fails is looked into."""
