"""Event type patterns against a naive matcher, and the rules for types."""

import time
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookpost.core.patterns import Pattern, check_type, reserved


def naive(pattern: list[str], segments: list[str]) -> bool:
    if not pattern:
        return not segments
    if not segments:
        return False
    head, rest = pattern[0], pattern[1:]
    if head == "**":
        return any(naive(rest, segments[n:]) for n in range(1, len(segments) + 1))
    return head in ("*", segments[0]) and naive(rest, segments[1:])


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("invoice.paid", ["invoice.paid"], ["invoice", "invoice.paid.late", "invoicexpaid"]),
        ("*", ["ping"], ["a.b", "a.b.c"]),
        ("**", ["ping", "a.b", "a.b.c"], []),
        ("invoice.*", ["invoice.paid"], ["invoice", "invoice.refund.late"]),
        ("invoice.**", ["invoice.paid", "invoice.refund.late"], ["invoice", "order.paid"]),
        ("*.paid", ["invoice.paid", "order.paid"], ["paid", "a.b.paid"]),
        ("**.paid", ["a.paid", "a.b.paid"], ["paid", "a.paid.b"]),
        ("a.**.z", ["a.b.z", "a.z.z", "a.b.c.z"], ["a.z", "a.b.c"]),
        ("**.**", ["a.b", "a.b.c"], ["a"]),
        ("a.*.**", ["a.b.c", "a.b.c.d"], ["a.b"]),
    ],
)
def test_a_pattern_matches_what_the_stars_stand_for(
    pattern: str, matching: list[str], others: list[str]
) -> None:
    parsed = Pattern.parse(pattern)

    assert [text for text in matching if not parsed.matches(text)] == []
    assert [text for text in others if parsed.matches(text)] == []


@given(
    st.lists(st.sampled_from(["a", "b", "*", "**"]), min_size=1, max_size=6),
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=7),
)
def test_every_pattern_agrees_with_a_naive_matcher(pattern: list[str], segments: list[str]) -> None:
    assert Pattern.parse(".".join(pattern)).matches(".".join(segments)) is naive(pattern, segments)


def test_all_short_patterns_agree_with_a_naive_matcher() -> None:
    types = [list(one) for n in (1, 2, 3, 4) for one in product("ab", repeat=n)]
    for length in (1, 2, 3):
        for pattern in product(["a", "b", "*", "**"], repeat=length):
            parsed = Pattern.parse(".".join(pattern))
            for segments in types:
                assert parsed.matches(".".join(segments)) is naive(list(pattern), segments)


@pytest.mark.parametrize("pattern", ["**", "*.*", "**.created", "*.endpoint.failing"])
def test_the_gateways_own_types_match_no_wildcard_in_front(pattern: str) -> None:
    for event_type in ("hookpost.created", "hookpost.endpoint.failing"):
        assert not Pattern.parse(pattern).matches(event_type)


@pytest.mark.parametrize("pattern", ["hookpost.**", "hookpost.endpoint.*"])
def test_the_gateways_own_types_match_where_they_are_named(pattern: str) -> None:
    assert Pattern.parse(pattern).matches("hookpost.endpoint.failing")


def test_a_type_that_only_looks_like_the_gateways_own_is_ordinary() -> None:
    assert Pattern.parse("**").matches("hookpostal.sent")
    assert Pattern.parse("**").matches("hookpost")
    assert not reserved("hookpostal.sent")
    assert reserved("hookpost.config.reloaded")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty"),
        ("a..b", "empty segment"),
        (".a", "empty segment"),
        ("inv*", "whole segments only"),
        ("a.***", "whole segments only"),
        ("a.\n", "not printable"),
        ("a" * 129, "at most 128"),
    ],
)
def test_a_bad_pattern_says_what_is_wrong(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        Pattern.parse(text)


@pytest.mark.parametrize("text", ["a", "x" * 128, "Größe.geändert", "with space", "a:b/c@d"])
def test_printable_types_of_up_to_128_characters_are_taken(text: str) -> None:
    assert check_type(text) is None


@pytest.mark.parametrize("text", ["", "x" * 129, "a\nb", "a\x00", "\ud800", "a\u202eb", "\u2028"])
def test_other_types_are_refused(text: str) -> None:
    assert check_type(text) is not None


def test_matching_takes_linear_time_whatever_the_stars() -> None:
    pattern = Pattern.parse(".".join(["**"] * 40 + ["end"]))
    hostile = ".".join(["a"] * 50_000)

    began = time.process_time()
    assert not pattern.matches(hostile)

    assert time.process_time() - began < 2.0
