"""Plain expressions without the interpreter, at a tenth of its cost: paths, comparisons, their kin.

What they make is at most a few lists and objects of what is there already, so nothing is charged.
They say what the interpreter says, in value and in error; a test compares the two.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from jmespath.visitor import TreeInterpreter

from hookpost.core.expression import Expression

_Node = Any
_Make = Callable[[_Node], Expression | None]


def compiled(node: _Node) -> Expression | None:
    """A callable of the document; None: only the interpreter can."""
    names = _names(node)
    if names is not None:
        return partial(_walk, names)
    make = _MAKERS.get(node["type"])
    return None if make is None else make(node)


def _names(node: _Node) -> tuple[str, ...] | None:
    if node["type"] == "field":
        return (node["value"],)
    if node["type"] != "subexpression":
        return None
    parts = [_names(child) for child in node["children"]]
    return None if None in parts else tuple(name for part in parts for name in part or ())


def _walk(names: tuple[str, ...], document: Any) -> Any:
    for name in names:
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def _children(node: _Node) -> list[Expression] | None:
    made = [compiled(child) for child in node["children"]]
    found = [child for child in made if child is not None]
    return found if len(found) == len(made) else None


def _empty(value: Any) -> bool:
    return value is None or value is False or value in ("", [], {})


# -- what it is made of ------------------------------------------------------------------------


def _literal(node: _Node) -> Expression:
    value = node["value"]
    return lambda _: value


def _or(node: _Node) -> Expression | None:
    children = _children(node)
    return None if children is None else partial(_either, *children)


def _either(first: Expression, second: Expression, document: Any) -> Any:
    value = first(document)
    return second(document) if _empty(value) else value


def _and(node: _Node) -> Expression | None:
    children = _children(node)
    return None if children is None else partial(_both, *children)


def _both(first: Expression, second: Expression, document: Any) -> Any:
    value = first(document)
    return value if _empty(value) else second(document)


def _not(node: _Node) -> Expression | None:
    children = _children(node)
    return None if children is None else partial(_opposite, children[0])


def _opposite(inner: Expression, document: Any) -> bool:
    value = inner(document)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return False  # every number is true, 0 too
    return not value


def _comparator(node: _Node) -> Expression | None:
    children = _children(node)
    if children is None:
        return None
    compare = TreeInterpreter.COMPARATOR_FUNC[node["value"]]
    return partial(_equality if node["value"] in ("eq", "ne") else _order, compare, *children)


def _equality(
    compare: Callable[[Any, Any], bool], left: Expression, right: Expression, document: Any
) -> bool:
    return compare(left(document), right(document))


def _order(
    compare: Callable[[Any, Any], bool], left: Expression, right: Expression, document: Any
) -> bool | None:
    first, second = left(document), right(document)
    if not (_comparable(first) and _comparable(second)):
        return None
    try:
        return compare(first, second)
    except TypeError:
        raise ValueError("the expression failed: TypeError") from None


def _comparable(value: Any) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def _function(node: _Node) -> Expression | None:
    known = _FUNCTIONS.get(node["value"])
    children = None if known is None else _children(node)
    return None if known is None or children is None else partial(known, *children)


def _contains(inside: Expression, sought: Expression, document: Any) -> bool:
    subject, what = inside(document), sought(document)
    if not isinstance(subject, str | list):
        raise ValueError("the expression failed: JMESPathTypeError in contains()")
    try:
        return what in subject
    except TypeError:
        raise ValueError("the expression failed: TypeError") from None


def _end(
    name: str, find: Callable[[str, str], bool], inside: Expression, sought: Expression, doc: Any
) -> bool:
    subject, what = inside(doc), sought(doc)
    if not isinstance(subject, str) or not isinstance(what, str):
        raise ValueError(f"the expression failed: JMESPathTypeError in {name}()")
    return find(subject, what)


def _object(node: _Node) -> Expression | None:
    values = [compiled(pair["children"][0]) for pair in node["children"]]
    named = {
        pair["value"]: value
        for pair, value in zip(node["children"], values, strict=True)
        if value is not None
    }
    if None in values:
        return None
    return lambda document: (
        None if document is None else {name: value(document) for name, value in named.items()}
    )


def _list(node: _Node) -> Expression | None:
    children = _children(node)
    if children is None:
        return None
    return lambda document: None if document is None else [child(document) for child in children]


_FUNCTIONS: Mapping[str, Callable[..., bool]] = {
    "contains": _contains,
    "starts_with": partial(_end, "starts_with", str.startswith),
    "ends_with": partial(_end, "ends_with", str.endswith),
}
_MAKERS: Mapping[str, _Make] = {
    "literal": _literal,
    "or_expression": _or,
    "and_expression": _and,
    "not_expression": _not,
    "comparator": _comparator,
    "function_expression": _function,
    "multi_select_dict": _object,
    "multi_select_list": _list,
}
