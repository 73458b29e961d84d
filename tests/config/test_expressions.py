"""Expressions are bounded when they are compiled and when they are used."""

from collections.abc import Callable
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookpost.config import Loaded
from hookpost.config.expressions import ExpressionMistake, compile_expression

Write = Callable[..., Loaded]


def _use(text: str, document: Any) -> Any:
    return compile_expression(text)(document)


def test_an_expression_reads_source_headers_and_body() -> None:
    document = {"source": "s", "headers": {"x-kind": "k"}, "body": {"event": "order.paid"}}
    assert _use("body.event", document) == "order.paid"
    assert _use('headers."x-kind"', document) == "k"
    assert _use("join('.', [source, body.event])", document) == "s.order.paid"
    assert _use("body.absent", document) is None
    assert _use("sort_by(list, &n)[0].n", {"list": [{"n": 2}, {"n": 1}]}) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("body.", "ends too early"),
        ("a b", "character 3"),
        ("'open", "not JMESPath|quote"),
        ("lenght(a)", "no function lenght"),
        ("length()", "takes 1 argument, not 0"),
        ("contains(a)", "takes 2 arguments, not 1"),
        ("merge()", "takes 1 or more arguments"),
        ("a" * 2049, "at most 2048 bytes"),
        ("[" + ",".join(["a"] * 201) + "]", "at most 200 nodes"),
        ("[" * 40 + "@" + "]" * 40, "at most 32 levels"),
        ("&a", "argument of map"),
        ("[a, &b]", "argument of map"),
        ("not_null(&a)", "argument of map"),
        ("!" * 1500 + "a", "nested too deep|levels"),
    ],
)
def test_what_cannot_be_compiled_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ExpressionMistake, match=complaint):
        compile_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "|".join(["[@,@][]"] * 28),
        "|".join(["[@,@,@]"] * 28),
        "|".join(["[@,@]"] * 30) + "|to_string(@)",
        "|".join(["[@,@,@,@]"] * 12) + " == " + "|".join(["[@,@,@,@]"] * 12),
        "|".join(["{a:@,b:@}"] * 28) + "|to_string(@)",
        "|".join(["join('',[@,@])"] * 28),
    ],
)
def test_an_expression_that_doubles_without_end_is_stopped(text: str) -> None:
    evaluate = compile_expression(text)
    began = process_time()
    with pytest.raises(ValueError, match="costs too much"):
        evaluate("x" * 100)  # type: ignore[arg-type] # any value may be a document's part
    assert process_time() - began < 5


def test_an_ordinary_expression_over_a_large_document_is_not_stopped() -> None:
    document = {"body": {"lines": [{"amount": n} for n in range(20_000)]}}
    assert _use("length(body.lines[?amount > `10`])", document) == 19_989


def test_steps_alone_are_counted_too() -> None:
    with pytest.raises(ValueError, match="costs too much"):
        _use("length(body[?@ == `5`])", {"body": [1] * 200_000})


@pytest.mark.parametrize("text", ["length(body)", "sum(body)", "join(',', body)", "abs(body)"])
def test_a_failure_is_a_value_error_without_the_data(text: str) -> None:
    with pytest.raises(ValueError, match="the expression failed") as failed:
        _use(text, {"body": True})
    assert "True" not in str(failed.value)
    assert "true" not in str(failed.value)


@given(st.text(max_size=80))
def test_any_text_is_compiled_or_refused(text: str) -> None:
    try:
        evaluate = compile_expression(text)
    except ExpressionMistake as mistake:
        offset = mistake.offset
    else:
        offset = 0
        try:
            evaluate({"body": {"a": [1, "x", None]}, "headers": {}, "source": "s"})
        except ValueError:
            offset = 0
    assert 0 <= offset <= len(text)


RAW = """\
version: 1
secrets: {token: {env: TOKEN}, key: {env: KEY}}
sources:
  billing:
    path: /in/billing
    auth: {bearer: [token]}
    format: raw
    event_type: {expression: %s}
endpoints: {crm: {url: "https://crm.example.com/", signing: {standard_webhooks: [key]}}}
subscriptions: {all: {endpoints: [crm]}}
"""


@pytest.mark.parametrize(
    ("written", "column"),
    [
        ("body.event)", 30 + 10),
        ('"body.event)"', 30 + 11),
        ("'body.event)'", 30 + 11),
        ("body.a b", 30 + 7),
    ],
)
def test_a_mistake_is_shown_at_its_character(loading: Write, written: str, column: int) -> None:
    (found,) = loading(RAW % written).diagnostics
    assert (found.code, found.line, found.column) == ("bad-expression", 8, column)


def test_a_compiled_expression_reaches_the_source(loading: Write) -> None:
    source = loading(RAW % "body.event").sound().sources["billing"]
    assert source.event_type is not None
    assert source.event_type.text == "body.event"
    assert source.event_type.expression is not None
    assert source.event_type.expression({"body": {"event": "x"}}) == "x"
