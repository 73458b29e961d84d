"""The text of a transform's value: exact, sorted, and bounded."""

import json
import math
from typing import Any

import pytest

from hookpost.core.written import DEEPEST, Oversized, Unwritable, written

MOST = 1 << 20


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (0, "0"),
        (1.0, "1.0"),
        (-1.5e300, "-1.5e+300"),
        (10**400, str(10**400)),
        ("ü😀", '"ü😀"'),
        ('"\\\n\x00', '"\\"\\\\\\n\\u0000"'),
        ("\ud800", '"\\ud800"'),
        ([], "[]"),
        ({}, "{}"),
        ([1, [2, {}], "x"], '[1,[2,{}],"x"]'),
        ({"b": 1, "a": {"d": [], "c": None}}, '{"a":{"c":null,"d":[]},"b":1}'),
    ],
)
def test_a_value_has_one_text_with_sorted_keys(value: Any, text: str) -> None:
    assert written(value, MOST) == text.encode()
    assert json.loads(text) == value


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, {"a": [-math.inf]}, object(), [10**5000], {"a": {1, 2}}]
)
def test_what_json_has_no_text_for_is_refused(value: Any) -> None:
    with pytest.raises(Unwritable):
        written(value, MOST)


def test_the_text_may_have_exactly_the_most_bytes() -> None:
    assert written(["é", 1], 8) == '["é",1]'.encode()
    with pytest.raises(Oversized, match="more than 7 bytes"):
        written(["é", 1], 7)


def test_a_list_that_holds_itself_many_times_over_costs_no_more_than_the_limit() -> None:
    value: Any = "x"
    for _ in range(60):
        value = [value, value]
    with pytest.raises(Oversized):
        written(value, 100_000)
    empty: Any = []
    for _ in range(DEEPEST - 1):
        empty = {"a": empty, "b": empty}
    with pytest.raises(Oversized):
        written(empty, 100_000)


def test_a_wide_value_is_not_even_begun() -> None:
    class Wide(list[int]):
        def __iter__(self) -> Any:
            raise AssertionError("it was begun")

    with pytest.raises(Oversized):
        written(Wide(range(1000)), 1000)


def test_levels_are_counted_like_those_of_an_event() -> None:
    value: Any = 1
    for _ in range(DEEPEST):
        value = [value]
    assert written(value, MOST) == b"[" * DEEPEST + b"1" + b"]" * DEEPEST
    with pytest.raises(Oversized, match="64 levels"):
        written([value], MOST)
