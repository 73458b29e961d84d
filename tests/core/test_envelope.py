"""Envelopes: what is read, what is kept byte for byte, what is refused and as what."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookpost.core.envelope import (
    MAX_DEPTH,
    Envelope,
    Invalid,
    Malformed,
    Media,
    is_time,
    lines,
    media,
    parse,
    strict_json,
    too_deep,
)


def read(body: bytes) -> Envelope:
    found = parse(body)
    assert isinstance(found, Envelope), found
    return found


def test_an_envelope_has_its_members() -> None:
    body = (
        b'{"eventType":"invoice.paid","data":{"id":1},"eventId":"in_1",'
        b'"occurredAt":"2026-01-31T12:00:00Z"}'
    )

    assert parse(body) == Envelope("invoice.paid", b'{"id":1}', "in_1", "2026-01-31T12:00:00Z")


@pytest.mark.parametrize(
    "data",
    [
        b"1.0",
        b"1.00",
        b"-0",
        b"1e400",
        b"9" * 5000,
        b"0.1000000000000000055511151231257827",
        b'{"b": 1,  "a" :\t2}',
        b'{"a":1,"a":2}',
        b'"\\ud800"',
        b'"\\u00e4"',
        '"ä€𝄞"'.encode(),
        b"[ ]",
        b"null",
        b"true",
    ],
)
@pytest.mark.parametrize(
    "frame", [b'{"eventType":"a","data":%b}', b' {\n"data" : %b , "eventType":"a"}\r\n']
)
def test_data_is_kept_as_the_bytes_that_came(data: bytes, frame: bytes) -> None:
    assert read(frame % data).data == data


def test_bytes_are_kept_where_other_members_are_not_ascii() -> None:
    body = '{"eventType":"größe.geändert","data":["ä", 1.50 ]}'.encode()

    assert read(body).data == '["ä", 1.50 ]'.encode()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values, st.booleans(), st.sampled_from([None, 1]))
def test_any_json_value_comes_back_as_it_was_written(
    value: object, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    assert read(b'{"data":' + data + b',"eventType":"a"}').data == data


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"}",
        b'{"eventType":"a"',
        b'{"eventType":"a","data":1',
        b'{"eventType":"a","data":1}x',
        b'{"eventType":"a","data":1}{"eventType":"a","data":1}',
        b'{"eventType":"a","data":1,}',
        b'{"eventType":"a",,"data":1}',
        b'{"eventType":"a" "data":1}',
        b'{"eventType" "a","data":1}',
        b'{eventType:"a","data":1}',
        b"{'eventType':'a','data':1}",
        b'{"eventType":"a","data":}',
        b'{"eventType":"a","data":NaN}',
        b'{"eventType":"a","data":[Infinity]}',
        b'{"eventType":"a","data":-Infinity}',
        b'{"eventType":"a","data":01}',
        b'{"eventType":"a","data":+1}',
        b'{"eventType":"a","data":.5}',
        b'{"eventType":"a","data":"\x01"}',
        b'{"eventType":"a\nb","data":1}',
        b'{"eventType":"a","data":"\\x"}',
        b'{"eventType":"a","data":"\xff"}',
        b'{"eventType":"a","data":"\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"eventType":"a","data":1}',
        b'{"eventType":"a","data":1,"data":2}',
        b'{"eventType":"a","data":1,"d\\u0061ta":2}',
        b'\x00{"eventType":"a","data":1}',
        b'{"eventType":"a","data":1}\x00',
        '{"eventType":"a","data":1}'.encode("utf-16"),
        b"nul",
        b"[1,",
        b"[" * 100_000,
        b'{"eventType":"a","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000,
    ],
)
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    assert isinstance(parse(body), Malformed)


@pytest.mark.parametrize(
    ("body", "member"),
    [
        (b"null", ""),
        (b"[]", ""),
        (b'"text"', ""),
        (b"{}", "data"),
        (b'{"eventType":"a"}', "data"),
        (b'{"data":1}', "eventType"),
        (b'{"eventType":null,"data":1}', "eventType"),
        (b'{"eventType":["a"],"data":1}', "eventType"),
        (b'{"eventType":"a","data":1,"eventId":7}', "eventId"),
        (b'{"eventType":"a","data":1,"eventId":null}', "eventId"),
        (b'{"eventType":"a","data":1,"occurredAt":1750000000}', "occurredAt"),
        (b'{"eventType":"a","data":1,"occurredAt":"2026-01-31 12:00:00"}', "occurredAt"),
        (b'{"eventType":"a","data":1,"extra":1}', "extra"),
        (b'{"EventType":"a","data":1}', "EventType"),
        (b'{"\\ud800":1,"eventType":"a","data":1}', "\ud800"),
    ],
)
def test_json_that_is_no_envelope_is_invalid_and_the_member_is_named(
    body: bytes, member: str
) -> None:
    found = parse(body)

    assert isinstance(found, Invalid)
    assert found.member == member
    assert found.detail.isascii()


def test_malformed_comes_before_invalid() -> None:
    assert isinstance(parse(b'{"extra":1,"data":NaN}'), Malformed)


def test_escaped_member_names_are_read() -> None:
    assert read(b'{"event\\u0054ype":"a","data":1}') == Envelope("a", b"1", None, None)


@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_is_taken_to_64_levels_and_not_beyond(pair: tuple[bytes, bytes]) -> None:
    def nested(levels: int) -> bytes:
        opened, closed = pair
        return b'{"eventType":"a","data":' + opened * levels + b"1" + closed * levels + b"}"

    assert isinstance(parse(nested(MAX_DEPTH - 1)), Envelope)
    assert isinstance(parse(nested(MAX_DEPTH)), Malformed)


def test_wide_is_not_deep_and_brackets_in_texts_do_not_count() -> None:
    assert not too_deep(json.dumps([[[1], {"a": [2]}]] * 500).encode())
    assert not too_deep(json.dumps(["[{" * 200 + '\\"[', '"['] * 40).encode())
    assert too_deep(json.dumps([1] * 500).encode()[:-1] + b"," + b"[" * 64 + b"]" * 64 + b"]")


@given(json_values)
def test_depth_is_what_a_recursive_count_says(value: object) -> None:
    def depth(one: object) -> int:
        if isinstance(one, dict):
            return 1 + max(map(depth, one.values()), default=0)
        return 1 + max(map(depth, one), default=0) if isinstance(one, list) else 0

    for wrapped in (60, 63):
        deep: object = value
        for _ in range(wrapped):
            deep = [deep, {}]
        assert too_deep(json.dumps(deep).encode()) is (depth(deep) > MAX_DEPTH)


def test_a_hostile_megabyte_is_judged_quickly() -> None:
    began = time.process_time()
    for body in (
        b"[" * (1 << 20),
        b'{"eventType":"a","data":' + b"[" + b"[]," * 300_000 + b"[]]}",
        b'{"eventType":"a","data":"' + b'\\"' * 500_000 + b'"}',
        b'{"' + b"a" * (1 << 20),
        b'{"eventType":"a","data":' + b" " * (1 << 20),
    ):
        parse(body)

    assert time.process_time() - began < 3.0


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31t12:00:00z",
        "2026-01-31T12:00:00.123456789+02:00",
        "2026-12-31T23:59:60Z",
        "2024-02-29T00:00:00-00:00",
    ],
)
def test_times_of_rfc_3339_are_taken(text: str) -> None:
    assert is_time(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00:00",
        "2026-01-31",
        "2026-01-31T12:00Z",
        "2026-02-30T12:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:00:61Z",
        "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00Z\n",
        "٢٠٢٦-01-31T12:00:00Z",
        "20260131T120000Z",
        "",
    ],
)
def test_other_times_are_not(text: str) -> None:
    assert not is_time(text)


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/json", Media.JSON),
        ("Application/JSON; charset=UTF-8", Media.JSON),
        ('application/json; charset="utf-8"; q=1', Media.JSON),
        ("application/vnd.acme+json", Media.JSON),
        ("application/cloudevents+json", Media.JSON),
        ("application/x-ndjson", Media.NDJSON),
        ("application/json; charset=latin-1", Media.OTHER),
        ("text/plain", Media.OTHER),
        ("text/json", Media.OTHER),
        ("+json", Media.OTHER),
        ("application/jsonx", Media.OTHER),
        ("", Media.OTHER),
        ("\udcff", Media.OTHER),
    ],
)
def test_content_types_are_told_apart(content_type: str, kind: Media) -> None:
    assert media(content_type) is kind


def test_lines_end_at_newlines_and_empty_ones_do_not_count() -> None:
    assert lines(b'{"a":1}\r\n\n  \n{"b":"\\n\xe2\x80\xa8"}\n') == [
        b'{"a":1}\r',
        b'{"b":"\\n\xe2\x80\xa8"}',
    ]
    assert lines(b"\n\n") == []


@pytest.mark.parametrize(
    "body", [b"NaN", b"\xff", b"\xef\xbb\xbf1", b"[" * 65 + b"]" * 65, b"[" * 100_000, b"1 2", b""]
)
def test_strict_json_refuses_by_value_error_alone(body: bytes) -> None:
    with pytest.raises(ValueError):
        strict_json(body)


def test_strict_json_takes_an_integer_of_any_length() -> None:
    value = strict_json(b'{"event": "a.b", "n": ' + b"7" * 5000 + b"}")
    assert value["event"] == "a.b"


def test_strict_json_gives_the_value() -> None:
    assert strict_json(b' {"a": [1, 2.5, "x"]} ') == {"a": [1, 2.5, "x"]}


@given(st.binary(max_size=200))
def test_no_bytes_raise(body: bytes) -> None:
    assert isinstance(parse(body), Envelope | Malformed | Invalid)
