"""Event ids: the rule for those that are given, the making of those that are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookpost.core.identity import EventIds, check_id, derived_id


@pytest.mark.parametrize("text", ["a", "evt_1", "x" * 128, "A-Z:/{}~!#", '"quoted"'])
def test_printable_ascii_without_space_and_dot_is_an_id(text: str) -> None:
    assert check_id(text) is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty"),
        ("x" * 129, "at most 128"),
        ("a.b", "without space and dot"),
        ("a b", "without space and dot"),
        ("a\n", "without space and dot"),
        ("ä", "without space and dot"),
        ("\udcff", "without space and dot"),
        ("a\x7f", "without space and dot"),
    ],
)
def test_anything_else_is_refused_with_a_reason(text: str, part: str) -> None:
    assert part in (check_id(text) or "")


@given(st.text(max_size=140))
def test_the_rule_is_the_contracts_sentence(text: str) -> None:
    by_the_sentence = 1 <= len(text) <= 128 and all("!" <= c <= "~" and c != "." for c in text)

    assert (check_id(text) is None) is by_the_sentence


def test_made_ids_keep_the_rule_and_are_all_different() -> None:
    ids = EventIds(0.5)

    made = [ids.make(1_750_000_000.0) for _ in range(10_000)]

    assert len(set(made)) == len(made)
    assert check_id(made[0]) is None
    assert made[0].startswith("evt_")


def test_made_ids_sort_by_time_and_inside_a_millisecond_by_order() -> None:
    ids = EventIds(0.5)

    made = [ids.make(1_750_000_000.0 + step // 10 / 1000) for step in range(1000)]

    assert sorted(made) == made


def test_two_processes_make_different_ids_in_the_same_instant() -> None:
    assert EventIds(0.25).make(1.0) != EventIds(0.75).make(1.0)


@pytest.mark.parametrize("dice", [0.0, 0.999999999999])
def test_the_ends_of_the_dice_give_ids_of_one_length(dice: float) -> None:
    assert len(EventIds(dice).make(4_000_000_000.0)) == 4 + 12 + 6 + 10


def test_a_derived_id_depends_on_source_and_original_only() -> None:
    assert derived_id("github", "72d3") == derived_id("github", "72d3")
    assert derived_id("github", "72d3") != derived_id("gitlab", "72d3")
    assert derived_id("a", "bc") != derived_id("ab", "c")
    assert check_id(derived_id("github", "any text. even \udcff")) is None
