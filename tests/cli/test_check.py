"""`hookpost check`: findings on one stream, the summary on the other, and the exit code."""

import io
import json
import os
import pwd
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hookpost.cli.check import check

WARNED = "version: 1\nsources: {open: {path: /in/open}}\n"

Run = Callable[..., tuple[int, str, str]]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Check a text; exit code, findings, summary."""

    def run(text: str, out: io.StringIO | None = None, **options: Any) -> tuple[int, str, str]:
        path = tmp_path / "gateway.yaml"
        path.write_text(text)
        out, err = out or io.StringIO(), io.StringIO()
        code = check(path, out=out, err=err, **options)
        return code, out.getvalue(), err.getvalue().replace(f"{tmp_path}/", "")

    return run


def test_a_sound_file_is_ok(run: Run) -> None:
    assert run("version: 1\n", strict=True) == (0, "", "gateway.yaml: ok\n")


def test_a_warning_fails_only_strictly(run: Run) -> None:
    code, out, err = run(WARNED)
    assert (code, err) == (0, "gateway.yaml: 0 errors, 2 warnings\n")
    assert out.count("warning:") == 2
    assert run(WARNED, strict=True)[0] == 3


def test_a_mistake_exits_78_with_strict_or_without(run: Run) -> None:
    for strict in (False, True):
        code, out, err = run("version: 1\nloging: {}\n", strict=strict)
        assert (code, err) == (78, "gateway.yaml: 1 error, 0 warnings\n")
        assert out.endswith('loging: unknown key; did you mean "logging"? [unknown-key]\n')


def test_a_terminal_gets_the_line_and_a_caret(run: Run) -> None:
    out = run("version: 1\nloging: {}\n", out=_Terminal())[1]
    assert out.splitlines()[1:] == ["    loging: {}", "    ^"]


def test_the_json_form_is_one_document_even_without_findings(run: Run) -> None:
    document = json.loads(run("version: 1\n", format="json")[1])
    assert document == {"errors": 0, "warnings": 0, "diagnostics": []}


def test_the_github_form_annotates(run: Run) -> None:
    assert run(WARNED, format="github")[1].startswith("::warning file=")


def test_secrets_can_be_left_alone(run: Run) -> None:
    text = "version: 1\nsecrets: {t: {env: NOWHERE_TO_BE_FOUND}}\n"
    text += "sources: {s: {path: /in/s, auth: {bearer: [t]}}}\n"
    assert run(text)[0] == 78
    code, _, err = run(text, secrets="skip")
    assert (code, "secrets not looked up" in err) == (0, False)


def test_no_file_exits_66(tmp_path: Path) -> None:
    out, err = io.StringIO(), io.StringIO()
    assert check(tmp_path / "absent.yaml", out=out, err=err) == 66
    assert "there is no file" in out.getvalue()


def test_nothing_is_made_by_checking(run: Run, tmp_path: Path) -> None:
    run("version: 1\nstorage: {sqlite: {path: var/outbox.db}}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["gateway.yaml"]


KEYED = """\
version: 1
secrets: {token: {file: secrets/token}, key: {file: secrets/key}}
sources: {billing: {path: /in/billing, auth: {bearer: [token]}}}
endpoints: {crm: {url: "https://crm.example.com/", signing: {standard_webhooks: [key]}}}
subscriptions: {all: {endpoints: [crm]}}
"""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A configuration of a service that runs as nobody, made by root; all of it readable."""
    with tempfile.TemporaryDirectory(prefix="hookpost-") as name:  # others may not enter tmp_path
        folder = Path(name).resolve()
        monkeypatch.setattr("hookpost.cli.check.SYSTEM", folder)
        monkeypatch.setattr("hookpost.cli.check.SERVICE_USER", "nobody")
        group = pwd.getpwnam("nobody").pw_gid
        (folder / "secrets").mkdir()
        (folder / "gateway.yaml").write_text(KEYED)
        (folder / "secrets/token").write_text("token-for-publishers\n")
        (folder / "secrets/key").write_text("whsec_" + "A" * 32 + "\n")
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 0, group)
            path.chmod(0o750 if path.is_dir() else 0o640)
        yield folder


def judged(folder: Path, **options: Any) -> tuple[int, list[str]]:
    out = io.StringIO()
    code = check(folder / "gateway.yaml", out=out, err=io.StringIO(), **options)
    return code, out.getvalue().replace(f"{folder}/", "").splitlines()


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@as_root
def test_what_the_services_user_may_read_is_ok(service: Path) -> None:
    assert judged(service, strict=True) == (0, [])
    assert os.geteuid() == 0


@as_root
@pytest.mark.parametrize("secrets", ["resolve", "skip"])
def test_root_is_warned_of_what_the_services_user_may_not_read(service: Path, secrets: str) -> None:
    os.chown(service / "secrets/token", 0, 0)
    (service / "secrets/token").chmod(0o600)
    code, lines = judged(service, strict=True, secrets=secrets)
    assert code == 3
    assert lines == [
        "gateway.yaml:2:25: warning: secrets.token.file: secrets/token may not be read by the user "
        "nobody, as whom the shipped unit runs; chgrp nobody and chmod 640 it "
        "(directories: 750) [unreadable-by-service]"
    ]
    assert os.geteuid() == 0


@as_root
def test_a_directory_on_the_way_and_the_file_itself_count(service: Path) -> None:
    (service / "secrets").chmod(0o700)
    (service / "gateway.yaml").chmod(0o600)
    code, lines = judged(service)
    assert code == 0
    assert len(lines) == 3


@as_root
def test_elsewhere_and_without_the_user_nobody_is_asked(
    service: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (service / "secrets/token").chmod(0o600)
    monkeypatch.setattr("hookpost.cli.check.SERVICE_USER", "no-such-user")
    assert judged(service) == (0, [])
    monkeypatch.undo()
    assert judged(service) == (0, [])
