"""Lines are written by a thread of their own, in order, and never make their author wait."""

import io
import logging
import os
import threading
from collections.abc import Iterator

import pytest

from hookpost.logs import writer as writing
from hookpost.logs.lines import journal_form
from hookpost.logs.writer import LineHandler, LineWriter


class Stalled(io.StringIO):
    """A stream whose reader is away until `resume` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.resume = threading.Event()

    def write(self, text: str) -> int:
        self.entered.set()
        if not self.resume.wait(10):
            raise AssertionError("nobody resumed the reader")
        return super().write(text)


def loss(count: int) -> bytes:
    return b"dropped %d\n" % count


@pytest.fixture
def stalled() -> Iterator[tuple[Stalled, LineWriter]]:
    stream = Stalled()
    made = LineWriter(stream, loss)
    yield stream, made
    stream.resume.set()
    made.close(5.0)


def test_lines_come_out_in_order_and_whole() -> None:
    reading, writing_end = os.pipe()
    with os.fdopen(reading, "rb") as out, os.fdopen(writing_end, "w") as into:
        made = LineWriter(into, loss)
        for number in range(500):
            made.put(b"line %d\n" % number, hurry=False)
        assert made.flush(5.0)
        made.close(5.0)
        into.close()
        assert out.read().splitlines() == [b"line %d" % number for number in range(500)]


def test_a_put_never_waits_for_a_stalled_reader(stalled: tuple[Stalled, LineWriter]) -> None:
    stream, made = stalled
    made.put(b"first\n", hurry=True)
    assert stream.entered.wait(5)
    made.put(b"second\n", hurry=True)  # would hang here if it were written by its author
    assert not made.flush(0.01)
    stream.resume.set()
    assert made.flush(5.0)
    assert stream.getvalue() == "first\nsecond\n"


def test_what_exceeds_the_bound_is_dropped_counted_and_reported(
    stalled: tuple[Stalled, LineWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MAX_LINES", 10)
    stream, made = stalled
    made.put(b"first\n", hurry=True)
    assert stream.entered.wait(5)
    for _ in range(25):
        made.put(b"x\n", hurry=False)
    stream.resume.set()
    assert made.flush(5.0)
    assert stream.getvalue() == "first\n" + "x\n" * 10 + "dropped 15\n"


def test_bytes_are_bounded_too(
    stalled: tuple[Stalled, LineWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MAX_BYTES", 1000)
    stream, made = stalled
    made.put(b"first\n", hurry=True)
    assert stream.entered.wait(5)
    for _ in range(20):
        made.put(b"y" * 99 + b"\n", hurry=False)
    stream.resume.set()
    assert made.flush(5.0)
    assert stream.getvalue().count("y\n") == 9
    assert "dropped 11" in stream.getvalue()


def test_a_warning_does_not_wait_for_company(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "GATHER", 60.0)
    stream = Stalled()
    stream.resume.set()
    made = LineWriter(stream, loss)
    made.put(b"info\n", hurry=False)
    made.put(b"warning\n", hurry=True)
    assert stream.entered.wait(5)
    made.close(5.0)
    assert stream.getvalue() == "info\nwarning\n"


def test_an_unhurried_line_is_written_soon_all_the_same() -> None:
    stream = Stalled()
    stream.resume.set()
    made = LineWriter(stream, loss)
    for _ in range(3):  # each after the one before is out: the thread has gone back to sleep
        stream.entered.clear()
        made.put(b"info\n", hurry=False)
        assert stream.entered.wait(5)
    made.close(5.0)


def test_a_reader_that_is_gone_harms_nobody() -> None:
    reading, writing_end = os.pipe()
    os.close(reading)
    with os.fdopen(writing_end, "w") as into:
        made = LineWriter(into, loss)
        made.put(b"to nobody\n", hurry=True)
        assert made.flush(5.0)
        made.put(b"again\n", hurry=True)
        assert made.flush(5.0)
        made.close(5.0)


def test_a_non_blocking_descriptor_loses_nothing() -> None:
    reading, writing_end = os.pipe()
    os.set_blocking(writing_end, False)
    with os.fdopen(reading, "rb") as out, os.fdopen(writing_end, "w") as into:
        made = LineWriter(into, loss)
        line = b"z" * 8000 + b"\n"
        for _ in range(50):  # more than a pipe holds
            made.put(line, hurry=True)
        got = b""
        while len(got) < 50 * len(line):
            got += out.read1(1 << 16)
        made.close(5.0)
        assert got == line * 50


def test_a_record_that_cannot_be_formatted_is_told_of_in_one_line() -> None:
    stream = Stalled()
    stream.resume.set()

    handler = LineHandler(stream, journal_form())
    handler.emit(
        logging.LogRecord("aiohttp", logging.INFO, "", 0, "%d apples", ("no",), None)  # type: ignore[arg-type]
    )
    handler.close()
    assert stream.getvalue().startswith('<3>log.failed error="TypeError')
    assert stream.getvalue().count("\n") == 1


def test_closing_gives_up_on_a_reader_that_never_returns() -> None:
    stream = Stalled()
    made = LineWriter(stream, loss)
    made.put(b"lost\n", hurry=True)
    assert stream.entered.wait(5)
    made.close(0.01)
    stream.resume.set()
