"""`hookpost config`: a beginning that works, and what is in force."""

import io
import json
from pathlib import Path

import pytest

from hookpost.cli import config
from hookpost.cli.check import check


def _streams() -> dict[str, io.StringIO]:
    return {"out": io.StringIO(), "err": io.StringIO()}


def test_a_new_file_passes_the_strict_check(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    assert config.init(path, **_streams()) == 0
    streams = _streams()
    assert check(path, strict=True, **streams) == 0
    assert streams["out"].getvalue() == ""


def test_what_is_made_is_private(tmp_path: Path) -> None:
    config.init(tmp_path / "gateway.yaml", **_streams())
    secrets = tmp_path / "secrets"
    assert secrets.stat().st_mode & 0o777 == 0o700
    files = sorted(secrets.iterdir())
    assert [path.name for path in files] == ["app-token", "receiver"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert (tmp_path / "gateway.yaml").stat().st_mode & 0o007 == 0


def test_no_secret_is_printed_or_written_into_the_file(tmp_path: Path) -> None:
    streams = _streams()
    config.init(tmp_path / "gateway.yaml", **streams)
    printed = "".join(stream.getvalue() for stream in streams.values())
    printed += (tmp_path / "gateway.yaml").read_text()
    for path in (tmp_path / "secrets").iterdir():
        value = path.read_text().strip()
        assert len(value) >= 32
        assert value not in printed


def test_two_beginnings_have_different_secrets(tmp_path: Path) -> None:
    values = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        config.init(tmp_path / name / "gateway.yaml", **_streams())
        values |= {path.read_text() for path in (tmp_path / name / "secrets").iterdir()}
    assert len(values) == 4


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("mine")
    assert config.init(path, **_streams()) == 73
    assert path.read_text() == "mine"
    assert [found.name for found in tmp_path.iterdir()] == ["gateway.yaml"]
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert config.init(path, **_streams()) == 73
    assert not (tmp_path / "elsewhere").exists()


def test_an_existing_secret_is_kept(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/receiver").write_text("in use")
    streams = _streams()
    assert config.init(tmp_path / "gateway.yaml", **streams) == 0
    assert (tmp_path / "secrets/receiver").read_text() == "in use"
    assert "receiver: kept" in streams["out"].getvalue()


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    streams = _streams()
    assert config.init(tmp_path / "absent/gateway.yaml", **streams) == 73
    assert "cannot be made: No such file or directory" in streams["err"].getvalue()


def test_the_effective_configuration_is_shown_without_looking_secrets_up(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    config.init(path, **_streams())
    (tmp_path / "secrets/receiver").unlink()
    streams = _streams()
    assert config.show(path, effective=True, **streams) == 0
    assert "max_pending: 1000000\n" in streams["out"].getvalue()
    assert config.show(path, **streams) == 0


@pytest.mark.parametrize(("text", "code"), [("version: 2\n", 78), (None, 66)])
def test_a_file_with_mistakes_is_not_shown(tmp_path: Path, text: str | None, code: int) -> None:
    path = tmp_path / "gateway.yaml"
    if text is not None:
        path.write_text(text)
    streams = _streams()
    assert config.show(path, **streams) == code
    assert streams["out"].getvalue() == ""
    assert "error:" in streams["err"].getvalue()


def test_the_schema_is_printed() -> None:
    out = io.StringIO()
    assert config.schema(out=out) == 0
    assert json.loads(out.getvalue())["title"] == "Hookpost gateway.yaml"
