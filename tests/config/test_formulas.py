"""What is told of filters and transforms beforehand; plain ones against the library."""

from typing import Any

import jmespath
import pytest
from jmespath.exceptions import JMESPathError

from hookpost.config import direct, formulas
from hookpost.config.expressions import compile_formula, parse
from hookpost.core.expression import Allowance, TooCostly


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("data.amount > `1`", {"data"}),
        ("type == 'a' && source != id", {"type", "source", "id"}),
        ("data.items[?type == 'x'].id | [0]", {"data"}),
        ("sort_by(data.items, &amount)[0].name", {"data"}),
        ("map(&time, data.items)", {"data"}),
        ('{a: headers."x-a", b: data.*.c, c: [time]}', {"headers", "data", "time"}),
        ("data.[type, @]", {"data"}),
        ("`1`", set()),
        ("@", None),
        ("*", None),
        ("[0]", None),
        ("keys(@)", None),
        ("@ | data", None),
        ("data[0].x[1:2]", {"data"}),
        ("data.items[].source", {"data"}),
    ],
)
def test_the_members_that_an_expression_looks_at(text: str, names: set[str] | None) -> None:
    assert compile_formula(text).names == names


def test_the_headers_that_an_expression_names() -> None:
    parsed = parse(
        'headers."x-a" == \'b\' || contains(headers.y, headers."Z"[0]) || data.headers.q'
    )
    assert sorted(formulas.headers(parsed)) == ["Z", "x-a", "y"]


@pytest.mark.parametrize(
    "text",
    ["'x'", "`1`", "`null`", "[data.a]", "{a: data.b}", "data.items[*].ok", "length(data.a)",
     "data.items[?ok]", "data.items[]", "data.a | [@]", "data | keys(@)", "'a' || [data.b]",
     "data.a[1:]", "type(data.a)", "to_string(data.a)"],
)  # fmt: skip
def test_what_is_never_true_or_false(text: str) -> None:
    assert formulas.never_boolean(parse(text))


@pytest.mark.parametrize(
    "text",
    ["data.a", "data.a > `1`", "!data.a", "`true`", "contains(data.a, 'b')", "data.items[0]", "@",
     "data.a && 'x' == type", "[data.a] | [0]", "not_null(data.a, `true`)", "'a' && data.b"],
)  # fmt: skip
def test_what_may_be_true_or_false(text: str) -> None:
    assert not formulas.never_boolean(parse(text))


VALUES: list[Any] = [
    None, True, False, 0, 1, 1.0, -0.5, "", "a", "ab", [], ["a"], [1], [True], {}, {"a": 1},
]  # fmt: skip
PLAIN = [
    "data", "data.a", "data.a.b", "data || other", "data && other", "!data", "data == other",
    "data != other", "data < other", "data >= other", "data == `1`", "data == 'a'",
    "contains(data, other)", "starts_with(data, other)", "ends_with(data, other)",
    "{a: data, b: [other, data.a]}", "data == other && contains(['a', `1`], data)",
    "!(data || other) && `true`", "[data > `0`, 'x']",
]  # fmt: skip


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_expression_says_what_the_library_says(text: str) -> None:
    evaluate = direct.compiled(parse(text))
    assert evaluate is not None
    for data in VALUES:
        for other in VALUES:
            document = {"data": data, "other": other}
            try:
                expected: Any = jmespath.search(text, document)
            except JMESPathError as mistake:
                name = type(mistake).__name__
                with pytest.raises(ValueError, match=f"the expression failed: {name} in "):
                    evaluate(document)
            except TypeError:
                with pytest.raises(ValueError, match="the expression failed: TypeError"):
                    evaluate(document)
            else:
                assert repr(evaluate(document)) == repr(expected), document


@pytest.mark.parametrize("document", VALUES)
def test_a_document_need_not_be_an_object(document: Any) -> None:
    for text in ("{a: b}", "[b]", "a == b", "a.b"):
        evaluate = direct.compiled(parse(text))
        assert evaluate is not None
        assert evaluate(document) == jmespath.search(text, document)


def test_an_evaluation_is_charged_to_the_allowance_it_is_given() -> None:
    formula = compile_formula("length(data.items[?ok])")
    document = {"data": {"items": [{"ok": True}] * 100}}
    allowance = Allowance(10_000)
    assert formula.evaluate(document, allowance) == 100
    assert 0 < 10_000 - allowance.left < 1000
    with pytest.raises(TooCostly):
        formula.evaluate(document, Allowance(50))
    plain = Allowance(10)
    assert compile_formula("data.items == `1`").evaluate(document, plain) is False
    assert plain.left == 10


def test_formulas_are_compared_by_their_text() -> None:
    assert compile_formula("data.a") == compile_formula("data.a")
    assert compile_formula("data.a") != compile_formula("data. a")
    assert "evaluate" not in repr(compile_formula("data.a"))
