"""The command line's front door: usage, where the daemon is, and how it is asked."""

import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tests.cli.rig import CONFIG, CommandLine

from hookpost import __version__
from hookpost.cli.main import main


class Answers(BaseHTTPRequestHandler):
    """A daemon that says what it is told to say."""

    script: dict[tuple[str, str], tuple[int, bytes]]

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def address_string(self) -> str:
        return "unix"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, body = self.script.get((self.command, self.path.split("?")[0]), (404, b"{}"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = _answer
    do_POST = _answer


class Daemon:
    """Its script, and the paths that were asked."""

    def __init__(self) -> None:
        self.script: dict[tuple[str, str], tuple[int, bytes]] = {}

    def says(self, method: str, path: str, shown: Any, status: int = 200) -> None:
        self.script[method, path] = (status, json.dumps(shown).encode())


@pytest.fixture
def hookpost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    line = CommandLine(tmp_path, capsys)
    line.file.write_text(CONFIG)
    return line


@pytest.fixture
def daemon(hookpost: CommandLine) -> Iterator[Daemon]:
    made = Daemon()
    path = hookpost.folder / "run" / "admin.sock"
    path.parent.mkdir()
    answers = type("Scripted", (Answers,), {"script": made.script})
    with socketserver.ThreadingUnixStreamServer(str(path), answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()


REPORT = {
    "result": "applied", "oldHash": "aaa", "newHash": "bbb", "changes": ["endpoints.crm: changed"],
    "mistakes": [], "warnings": ["gateway.yaml:1:1: warning: sources.x: unverified"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("result", "code", "words"),
    [
        ("applied", 0, "reloaded: aaa -> bbb, 1 change\n"),
        ("unchanged", 0, "unchanged: aaa\n"),
        ("restart_required", 3, "refused: a restart is needed; aaa stays in force\n"),
        ("invalid", 78, "refused: 2 mistakes; aaa stays in force\n"),
        ("error", 69, "failed; aaa stays in force\n"),
    ],
)
def test_a_reloads_verdict_is_printed_with_its_exit_code(
    hookpost: CommandLine, daemon: Daemon, result: str, code: int, words: str
) -> None:
    mistakes = ["one", "two"] if result == "invalid" else []
    daemon.says("POST", "/reload", {**REPORT, "result": result, "mistakes": mistakes})
    ran = hookpost("reload")
    assert ran.code == code
    assert ran.out == f"endpoints.crm: changed\n{words}"
    assert "unverified" in ran.err
    assert all(mistake in ran.err for mistake in mistakes)
    assert hookpost("reload", "-o", "json").json["result"] == result


def test_status_prints_the_whole_and_a_table_of_endpoints(
    hookpost: CommandLine, daemon: Daemon
) -> None:
    shown = {"version": "1", "ready": True, "endpoints": {"crm": {"backlog": 3}}}
    daemon.says("GET", "/status", shown)
    daemon.says("GET", "/endpoints", {"endpoints": [{"name": "crm", "pending": 3}]})
    ran = hookpost("status")
    assert ran.code == 0
    assert "ready:" in ran.out
    assert ran.out.splitlines()[-1].split()[:3] == ["crm", "-", "3"]
    assert hookpost("status", "-o", "json").json == shown


def test_a_running_daemon_is_asked_and_not_its_database(
    hookpost: CommandLine, daemon: Daemon
) -> None:
    daemon.says("GET", "/status", {})
    daemon.says("GET", "/dead-letters", {"deadLetters": [{"id": 5}], "next": None})
    ran = hookpost("dead-letters", "list", "-o", "json")
    assert ran.json == [{"id": 5}]
    assert ran.err == ""


@pytest.mark.parametrize(("status", "code"), [(400, 1), (404, 1), (409, 1), (503, 69), (500, 1)])
def test_a_refusal_is_passed_on_in_the_daemons_words(
    hookpost: CommandLine, daemon: Daemon, status: int, code: int
) -> None:
    daemon.says("GET", "/endpoints/crm", {"error": "these words"}, status)
    ran = hookpost("endpoints", "show", "crm")
    assert (ran.code, ran.err) == (code, "hookpost: these words\n")


def test_what_is_no_json_is_said(hookpost: CommandLine, daemon: Daemon) -> None:
    daemon.script["GET", "/endpoints"] = (200, b"<html>")
    ran = hookpost("endpoints", "list")
    assert ran.code == 69
    assert "answered 200 and no JSON" in ran.err


def test_a_resume_that_the_file_overrules_is_a_negative_finding(
    hookpost: CommandLine, daemon: Daemon
) -> None:
    daemon.says("POST", "/endpoints/crm/resume", {"state": "paused", "pausedBy": ["file"]})
    ran = hookpost("endpoints", "resume", "crm")
    assert ran.code == 1
    assert "`paused: true`" in ran.out
    assert hookpost("endpoints", "resume", "crm", "-o", "json").code == 1
    daemon.says("POST", "/endpoints/crm/pause", {"state": "paused", "pausedBy": ["operator"]})
    assert hookpost("endpoints", "pause", "crm").out == "crm is paused\n"


def test_the_socket_can_be_named_by_option_and_environment(
    hookpost: CommandLine, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.says("GET", "/endpoints", {"endpoints": []})
    socket = str(hookpost.folder / "run" / "admin.sock")
    hookpost.file = hookpost.folder / "none.yaml"
    assert hookpost("endpoints", "list", "--socket", socket).code == 0
    monkeypatch.setenv("HOOKPOST_SOCKET", socket)
    assert hookpost("endpoints", "list").code == 0


USAGE = [
    (), ("run", "--grace", "soon"), ("run", "--grace", "-1"), ("run", "--grace", "nan"),
    ("reload", "--timeout", "0"), ("status", "-o", "xml"),
]  # fmt: skip


@pytest.mark.parametrize("words", USAGE)
def test_usage_errors_are_exit_code_64(hookpost: CommandLine, words: tuple[str, ...]) -> None:
    ran = hookpost(*words)
    assert ran.code == 64
    assert "usage: hookpost" in ran.err
    assert ran.out == ""


def test_the_version_is_printed(hookpost: CommandLine) -> None:
    ran = hookpost("--version")
    assert (ran.code, ran.out) == (0, f"hookpost {__version__}\n")


@pytest.mark.parametrize("port", ["99999", "-1", "http", "٣"])
def test_a_port_out_of_range_is_a_usage_error(
    port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["listen", "--port", port], hangup_was_asked=lambda: False)
    assert end.value.code == 64
    assert f"{port!r} is no port; write a number from 0 to 65535" in capsys.readouterr().err


# -- streams that cannot be written ----------------------------------------------------------------


def shell(redirected: str, *words: str, unbuffered: str = "") -> tuple[int, str]:
    """Run the program with its streams as a shell would redirect them; exit code and stderr."""
    line = f'exec "$0" -m hookpost "$@" {redirected}'
    environ = {**os.environ, "PYTHONDEVMODE": "1", "PYTHONUNBUFFERED": unbuffered}
    ran = subprocess.run(
        ["sh", "-c", line, sys.executable, *words], capture_output=True, text=True, env=environ
    )
    return ran.returncode, ran.stderr


@pytest.mark.parametrize("words", [("config", "schema"), ("secrets", "generate"), ("--version",)])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_stdout_that_takes_nothing_is_one_line_and_exit_code_73(
    words: tuple[str, ...], unbuffered: str
) -> None:
    code, err = shell("> /dev/full", *words, unbuffered=unbuffered)
    assert err == "hookpost: standard output cannot be written: No space left on device\n"
    assert code == 73


@pytest.mark.parametrize("words", [("config", "schema"), ("secrets", "generate")])
def test_a_stdout_that_was_closed_is_one_line_and_exit_code_73(words: tuple[str, ...]) -> None:
    code, err = shell(">&-", *words)
    assert err == "hookpost: standard output is closed; send it to /dev/null\n"
    assert code == 73


def test_a_command_that_would_change_something_does_not_begin_without_stdout(
    tmp_path: Path,
) -> None:
    file = tmp_path / "gateway.yaml"
    assert shell(">&-", "config", "init", str(file))[0] == 73
    assert not file.exists()


def test_closed_streams_are_not_taken_over_by_files(tmp_path: Path) -> None:
    code, _ = shell("<&- 2>&-", "config", "init", str(tmp_path / "gateway.yaml"))
    assert code == 0
    assert "made;" not in (tmp_path / "gateway.yaml").read_text()


@pytest.mark.parametrize("redirected", ["2> /dev/full", "2>&-"])
def test_an_unwritable_stderr_leaves_the_exit_code_as_it_is(redirected: str) -> None:
    absent = "/nowhere/gateway.yaml"
    assert shell(redirected, "endpoints", "list", "-c", absent)[0] == 66
    assert shell(redirected, "bogus")[0] == 64
    assert shell(redirected, "check", absent)[0] == 66


def unread(*words: str, words_too: bool = False) -> tuple[int, bytes]:
    """Run a command whose stdout, and stderr if asked, nobody reads: exit code, stderr."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as closed:
        ran = subprocess.run(
            [sys.executable, "-m", "hookpost", *words],
            stdout=closed, stderr=closed if words_too else subprocess.PIPE,
        )  # fmt: skip
    return ran.returncode, ran.stderr or b""


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    assert unread("secrets", "generate") == (0, b"")


@pytest.mark.parametrize("words_too", [False, True])
def test_a_reader_that_has_left_changes_no_verdict(tmp_path: Path, words_too: bool) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("version: 1\nbogus: 1\n" + "".join(f"x{n}: 1\n" for n in range(500)))
    code, told = unread("check", str(file), words_too=words_too)
    assert code == 78
    assert words_too or told.endswith(b" errors, 0 warnings\n")


def test_an_error_that_is_not_of_stdout_is_not_blamed_on_it(
    hookpost: CommandLine, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("hookpost.cli.live.status", broken)
    with pytest.raises(OSError, match="Input/output error"):
        hookpost("status")
