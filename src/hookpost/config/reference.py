"""docs/configuration.md, from the schema: `python -m hookpost.config.reference > docs/…`."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from hookpost.config.schema import Json, resolved, schema

_INTRODUCTION = """\
# Configuration

Made from `schema/gateway.schema.json` by `python -m hookpost.config.reference`; a test compares.

One YAML file, by default `/etc/hookpost/gateway.yaml`. `hookpost config init` writes one to begin
with, `hookpost check` finds every mistake in one run, `hookpost config show --effective` prints
what is in force, and `# yaml-language-server: $schema=…` in the first line makes editors help.

## Rules

- Unknown keys, duplicate keys, wrong types and names that lead nowhere are errors. Warnings fail
  only `hookpost check --strict`.
- Names have 1 to 63 lower-case letters, digits and hyphens and begin with no hyphen. `hookpost` and
  `sub-…` are reserved. `standard` (retry policy, circuit breaker) and `public` (egress policy) are
  built in; `none` switches a circuit breaker, a rate limit, deduplication or signing off.
- Scalars are read by the core schema of YAML 1.2: `on`, `no` and `10:30` are text. Numbers with a
  leading zero, `.inf`, `.nan`, tags, merge keys and a second document are errors. A file has at
  most 1 MiB, 32 levels and 100,000 values, aliases expanded.
- Durations carry `ms`, `s`, `m`, `h` or `d`, sizes `B`, `KiB`, `MiB`, `GiB` or `TiB`, rates a time
  (`50/s`), points in time an offset (`2026-01-31T00:00:00Z`).
- Relative paths are relative to the file that names them.
- A pattern in `include` that matches nothing is no mistake, since a directory for additions may be
  empty; a directory that is not there is a warning, and a plain name that is not there an error.
- Sources of known providers, one by one, and how to describe any other: [sources.md](sources.md).
- Expressions are [JMESPath](https://jmespath.org/) of at most 2 KiB, 200 nodes and 32 levels.
"""


def render() -> str:
    """The whole page."""
    top = schema()
    parts = [_INTRODUCTION, "## Keys\n"]
    for key in top["properties"]:
        part = resolved(top["properties"][key])
        parts.append(f"### `{key}`\n\n{part['description']}\n")
        rows = list(_rows(part, key))
        if rows:
            parts.append("| key | value | default | meaning |\n|---|---|---|---|")
            parts.append("\n".join(rows) + "\n")
        else:
            parts.append(f"{_kind(part)}{_default_sentence(part)}\n")
    return "\n".join(parts)


def _rows(part: Json, prefix: str) -> Iterator[str]:
    inner = part.get("additionalProperties")
    if isinstance(inner, dict) and "properties" not in part:
        yield from _rows(resolved(inner), f"{prefix}.NAME")
        return
    for key, value in part.get("properties", {}).items():
        known = resolved(value)
        path = f"{prefix}.{key}"
        required = key in part.get("required", ())
        cells = (f"`{path}`", _kind(known), _default(known, required=required), _meaning(known))
        yield f"| {' | '.join(cells)} |"
        yield from _rows(known, path)
        if "items" in known:
            yield from _rows(resolved(known["items"]), f"{path}[]")


def _meaning(part: Json) -> str:
    text = str(part["description"])
    return f"{text} Restart-only." if part.get("x-restart") else text


def _default(part: Json, *, required: bool) -> str:
    if required:
        return "required"
    value = part.get("default")
    if value is None or value in ({}, []):
        return ""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _default_sentence(part: Json) -> str:
    return f"; by default `{json.dumps(part['default'])}`" if part.get("default") else ""


_TYPES = {
    "object": "map",
    "array": "list",
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
}


def _kind(part: Json) -> str:
    if "enum" in part:
        return ", ".join(f"`{option}`" for option in part["enum"])
    if "const" in part:
        return f"`{part['const']}`"
    if "x-ref" in part:
        return f"name in `{part['x-ref']}`" + "".join(
            f", `{word}`" for word in part.get("x-builtin", ())
        )
    kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
    words = part.get("x-words", [])
    names = [_TYPES[kind] for kind in kinds if not (kind == "string" and words)]
    if kinds == ["string"] and part.get("x-type") in ("duration", "size", "rate"):
        names = [part["x-type"]]
    if kinds == ["array"]:
        names = [f"list of {_kind(resolved(part['items']))}"]
    return " or ".join([*names, *(f"`{word}`" for word in words)]) + _bounds(part)


def _bounds(part: Json) -> str:
    least: Any = part.get("x-min", part.get("minimum"))
    most: Any = part.get("x-max", part.get("maximum"))
    if "exclusiveMinimum" in part:
        return f", above {part['exclusiveMinimum']}, at most {most}"
    if least is not None and most is not None:
        return f", {least} to {most}"
    return f", at least {least}" if least is not None else ""


if __name__ == "__main__":
    sys.stdout.write(render())
