"""The line written for every delivery looks as an ordinary record's would, whoever listens."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hookpost import logs
from hookpost.logs.canonical import CanonicalLine
from hookpost.logs.lines import Form, journal_form, json_form, text_form
from hookpost.logs.writer import LineHandler

log = logging.getLogger("hookpost.tests.canonical")
FIELDS = {"endpoint": str, "delivery": int, "event": str, "duration": float}
AT = 1_764_064_800.125
FORMS = [text_form(colour=False), text_form(colour=True), json_form(), journal_form()]


def a_line(level: int = logging.INFO) -> CanonicalLine:
    return CanonicalLine(log, level, "attempt.finished", FIELDS)


def as_a_record(form: Form, *values: str | float) -> bytes:
    record = logging.LogRecord(log.name, logging.INFO, "", 0, "attempt.finished", None, None)
    record.created = AT
    record.fields = dict(zip(FIELDS, values, strict=True))
    return form(record)


@pytest.fixture
def out(tmp_path: Path) -> Iterator[TextIO]:
    """Our handler in place, and the only one."""
    root, ours = logging.getLogger(), logging.getLogger("hookpost")
    before = (root.level, ours.level, list(root.handlers))
    flags = (logging._srcfile, logging.logThreads, logging.logProcesses)
    flags_too = logging.logMultiprocessing
    root.handlers.clear()
    with (tmp_path / "log").open("w+") as file:
        logs.configure("info", "journal", file)
        yield file
        logs.close()
    root.setLevel(before[0])
    ours.setLevel(before[1])
    root.handlers[:] = before[2]
    logging._srcfile, logging.logThreads, logging.logProcesses = flags
    logging.logMultiprocessing = flags_too


def written(out: TextIO) -> bytes:
    logs.flush()
    return Path(out.name).read_bytes()


def alone(form: Form | None = None) -> None:
    """Leave our handler alone in place (pytest has put its own beside it), with this form."""
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if isinstance(each, LineHandler)]
    (handler,) = root.handlers
    if form is not None:
        handler.form = form


@pytest.mark.parametrize("form", FORMS)
def test_it_is_the_very_line_of_a_record(form: Form, out: TextIO) -> None:
    alone(form)
    a_line().write(AT, ("crm", 7, "evt_1", 0.001235))
    assert written(out) == as_a_record(form, "crm", 7, "evt_1", 0.001235)


@pytest.mark.parametrize("form", FORMS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(event=st.text(max_size=40), seconds=st.floats(0, 1e6))
@example(event='x" level="error', seconds=0.0)
@example(event="", seconds=1e-06)
@example(event="%s\\", seconds=0.5)
@example(event="e" * 20_000, seconds=0.5)
def test_no_value_makes_it_another_line(
    form: Form, event: str, seconds: float, out: TextIO
) -> None:
    alone(form)
    before = len(written(out))
    a_line().write(AT, ("crm", 7, event, seconds))
    assert written(out)[before:] == as_a_record(form, "crm", 7, event, seconds)


def test_another_form_is_followed_while_running(out: TextIO) -> None:
    alone()
    line = a_line()
    values = ("crm", 7, "evt_1", 0.5)
    line.write(AT, values)
    logs.configure("info", "json")
    line.write(AT, values)
    form, other = journal_form(), json_form()
    assert written(out) == as_a_record(form, *values) + as_a_record(other, *values)


def test_it_keeps_silent_below_the_level(out: TextIO) -> None:
    alone()
    logs.configure("warning", "journal")
    a_line().write(AT, ("crm", 7, "evt_1", 0.5))
    a_line(logging.WARNING).write(AT, ("crm", 8, "evt_2", 0.5))
    assert written(out) == b"<4>attempt.finished endpoint=crm delivery=8 event=evt_2 duration=0.5\n"


@pytest.mark.parametrize("name", [None, "hookpost", log.name])
def test_whoever_else_listens_hears_it_as_a_record(name: str | None, out: TextIO) -> None:
    heard: list[logging.LogRecord] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record)

    alone()
    listener, logger = Listener(), logging.getLogger(name)
    logger.addHandler(listener)
    try:
        a_line().write(AT, ("crm", 7, "evt_1", 0.5))
    finally:
        logger.removeHandler(listener)
    assert [(record.getMessage(), record.created) for record in heard] == [("attempt.finished", AT)]
    assert heard[0].fields["event"] == "evt_1"  # type: ignore[attr-defined]
    assert written(out) == as_a_record(journal_form(), "crm", 7, "evt_1", 0.5)
