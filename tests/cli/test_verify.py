"""`hookpost verify`: files in, findings and an exit code out."""

import base64
import hmac
import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.cli.rig import CommandLine

from hookpost.cli.saved import Saved, Unreadable, parse

SECRET = "canary-secret-0123456789"
BODY = b'{"zen":"Anything added dilutes everything else."}'
SIGNATURE = hmac.new(SECRET.encode(), BODY, "sha256").hexdigest()
HEAD = f"""\
POST /in/github?a=1 HTTP/1.1
Host: hooks.example.com
X-GitHub-Event: ping
X-Hub-Signature-256: sha256={SIGNATURE}
"""
CONFIG = """\
version: 1
secrets: {github: {file: secrets/github}, slack: {file: secrets/slack}}
sources:
  github: {path: /in/github, preset: github, secrets: [github]}
  slack: {path: /in/slack, preset: slack, secrets: [slack]}
endpoints: {crm: {url: "https://crm.example.com/hooks", signing: none}}
subscriptions: {all: {endpoints: [crm]}}
"""


@pytest.fixture
def hookpost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    (tmp_path / "secrets").mkdir(mode=0o700)
    for name, value in (("github", SECRET), ("slack", "canary-slack-secret")):
        (tmp_path / "secrets" / name).write_text(value + "\n")
        (tmp_path / "secrets" / name).chmod(0o600)
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    (tmp_path / "head").write_text(HEAD)
    (tmp_path / "body").write_bytes(BODY)
    return CommandLine(tmp_path, capsys)


def stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def test_a_request_that_would_be_taken(
    hookpost: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, BODY)
    ran = hookpost("verify", "github", "--headers", str(tmp_path / "head"))
    assert ran.code == 0, ran
    assert 'the signature fits the secret "github"' in ran.out
    assert "skipped" in ran.out.splitlines()[0]
    assert ran.err == 'source "github" would take this request\n'


