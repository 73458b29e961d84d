"""`configure`: which form, which level, and again at any time."""

import json
import logging
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from hookpost import logs
from hookpost.logs.writer import LineHandler

log = logging.getLogger("hookpost.tests")


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """Give the process its own logging back."""
    root, ours = logging.getLogger(), logging.getLogger("hookpost")
    before = (root.level, ours.level, list(root.handlers))
    flags = (logging._srcfile, logging.logThreads, logging.logProcesses)
    flags_too = logging.logMultiprocessing
    yield
    logs.close()
    root.setLevel(before[0])
    ours.setLevel(before[1])
    root.handlers[:] = before[2]
    logging._srcfile, logging.logThreads, logging.logProcesses = flags
    logging.logMultiprocessing = flags_too


@pytest.fixture
def out(tmp_path: Path) -> Iterator[TextIO]:
    with (tmp_path / "log").open("w+") as file:
        yield file


def lines(out: TextIO) -> list[str]:
    logs.flush()
    return Path(out.name).read_text().splitlines()


def test_a_record_of_ours_is_one_line(out: TextIO) -> None:
    logs.configure("info", "json", out)
    log.info("attempt.finished", extra={"fields": {"endpoint": "crm"}})
    (line,) = lines(out)
    assert json.loads(line)["endpoint"] == "crm"


def test_the_level_holds_for_ours_and_others_speak_from_warning_on(out: TextIO) -> None:
    logs.configure("debug", "journal", out)
    log.debug("ours.debug")
    logging.getLogger("aiohttp.server").info("theirs")
    logging.getLogger("aiohttp.server").warning("theirs.warning")
    assert lines(out) == ["<7>ours.debug", "<4>theirs.warning logger=aiohttp.server"]


def test_level_and_form_change_while_running_and_nothing_is_lost(out: TextIO) -> None:
    logs.configure("info", "journal", out)
    log.info("first")
    log.debug("not.shown")
    logs.configure("debug", "text")
    log.debug("second")
    shown = lines(out)
    assert shown[0] == "<6>first"
    assert shown[1].endswith("Z debug second")
    assert [type(each) for each in logging.getLogger().handlers].count(LineHandler) == 1


@pytest.mark.parametrize(
    ("level", "form", "named"),
    [
        ("loud", "json", "loud"),
        ("INFO", "json", "INFO"),
        ("info", "xml", "xml"),
        ("notset", "json", "notset"),
    ],
)
def test_an_unknown_word_is_refused_by_name(level: str, form: str, named: str, out: TextIO) -> None:
    with pytest.raises(ValueError, match=named):
        logs.configure(level, form, out)


def test_auto_means_json_in_a_file(out: TextIO) -> None:
    assert logs.chosen_format(out, {}) == "json"


def test_auto_means_the_journals_form_when_stderr_is_the_journals_stream(out: TextIO) -> None:
    status = os.fstat(out.fileno())
    ours = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    assert logs.chosen_format(out, ours) == "journal"
    assert logs.chosen_format(out, {"JOURNAL_STREAM": "1:2"}) == "json"


def test_auto_means_text_on_a_terminal_coloured_unless_told_not_to() -> None:
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb", 0) as screen, os.fdopen(follower, "w") as terminal:
        assert logs.chosen_format(terminal, {}) == "text"
        logs.configure("info", "auto", terminal, {})
        log.warning("painted")
        logs.flush()
        assert b"\x1b[33mwarning\x1b[0m painted" in screen.read(200)
        logs.configure("info", "auto", terminal, {"NO_COLOR": "1"})
        log.warning("plain")
        logs.flush()
        assert b"\x1b" not in screen.read(200)
        logs.close()


def test_everything_is_written_when_the_process_ends() -> None:
    program = (
        "import logging; from hookpost import logs; logs.configure('info', 'journal')\n"
        "log = logging.getLogger('hookpost.x')\n"
        "for n in range(3000): log.info('n', extra={'fields': {'n': n}})"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=30, check=True
    )
    assert ended.stderr.splitlines() == [b"<6>n n=%d" % number for number in range(3000)]
