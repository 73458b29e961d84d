"""Any file at all comes to a configuration or to diagnostics, in bounded time and memory."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.documents import MISTAKES, ROOT, SOUND, bombs, spoiled_files, written_documents
from tests.fuzz.effort import SECONDS, count, fuzzed
from tests.fuzz.spent import bounded, within_memory

from hookpost.config import Loaded, load, shown
from hookpost.config.diagnostics import MOST
from hookpost.config.lenient import lenient_admin_socket, lenient_database

ENVIRON = {
    "TOKEN": "token-for-publishers",
    "BILLING_TOKEN": "another-token",
    "KEY": "whsec_" + "A" * 32,
    "EMPTY": "",
}
_WALL = 1_800_000_000.0
_MEMORY = 192 << 20
"""Bytes that the largest file may hold at once while it is read."""

_WHOLE_FILE = {
    "no-such-file", "not-a-file", "no-permission", "too-large", "not-utf8", "unreadable-file",
}  # fmt: skip
"""Codes of what is wrong with a file as a whole, which has no place in it."""

Load = Callable[[bytes], Loaded]


@pytest.fixture
def loading(tmp_path: Path) -> Load:
    """Write bytes as gateway.yaml, beside what the corpus wants around it, and load them."""
    shutil.copytree(MISTAKES / "included", tmp_path / "included")
    shutil.copytree(ROOT / "conf.d", tmp_path / "conf.d")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in (
        "github",
        "legacy",
        "acme",
        "receiver",
        "archive",
        "crm-token",
        "crm_new",
        "crm_old",
    ):
        (secrets / name).write_text(ENVIRON["KEY"])
        (secrets / name).chmod(0o600)
    path = tmp_path / "gateway.yaml"
    environ = {**ENVIRON, "CREDENTIALS_DIRECTORY": str(secrets)}

    def write(content: bytes) -> Loaded:
        path.write_bytes(content)
        return load(path, environ=environ, wall=_WALL)

    return write


def test_the_example_is_sound_before_it_is_spoiled(loading: Load) -> None:
    assert loading(SOUND.read_bytes()).diagnostics == ()


def judged(loaded: Loaded) -> None:
    """What must hold of every file."""
    assert (loaded.config is None) == bool(loaded.errors)
    assert len(loaded.diagnostics) <= MOST + 1
    for item in loaded.diagnostics:
        assert item.code
        assert item.file in loaded.lines or item.code in _WHOLE_FILE
        if item.line == 0 and item.code in _WHOLE_FILE:
            continue
        lines = loaded.lines.get(item.file)
        if lines is None:
            continue
        assert 1 <= item.line <= len(lines) + 1, item
        line = lines[item.line - 1] if item.line <= len(lines) else ""
        assert 1 <= item.column <= len(line) + 1, item
    _rendered(loaded)
    if loaded.config is not None:
        for effective in (False, True):
            text = shown(loaded, effective=effective)
            assert not any(secret in text for secret in ENVIRON.values() if secret)


def _rendered(loaded: Loaded) -> None:
    for form in ("text", "github"):
        lines = loaded.render(form).splitlines()
        assert len(lines) == len(loaded.diagnostics)
        assert all(line.isprintable() for line in lines), lines
    text = loaded.render(context=True)
    assert all(line.isprintable() for line in text.split("\n"))
    fields = json.loads(loaded.render("json"))["diagnostics"]
    assert fields == [item.fields() for item in loaded.diagnostics]
    assert not any(secret in text for secret in ENVIRON.values() if secret)
    text.encode()


@fuzzed(60)
@given(content=st.binary(max_size=400))
def test_any_bytes_are_diagnosed(loading: Load, content: bytes) -> None:
    count("files")
    with bounded(SECONDS):
        judged(loading(content))


@fuzzed(150)
@given(content=spoiled_files())
def test_a_spoiled_file_is_diagnosed(loading: Load, content: bytes) -> None:
    count("files")
    with bounded(SECONDS):
        judged(loading(content))


@fuzzed(80)
@given(content=written_documents())
def test_a_document_of_known_keys_with_any_values_is_diagnosed(
    loading: Load, content: bytes
) -> None:
    count("files")
    with bounded(SECONDS):
        judged(loading(content))


@fuzzed(10)
@given(content=bombs)
def test_a_large_file_takes_bounded_time_and_memory(loading: Load, content: bytes) -> None:
    count("files")
    with within_memory(_MEMORY), bounded(12 * SECONDS):  # the bookkeeping of memory takes its time
        loaded = loading(content)
    judged(loaded)


@fuzzed(40)
@given(content=st.one_of(spoiled_files(), written_documents(), st.binary(max_size=200)))
def test_what_a_file_says_of_the_daemon_is_read_whatever_else_it_says(
    tmp_path: Path, content: bytes
) -> None:
    count("files")
    path = tmp_path / "gateway.yaml"
    path.write_bytes(content)
    with bounded(SECONDS):
        assert isinstance(lenient_admin_socket(path, {}), Path | None)
        assert isinstance(lenient_database(path, {}), Path | None)
