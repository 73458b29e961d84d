"""Small texts from files, publishers and receivers: a value inside its bounds, or a ValueError."""

import email.message
import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.effort import SECONDS, count, fuzzed
from tests.fuzz.spent import bounded, told

from hookpost.config.scalars import ScalarMistake, resolve
from hookpost.config.values import READERS
from hookpost.core import units
from hookpost.core.addresses import EgressPolicy, judge, url_mistake
from hookpost.core.envelope import Media, media
from hookpost.core.identity import ID_LENGTH, check_id, derived_id
from hookpost.core.verdict import RETRY_AFTER_BOUND, retry_after

_WALL = 1_800_000_000.0

_numbers = st.one_of(
    st.integers(0, 10**14).map(str),
    st.decimals(0, 10**13, places=3).map(str),
    st.sampled_from(["", "-1", "+1", "1e3", "0x1", "٣", "1_0", ".5", "1.", "nan", "9" * 5000]),
)
_marks = st.sampled_from(["ms", "s", "m", "h", "d", "B", "KiB", "MB", "TiB", "", "S", "µs", "s s"])
_between = st.sampled_from(["", "", " ", "  ", "/", " / ", "\n", "\u00a0"])
_amounts = st.one_of(st.builds("{}{}{}".format, _numbers, _between, _marks), st.text(max_size=20))

_SCALES = {
    units.duration: {"ms": Fraction(1, 1000), "s": 1, "m": 60, "h": 3600, "d": 86400},
    units.size: {
        "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
        "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
    },
    units.rate: {"/s": 1, "/m": Fraction(1, 60), "/h": Fraction(1, 3600), "/d": Fraction(1, 86400)},
}  # fmt: skip
_LIMITS = {units.duration: units.LONGEST, units.size: 1 << 50, units.rate: 1_000_000}


@fuzzed(300)
@given(st.sampled_from([units.duration, units.size, units.rate]), _amounts)
def test_an_amount_is_the_number_times_its_unit_or_refused(read: object, text: str) -> None:
    count("texts")
    assert callable(read)
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s?(/?)\s?([A-Za-z]*)", text, re.ASCII)
    try:
        value = read(text)
    except ValueError as refused:
        told(refused)
        return
    assert found is not None
    scale = _SCALES[read][found[2] + found[3]]  # type: ignore[index] # the readers are its keys
    assert float(value) == pytest.approx(float(Fraction(found[1]) * scale))
    assert 0 <= value <= _LIMITS[read]  # type: ignore[index]


@fuzzed(60)
@given(st.integers(0, int(units.LONGEST * 1000)), st.integers(0, 1 << 50))
def test_an_amount_is_written_as_it_is_read(milliseconds: int, size: int) -> None:
    count("texts", 2)
    text = units.duration_text(milliseconds / 1000)
    assert round(units.duration(text) * 1000) == milliseconds
    assert units.size(units.size_text(size)) == size


_words = st.sampled_from(
    ["127.0.0.1", "::1", "[", "]", ":", "/", "8480", "65536", "unix:", "@", "\0", "..", "0660",
     "2xx", "204", "10.0.0.0/8", "https://", "a.example", "?", "#", "%zz", "%2f", "\\", "é", "٣",
     "2026-01-31", "T", "12:00", ":00", "Z", "+01:00", "-24:00", "0001-01-01T00:00+14:00", ".", "-",
     "hookpost.", "**", "*", "invoice", " ", "\t", "\ud800", "\u202e", "fe80::1%eth0", "::ffff:",
     "9" * 400, "x" * 300, "_", "Content-Type", "9999-12-31T23:59:59-23:59", "0x7f.1", "1e9"]
)  # fmt: skip
_any_text = st.one_of(st.lists(_words, max_size=6).map("".join), st.text(max_size=40))


@fuzzed(400)
@given(st.sampled_from(sorted(READERS)), _any_text)
def test_a_reader_of_values_gives_a_value_or_a_sentence(kind: str, text: str) -> None:
    count("texts")
    with bounded(SECONDS):
        try:
            READERS[kind](text)
        except ValueError as refused:
            told(refused)


@fuzzed(200)
@given(_any_text)
def test_a_url_that_is_taken_is_read_the_same_by_another_parser(text: str) -> None:
    count("texts")
    url = "https://" + text.removeprefix("https://")
    if url_mistake(url) is None:
        found = re.fullmatch(r"https?://([^/?#@\\]+?)(?::([0-9]+))?([/?].*)?", url)
        assert found is not None
        assert url.isascii()
        assert url.isprintable()
        assert " " not in url
    judge(text, 443, EgressPolicy())


