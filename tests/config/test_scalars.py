"""Plain scalars are what YAML 1.2 says, and nothing that two people could read differently."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookpost.config.scalars import ScalarMistake, resolve


@pytest.mark.parametrize(
    "text", ["on", "off", "yes", "no", "y", "N", "10:30", "1:30", "2024-01-01", "1_000", "0b11"]
)
def test_what_only_yaml_1_1_reads_as_something_else_stays_text(text: str) -> None:
    assert resolve(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("FALSE", False),
        ("0", 0),
        ("-17", -17),
        ("+17", 17),
        ("0o17", 15),
        ("0xfF", 255),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
    ],
)
def test_core_schema_scalars_have_their_values(text: str, value: object) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("007", "leading-zero"),
        ("-010", "leading-zero"),
        ("00.5", "leading-zero"),
        (".inf", "not-finite"),
        ("-.INF", "not-finite"),
        (".NaN", "not-finite"),
        ("1e400", "not-finite"),
        ("9" * 21, "long-number"),
        ("9" * 5000, "long-number"),
    ],
)
def test_numbers_that_mislead_are_refused(text: str, code: str) -> None:
    with pytest.raises(ScalarMistake) as refused:
        resolve(text)
    assert refused.value.code == code


@given(st.text(max_size=60))
def test_any_text_has_a_value_or_a_mistake(text: str) -> None:
    try:
        value = resolve(text)
    except ScalarMistake:
        return
    assert value is None or isinstance(value, str | int | float)
