"""Filters and transforms, decided: who is owed what, and what went wrong."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from tests.builders import an_event

from hookpost.core.expression import BUDGET, Allowance, Formula, Mishap, TooCostly
from hookpost.core.fanout import (
    LEAST,
    Choice,
    Chosen,
    Interest,
    budget_of,
    carrying,
    choose,
    document_of,
)
from hookpost.core.model import EndpointId, Format

CRM, AUDIT, MAIL = EndpointId(1), EndpointId(2), EndpointId(3)
LARGEST = 1000


def formula(text: str, give: Callable[[Any], Any], cost: int = 0) -> Formula:
    def evaluate(document: Any, allowance: Allowance) -> Any:
        if cost > allowance.left:
            raise TooCostly
        allowance.left -= cost
        return give(document)

    return Formula(text, evaluate)


def always(value: Any, text: str | None = None, cost: int = 0) -> Formula:
    return formula(repr(value) if text is None else text, lambda _: value, cost)


def fails(_: Any) -> Any:
    raise ValueError("the expression failed")


def chosen(*interests: Interest, budget: int = BUDGET) -> Chosen:
    return choose(Choice.of(interests), {}, budget=budget, largest=LARGEST)


def test_a_filter_matches_when_its_value_is_true_and_nothing_else() -> None:
    for value in (False, None, 1, "true", [True], {"a": True}, 0.5):
        found = chosen(Interest("a", (CRM,), always(value)))
        assert found.owed == ()
        expected = [] if value is False else [("a", Mishap.NOT_BOOLEAN)]
        assert [(slip.subscription, slip.mishap) for slip in found.slips] == expected
    assert chosen(Interest("a", (CRM,), always(True))) == Chosen((CRM,), None, [])


def test_a_filter_that_fails_or_costs_too_much_matches_nothing_and_costs_nobody_else() -> None:
    found = chosen(
        Interest("bad", (CRM,), formula("bad", fails)),
        Interest("dear", (CRM, MAIL), always(True, "dear", BUDGET)),
        Interest("good", (AUDIT,), always(True, "good", 1000)),
        Interest("plain", (MAIL,)),
    )
    assert found.owed == (AUDIT, MAIL)
    assert [(slip.subscription, slip.mishap) for slip in found.slips] == [
        ("bad", Mishap.FAILED),
        ("dear", Mishap.COST),
    ]


def test_what_one_filter_does_not_use_another_may() -> None:
    dear = always(True, "dear", BUDGET // 2)
    found = chosen(Interest("a", (CRM,), dear), Interest("b", (AUDIT,), always(True, "cheap", 1)))
    assert found.owed == (CRM, AUDIT)


def test_all_filters_of_an_event_together_stay_within_the_budget() -> None:
    spent = 0

    def count(text: str) -> Formula:
        def evaluate(_: Any, allowance: Allowance) -> Any:
            nonlocal spent
            spent += allowance.left
            allowance.left = 0
            raise TooCostly

        return Formula(text, evaluate)

    found = chosen(*(Interest(f"s{n}", (CRM,), count(f"{n}")) for n in range(300)))
    assert spent <= BUDGET
    assert len(found.slips) == 300


def test_a_step_that_takes_more_than_was_left_is_the_last() -> None:
    begun: list[str] = []

    def giant(text: str) -> Formula:
        def evaluate(_: Any, allowance: Allowance) -> Any:
            begun.append(text)
            allowance.left -= BUDGET  # as a function over the whole document may
            raise TooCostly

        return Formula(text, evaluate)

    found = chosen(*(Interest(f"s{n}", (CRM,), giant(f"{n}")) for n in range(50)))
    assert len(begun) <= 2
    assert {slip.mishap for slip in found.slips} == {Mishap.COST}
    assert len(found.slips) == 50


def test_equal_texts_are_evaluated_once() -> None:
    runs: list[str] = []
    same = [formula("same", lambda _: not runs.append("f")) for _ in range(3)]
    change = [formula("change", lambda _: runs.append("t") or 1) for _ in range(3)]
    found = chosen(
        Interest("a", (CRM,), same[0], change[0]),
        Interest("b", (AUDIT,), same[1], change[1]),
        Interest("c", (MAIL,), same[2], change[2]),
    )
    assert runs == ["f", "t"]
    assert found.transformed is not None
    assert found.transformed[CRM] is found.transformed[AUDIT] is found.transformed[MAIL]


def test_the_first_subscription_in_file_order_gives_the_transform() -> None:
    found = chosen(
        Interest("no", (CRM,), always(False), always("no")),
        Interest("first", (CRM, AUDIT), None, always({"b": 1, "a": "ü"}, "first")),
        Interest("second", (AUDIT, MAIL), None, always(2, "second")),
        Interest("third", (MAIL, CRM)),
    )
    assert found.owed == (CRM, AUDIT, MAIL)
    text = '{"a":"ü","b":1}'.encode()
    assert found.transformed == {CRM: text, AUDIT: text, MAIL: b"2"}
    plain = chosen(Interest("a", (CRM,), always(True)), Interest("b", (CRM,), None, always(1)))
    assert (plain.owed, plain.transformed) == ((CRM,), None)


@pytest.mark.parametrize(
    ("change", "mishap"),
    [
        (formula("f", fails), Mishap.FAILED),
        (always(1, "c", BUDGET + 1), Mishap.COST),
        (always("x" * LARGEST, "l"), Mishap.TOO_LARGE),
        (always(math.nan, "n"), Mishap.NOT_JSON),
        (always(object(), "o"), Mishap.NOT_JSON),
    ],
)
def test_a_transform_that_makes_nothing_is_told_for_each_subscription(
    change: Formula, mishap: Mishap
) -> None:
    found = chosen(
        Interest("a", (CRM,), None, change),
        Interest("b", (AUDIT,), None, change),
        Interest("c", (MAIL,)),
    )
    assert found.owed == (CRM, AUDIT, MAIL)
    assert found.transformed == {CRM: None, AUDIT: None}
    assert [(slip.subscription, slip.mishap) for slip in found.slips] == [
        ("a", mishap),
        ("b", mishap),
    ]


def test_a_batch_shares_what_a_request_may_cost() -> None:
    assert budget_of(1) == BUDGET
    assert budget_of(5) == BUDGET // 5
    assert budget_of(1000) == LEAST


def test_the_document_is_the_event_as_it_is_kept() -> None:
    event = an_event(headers=(("X-Kind", "a"), ("x-kind", "b"), ("traceparent", "t")))
    assert document_of(event, {"amount": 1200}) == {
        "type": "invoice.paid",
        "source": "billing",
        "id": "evt_1",
        "time": "2025-06-15T15:06:40Z",
        "headers": {"content-type": "application/json", "x-kind": "a, b", "traceparent": "t"},
        "data": {"amount": 1200},
    }


def test_data_is_wanted_where_an_expression_may_look_at_it() -> None:
    def looks(names: frozenset[str] | None) -> bool:
        one = Formula("x", lambda document, allowance: True, names)
        return Choice.of([Interest("a", (CRM,), one)]).reads_data

    assert looks(None)
    assert looks(frozenset({"data"}))
    assert not looks(frozenset({"type", "headers"}))


def test_a_transformed_cloudevent_loses_the_schema_of_other_data() -> None:
    event = an_event(
        format=Format.CLOUDEVENTS,
        content_type="text/plain",
        headers=(("ce-id", "1"), ("ce-dataschema", "https://x.test/s"), ("X-Kind", "a")),
        transformed={CRM: b"1"},
    )
    sent = carrying(event, b"1")
    assert (sent.body, sent.content_type, sent.transformed) == (b"1", "application/json", None)
    assert sent.headers == (("ce-id", "1"), ("X-Kind", "a"))
    assert event.headers[1][0] == "ce-dataschema", "the event stays as it came"


def test_an_event_weighs_what_it_carries_and_each_payload_once() -> None:
    text = b"x" * 100
    event = an_event(body=b"12345", transformed={CRM: text, AUDIT: text, MAIL: None})
    assert event.weight == 105
    assert an_event(body=b"12345").weight == 5
