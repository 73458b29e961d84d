"""Event types and patterns of any text, against a matcher that tries everything."""

from functools import cache

from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.effort import SECONDS, count, fuzzed
from tests.fuzz.spent import bounded, told

from hookpost.core.patterns import TYPE_LENGTH, Pattern, check_type, reserved
from hookpost.core.routing import Routes
from hookpost.core.settings import Subscription

_words = st.sampled_from(["a", "b", "hookpost", "ä", "A", " ", "(a+)+$", "[", "\\", "x" * 40])
_stars = st.sampled_from(["*", "**", "**", "***", "a*", "", "*.", "\u202e"])
_types = st.lists(_words, min_size=1, max_size=9).map(".".join)
_patterns = st.lists(st.one_of(_words, _stars), min_size=1, max_size=9).map(".".join)
_hard = st.integers(1, 42).map(lambda n: ".".join(["**"] * n))
_any_pattern = st.one_of(_patterns, _patterns, _hard, st.text(max_size=140))
_any_type = st.one_of(_types, _types, st.integers(1, 64).map(lambda n: ".".join("a" * n)),
                      st.text(max_size=140))  # fmt: skip


def naive(pattern: str, event_type: str) -> bool:
    """Whether a type fits: every way to read the stars is tried."""
    wanted, given_ = pattern.split("."), event_type.split(".")

    @cache
    def fits(at: int, to: int) -> bool:
        if at == len(wanted) or to == len(given_):
            return at == len(wanted) and to == len(given_)
        if wanted[at] == "**":
            return any(fits(at + 1, end) for end in range(to + 1, len(given_) + 1))
        return wanted[at] in ("*", given_[to]) and fits(at + 1, to + 1)

    own = event_type.startswith("hookpost.") and wanted[0] != "hookpost"
    return not own and fits(0, 0)


@fuzzed(300)
@given(_any_pattern, _any_type)
def test_a_pattern_is_refused_or_matches_as_the_naive_matcher_does(
    text: str, event_type: str
) -> None:
    count("texts")
    segments = text.split(".")
    sound = (
        0 < len(text) <= TYPE_LENGTH
        and text.isprintable()
        and all(one in ("*", "**") or (one and "*" not in one) for one in segments)
    )
    try:
        pattern = Pattern.parse(text)
    except ValueError as refused:
        assert not sound
        told(refused)
        return
    assert sound
    with bounded(SECONDS):
        matches = pattern.matches(event_type)
    assert matches is naive(text, event_type)


@fuzzed(60)
@given(st.lists(st.lists(_patterns, min_size=1, max_size=3), min_size=1, max_size=4), _any_type)
def test_an_event_goes_to_the_endpoints_whose_patterns_match(
    wanted: list[list[str]], event_type: str
) -> None:
    count("texts")
    sound = [[text for text in texts if _parses(text)] for texts in wanted]
    subscriptions = [
        Subscription(name=f"s{n}", events=tuple(texts), endpoints=(f"e{n}",))
        for n, texts in enumerate(sound)
        if texts
    ]
    owed = Routes(subscriptions).wanting("any", event_type)
    expected = [one for one in subscriptions if any(naive(text, event_type) for text in one.events)]
    assert list(owed) == expected


def _parses(text: str) -> bool:
    try:
        return Pattern.parse(text) is not None
    except ValueError:
        return False


@fuzzed(100)
@given(st.text(max_size=140) | _types)
def test_a_type_is_refused_with_a_reason_that_can_be_shown(text: str) -> None:
    count("texts")
    wrong = check_type(text)
    assert (wrong is None) == (0 < len(text) <= TYPE_LENGTH and text.isprintable())
    assert wrong is None or wrong.isprintable()
    assert reserved(text) == (text.split(".")[0] == "hookpost" and "." in text)
