"""`hookpost listen`: a real receiver in a real process."""

import argparse
import asyncio
import base64
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import pytest
from standardwebhooks import Webhook

from hookpost.cli import listen, output

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
STARTER = (
    "import argparse, sys; from hookpost.cli import listen\n"
    "p = argparse.ArgumentParser(); listen.add_parser(p.add_subparsers(), p)\n"
    "args = p.parse_args(['listen', *sys.argv[1:]]); sys.exit(args.run(args))\n"
)


@dataclass
class Listening:
    process: subprocess.Popen[str]
    port: int

    def post(self, body: bytes, headers: dict[str, str], method: str = "POST") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, "/hooks/any", body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def printed(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@contextmanager
def started(*arguments: str, stdout: TextIO | int = subprocess.PIPE) -> Iterator[Listening]:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, "--port", "0", *arguments],
        stdout=stdout, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            told = process.stderr.readline()
            assert told.startswith("listening on http://127.0.0.1:"), told
            yield Listening(process, int(told.rsplit(":", 1)[1]))
        finally:
            process.kill()


def signed(body: bytes, event_id: str = "evt_1", attempt: int = 1) -> dict[str, str]:
    at = datetime.fromtimestamp(int(time.time()), UTC)  # noqa: TID251 - a real process, real time
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(event_id, at, body.decode()),
        "hookpost-event-type": "caf%C3%A9.paid",
        "hookpost-attempt": str(attempt),
    }


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    return str(path)


def test_a_signed_delivery_is_verified_printed_and_answered(secret_file: str) -> None:
    with started("--secret-file", secret_file, "--count", "1") as receiver:
        body = '{"a":"é\x1b"}'.encode()
        assert receiver.post(body, signed(body)) == 204
        line = receiver.printed()
        assert line == 'evt_1 café.paid attempt 1 verified -> 204  {"a":"é\\x1b"}\n'
        assert receiver.process.wait(10) == 0


def test_json_tells_scripts_all_of_it(secret_file: str) -> None:
    with started("--secret-file", secret_file, "--count", "1", "-o", "json") as receiver:
        body = b'{"n":1}' * 100
        receiver.post(body, signed(body, attempt=3))
        shown = json.loads(receiver.printed())
        assert shown.pop("receivedAt") > 1_700_000_000
        assert shown == {
            "eventId": "evt_1",
            "eventType": "café.paid",
            "attempt": 3,
            "verified": True,
            "reason": None,
            "answered": 204,
            "bytes": 700,
            "sha256": hashlib.sha256(body).hexdigest(),
            "body": body.decode(),
        }


def test_what_does_not_verify_is_refused_and_ends_with_a_negative_finding(
    secret_file: str,
) -> None:
    with started("--secret-file", secret_file, "--count", "1") as receiver:
        assert receiver.post(b"other bytes", signed(b"bytes")) == 401
        assert "NOT VERIFIED (no signature matches) -> 401" in receiver.printed()
        assert receiver.process.wait(10) == 1


def test_without_a_secret_everything_is_taken_and_said_to_be_unverified() -> None:
    with started("--count", "1") as receiver:
        assert receiver.post(b"{}", {}) == 204
        assert "NOT VERIFIED (no --secret-file) -> 204" in receiver.printed()
        assert receiver.process.wait(10) == 0


def test_attempts_fail_as_asked_and_then_succeed(secret_file: str) -> None:
    rule = "first:2,status:503"
    with started("--secret-file", secret_file, "--fail", rule, "--count", "3") as receiver:
        statuses = [receiver.post(b"{}", signed(b"{}", attempt=n)) for n in (1, 2, 3)]
        assert statuses == [503, 503, 204]
        assert "attempt 1 verified -> 503" in receiver.printed()
        assert receiver.process.wait(10) == 0


def test_only_post_is_taken(secret_file: str) -> None:
    with started("--secret-file", secret_file) as receiver:
        assert receiver.post(b"", {}, method="GET") == 405


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_receiver_leaves_cleanly(number: signal.Signals) -> None:
    with started() as receiver:
        receiver.process.send_signal(number)
        assert receiver.process.wait(10) == 0
        assert receiver.process.stderr is not None
        assert receiver.process.stderr.read() == ""


def test_a_reader_that_leaves_ends_it_without_a_traceback() -> None:
    with started() as receiver:
        assert receiver.process.stdout is not None
        receiver.process.stdout.close()
        assert receiver.post(b"{}", {}) == 204
        assert receiver.process.wait(10) == 0
        assert receiver.process.stderr is not None
        assert receiver.process.stderr.read() == ""


def test_a_reader_that_leaves_ends_the_whole_command() -> None:
    done = asyncio.Event()
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as unread, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", unread)
        with output.checked():
            listen._Printed().write("a line", done)
    assert done.is_set()


def test_a_full_disk_ends_it_with_one_line_and_exit_code_73() -> None:
    with open("/dev/full", "w") as full, started(stdout=full) as receiver:
        assert receiver.post(b"{}", {}) == 204
        assert receiver.process.wait(10) == 73
        assert receiver.process.stderr is not None
        told = "hookpost listen: standard output: No space left on device\n"
        assert receiver.process.stderr.read() == told


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    listen.add_parser(parser.add_subparsers(), parser)
    args = parser.parse_args(["listen", *arguments])
    return int(args.run(args))


def test_a_bad_rule_a_bad_secret_and_a_taken_port_have_their_exit_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--fail", "sometimes"]) == 64
    assert "'sometimes' is no rule" in capsys.readouterr().err
    assert run(["--count", "0"]) == 64
    assert run(["--secret-file", str(tmp_path / "absent")]) == 66
    assert "absent: No such file" in capsys.readouterr().err
    (tmp_path / "bad").write_text("hunter2")
    assert run(["--secret-file", str(tmp_path / "bad")]) == 64
    assert "hunter2" not in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(["--port", str(taken.getsockname()[1])]) == 69
    assert "another process listens there" in capsys.readouterr().err