@fuzzed(300)
@given(
    st.one_of(
        st.text(st.sampled_from("0123456789+-._eE xoabcdefnNAlIrtuiUsy~"), max_size=24), _any_text
    )
)
def test_a_plain_scalar_is_text_or_what_json_says_or_refused(text: str) -> None:
    count("texts")
    try:
        value = resolve(text)
    except ScalarMistake as mistake:
        told(mistake)
        return
    try:
        written = json.loads(text, parse_constant=lambda _: text)
    except (ValueError, RecursionError):
        return
    if not isinstance(written, list | dict | str):
        assert value == written
        assert type(value) is type(written)


_days = st.integers(86_400, 253_402_200_000).map(lambda at: datetime.fromtimestamp(at, UTC))


@fuzzed(100)
@given(_days)
def test_a_retry_after_is_the_time_until_its_date(day: datetime) -> None:
    count("headers")
    expected = min(max(0.0, day.timestamp() - _WALL), RETRY_AFTER_BOUND)
    for text in (format_datetime(day, usegmt=True), day.ctime()):
        assert retry_after(text, _WALL) == expected
        assert retry_after(f" \t{text} ", _WALL) == expected
    if abs(day - datetime.fromtimestamp(_WALL, UTC)) < timedelta(days=49 * 365):
        assert retry_after(f"{day:%A, %d-%b-%y %H:%M:%S} GMT", _WALL) == expected


_dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Sun", "Xyz", "sun", ""]),
    st.sampled_from(["06", "31", "00", "6", "٠٦"]),
    st.sampled_from(["Nov", "Feb", "nov", "Xxx"]),
    st.sampled_from(["1994", "0000", "0001", "9999", "94", "99999"]),
    st.sampled_from(["08", "24", "99"]),
    st.sampled_from(["49", "60"]),
    st.sampled_from(["37", "60", "61", "99"]),
    st.sampled_from(["GMT", "UTC", "+0000", ""]),
)
_waits = st.one_of(
    _dates, st.integers(-9, 10**30).map(str), _numbers, _any_text, st.just("1" * 9000)
)


@fuzzed(200)
@given(_waits | st.none(), st.sampled_from([_WALL, 0.0, -1.0, 2.5e11]))
def test_any_retry_after_is_nothing_or_seconds_in_bounds(text: str | None, wall: float) -> None:
    count("headers")
    with bounded(SECONDS):
        seconds = retry_after(text, wall)
    assert seconds is None or 0.0 <= seconds <= RETRY_AFTER_BOUND
    if text is not None and re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        assert seconds == float(text)


_types = st.sampled_from(
    ["application/json", "APPLICATION/JSON", "application/x-ndjson", "text/plain", "a/b+json",
     "+json", "json", "application/json+x", "", "application/ json"]
)  # fmt: skip
_charsets = st.sampled_from(["", "utf-8", '"UTF-8"', "utf8", "latin-1", "utf-16", '"', "x y"])


@fuzzed(150)
@given(_types, _charsets, st.sampled_from(["; ", ";", " ;\t", ";;"]))
def test_a_content_type_is_read_as_by_the_reader_of_mails(
    kind: str, charset: str, between: str
) -> None:
    count("headers")
    value = f"{kind}{between}x=1{between}charset={charset}" if charset else kind
    mail = email.message.Message()
    mail["Content-Type"] = value
    utf8 = (mail.get_content_charset() or "utf-8") in ("utf-8", "utf8")
    found = mail.get_content_type() if kind.count("/") == 1 and " " not in kind else ""
    if not utf8:
        assert media(value) is Media.OTHER
    elif charset in ("", "utf-8", '"UTF-8"', "utf8"):
        expected = Media.JSON if found == "application/json" or found[-5:] == "+json" else None
        expected = Media.NDJSON if found == "application/x-ndjson" else expected
        assert media(value) is (expected or Media.OTHER)


@fuzzed(150)
@given(_any_text | st.text(max_size=200))
def test_any_content_type_and_any_id_is_judged(text: str) -> None:
    count("headers", 2)
    assert media(text) in Media
    sound = 0 < len(text) <= ID_LENGTH and all("!" <= c <= "~" and c != "." for c in text)
    wrong = check_id(text)
    assert (wrong is None) == sound
    assert wrong is None or wrong.isprintable()
    assert check_id(derived_id("billing", text)) is None
