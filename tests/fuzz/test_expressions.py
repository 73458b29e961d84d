"""Expressions of any text over any document: the library's answer or a refusal, in bounded work."""

import json
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from tests.fuzz.effort import SECONDS, count, fuzzed
from tests.fuzz.spent import bounded, told, within_memory

from hookpost.config.expressions import ExpressionMistake, compile_expression
from hookpost.core.expression import BUDGET

# of the library, for literals as it once wrote them
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")

_MEMORY = 192 << 20  # texts of 64 bytes a step of the budget, a few of them at once

_leaves = st.sampled_from(
    ["@", "a", "b", "body", "body.a", '"a b"', '"\\ud800"', "*", "[]", "[*]", "[0]", "[-1]",
     "[::2]", "[::0]", "[9223372036854775808:]", "'x'", "'(a+)+$'", "`1`", "`-0.5`", "`1e999`",
     "`NaN`", "`\"x\"`", "`[1, null]`", "`{}`", "`true`", "` `", "a.*.b", "headers", "é", "''",
     "`" + "[" * 40 + "]" * 40 + "`", "`" + "9" * 600 + "`", "a[?b]", "a[?b > `1`].c", "$", "&a"]
)  # fmt: skip
_functions = st.sampled_from([*sorted(Functions.FUNCTION_TABLE), "lenght", "__class__"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from([".", "|", " || ", " && ", " == ", " != ", " < ", " >= ", ""])
    pairs = st.builds(lambda left, sign, right: left + sign + right, inner, operators, inner)
    calls = st.builds(
        lambda name, given_: f"{name}({', '.join(given_)})",
        _functions,
        st.lists(st.one_of(inner, inner.map("&{}".format)), max_size=3),
    )
    frames = st.sampled_from(["({})", "!{}", "[{0}, {0}]", "{{a: {0}, b: {0}}}", "{}[?{}]", "{}[]"])
    return st.one_of(
        pairs, calls, st.builds(lambda one, frame: frame.replace("{}", one), inner, frames)
    ).map(lambda text: text[:3000])


_grammar = st.recursive(_leaves, _grown, max_leaves=6)
_doubling = st.builds(
    lambda step, times: "|".join([step] * times),
    st.sampled_from(["[@,@][]", "[@,@]", "{a:@,b:@}", "join('',[@,@])", "[to_string(@),@]", "@.*"]),
    st.integers(1, 70),
)
_nested = st.builds(
    lambda frame, times: frame[0] * times + "a" + frame[1] * times,
    st.sampled_from([("(", ")"), ("[", "]"), ("!", ""), ("a[?", "]"), ("{a:", "}"), ("a.", "")]),
    st.integers(1, 900),
)
_any_expression = st.one_of(_grammar, _grammar, _doubling, _nested, st.text(max_size=60))

_numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([10**4000, -(10**400), float("inf"), float("nan"), 1e308]),
)
_strings = st.sampled_from(["", "x", "5", "1e400", "nan", "\ud800", "a" * 65536, "9" * 5000])
_values = st.recursive(
    st.none() | st.booleans() | _numbers | _strings | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(["a", "b", "c", "a b"]), inner, max_size=4)
    ),
    max_leaves=15,
)
_wide = st.integers(1, 20_000).map(lambda n: {"a": [{"b": i % 7, "c": "x"} for i in range(n)]})
_documents = st.one_of(_values, _values, _wide).map(
    lambda body: {"source": "s", "headers": {"a": "1"}, "body": body, "a": body, "b": body}
)


@fuzzed(250)
@given(_any_expression, _documents)
def test_an_expression_has_the_librarys_value_or_is_refused(text: str, document: Any) -> None:
    count("expressions")
    with bounded(SECONDS):
        try:
            evaluate = compile_expression(text)
        except ExpressionMistake as mistake:
            told(mistake)
            offset = mistake.offset
        else:
            offset = None
    if offset is not None:
        assert 0 <= offset <= len(text)
        return
    with bounded(SECONDS):
        try:
            value = evaluate(document)
        except ValueError as failed:
            if "costs too much" not in str(failed):
                assert _of_the_library(text, document) is _REFUSED
            return
    with bounded(SECONDS):
        expected = _of_the_library(text, document)
    if not isinstance(value, list | dict):  # which may be the same list a thousand times over
        assert repr(value) == repr(expected)
    assert type(value) is type(expected)


_REFUSED = object()


def _of_the_library(text: str, document: Any) -> Any:
    """What `jmespath.search` says, which raises whatever happens to it."""
    try:
        return jmespath.search(text, document)
    except (JMESPathError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError):
        return _REFUSED
    except RecursionError:
        return _REFUSED


@fuzzed(15)
@given(st.one_of(_doubling, _grammar), _wide)
def test_an_expression_is_bounded_in_memory(text: str, document: Any) -> None:
    count("expressions")
    whole = {"body": document, **document}
    with within_memory(_MEMORY), bounded(4 * SECONDS):
        try:
            compile_expression(text)(whole)
        except ValueError:
            return


@fuzzed(60)
@given(_grammar, _values)
def test_a_sound_expression_over_a_small_document_never_costs_too_much(
    text: str, body: Any
) -> None:
    count("expressions")
    if len(text) > 40 or len(repr(body)) > 2000:
        return
    assert BUDGET > 100_000
    try:
        compile_expression(text)(json.loads(json.dumps({"body": body, "a": body}, default=str)))
    except ValueError as failed:
        said = str(failed)
    else:
        said = ""
    assert "costs too much" not in said
