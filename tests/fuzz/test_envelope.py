"""Envelopes and NDJSON lines against a reader of JSON of our own."""

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.bodies import any_bodies, any_values, batches
from tests.fuzz.effort import SECONDS, count, fuzzed
from tests.fuzz.json_judge import Judged, NotJson, judge
from tests.fuzz.spent import bounded, told

from hookpost.core.envelope import (
    MAX_DEPTH,
    Envelope,
    Invalid,
    Malformed,
    is_time,
    lines,
    parse,
    strict_json,
)

_MEMBERS = {"eventType", "data", "eventId", "occurredAt"}


def _judged(body: bytes) -> Judged | None:
    """None: malformed."""
    try:
        judged = judge(body)
    except NotJson:
        return None
    names = [json.loads(name) for name, _, _ in judged.members]
    if judged.depth > MAX_DEPTH or len(names) != len(set(names)):
        return None
    return judged


@fuzzed(300)
@given(any_bodies)
def test_an_envelope_is_read_as_the_grammar_of_json_has_it(body: bytes) -> None:
    count("texts")
    with bounded(SECONDS):
        read = parse(body)
    judged = _judged(body)
    assert isinstance(read, Malformed) == (judged is None), (read, judged)
    if judged is None:
        return
    members = {json.loads(name): body[start:end] for name, start, end in judged.members}
    if isinstance(read, Invalid):
        assert read.detail.isprintable()
        assert not _is_envelope(judged, members)
        return
    assert isinstance(read, Envelope)
    assert _is_envelope(judged, members)
    assert read.data == members["data"], "the exact bytes that came"
    assert read.event_type == json.loads(members["eventType"])
    assert read.event_id == json.loads(members.get("eventId", b"null"))
    assert read.occurred_at == json.loads(members.get("occurredAt", b"null"))


def _is_envelope(judged: Judged, members: dict[str, bytes]) -> bool:
    texts = [name for name in ("eventType", "eventId", "occurredAt") if name in members]
    return (
        judged.is_object
        and members.keys() <= _MEMBERS
        and {"eventType", "data"} <= members.keys()
        and all(members[name].startswith(b'"') for name in texts)
        and ("occurredAt" not in members or is_time(json.loads(members["occurredAt"])))
    )


@fuzzed(150)
@given(any_values | any_bodies)
def test_what_is_taken_as_json_is_json(body: bytes) -> None:
    count("texts")
    try:
        with bounded(SECONDS):
            strict_json(body)
        taken = True
    except ValueError as refused:
        told(refused)
        taken = False
    try:
        json_too = judge(body).depth <= MAX_DEPTH
    except NotJson:
        json_too = False
    assert taken == json_too


@fuzzed(100)
@given(batches | st.binary(max_size=80))
def test_a_batch_is_cut_at_line_feeds_and_nowhere_else(body: bytes) -> None:
    count("texts")
    found = lines(body)
    assert b"".join(found).translate(None, b" \t\r\n") == body.translate(None, b" \t\r\n")
    assert all(b"\n" not in line and line.strip(b" \t\r") for line in found)
    for line in found:
        assert isinstance(parse(line), Malformed) == (_judged(line) is None)


_times = st.builds(
    "{:04}-{:02}-{:02}{}{:02}:{:02}:{:02}{}{}".format,
    st.integers(0, 9999),
    st.integers(0, 13),
    st.integers(0, 32),
    st.sampled_from("Tt "),
    st.integers(0, 25),
    st.integers(0, 61),
    st.integers(0, 61),
    st.sampled_from(["", ".5", ".000001", ".", ".123456789012345678"]),
    st.sampled_from(["Z", "z", "+00:00", "-23:59", "+24:00", "+01:60", "+0100", "", "\u0661"]),
)


@fuzzed(150)
@given(_times | st.text(max_size=30))
def test_a_time_that_is_taken_can_be_read_by_others(text: str) -> None:
    count("texts")
    if is_time(text):
        assert text.isascii()
        whole = text[:17] + text[17:19].replace("60", "59")
        assert datetime.fromisoformat(whole.upper())
        assert text[-1] in "Zz" or text[-6] in "+-"


@pytest.mark.parametrize(
    ("text", "depth"), [(b"[]", 1), (b'{"a":[{}]}', 3), (b"1", 0), (b'"["', 0), (b"[[],[[]]]", 3)]
)
def test_the_judge_counts_levels(text: bytes, depth: int) -> None:
    assert judge(text).depth == depth


@pytest.mark.parametrize(
    "text",
    [b"", b"[1,]", b"{,}", b'{"a":1,}', b"01", b"1.", b'"\t"', b"NaN", b"[1 2]", b"[}", b"1 1",
     b'{"a" 1}', b'{1:1}', b'"\\x"', b"\xef\xbb\xbf1", b"[", b'{"a":', b"]"],
)  # fmt: skip
def test_the_judge_refuses_what_is_not_json(text: bytes) -> None:
    with pytest.raises(NotJson):
        judge(text)


def test_the_judge_says_where_members_stand() -> None:
    text = b' {"a" : [1, {"x":2}] , "b":"c"}'
    found = [(name, text[start:end]) for name, start, end in judge(text).members]
    assert found == [(b'"a"', b'[1, {"x":2}]'), (b'"b"', b'"c"')]
