"""CloudEvents as values: what is read, what is kept byte for byte, what is refused and as what."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from hookpost.core.attributes import LONGEST, decoded, encoded, judge
from hookpost.core.cloudevents import CloudEvent, Mode, binary, entries, mode, structured
from hookpost.core.envelope import Invalid, Malformed

HEAD = b'{"specversion":"1.0","id":"1","source":"/s","type":"t"'


def read(members: bytes) -> CloudEvent:
    found = structured(HEAD + b"," + members + b"}")
    assert isinstance(found, CloudEvent), found
    return found


def refused(members: bytes) -> Invalid:
    found = structured(HEAD + b"," + members + b"}")
    assert isinstance(found, Invalid), found
    assert found.detail.isprintable()
    return found


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/cloudevents+json", Mode.STRUCTURED),
        ('APPLICATION/CloudEvents+JSON ; charset="UTF-8"', Mode.STRUCTURED),
        ("application/cloudevents-batch+json; charset=utf-8", Mode.BATCH),
        ("application/cloudevents+json; charset=latin-1", Mode.UNKNOWN),
        ("application/cloudevents-batch+json; charset=latin-1", Mode.UNKNOWN),
        ("application/cloudevents", Mode.UNKNOWN),
        ("application/cloudevents+jsonx", Mode.UNKNOWN),
        ("application/json", Mode.BINARY),
        ("text/plain; x=application/cloudevents+json", Mode.BINARY),
        ("", Mode.BINARY),
    ],
)
def test_the_content_type_alone_says_how_an_event_is_carried(
    content_type: str, expected: Mode
) -> None:
    assert mode(content_type) is expected


# -- attributes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("abc", "abc"),
        ("100%", "100%"),
        ("%zz%4", "%zz%4"),
        ("%41%2541", "A%41"),
        ("ä%C3%A4", "ää"),
        ('"a\\"%20\\\\"', 'a" \\'),
        ('""', ""),
        ('a"b"', 'a"b"'),
        ('"', None),
        ('"\\"', None),
        ('"a" b', None),
        ("%ff", None),
        ("\udcff", None),
        ("a\ud800", None),
    ],
)
def test_a_header_is_unquoted_and_percent_decoded_once(value: str, text: str | None) -> None:
    assert decoded(value) == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_encoded_is_a_printable_header_and_is_decoded_as_it_was(text: str) -> None:
    header = encoded(text)
    assert header.isascii()
    assert not set(header) & {*map(chr, range(0x21)), '"', "\x7f"}
    assert header == header.strip()
    assert decoded(header) == text


def test_a_header_that_names_an_attribute_twice_in_two_cases_is_refused() -> None:
    pairs = CIMultiDict([("ce-id", "1"), ("CE-ID", "1")])
    assert isinstance(binary(pairs, b""), Malformed)


def test_two_content_types_are_none() -> None:
    pairs = CIMultiDict([("Content-Type", "a/b"), ("content-type", "a/b")])
    assert isinstance(binary(pairs, b""), Malformed)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Trace", "x"),
        ("trace-id", "x"),
        ("trace_id", "x"),
        ("tracé", "x"),
        ("", "x"),
        ("data", "x"),
        ("subject", ""),
        ("dataschema", ""),
        ("ext", "\x00"),
        ("ext", "\x7f"),
        ("ext", "\x85"),
        ("ext", "\ud800"),
        ("ext", "\ufdd0"),
        ("ext", "\U0010ffff"),
        ("time", "2026-01-31"),
        ("time", "2026-01-31T12:00:00"),
        ("specversion", "1.1"),
        ("source", ""),
        ("ext", "ä" * (LONGEST // 6)),
    ],
)
def test_attributes_that_none_may_have(name: str, text: str) -> None:
    good = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
    assert judge(good) is None
    assert judge({**good, name: text}) is not None


@pytest.mark.parametrize(
    ("value", "text"),
    [(b"true", "true"), (b"false", "false"), (b"-0", "0"), (b"2147483647", "2147483647"),
     (b"-2147483648", "-2147483648"), (b'""', ""), (b'"\\u00e4"', "ä")],
)  # fmt: skip
def test_an_extension_is_kept_as_its_canonical_text(value: bytes, text: str) -> None:
    assert read(b'"ext":' + value).attributes["ext"] == text


@pytest.mark.parametrize(
    "value",
    [b"1.0", b"1e3", b"2147483648", b"-2147483649", b"9" * 5000, b"{}", b"[1]", b'"\\ud800"'],
)
def test_an_extension_of_another_type_is_refused(value: bytes) -> None:
    assert refused(b'"ext":' + value).member == "ext"


@pytest.mark.parametrize("name", ["subject", "dataschema", "datacontenttype", "time"])
@pytest.mark.parametrize("value", [b"1", b"true", b"{}"])
def test_an_attribute_of_the_specification_is_text(name: str, value: bytes) -> None:
    assert refused(b'"%b":%b' % (name.encode(), value)).member == name


def test_a_member_that_is_null_is_not_there() -> None:
    event = read(b'"ext":null,"time":null,"datacontenttype":null,"data_base64":null')
    assert event.attributes.keys() == {"specversion", "id", "source", "type"}
    assert (event.content_type, event.data) == (None, b"")
    assert isinstance(
        structured(b'{"specversion":"1.0","id":null,"source":"/","type":"t"}'), Invalid
    )


# -- data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"1.00", b"1e400", b"9" * 5000, b'{"a" :\t1,"a":2}', b'"\\ud800"', '"ä"'.encode(), b"null"],
)
@pytest.mark.parametrize("kind", ["", "application/json", "text/json", "a/b+json;charset=utf-8"])
def test_json_is_kept_as_the_bytes_that_came(data: bytes, kind: str) -> None:
    said = b'"datacontenttype":"%b",' % kind.encode() if kind else b""
    event = read(said + b'"data": ' + data)
    assert (event.data, event.content_type) == (data, kind or "application/json")


def test_text_of_another_content_type_is_its_utf8() -> None:
    event = read('"datacontenttype":"text/plain","data":"a\\n\\u00e4ö"'.encode())
    assert (event.data, event.content_type) == ("a\näö".encode(), "text/plain")
    assert read(b'"datacontenttype":"text/plain","data":null').data == b""


@pytest.mark.parametrize("kind", [None, "application/json", "image/png"])
def test_base64_is_its_bytes_whatever_the_content_type(kind: str | None) -> None:
    said = b"" if kind is None else b',"datacontenttype":"%b"' % kind.encode()
    event = read(b'"data_base64":"AP8="' + said)
    assert (event.data, event.content_type) == (b"\x00\xff", kind)


@pytest.mark.parametrize(
    "members",
    [
        b'"data":1,"data_base64":"AA=="',
        b'"data":null,"data_base64":"AA=="',
        b'"data_base64":"AA"',
        b'"data_base64":"A A=="',
        b'"data_base64":"\xc3\xa4"',
        b'"data_base64":1234',
        b'"data_base64":[]',
        b'"datacontenttype":"text/plain","data":{}',
        b'"datacontenttype":"text/plain","data":12',
        b'"datacontenttype":"text/plain","data":"\\ud800"',
        b'"datacontenttype":"text/plain;charset=latin-1","data":"a"',
        b'"datacontenttype":"application/json;charset=utf-16","data":1',
        b'"datacontenttype":"json","data":1',
        b'"datacontenttype":"","data":"x"',
        b'"datacontenttype":"a/b;\\r\\nX-Evil: 1","data":"x"',
        '"datacontenttype":"a/b;ä","data":"x"'.encode(),
        b'"Ext":"x"',
        b'"data_base64x":"x"',
    ],
)
def test_data_that_no_event_has(members: bytes) -> None:
    refused(members)


def test_binary_data_is_the_body_and_its_content_type_the_requests() -> None:
    headers = [("ce-specversion", "1.0"), ("Ce-Id", "1"), ("ce-source", "s"), ("ce-type", "t")]
    event = binary(CIMultiDict(headers), b"\x00")
    assert event == CloudEvent(
        {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}, None, b"\x00"
    )
    event = binary(CIMultiDict([*headers, ("content-type", "")]), b"")
    assert isinstance(event, CloudEvent)
    assert event.content_type is None


# -- batches -------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=5), st.sampled_from([None, 1]), st.booleans())
def test_a_batch_is_cut_into_its_entries(
    values: list[Any], indent: int | None, ascii_only: bool
) -> None:
    body = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    try:
        found = entries(body.encode(), 5)
    except UnicodeEncodeError:
        return
    assert isinstance(found, list)
    assert [json.loads(one) for one in found] == values
    assert all(one.decode() in body for one in found)


def test_no_more_is_cut_than_one_beyond_the_limit() -> None:
    found = entries(b"[" + b"1," * 100 + b"this is not looked at", 3)
    assert found == [b"1"] * 4


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[", b"[1", b"[1,", b"[1,]", b"[,1]", b"[1 2]", b"[1]]", b"[1] x",
     b"\xef\xbb\xbf[]", b"[\xff]", b"[1}", b"nonsense", b"[" * 200_000, b'["a]'],
)  # fmt: skip
def test_what_is_no_array_is_malformed(body: bytes) -> None:
    found = entries(body, 10)
    assert isinstance(found, Malformed)
    assert found.detail.isprintable()


def test_base64_of_any_bytes_comes_back() -> None:
    data = bytes(range(256))
    text = base64.b64encode(data)
    assert read(b'"data_base64":"' + text + b'"').data == data
