"""JMESPath, bounded: an expression is compiled when the file is checked and costs little when used.

Size, nodes and depth are bounded at compilation. At evaluation every step and every value it makes
is charged to a budget, so that a few hundred bytes such as `[@,@][]|[@,@][]|…` cannot make a list
that doubles without end.
"""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.visitor import TreeInterpreter

from hookpost.config import direct, formulas
from hookpost.config.diagnostics import nearest
from hookpost.core.expression import BUDGET, Allowance, Expression, Formula, TooCostly

LONGEST = 2048
"""Bytes of an expression."""
MOST_NODES = 200
DEEPEST = 32


class ExpressionMistake(ValueError):
    """An expression that cannot be compiled; `offset` is the character (from 0), if known."""

    def __init__(self, message: str, offset: int = 0, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.offset = offset
        self.suggestion = suggestion


def compile_expression(text: str) -> Expression:
    """A callable of a document. Raises ExpressionMistake with the place of the mistake.

    The callable raises ValueError where the evaluation fails or costs more than BUDGET.
    """
    parsed = _parsed(text)

    def expression(document: Any) -> Any:
        return _evaluate(parsed, document, Allowance())

    return direct.compiled(parsed) or expression


def compile_formula(text: str) -> Formula:
    """A filter or a transform. Raises ExpressionMistake."""
    parsed = _parsed(text)
    plain = direct.compiled(parsed)
    evaluate = partial(_evaluate, parsed) if plain is None else partial(_unmetered, plain)
    return Formula(text, evaluate, formulas.names(parsed))


def parse(text: str) -> Any:
    """The tree of an expression that compiles, None of one that does not."""
    try:
        return _parsed(text)
    except ExpressionMistake:
        return None


def _parsed(text: str) -> Any:
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
    return parsed


def _unmetered(plain: Expression, document: Any, _: Allowance) -> Any:
    return plain(document)


def _evaluate(parsed: Any, document: Any, allowance: Allowance) -> Any:
    interpreter = _Interpreter(allowance.left)
    try:
        return interpreter.visit(parsed, document)
    except JMESPathError as mistake:
        function = getattr(mistake, "function_name", None)  # the text would show the event's data
        place = f" in {function}()" if isinstance(function, str) else ""
        raise ValueError(f"the expression failed: {type(mistake).__name__}{place}") from None
    except (RecursionError, TypeError, ArithmeticError, AttributeError, KeyError) as mistake:
        raise ValueError(f"the expression failed: {type(mistake).__name__}") from None
    finally:
        allowance.left = interpreter.left


def _place(text: str, mistake: JMESPathError) -> tuple[str, int]:
    position = getattr(mistake, "lex_position", None)
    if not isinstance(position, int):
        position = getattr(mistake, "lexer_position", 0)
    offset = min(position if isinstance(position, int) else 0, len(text))
    token = getattr(mistake, "token_value", None)
    if offset >= len(text) or token in (None, ""):
        return "the expression ends too early, or a quote is not closed", offset
    return f"this is not JMESPath at character {offset + 1}{_hint(text, offset)}", offset


def _hint(text: str, offset: int) -> str:
    """What those write first who know other languages."""
    rest = text[offset:]
    number = _NUMBER.match(rest)
    if number is not None:
        return f": a number is written `{number[0]}`, in backticks"
    if rest.startswith("-"):
        return ': a name with a hyphen is written in double quotes, "x-name"'
    if rest.startswith("="):
        return ": equality is written =="
    return ""


_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


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

    def __init__(self, left: int = BUDGET) -> None:
        super().__init__()
        self.left = left
        self._weights: dict[int, int] = {}
        self._kept: list[Any] = []  # an id stays the name of one value as long as that lives

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        """One step; what it makes is charged."""
        result = super().visit(node, *args, **kwargs)
        self.left -= 1
        if isinstance(result, str):
            self.left -= len(result) >> 6
        elif isinstance(result, list | dict) and node["type"] not in _SHARING:
            self.left -= self._weigh(result)
        if self.left < 0:
            raise TooCostly("the expression costs too much for this document")
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
            if weight > self.left:
                raise TooCostly("the expression costs too much for this document")
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
