"""Where values come from, and what is refused before it can do harm."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hookpost.config import Loaded
from hookpost.config.secrets import SecretMistake, resolve

Write = Callable[..., Loaded]
Codes = Callable[[Loaded], list[str]]


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"secret", b"secret"),
        (b"secret\n", b"secret"),
        (b"secret\r\n", b"secret"),
        (b"secret\n\n", b"secret\n"),
        (b"secret\r", b"secret\r"),
        (b"\xff\x00", b"\xff\x00"),
    ],
)
def test_one_line_break_at_the_end_of_a_file_is_not_part_of_it(
    tmp_path: Path, content: bytes, value: bytes
) -> None:
    (tmp_path / "s").write_bytes(content)
    assert resolve({"file": "s"}, tmp_path, {}).value == value


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n"])
def test_an_empty_file_is_an_empty_secret(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(SecretMistake, match="is empty") as refused:
        resolve({"file": "s"}, tmp_path, {})
    assert refused.value.code == "empty-secret"


def test_a_directory_a_pipe_and_a_huge_file_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "huge").write_bytes(b"x" * 70_000)
    for name in (".", "pipe", "huge"):
        with pytest.raises(SecretMistake) as refused:
            resolve({"file": name}, tmp_path, {})
        assert refused.value.code == "unreadable-secret"


def test_a_file_that_everybody_may_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("secret")
    path.chmod(0o644)
    assert resolve({"file": "s"}, tmp_path, {}).exposed == path
    path.chmod(0o640)
    assert resolve({"file": "s"}, tmp_path, {}).exposed is None


def test_a_credential_is_read_where_systemd_put_it(tmp_path: Path) -> None:
    (tmp_path / "crm_new").write_text("secret\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    found = resolve({"credential": "crm_new"}, Path("/nowhere"), environ)
    assert found.value == b"secret"
    assert found.exposed is None


def test_without_systemd_a_credential_is_missing() -> None:
    with pytest.raises(SecretMistake, match="LoadCredential=crm_new"):
        resolve({"credential": "crm_new"}, Path("/nowhere"), {})


def test_an_environment_variable_keeps_its_bytes() -> None:
    value = os.fsdecode(b"\xffsecret\n")
    assert resolve({"env": "S"}, Path(), {"S": value}).value == b"\xffsecret\n"


USED = """\
version: 1
secrets: {token: %s, key: {env: KEY}}
sources: {billing: {path: /in/billing, auth: {bearer: [token]}}}
endpoints: {crm: {url: "https://crm.example.com/", signing: {standard_webhooks: [key]}}}
subscriptions: {all: {endpoints: [crm]}}
"""


def test_a_secret_that_everybody_may_read_is_a_warning(
    loading: Write, tmp_path: Path, codes: Codes
) -> None:
    (tmp_path / "token").write_text("secret-token")
    (tmp_path / "token").chmod(0o644)
    loaded = loading(USED % "{file: token}")
    assert codes(loaded) == ["exposed-secret"]
    assert loaded.config is not None


def test_skipped_secrets_are_not_looked_up(loading: Write) -> None:
    loaded = loading(USED % "{env: NOWHERE}", secrets="skip")
    assert loaded.diagnostics == ()
    assert loaded.sound().secrets["token"].value == b""


def test_a_secret_lives_in_its_time(loading: Write) -> None:
    loaded = loading(
        USED
        % '{env: TOKEN, not_before: "2026-01-01T00:00:00+01:00", not_after: "2030-01-01T00:00:00Z"}'
    )
    secret = loaded.sound().secrets["token"]
    assert secret.not_before == 1_767_222_000.0
    assert secret.not_after == 1_893_456_000.0


def test_one_live_key_of_several_is_enough(loading: Write) -> None:
    text = (USED % "{env: TOKEN}").replace(
        "key: {env: KEY}", 'key: {env: KEY}, old: {env: KEY, not_after: "2020-01-01T00:00:00Z"}'
    )
    loaded = loading(text.replace("[key]", "[key, old]"))
    assert loaded.diagnostics == ()
    signing = loaded.sound().endpoints["crm"].signing
    assert signing is not None
    assert [key.secret.name for key in signing.keys] == ["key", "old"]
