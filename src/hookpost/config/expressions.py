"""JMESPath, bounded: an expression is compiled when the file is checked and costs little when used.

Size, nodes and depth are bounded at compilation. At evaluation every step and every value it makes
is charged to a budget, so that a few hundred bytes such as `[@,@][]|[@,@][]|…` cannot make a list
that doubles without end.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.visitor import TreeInterpreter

from hookpost.config.diagnostics import nearest
from hookpost.core.settings import Expression

LONGEST = 2048
"""Bytes of an expression."""
MOST_NODES = 200
DEEPEST = 32
BUDGET = 500_000
"""Steps and members of values made in one evaluation, some 100 ms at most."""


class ExpressionMistake(ValueError):
    """An expression that cannot be compiled; `offset` is the character (from 0), if known."""

    def __init__(self, message: str, offset: int = 0, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.offset = offset
        self.suggestion = suggestion


def compile_expression(text: str) -> Expression:
    """A callable of a document. Raises ExpressionMistake with the place of the mistake.

    The callable raises ValueError where the evaluation fails or costs too much.
    """
    if not text.strip():
        raise ExpressionMistake("the expression is empty; write a path such as body.event")
    if len(text.encode("utf-8", "surrogatepass")) > LONGEST:
        raise ExpressionMistake(f"an expression has at most {LONGEST} bytes")
    try:
        parsed = jmespath.compile(text).parsed
    except JMESPathError as mistake:
        raise ExpressionMistake(*_place(text, mistake)) from None
    except (RecursionError, ValueError, OverflowError):
        raise ExpressionMistake("this is not JMESPath, or it is nested too deep") from None
    _bounded(parsed)
    _known_functions(text, parsed)
    _references_in_their_place(text, parsed)
    direct = _direct(parsed)
    if direct is not None:
        return direct

    def evaluate(document: Mapping[str, Any]) -> Any:
        return _evaluate(parsed, document)

    return evaluate


def _direct(parsed: Any) -> Expression | None:
    """A path of names, or several with `||`: without the interpreter, at a tenth of its cost.

    What they make is there already, so nothing has to be charged.
    """
    if parsed["type"] == "or_expression":
        first, second = (_direct(child) for child in parsed["children"])
        return None if first is None or second is None else partial(_either, first, second)
    names = _names(parsed)
    return None if names is None else partial(_walk, names)


def _names(node: Any) -> tuple[str, ...] | None:
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


def _either(first: Expression, second: Expression, document: Any) -> Any:
    value = first(document)
    empty = value is None or value is False or value in ("", [], {})
    return second(document) if empty else value


def _evaluate(parsed: Any, document: Mapping[str, Any]) -> Any:
    try:
        return _Interpreter().visit(parsed, document)
    except JMESPathError as mistake:
        function = getattr(mistake, "function_name", None)  # the text would show the event's data
        place = f" in {function}()" if isinstance(function, str) else ""
        raise ValueError(f"the expression failed: {type(mistake).__name__}{place}") from None
    except (RecursionError, TypeError, ArithmeticError, AttributeError, KeyError) as mistake:
        raise ValueError(f"the expression failed: {type(mistake).__name__}") from None


def _place(text: str, mistake: JMESPathError) -> tuple[str, int]:
    position = getattr(mistake, "lex_position", None)
    if not isinstance(position, int):
        position = getattr(mistake, "lexer_position", 0)
    offset = min(position if isinstance(position, int) else 0, len(text))
    token = getattr(mistake, "token_value", None)
    if offset >= len(text) or token in (None, ""):
        return "the expression ends too early, or a quote is not closed", offset
    return f"this is not JMESPath at character {offset + 1}", offset


def _nodes(parsed: Any) -> Iterator[tuple[Any, int]]:
    waiting = [(parsed, 1)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        children = node.get("children", ()) if isinstance(node, dict) else ()
        waiting += [(child, depth + 1) for child in children if isinstance(child, dict)]


def _bounded(parsed: Any) -> None:
    for count, (_, depth) in enumerate(_nodes(parsed), 1):
        if count > MOST_NODES:
            raise ExpressionMistake(f"an expression has at most {MOST_NODES} nodes; simplify it")
        if depth > DEEPEST:
            raise ExpressionMistake(f"an expression is at most {DEEPEST} levels deep; simplify it")


def _known_functions(text: str, parsed: Any) -> None:
    table = Functions.FUNCTION_TABLE
    for node, _ in _nodes(parsed):
        if node["type"] != "function_expression":
            continue
        name, offset = node["value"], max(0, text.find(node["value"]))
        if name not in table:
            raise ExpressionMistake(f"there is no function {name}()", offset, nearest(name, table))
        signature = table[name]["signature"]
        least = len(signature)
        variadic = bool(signature) and bool(signature[-1].get("variadic"))
        given = len(node["children"])
        if given < least or (given > least and not variadic):
            wanted = f"{least} or more arguments" if variadic else f"{least} argument"
            wanted += "" if variadic or least == 1 else "s"
            raise ExpressionMistake(f"{name}() takes {wanted}, not {given}", offset)


def _references_in_their_place(text: str, parsed: Any) -> None:
    """`&expression` is no value: only the functions that want one may be given it."""
    for node, _ in [({"type": "", "children": [parsed]}, 0), *_nodes(parsed)]:
        given = [child for child in node.get("children", ()) if isinstance(child, dict)]
        if any(child["type"] == "expref" for child in given) and (
            node["type"] != "function_expression" or node["value"] not in _BY
        ):
            wanted = ", ".join(f"{name}()" for name in _BY)
            message = f"&… is no value; it is an argument of {wanted} alone"
            raise ExpressionMistake(message, text.find("&"))


_BY = ("map", "max_by", "min_by", "sort_by")


class _Interpreter(TreeInterpreter):
    """The library's interpreter with a budget.

    A value's weight is the number of its members with everything shared counted again, as a
    comparison or a serialisation of it would; long texts and numbers weigh more.
    """

    def __init__(self) -> None:
        super().__init__()
        self._left = BUDGET
        self._weights: dict[int, int] = {}
        self._kept: list[Any] = []  # an id stays the name of one value as long as that lives

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        """One step; what it makes is charged."""
        result = super().visit(node, *args, **kwargs)
        self._left -= 1
        if isinstance(result, str):
            self._left -= len(result) >> 6
        elif isinstance(result, list | dict) and node["type"] not in _SHARING:
            self._left -= self._weigh(result)
        if self._left < 0:
            raise ValueError("the expression costs too much for this document")
        return result

    def _weigh(self, value: Any) -> int:
        if isinstance(value, str):
            return 1 + (len(value) >> 6)
        if isinstance(value, int):
            return 1 + (value.bit_length() >> 9)
        if not isinstance(value, list | dict):
            return 1
        known = self._weights.get(id(value))
        if known is not None:
            return known
        members = value.values() if isinstance(value, dict) else value
        weight = 1
        for member in members:
            weight += self._weigh(member)
            if weight > self._left:
                raise ValueError("the expression costs too much for this document")
        self._weights[id(value)] = weight
        self._kept.append(value)
        return weight


_SHARING = frozenset(
    {
        "field",
        "subexpression",
        "index",
        "index_expression",
        "current",
        "identity",
        "literal",
        "pipe",
        "or_expression",
        "and_expression",
        "key_val_pair",
        "expref",
    }
)
"""Nodes whose value exists already: in the document, the expression, or charged below them."""
