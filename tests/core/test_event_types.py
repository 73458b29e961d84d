"""Which entry an event type falls under, and what its publisher is told."""

import pytest

from hookpost.core.event_types import EventType, EventTypes, fitted, wanted
from hookpost.core.model import Event, Format
from hookpost.core.patterns import Pattern
from hookpost.core.refusals import Refused
from hookpost.core.violations import LONGEST_MESSAGE, LONGEST_PATH, Violation, json_path, violation

NAMES = ("invoice.paid", "*", "invoice.*", "invoice.**", "**.failed")
TYPES = EventTypes(
    {NAMES[0]: EventType(schema=NAMES[0])},
    tuple((Pattern.parse(text), EventType(schema=text)) for text in NAMES[1:]),
)


def event(event_type: str = "invoice.paid", body: bytes = b"1") -> Event:
    return Event(
        id="e",
        source="billing",
        type=event_type,
        occurred_at="",
        accepted_at=0.0,
        format=Format.ENVELOPE,
        content_type="application/json",
        body=body,
        headers=(),
        dedup_key=None,
        dedup_window=0.0,
    )


@pytest.mark.parametrize(
    ("event_type", "entry"),
    [
        ("invoice.paid", "invoice.paid"),
        ("invoice.sent", "invoice.*"),
        ("invoice.item.added", "invoice.**"),
        ("invoice.item.failed", "invoice.**"),
        ("job.step.failed", "**.failed"),
        ("invoice", "*"),
        ("job.done", None),
        ("Invoice.paid", None),
    ],
)
def test_a_name_comes_before_patterns_and_of_these_the_first_counts(
    event_type: str, entry: str | None
) -> None:
    found = TYPES.find(event_type)
    assert (None if found is None else found.schema) == entry


def test_without_a_list_every_type_is_taken_and_with_one_no_other() -> None:
    assert wanted(None, event("anything")) is None
    refused = wanted(EventTypes({"a": EventType(), "b": EventType()}), event("c"))
    assert refused == Refused("type_unlisted", "'c' is none of a, b")
    assert refused.status == 422
    assert refused.reason == "type"


def test_a_long_list_is_not_told_whole() -> None:
    types = EventTypes({f"t{number}": EventType() for number in range(1000)})
    assert types.unlisted("x").detail == "'x' is none of t0, t1, t2, t3, t4 and 995 more"


def test_an_event_that_does_not_fit_becomes_a_refusal_that_says_where() -> None:
    wrong = Violation("$.data.a", 'is not of type "string"')
    seen: list[tuple[bytes, str]] = []

    def validate(data: bytes, root: str) -> list[Violation]:
        seen.append((data, root))
        return [wrong] if data == b"1" else []

    good = event(body=b"2")
    assert fitted(validate, good, "$.data") is good
    refused = fitted(validate, event(), "$.data")
    assert isinstance(refused, Refused)
    assert (refused.code, refused.reason, refused.violations) == (
        "schema_invalid",
        "schema",
        (wrong,),
    )
    assert "'invoice.paid'" in refused.detail
    assert "$.data.a" in refused.detail
    assert seen == [(b"2", "$.data"), (b"1", "$.data")]


def test_entries_are_the_same_where_their_schemas_are() -> None:
    one = EventType(schema="a.json", digest="1", validate=lambda data, root: ())
    same = EventType(schema="a.json", digest="1", validate=lambda data, root: ())
    assert one == same
    assert one != EventType(schema="a.json", digest="2", validate=one.validate)


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        ((), "$"),
        (("data", "items", 3, "price"), "$.data.items[3].price"),
        (("a b", "c"), '$["a b"].c'),
        (("1", ""), '$["1"][""]'),
        (("ü", 'q"', "\ud800", "\n"), '$["\\u00fc"]["q\\""]["\\ud800"]["\\n"]'),
    ],
)
def test_a_path_is_a_json_path(steps: tuple[str | int, ...], path: str) -> None:
    assert json_path("$", steps) == path


def test_paths_and_messages_are_bounded() -> None:
    long = violation("$", ["x" * 100_000] * 64, "y" * 100_000)
    assert (len(long.path), len(long.message)) == (LONGEST_PATH, LONGEST_MESSAGE)
    assert long.path.endswith("…")
    assert len(json_path("$", ["x" * 100_000])) < 80