def test_a_request_that_would_be_refused(hookpost: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(BODY + b"\n")
    options = ("--headers", str(tmp_path / "head"), "--body", str(tmp_path / "body"))
    ran = hookpost("verify", "github", *options)
    assert ran.code == 1
    assert "FAILED  match" in ran.out
    assert "hint    it fits" in ran.out
    assert "[body-newline]" in ran.out
    assert ran.err == 'source "github" would refuse it: 401 unauthorized\n'
    told = hookpost("verify", "github", *options, "-o", "json").json
    assert (told["source"], told["verified"], told["status"]) == ("github", False, 401)
    assert (told["code"], told["failed"]) == ("unauthorized", "match")
    assert {"step": "match", "result": "failed"}.items() <= told["steps"][-2].items()
    assert [hint["code"] for hint in told["hints"]] == ["body-newline"]
    for shown in (ran.out, json.dumps(told)):
        assert SECRET not in shown
        assert SIGNATURE not in shown


def test_the_time_of_judgement_can_be_told(hookpost: CommandLine, tmp_path: Path) -> None:
    at = 1_750_000_000
    signed = f"v0:{at}:".encode() + BODY
    signature = hmac.new(b"canary-slack-secret", signed, "sha256").hexdigest()
    head = {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": f"v0={signature}"}
    (tmp_path / "head").write_text(json.dumps(head))
    options = ("--headers", f"@{tmp_path / 'head'}", "--body", str(tmp_path / "body"))
    assert hookpost("verify", "slack", *options).code == 1
    for when in (str(at + 300), "2025-06-15T15:06:40+00:00", "2025-06-15T15:06:40Z"):
        assert hookpost("verify", "slack", *options, "--at", when).code == 0, when
    late = hookpost("verify", "slack", *options, "--at", str(at + 423))
    assert "7 min 3 s behind this clock" in late.out
    for wrong in ("tomorrow", "2025-06-15T15:06:40", "-1"):
        assert hookpost("verify", "slack", *options, f"--at={wrong}").code == 64


def test_the_body_may_follow_the_head_in_one_file(hookpost: CommandLine, tmp_path: Path) -> None:
    dump = HEAD.replace("\n", "\r\n").encode() + b"\r\n" + BODY
    (tmp_path / "dump").write_bytes(dump)
    assert hookpost("verify", "github", "--headers", str(tmp_path / "dump")).code == 0
    other = hookpost("verify", "github", "--headers", str(tmp_path / "dump"), "--body", os.devnull)
    assert other.code == 1


def test_method_and_query_are_those_saved_or_those_given(
    hookpost: CommandLine, tmp_path: Path
) -> None:
    options = ("--headers", str(tmp_path / "head"), "--body", str(tmp_path / "body"))
    ran = hookpost("verify", "github", *options, "--method", "put")
    assert "the method is PUT" in ran.out
    (tmp_path / "gateway.yaml").write_text(
        CONFIG.replace("preset: github,", "preset: square, url: https://x.example/in,")
    )
    signed = b"https://x.example/in?b=2" + BODY

    text = base64.b64encode(hmac.digest(SECRET.encode(), signed, "sha256")).decode()
    (tmp_path / "head").write_text(
        f"POST /in?b=2 HTTP/1.1\nx-square-hmacsha256-signature: {text}\n"
    )
    assert hookpost("verify", "github", *options).code == 0
    assert hookpost("verify", "github", *options, "--query", "b=3").code == 1
    assert hookpost("verify", "github", *options, "--query", "?b=2").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("githob", "--headers", "HEAD"), 64, 'did you mean "github"?'),
        (("github",), 64, "--headers"),
        (("github", "--headers", "absent"), 66, "--headers absent"),
        (("github", "--headers", "HEAD", "--body", "absent"), 66, "--body absent"),
        (("github", "--headers", "BODY", "--body", "BODY"), 64, "is no text"),
    ],
)
def test_what_cannot_be_asked(
    hookpost: CommandLine, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    (tmp_path / "body").write_bytes(b'{"X-A": {}}')
    paths = {"HEAD": str(tmp_path / "head"), "BODY": str(tmp_path / "body")}
    ran = hookpost("verify", *(paths.get(one, one) for one in arguments))
    assert ran.code == code
    assert words in ran.err


def test_an_invalid_configuration_is_told(hookpost: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(CONFIG.replace("preset: github", "preset: githob"))
    ran = hookpost("verify", "github", "--headers", str(tmp_path / "head"))
    assert ran.code == 78
    assert "sources.github.preset" in ran.err


# -- files of headers ------------------------------------------------------------------------

PAIRS = (("X-A", "1"), ("x-b", "2 3"))


@pytest.mark.parametrize(
    "content",
    [
        b"X-A: 1\nx-b: 2 3\n",
        b"X-A:1\r\nx-b:  2 3 \r\n\r\n",
        b"X-A: 1\r\nx-b: 2\r\n\t3\r\n",
        b"> X-A: 1\n> x-b: 2 3\n>\n",
        b'{"X-A": "1", "x-b": "2 3"}',
        b'{"X-A": 1, "x-b": ["2 3"]}',
        b'[["X-A", "1"], ["x-b", "2 3"]]',
        b'[{"name": "X-A", "value": "1"}, {"name": "x-b", "value": "2 3"}]',
        b"\xef\xbb\xbfX-A: 1\nx-b: 2 3",
    ],
)
def test_headers_are_read_as_they_are_saved(content: bytes) -> None:
    assert parse(content) == Saved(headers=PAIRS)


def test_a_request_line_gives_method_and_query() -> None:
    old = parse(b"GET /in/x?a=%20&b HTTP/1.1\r\nX-A: 1\r\n\r\nbody\r\n")
    assert (old.method, old.query, old.headers, old.body) == (
        "GET", "a=%20&b", PAIRS[:1], b"body\r\n",
    )  # fmt: skip
    new = parse(b":method: POST\n:path: /in/x?a\n:scheme: https\nX-A: 1\n")
    assert (new.method, new.query, new.headers, new.body) == ("POST", "a", PAIRS[:1], None)
    assert parse(b"X-A: \xe9").headers[0][1].encode("utf-8", "surrogateescape") == b"\xe9"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"HTTP/1.1 200 OK\nX-A: 1", "an answer"),
        (b"X-A: 1\nno header", "line 2 is no header"),
        (b"X A: 1", "line 1 is no header"),
        (b"{", "none"),
        (b'{"a b": "1"}', "no header's name"),
        (b'{"a": null}', "the header a is no text"),
        (b'{"a": true}', "is no text"),
        (b"[1]", "one of pairs"),
        (b'["ab"]', "one of pairs"),
    ],
)
def test_what_is_no_file_of_headers(content: bytes, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        parse(content)


def test_types_and_schemas_are_judged_as_the_gateway_does(
    hookpost: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "ping.json").write_text('{"properties": {"zen": {"maxLength": 3}}}')
    options = ("--headers", str(tmp_path / "head"), "--body", str(tmp_path / "body"))
    listed = CONFIG.replace("preset: github,", "preset: github, event_types: {%s},")
    (tmp_path / "gateway.yaml").write_text(listed % "ping: {schema: ping.json}")
    ran = hookpost("verify", "github", *options)
    assert ran.code == 1
    assert "is not met at $.zen: is longer than 3 characters" in ran.out
    (tmp_path / "gateway.yaml").write_text(listed % "push: {}")
    ran = hookpost("verify", "github", *options)
    assert ran.code == 1
    assert "'ping' is none of push" in ran.out
