"""What can be told of a filter or a transform before there is a document."""

from collections.abc import Iterator
from typing import Any

MEMBERS = ("type", "source", "id", "time", "headers", "data")
"""Of the document that filters and transforms see."""

_STEPS = frozenset({"subexpression", "pipe", "index_expression"})
_EACH = frozenset({"projection", "value_projection", "filter_projection"})
_WHOLE = frozenset({"current", "identity"})
_NEVER = frozenset(
    {
        *("multi_select_dict", "multi_select_list", "projection", "value_projection"),
        *("filter_projection", "flatten", "slice"),
    }
)
_FUNCTIONS_NEVER = frozenset(
    {
        *("abs", "avg", "ceil", "floor", "join", "keys", "length", "map", "max", "merge", "min"),
        *("reverse", "sort", "sort_by", "sum", "to_array", "to_number", "to_string", "type"),
        "values",
    }
)


def names(parsed: Any) -> frozenset[str] | None:
    """The members of the document that an expression looks at; None: perhaps all of them."""
    found = [node for node, _ in _roots(parsed)]
    if any(node["type"] in _WHOLE for node in found):
        return None
    return frozenset(node["value"] for node in found if node["type"] == "field")


def headers(parsed: Any) -> Iterator[str]:
    """The headers that an expression names."""
    for node, then in _roots(parsed):
        known = node["type"] == "field" and node["value"] == "headers"
        if known and then is not None and then["type"] == "field":
            yield then["value"]


def _roots(parsed: Any) -> Iterator[tuple[Any, Any]]:
    """The nodes that are evaluated with the whole document, each with what follows it in a path."""
    waiting: list[tuple[Any, Any]] = [(parsed, None)]
    while waiting:
        node, then = waiting.pop()
        yield node, then
        children = [child for child in node.get("children", ()) if isinstance(child, dict)]
        if node["type"] in _STEPS:
            follows = children[1]
            while follows["type"] in _STEPS:
                follows = follows["children"][0]
            waiting.append((children[0], follows))
        elif node["type"] in _EACH:
            waiting.append((children[0], None))
        elif node["type"] != "expref":
            waiting += [(child, None) for child in children]


def never_boolean(parsed: Any) -> bool:
    """Whether the value cannot be true or false, whatever the document."""
    kind = parsed["type"]
    children = parsed.get("children", ())
    if kind == "literal":
        return not isinstance(parsed["value"], bool)
    if kind in _STEPS:
        return never_boolean(children[-1])
    if kind in ("or_expression", "and_expression"):
        return all(never_boolean(child) for child in children)
    if kind == "function_expression":
        return parsed["value"] in _FUNCTIONS_NEVER
    return kind in _NEVER
