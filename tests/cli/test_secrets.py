"""`hookpost secrets generate`."""

import argparse
import base64
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from nacl.signing import SigningKey, VerifyKey
from standardwebhooks import Webhook

from hookpost.cli import secrets
from hookpost.config.keys import ed25519_key
from hookpost.core.secrets import Secret


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    secrets.add_parser(parser.add_subparsers(), parser)
    args = parser.parse_args(["secrets", "generate", *arguments])
    return int(args.run(args))


def test_a_secret_is_a_prefix_and_32_random_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    found = set()
    for _ in range(3):
        assert run() == 0
        secret = capsys.readouterr().out.strip()
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
        Webhook(secret)
        found.add(secret)
    assert len(found) == 3


def test_prefix_and_length_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--prefix", "", "--bytes", "64") == 0
    assert len(base64.b64decode(capsys.readouterr().out.strip(), validate=True)) == 64


@pytest.mark.parametrize("arguments", [["--bytes", "23"], ["--bytes", "65"], ["--prefix", "a b"]])
def test_what_no_receiver_could_use_is_refused(arguments: Sequence[str]) -> None:
    assert run(*arguments) == 64


def test_a_file_is_private_whatever_the_umask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "secret"
    before = os.umask(0)
    try:
        assert run("--out", str(path)) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("whsec_")
    assert path.read_text().strip() not in "".join(capsys.readouterr())


def test_a_file_that_exists_is_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "secret"
    path.write_text("precious")
    assert run("--out", str(path)) == 73
    assert path.read_text() == "precious"
    assert "exists and is not overwritten" in capsys.readouterr().err
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert run("--out", str(tmp_path / "link")) == 73
    assert not (tmp_path / "nowhere").exists()
    assert run("--out", str(tmp_path / "no-such-directory" / "secret")) == 73


def test_a_pair_of_keys_signs_and_verifies(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--ed25519") == 0
    told = capsys.readouterr()
    private, public = told.out.strip(), told.err.strip().rpartition(" ")[2]
    key = base64.b64decode(private.removeprefix("whsk_"), validate=True)
    assert base64.b64decode(public.removeprefix("whpk_"), validate=True) == key[32:]
    signed = SigningKey(key[:32]).sign(b"x")
    VerifyKey(key[32:]).verify(signed)
    assert ed25519_key(Secret(name="made", value=private.encode())).sign is not None


def test_a_pair_as_json_and_in_a_file_keeps_the_private_key_out_of_sight(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--ed25519", "-o", "json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["secret"][:5], shown["public"][:5]) == ("whsk_", "whpk_")
    path = tmp_path / "key"
    assert run("--ed25519", "--out", str(path), "-o", "json") == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {"file": str(path), "public": json.loads(told.out)["public"]}
    assert path.read_text().startswith("whsk_")
    assert path.read_text().strip() not in told.out + told.err


@pytest.mark.parametrize("more", [["--bytes", "32"], ["--prefix", "x"]])
def test_a_pair_has_one_form(more: list[str]) -> None:
    assert run("--ed25519", *more) == 64
