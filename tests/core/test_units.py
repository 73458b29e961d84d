"""Units end here: text in, numbers out, and a remedy for what is no unit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookpost.core import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0.0),
        ("1ms", 0.001),
        ("1500ms", 1.5),
        ("10s", 10.0),
        ("1.5s", 1.5),
        ("5m", 300.0),
        ("6h", 21600.0),
        ("7d", 604800.0),
        ("3650d", units.LONGEST),
        ("10 s", 10.0),
    ],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert units.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("5", "5 has no unit; write ms, s, m, h or d, as in 5s"),
        ("5min", '"min" is no unit here'),
        ("5M", '"M" is no unit here'),
        ("", "a duration is a number and a unit"),
        ("-5s", "a duration is a number and a unit"),
        ("s", "a duration is a number and a unit"),
        ("1h30m", "a duration is a number and a unit"),
        ("5s ", "a duration is a number and a unit"),
        ("\u0665s", "a duration is a number and a unit"),
        ("1e3s", "a duration is a number and a unit"),
        ("nans", "a duration is a number and a unit"),
        ("3651d", "the longest duration is 3650d"),
        ("9" * 400 + "s", "a duration is a number and a unit"),
    ],
)
def test_what_is_no_duration_is_refused_with_a_remedy(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        units.duration(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0B", 0),
        ("512B", 512),
        ("1KiB", 1024),
        ("1.5KiB", 1536),
        ("1MiB", 1 << 20),
        ("1MB", 1_000_000),
        ("10GiB", 10 << 30),
        ("1TiB", 1 << 40),
    ],
)
def test_a_size_is_read_in_bytes(text: str, count: int) -> None:
    assert units.size(text) == count


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("100", "100 has no unit; write B, KiB, MiB, GiB or TiB, as in 100MiB"),
        ("1mib", '"mib" is no unit here'),
        ("1M", '"M" is no unit here'),
        ("0.5B", "whole number of bytes"),
        ("2000TiB", "the largest size"),
        ("big", "a size is a number and a unit"),
    ],
)
def test_what_is_no_size_is_refused_with_a_remedy(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        units.size(text)


@pytest.mark.parametrize(
    ("text", "per_second"),
    [("50/s", 50.0), ("300/m", 5.0), ("3600/h", 1.0), ("0.5/s", 0.5), ("8640/d", 0.1)],
)
def test_a_rate_is_read_as_tokens_a_second(text: str, per_second: float) -> None:
    assert units.rate(text) == pytest.approx(per_second)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("50", "a rate is a number over a time"),
        ("50/", "50 has no unit"),
        ("50/sec", '"sec" is no unit here'),
        ("0/s", "lets nothing through"),
        ("999999999/s", "the highest rate"),
        ("/s", "a rate is a number over a time"),
    ],
)
def test_what_is_no_rate_is_refused_with_a_remedy(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        units.rate(text)


@given(st.integers(0, int(units.LONGEST * 1000)))
def test_a_duration_survives_being_written_and_read(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert units.duration(units.duration_text(seconds)) == pytest.approx(seconds, abs=1e-9)


@given(st.integers(0, 1 << 49))
def test_a_size_survives_being_written_and_read(count: int) -> None:
    assert units.size(units.size_text(count)) == count


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    for read in (units.duration, units.size, units.rate):
        try:
            value = read(text)
        except ValueError:
            continue
        assert value >= 0
