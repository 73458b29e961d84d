"""`hookpost check`: findings on one stream, the summary on the other, and the exit code."""

import io
import json
from collections.abc import Callable
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
