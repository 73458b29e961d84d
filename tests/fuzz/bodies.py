"""Bodies that are JSON, nearly JSON, or an attack: for envelopes, batches and raw sources."""

import json

from hypothesis import strategies as st

_LETTERS = st.characters(max_codepoint=0x2FFF, exclude_categories=["Cs"])

odd_values = st.sampled_from(
    [
        b"NaN", b"-Infinity", b"Infinity", b"1e400", b"-1e-400", b"-0", b"01", b"1.", b".5", b"+1",
        b"0x10", b"1_000", b"1e", b"9" * 4000, b"9" * 5000, b"-" + b"1" * 20000, b"1" * 400 + b".5",
        b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\ud83d\\ude00"', b'"\\u12"', b'"\\x41"', b'"\x01"',
        b'"\xed\xa0\x80"', b'"\xff"', b'"\xc0\x80"', b'"\\u0000"', b"'a'", b"tru", b"nul", b"True",
        b"[" * 63 + b"]" * 63, b"[" * 64 + b"]" * 64, b"[" * 70 + b"]" * 70, b"[" * 5000,
        b'{"a":' * 63 + b"1" + b"}" * 63, b'{"a":' * 9000 + b"1" + b"}" * 9000, b"[" * 200000,
        b"[" * 1500 + b"]" * 1500, b'{"a":1,"a":2}', b'{"data":1}', b"{}", b"[]", b"[,]", b"[1,]",
        b'{"a":1,}', b"{,}", b'{"a"}', b"/**/1", b"1//", b"\xef\xbb\xbf1", b"\xc2\xa01", b"",
        '"\u2028\u202e\ufeff"'.encode(), b'"' + b"a" * 5000 + b'"', b'"]]]]' + b"[" * 90 + b'"',
    ]
)  # fmt: skip
"""Values at the borders of the grammar, and beyond them."""

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(_LETTERS, max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(_LETTERS, max_size=5), inner)
    ),
    max_leaves=8,
)

_spaces = st.sampled_from([b"", b"", b"", b" ", b"\n", b"\t \r\n", b"\x0b", b"\xe3\x80\x80"])
_names = st.sampled_from(
    [b"eventType", b"data", b"eventId", b"occurredAt", b"\\u0064ata", b"event\\u0049d", b"x", b"",
     b"Data", b"\\ud800", b"a\\qb", b"d\xc3\xa4ta"]
)  # fmt: skip
_texts = st.sampled_from(
    [b'"invoice.paid"', b'"hookpost.x"', b'""', b'"a b"', b'"\\u202e"', b'"in_1"', b'"a.b"', b"1",
     b'"2026-01-31T12:00:00Z"', b'"2026-02-30T12:00:00Z"', b'"2026-01-31t12:00:60.5+23:59"',
     b'"0000-01-01T00:00:00Z"', b'"2026-01-31T24:00:00Z"', b"null", b'"' + b"t" * 129 + b'"']
)  # fmt: skip


@st.composite
def written_values(draw: st.DrawFn) -> bytes:
    """A JSON value in one of the ways to write it."""
    value = draw(json_values)
    ascii_only, indent = draw(st.booleans()), draw(st.sampled_from([None, None, 1]))
    return json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()


any_values = st.one_of(written_values(), written_values(), odd_values, _texts)


@st.composite
def _objects(draw: st.DrawFn) -> bytes:
    """Something like an envelope: its members, in any order and number, with any value."""
    members = []
    for _ in range(draw(st.integers(0, 5))):
        name, value = draw(_names), draw(any_values)
        around = [draw(_spaces) for _ in range(4)]
        members.append(b'%b"%b"%b:%b%b%b' % (around[0], name, *around[1:3], value, around[3]))
    return draw(_spaces) + b"{" + b",".join(members) + b"}" + draw(_spaces)


@st.composite
def envelopes(draw: st.DrawFn) -> bytes:
    """Mostly sound envelopes."""
    members = [b'"eventType": "invoice.paid"', b'"data":' + draw(any_values)]
    if draw(st.booleans()):
        members.append(b'"eventId":"e%d"' % draw(st.integers(0, 10**9)))
    if draw(st.booleans()):
        members.append(b'"occurredAt":' + draw(_texts))
    return b"{" + b" ,\n".join(draw(st.permutations(members))) + b"}"


@st.composite
def spoiled(draw: st.DrawFn, sound: st.SearchStrategy[bytes]) -> bytes:
    """A sound input with bytes flipped, taken out, put in, or written twice."""
    text = bytearray(draw(sound))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(text) - 1)))
        end = min(len(text), at + draw(st.integers(1, 8)))
        match draw(st.sampled_from(["flip", "drop", "insert", "repeat", "cut"])):
            case "flip" if text:
                text[at] ^= 1 << draw(st.integers(0, 7))
            case "drop":
                del text[at:end]
            case "insert":
                text[at:at] = draw(st.binary(min_size=1, max_size=4))
            case "repeat":
                text[at:at] = text[at:end]
            case "cut":
                del text[at:]
    return bytes(text)


any_bodies = st.one_of(
    envelopes(),
    _objects(),
    spoiled(envelopes()),
    spoiled(_objects()),
    any_values,
    st.binary(max_size=60),
)
"""Whatever a publisher may send as an envelope."""

batches = st.builds(
    lambda lines, ends: b"".join(
        line.replace(b"\n", b" ") + end for line, end in zip(lines, ends, strict=False)
    ),
    st.lists(any_bodies, max_size=8),
    st.lists(st.sampled_from([b"\n", b"\n", b"\r\n", b"\n\n", b" \n", b""]), max_size=8),
)
"""Whatever a publisher may send as NDJSON."""
