"""The command line finds its daemon even where the file is broken."""

from pathlib import Path

import pytest

from hookpost.config import lenient, lenient_admin_socket, lenient_database


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(lenient, "_SHIPPED_RUNTIME", tmp_path / "shipped-run")
    monkeypatch.setattr(lenient, "_SHIPPED_STATE", tmp_path / "shipped-var")
    return tmp_path / "gateway.yaml"


@pytest.mark.parametrize(
    "text",
    [
        'listen: {admin: {address: "unix:x/a.sock"}}\n',
        'listen: {admin: {address: "unix:x/a.sock"}}\nlisten: {}\nunknown: 1\n',
        'listen: {admin: {address: "unix:x/a.sock"}}\nbroken: [\n',
        "version: 9\nlisten:\n  admin:\n    address: unix:x/a.sock\n  ops: {mode: 007}\n\t- x",
    ],
)
def test_the_address_is_found_in_a_file_that_is_not_valid(path: Path, text: str) -> None:
    path.write_text(text)
    assert lenient_admin_socket(path) == path.parent / "x/a.sock"


@pytest.mark.parametrize("text", ["", "nonsense", "listen: 5", "- a\n", "listen: {admin: tcp}\n"])
def test_without_an_address_it_is_the_default(path: Path, text: str) -> None:
    path.write_text(text)
    assert lenient_admin_socket(path, {}) == path.parent / "run/admin.sock"
    under = {"RUNTIME_DIRECTORY": "/run/h", "STATE_DIRECTORY": "/var/lib/h"}
    assert lenient_admin_socket(path, under) == Path("/run/h/admin.sock")
    assert lenient_database(path, {}) == path.parent / "var/outbox.db"
    assert lenient_database(path, under) == Path("/var/lib/h/outbox.db")


def test_the_socket_of_the_shipped_unit_is_found_where_it_is(path: Path) -> None:
    path.write_text("version: 1\n")
    shipped = path.parent / "shipped-run/admin.sock"
    shipped.parent.mkdir()
    shipped.touch()
    assert lenient_admin_socket(path, {}) == shipped
    beside = path.parent / "run/admin.sock"
    beside.parent.mkdir()
    beside.touch()
    assert lenient_admin_socket(path, {}) == beside


def test_the_database_is_found_in_a_file_that_is_not_valid(path: Path) -> None:
    path.write_text("storage: {sqlite: {path: data/o.db}}\nbroken: [\n")
    assert lenient_database(path) == path.parent / "data/o.db"


def test_without_a_file_there_is_nothing_to_find(path: Path) -> None:
    assert lenient_admin_socket(path) is None
    assert lenient_database(path) is None
    assert lenient_admin_socket(path.parent) is None


def test_bytes_that_are_no_text_leave_the_default(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")
    assert lenient_admin_socket(path, {}) == path.parent / "run/admin.sock"
