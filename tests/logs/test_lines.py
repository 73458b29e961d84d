"""One record, one line, whatever a stranger put into it."""

import json
import logging
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookpost.logs.lines import Form, journal_form, json_form, moment, text_form

FORMS = [text_form(colour=False), json_form(), journal_form()]
AT = 1_764_064_800.125


def a_record(
    fields: dict[str, Any] | None = None,
    *,
    message: str = "attempt.finished",
    level: int = logging.INFO,
    name: str = "hookpost.dispatch",
    **others: Any,
) -> logging.LogRecord:
    attributes = {"name": name, "levelno": level, "msg": message, "created": AT, "args": None}
    record = logging.makeLogRecord({**attributes, **others})
    if fields is not None:
        record.fields = fields
    return record


def test_the_text_form_is_time_level_name_and_fields() -> None:
    fields = {"endpoint": "crm", "attempt": 2, "duration": 0.0123456, "last": True, "status": None}
    line = text_form(colour=False)(a_record(fields))
    assert line == (
        b"2025-11-25T10:00:00.125Z info attempt.finished "
        b"endpoint=crm attempt=2 duration=0.0123456 last=true\n"
    )


def test_the_journal_form_has_a_priority_and_no_time() -> None:
    form = journal_form()
    assert form(a_record({"endpoint": "crm"})) == b"<6>attempt.finished endpoint=crm\n"
    priorities = {
        level: form(a_record(level=level))[:3]
        for level in (logging.DEBUG, logging.WARNING, logging.ERROR, logging.CRITICAL)
    }
    assert priorities == {10: b"<7>", 30: b"<4>", 40: b"<3>", 50: b"<2>"}


def test_the_json_form_is_one_object_with_the_fields_beside_the_rest() -> None:
    fields = {"event": "evt_1", "status": None, "duration": 0.5, "late": False, "n": [1, "a"]}
    assert json.loads(json_form()(a_record(fields))) == {
        "ts": "2025-11-25T10:00:00.125Z",
        "level": "info",
        "msg": "attempt.finished",
        **fields,
    }


def test_a_colour_is_around_the_level_alone() -> None:
    line = text_form(colour=True)(a_record(level=logging.ERROR))
    assert line == b"2025-11-25T10:00:00.125Z \x1b[31merror\x1b[0m attempt.finished\n"


def test_a_field_cannot_take_the_place_of_the_time_or_the_level() -> None:
    shown = json.loads(json_form()(a_record({"ts": "never", "level": "none", "msg": "no"})))
    assert shown["ts"] == "2025-11-25T10:00:00.125Z"
    assert shown["level"] == "info"
    assert shown["msg"] == "attempt.finished"
    assert shown["field_ts"] == "never"


HOSTILE = {
    "line feeds": "a\nb\r\nc",
    "escape": "\x1b[31mred",
    "bell and del": "\x07\x7f",
    "C1": "\x85\x9b",
    "line separators": "\u2028\u2029",
    "bidi": "\u202e\u2066evil\u2069",
    "zero width": "a\u200bb\ufeff",
    "lone surrogate": "a\udc80b\ud800",
    "nul": "\x00",
    "quotes": 'a" level=error msg="x\\',
}


@pytest.mark.parametrize("form", FORMS, ids=["text", "json", "journal"])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("place", ["field", "message"])
def test_no_unprintable_character_leaves_its_record(form: Form, text: str, place: str) -> None:
    record = a_record({"error": text}) if place == "field" else a_record(message=text)
    line = form(record).decode("utf-8")
    assert line.endswith("\n")
    assert line[:-1].isprintable()


@given(text=st.text(st.characters(), max_size=300))
@pytest.mark.parametrize("form", FORMS, ids=["text", "json", "journal"])
def test_any_text_stays_one_printable_line(form: Form, text: str) -> None:
    line = form(a_record({"error": text, "n": 1}, message=text)).decode("utf-8")
    assert line[:-1].isprintable()
    assert line.count("\n") == 1


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=100))
def test_json_gives_back_what_was_put_in(text: str) -> None:
    assert json.loads(json_form()(a_record({"error": text})))["error"] == text


def test_a_quoted_value_cannot_pretend_to_be_another_field() -> None:
    line = text_form(colour=False)(a_record({"error": 'x" level="error'}))
    assert line.endswith(b'error="x\\" level=\\"error"\n')


@pytest.mark.parametrize("form", FORMS, ids=["text", "json", "journal"])
@pytest.mark.parametrize("character", ["a", '"', "\n", "é", "\U0001f600", "\udc80"])
def test_a_line_has_at_most_8_kib(form: Form, character: str) -> None:
    fields = {"endpoint": "crm", "error": character * 100_000, "other": character * 5000}
    line = form(a_record(fields, message=character * 9000))
    assert len(line) <= 8192 + 1
    assert b"crm" in line
    assert b"cut" in line
    if form is FORMS[1]:
        json.loads(line)


@pytest.mark.parametrize("form", FORMS, ids=["text", "json", "journal"])
def test_a_line_that_just_fits_is_whole_and_one_byte_more_is_cut(form: Form) -> None:
    overhead = len(form(a_record({"error": "x"}))) - 2
    assert b"cut" not in form(a_record({"error": "x" * (8192 - overhead)}))
    assert b"cut" in form(a_record({"error": "x" * (8192 - overhead + 1)}))


def test_hundreds_of_fields_are_given_up_before_the_bound_is() -> None:
    for form in FORMS:
        line = form(a_record({f"field{n}": "x" * 100 for n in range(2000)}))
        assert len(line) <= 8192 + 1
        assert b"attempt.finished" in line


@pytest.mark.parametrize("form", FORMS, ids=["text", "json", "journal"])
def test_a_traceback_is_one_field_and_a_long_one_keeps_its_end(form: Form) -> None:
    try:
        raise ValueError("x" * 20_000 + " ".join(("at", "its", "end")))
    except ValueError:
        record = a_record(exc_info=sys.exc_info())
    line = form(record)
    assert line.count(b"\n") == 1
    assert b"traceback" in line
    assert b"at its end" in line


def test_a_record_of_another_library_tells_who_speaks() -> None:
    record = a_record(message="lost %s", args=("connection",), name="asyncio")
    assert json.loads(json_form()(record))["logger"] == "asyncio"
    assert json.loads(json_form()(record))["msg"] == "lost connection"
    assert text_form(colour=False)(record).endswith(b'"lost connection" logger=asyncio\n')


def test_values_that_json_cannot_hold_are_shown_as_text() -> None:
    circular: list[Any] = []
    circular.append(circular)
    fields = {"self": circular, "nan": float("nan"), "object": {1, 2}, "bytes": b"\xff"}
    shown = json.loads(json_form()(a_record(fields)))
    assert shown["self"] == "[[...]]"
    assert shown["nan"] is None
    assert shown["object"] == "{1, 2}"


def test_milliseconds_never_round_up_to_a_second() -> None:
    assert moment(1.9999999) == "1970-01-01T00:00:01.999Z"
    assert moment(0.0) == "1970-01-01T00:00:00.000Z"
