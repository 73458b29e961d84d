"""The keys of the schema, as the tests name them: `endpoints.NAME.url.secret`."""

from typing import Any

from hookpost.config import schema


def leaves() -> set[str]:
    """Every key that says something by itself: not those that only hold others."""
    return _leaves(schema.schema(), "")


def _leaves(part: dict[str, Any], path: str) -> set[str]:
    found: set[str] = set()
    for key, inner in part.get("properties", {}).items():
        inner, here = schema.resolved(inner), f"{path}.{key}" if path else key
        below = _leaves(inner, here)
        if "items" in inner:
            below |= _leaves(schema.resolved(inner["items"]), f"{here}[]")
        said = not below or "x-words" in inner or inner.get("x-type") == "url"
        found |= below | ({here} if said else set())
    named = part.get("additionalProperties")
    if isinstance(named, dict):
        found |= _leaves(schema.resolved(named), f"{path}.NAME")
    return found
