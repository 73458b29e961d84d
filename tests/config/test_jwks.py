"""Key sets are judged when the file is checked: each key has one algorithm, and none is secret."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import tokens
from tests.tokens import CURVE, CURVE_384, EDWARDS, RSA, SMALL_RSA, public

from hookpost.config import Loaded, shown

Write = Callable[..., Loaded]
TEXT = """\
version: 1
secrets: {key: {env: KEY}}
sources:
  idp:
    path: /in/idp
    auth: {jwt: {jwks_file: keys.json, issuer: "https://id.example.com/", audience: hookpost%s}}
endpoints: {crm: {url: "https://crm.example.com/hooks", signing: {standard_webhooks: [key]}}}
subscriptions: {all: {endpoints: [crm]}}
"""


@pytest.fixture
def judged(loading: Write, tmp_path: Path) -> Callable[..., Loaded]:
    """What a configuration comes to whose key set has these keys, or this text."""

    def judge(*keys: dict[str, Any], text: str | bytes | None = None, more: str = "") -> Loaded:
        tokens.write(tmp_path / "keys.json", *keys)
        if text is not None:
            raw = text if isinstance(text, bytes) else text.encode()
            (tmp_path / "keys.json").write_bytes(raw)
        return loading(TEXT % more)

    return judge


Judged = Callable[..., Loaded]


def test_the_settings_are_those_of_the_file(judged: Judged, tmp_path: Path) -> None:
    loaded = judged(public(RSA), more=", leeway: 5s")
    found = loaded.sound().sources["idp"].auth.jwt
    assert loaded.diagnostics == ()
    assert found is not None
    assert (found.jwks_file, found.issuer) == (tmp_path / "keys.json", "https://id.example.com/")
    assert (found.audience, found.leeway) == ("hookpost", 5.0)
    assert f"jwks_file: {tmp_path}/keys.json" in shown(loaded, effective=True)
    assert "leeway: 60s" in shown(judged(public(RSA)), effective=True)


def test_another_key_set_is_another_configuration(judged: Judged) -> None:
    first, again = judged(public(RSA)).sound(), judged(public(RSA)).sound()
    assert (first.fingerprint, first.sources) == (again.fingerprint, again.sources)
    other = judged(public(RSA), public(CURVE)).sound()
    assert other.fingerprint != first.fingerprint
    assert other.sources != first.sources
    assert other.hash == first.hash


@pytest.mark.parametrize(
    ("key", "algorithms"),
    [
        (RSA, ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
        (CURVE, ["ES256"]),
        (CURVE_384, ["ES384"]),
        (EDWARDS, ["EdDSA"]),
    ],
)
def test_a_key_says_its_algorithm_or_its_kind_does(
    judged: Judged, key: Any, algorithms: list[str]
) -> None:
    for named in (None, *algorithms):
        said = {} if named is None else {"alg": named}
        found = judged(public(key, **said)).sound().sources["idp"].auth.jwt
        assert found is not None
        for used in algorithms:
            signed = tokens.token(key, used).encode()
            assert (found.payload(signed) is not None) is (used == (named or algorithms[0]))


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ({"kty": "oct", "k": tokens.part(b"s" * 32)}, "is a shared secret (oct)"),
        ({"kty": "oct", "k": "x", "alg": "HS256"}, "is a shared secret (oct)"),
        (public(RSA, d="AQAB"), "is a private key"),
        (public(SMALL_RSA), "has 1024 bits; take an RSA key of 2048 to 8192"),
        (public(RSA, alg="HS256"), 'says alg "HS256"; with it go RS256'),
        (public(RSA, alg="none"), 'says alg "none"; with it go RS256'),
        (public(RSA, alg="ES256"), 'says alg "ES256"; with it go RS256'),
        (public(CURVE, alg="HS256"), 'says alg "HS256"; with it go ES256'),
        (public(CURVE, alg="ES384"), 'says alg "ES384"; with it go ES256'),
        (public(EDWARDS, alg="ES256"), 'says alg "ES256"; with it go EdDSA'),
        (public(RSA, alg=["RS256"]), "with it go RS256"),
        (public(RSA, kid=7), "has a kid that is no text"),
        ({}, "has no kind that is known here"),
        ({"kty": ["RSA"]}, "has no kind that is known here"),
        ({"kty": "EC", "crv": ["P-256"]}, "has no kind that is known here"),
        ({"kty": "RSA"}, "cannot be read"),
        ({"kty": "RSA", "n": "!", "e": "AQAB"}, "cannot be read"),
        ({"kty": "RSA", "n": 5, "e": "AQAB"}, "cannot be read"),
        (public(CURVE, x="AAAA"), "cannot be read"),
        (public(CURVE, x=tokens.part(b"\1" * 32)), "cannot be read"),
        (public(EDWARDS, x=tokens.part(b"\1" * 31)), "cannot be read"),
    ],
)
def test_a_key_that_does_not_do_refuses_the_file(
    judged: Judged, tmp_path: Path, key: dict[str, Any], says: str
) -> None:
    loaded = judged(public(RSA), key)
    (mistake,) = loaded.diagnostics
    assert loaded.config is None
    assert mistake.path == "sources.idp.auth.jwt.jwks_file"
    assert mistake.message.startswith(f"key 2 of {tmp_path}/keys.json ")
    assert says in mistake.message


@pytest.mark.parametrize(
    "key",
    [
        public(RSA, use="enc", alg="RSA-OAEP"),
        public(RSA, key_ops=["encrypt"]),
        public(CURVE, crv="secp256k1"),
        {"kty": "OKP", "crv": "X25519", "x": "AA"},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
    ],
)
def test_a_key_for_something_else_is_left_out_and_said_so(
    judged: Judged, key: dict[str, Any]
) -> None:
    loaded = judged(key, public(RSA))
    (warning,) = loaded.warnings
    assert loaded.errors == ()
    assert warning.code == "unusable-key"
    assert warning.message.startswith("key 1 of ")
    alone = judged(key)
    assert [each.code for each in alone.errors] == ["bad-key-set"]
    assert "no key that verifies tokens" in alone.errors[0].message


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("", "bad-key-set", "is no key set"),
        ("[]", "bad-key-set", "is no key set"),
        ("null", "bad-key-set", "is no key set"),
        ('{"keys": {}}', "bad-key-set", "is no key set"),
        ('{"keys": [1]}', "bad-key-set", "is no key set"),
        ("[" * 50_000, "bad-key-set", "is no key set"),
        (json.dumps(public(RSA)), "bad-key-set", "is no key set"),
        ('{"keys": []}', "bad-key-set", "has no key"),
        (json.dumps({"keys": [public(EDWARDS)] * 17}), "bad-key-set", "has 17 keys, and at most"),
        (b"\xff\xfe\0", "not-utf8", "is not text; write it as JSON"),
        (" " * ((1 << 20) + 1), "too-large", "is larger than 1 MiB, which no JSON is"),
    ],
)
def test_what_is_no_key_set_is_a_mistake(
    judged: Judged, tmp_path: Path, text: str | bytes, code: str, says: str
) -> None:
    (mistake,) = judged(text=text).diagnostics
    assert mistake.code == code
    assert f"{tmp_path}/keys.json {says}" in mistake.message


def test_sixteen_keys_are_taken(judged: Judged) -> None:
    assert judged(*[public(EDWARDS)] * 16).diagnostics == ()


def test_a_key_set_that_is_not_there_is_a_mistake(loading: Write, tmp_path: Path) -> None:
    (mistake,) = loading(TEXT % "").diagnostics
    assert mistake.message == f"there is no file {tmp_path}/keys.json"


def test_slow_libraries_are_loaded_only_where_a_file_needs_them(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("version: 1\n")
    code = (
        "import pathlib, sys; from hookpost.config import load; import hookpost.daemon.run; "
        f"assert load(pathlib.Path({str(file)!r})).config; "
        "sys.exit(bool({'jwt', 'cryptography', 'jsonschema_rs'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
