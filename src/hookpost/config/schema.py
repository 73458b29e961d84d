"""The schema: where it is found, how it is walked, and its validator.

The schema is draft-07 with a few annotations of its own, which editors ignore: `x-type` names how a
text is read (values.py), `x-min` and `x-max` bound it, `x-ref` names the map that a name comes from
and `x-builtin` what it may be besides, `x-words` are the texts that stand in place of a map,
`x-one-of` says that exactly one key is wanted, `x-reserved` are names that a map may not hold.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft7Validator, ValidationError, validators

from hookpost.config import values
from hookpost.config.diagnostics import Path

Json = dict[str, Any]


@cache
def text() -> str:
    """The schema as it ships."""
    return resources.files("hookpost.config").joinpath("gateway.schema.json").read_text("utf-8")


@cache
def schema() -> Json:
    """The schema, parsed; shared, so not to be changed."""
    parsed: Json = json.loads(text())
    return parsed


def resolved(part: Json) -> Json:
    """A part of the schema, its `$ref` followed."""
    reference = part.get("$ref")
    if reference is None:
        return part
    definition: Json = schema()["definitions"][reference.rpartition("/")[2]]
    return definition


def property_schema(parent: Json, key: str) -> Json | None:
    """The schema of a key of a map, or None if the map has no such key."""
    known = parent.get("properties", {}).get(key)
    if known is None:
        known = parent.get("additionalProperties") or None
    return resolved(known) if isinstance(known, dict) else None


def walk(data: Any, part: Json, path: Path = ()) -> Iterator[tuple[Path, Json, Any]]:
    """Every value of a file with its path and its part of the schema, outermost first."""
    yield path, part, data
    if isinstance(data, dict):
        for key, value in data.items():
            inner = property_schema(part, key)
            if inner is not None:
                yield from walk(value, inner, (*path, key))
    elif isinstance(data, list) and "items" in part:
        for index, value in enumerate(data):
            yield from walk(value, resolved(part["items"]), (*path, index))


def defaults(part: Json) -> Mapping[str, Any]:
    """A map's stated defaults, key by key."""
    return {
        key: resolved(inner)["default"]
        for key, inner in part.get("properties", {}).items()
        if "default" in resolved(inner)
    }


# -- the validator ---------------------------------------------------------------------------


def _typed(_: Any, kind: str, instance: Any, part: Json) -> Iterator[ValidationError]:
    """`x-type`: the text is read by its reader, and held against `x-min` and `x-max`."""
    if isinstance(instance, bool) or not isinstance(instance, str | int):
        return
    if isinstance(instance, int) and kind != "status":
        return
    if kind == "expression":
        return  # compiled with its place in the line, in checks.py
    try:
        value = values.READERS[kind](str(instance))
    except ValueError as mistake:
        yield ValidationError(str(mistake))
        return
    for bound, too in (("x-min", "small"), ("x-max", "large")):
        limit = part.get(bound)
        if limit is None:
            continue
        number: Any = values.READERS[kind](limit)
        amount: Any = value
        if (amount < number) if too == "small" else (amount > number):
            extreme = "least" if too == "small" else "most"
            yield ValidationError(f"{instance} is too {too}; the {extreme} is {limit}")


def _worded(_: Any, words: list[str], instance: Any, part: Json) -> Iterator[ValidationError]:
    if isinstance(instance, str) and instance not in words:
        keys = ", ".join(part["properties"])
        yield ValidationError(f"write a map with {keys}, or {' or '.join(words)}")


def _patterned(
    _: Any, __: str, instance: Any, part: Json
) -> Iterator[ValidationError]:  # for editors: x-type and x-words say more
    if isinstance(instance, str) and "x-type" not in part and "x-words" not in part:
        try:
            values.name(instance)
        except ValueError as mistake:
            yield ValidationError(str(mistake))


@cache
def validator() -> Any:
    """A draft-07 validator class that knows the annotations."""
    own = {"x-type": _typed, "x-words": _worded, "pattern": _patterned}
    extend: Any = validators.extend
    return extend(Draft7Validator, own)
