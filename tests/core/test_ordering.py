"""Keys of lines: which events share one, and which have none."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookpost.core.expression import BUDGET, Allowance, Formula, Mishap, TooCostly
from hookpost.core.fanout import Choice, Chosen, Interest, choose
from hookpost.core.model import EndpointId
from hookpost.core.ordering import FIFO_KEY, LARGEST, Ordering, key_of
from hookpost.core.written import Oversized, Unwritable

CRM, AUDIT, MAIL = EndpointId(1), EndpointId(2), EndpointId(3)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)


@given(VALUES, VALUES)
def test_equal_values_have_equal_keys_and_others_have_not(one: Any, other: Any) -> None:
    def text(value: Any) -> str:
        return json.dumps(value, sort_keys=True)

    assert (key_of(one) == key_of(other)) == (text(one) == text(other))


def test_members_may_stand_in_any_order() -> None:
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [False, 0, "", [], {}, [None]])
def test_only_null_is_no_key(value: Any) -> None:
    key = key_of(value)
    assert key is not None
    assert -(2**63) <= key < 2**63
    assert key_of(None) is None


def test_a_value_that_cannot_be_a_key_says_why() -> None:
    with pytest.raises(Oversized):
        key_of("x" * LARGEST)
    with pytest.raises(Unwritable):
        key_of(float("nan"))


def formula(text: str, give: Callable[[Any], Any], cost: int = 0) -> Formula:
    def evaluate(document: Any, allowance: Allowance) -> Any:
        allowance.left -= cost
        if allowance.left < 0:
            raise TooCostly
        return give(document)

    return Formula(text, evaluate, frozenset({"type"}))


def keyed(text: str, give: Callable[[Any], Any], cost: int = 0) -> Ordering:
    return Ordering(formula(text, give, cost))


def chosen(orderings: dict[EndpointId, Ordering], *interests: Interest, **document: Any) -> Chosen:
    choice = Choice.of(interests, orderings)
    return choose(choice, document, budget=BUDGET, largest=1000)


def test_each_endpoint_has_a_key_of_its_own_or_none() -> None:
    orderings = {CRM: keyed("customer", lambda d: d["customer"]), AUDIT: Ordering()}
    found = chosen(orderings, Interest("all", (CRM, AUDIT, MAIL)), customer=7)
    assert found.owed == (CRM, AUDIT, MAIL)
    assert found.keys == {CRM: key_of(7), AUDIT: FIFO_KEY}
    assert chosen({}, Interest("all", (MAIL,))).keys is None


def test_an_endpoint_that_is_not_owed_the_event_costs_nothing() -> None:
    asked = []
    never = formula("never", lambda _: False)
    found = chosen(
        {CRM: keyed("a", asked.append), AUDIT: Ordering()},
        Interest("crm", (CRM,), never),
        Interest("audit", (AUDIT,)),
    )
    assert (found.keys, asked) == ({AUDIT: FIFO_KEY}, [])


def test_an_expression_that_several_endpoints_share_is_evaluated_once() -> None:
    asked: list[Any] = []
    same = keyed("a", lambda document: asked.append(document) or "k")
    found = chosen({CRM: same, AUDIT: same}, Interest("all", (CRM, AUDIT)))
    assert found.keys == {CRM: key_of("k"), AUDIT: key_of("k")}
    assert len(asked) == 1


def fails(_: Any) -> Any:
    raise ValueError("the expression failed")


@pytest.mark.parametrize(
    ("ordering", "mishap"),
    [
        (keyed("fails", fails), Mishap.FAILED),
        (keyed("dear", lambda _: 1, cost=BUDGET + 1), Mishap.COST),
        (keyed("large", lambda _: "x" * LARGEST), Mishap.TOO_LARGE),
        (keyed("odd", lambda _: float("inf")), Mishap.NOT_JSON),
    ],
    ids=lambda value: str(getattr(value, "text", value)),
)
def test_an_event_whose_key_cannot_be_told_is_sent_without_order(
    ordering: Ordering, mishap: Mishap
) -> None:
    found = chosen({CRM: ordering, AUDIT: Ordering()}, Interest("all", (CRM, AUDIT)))
    assert (found.owed, found.keys) == ((CRM, AUDIT), {AUDIT: FIFO_KEY})
    assert [(one.endpoint, one.mishap) for one in found.unkeyed] == [(CRM, mishap)]
    assert found.slips == []


def test_a_null_key_is_no_mishap() -> None:
    found = chosen({CRM: keyed("absent", lambda _: None)}, Interest("all", (CRM,)))
    assert (found.keys, found.unkeyed) == (None, [])


def test_the_event_is_looked_into_for_keys_alone_too() -> None:
    interest = [Interest("all", (CRM,))]
    assert not Choice.of(interest, {CRM: Ordering()}).looks
    by_type = Choice.of(interest, {CRM: keyed("type", lambda d: d["type"])})
    assert (by_type.looks, by_type.reads_data) == (True, False)
    by_data = Choice.of(interest, {CRM: Ordering(Formula("data", lambda d, _: d))})
    assert by_data.reads_data


def test_an_ordering_is_named_as_it_was_written() -> None:
    assert (Ordering().text, keyed("data.id", fails).text) == ("fifo", "by key data.id")
