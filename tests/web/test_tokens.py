"""Publishers with a JSON Web Token: what lets them in, and everything that does not."""

import base64
import hmac
import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict
from tests import tokens
from tests.ingest_rig import Rig, served
from tests.ingest_rig import request as http
from tests.tokens import AUDIENCE, CLAIMS, CURVE, EDWARDS, NOW, RSA, bearer, part, public, token
from tests.web.test_signed_sources import rig_of

from hookpost.config import load
from hookpost.core.settings import Config

KEYS = [public(RSA, kid="one"), public(CURVE, kid="two"), public(EDWARDS, kid="three")]


def config_of(folder: Path, *keys: dict[str, Any], **more: Any) -> Config:
    tokens.write(folder / "keys.json", *(keys or KEYS))
    jwt = {"jwks_file": "keys.json", "issuer": tokens.ISSUER, "audience": AUDIENCE, **more}
    config = {
        "version": 1,
        "sources": {"x": {"path": "/in/x", "auth": {"jwt": jwt}}},
        "endpoints": {"crm": {"url": "https://crm.example.com/", "signing": "none"}},
        "subscriptions": {"all": {"endpoints": ["crm"]}},
    }
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return load(file, environ={}, wall=NOW).sound()


@pytest.fixture
async def rig(tmp_path: Path) -> Rig:
    return rig_of(config_of(tmp_path))


def admitted(rig: Rig, *pairs: tuple[str, str], query: Sequence[str] = ()) -> bool:
    entrance = rig.service.entrance("/in/x")
    assert entrance is not None
    refused = rig.service.admit(entrance, CIMultiDict(pairs), None, None, query)
    assert refused is None or refused.code == "unauthorized", refused
    return refused is None


def lets_in(rig: Rig, text: str) -> bool:
    return admitted(rig, bearer(text))


# -- what lets in ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(RSA, "RS256", "one"), (CURVE, "ES256", "two"), (EDWARDS, "EdDSA", "three")],
)
async def test_a_token_of_each_kind_of_key_lets_in(
    rig: Rig, key: Any, algorithm: str, kid: str
) -> None:
    assert lets_in(rig, token(key, algorithm)), "every key is tried"
    assert lets_in(rig, token(key, algorithm, headers={"kid": kid}))
    assert not lets_in(rig, token(key, algorithm, headers={"kid": "four"}))
    assert not lets_in(rig, token(key, algorithm, headers={"kid": ""}))


async def test_a_request_with_a_token_is_taken_and_another_told_nothing(rig: Rig) -> None:
    async with served(rig) as web:
        good = await web.once(
            http(b'{"eventType":"a","data":1}', bearer(token()), target="/in/x", auth=False)
        )
        assert good.status == 202
        details = set()
        for text in (
            "",
            "x",
            token(exp=NOW - 999),
            token(aud="them"),
            token(headers={"kid": "two"}),
        ):
            reply = await web.once(http(b"{}", bearer(text), target="/in/x", auth=False))
            assert (reply.status, reply.json["code"]) == (401, "unauthorized")
            assert reply.headers["WWW-Authenticate"] == 'Bearer realm="hookpost"'
            details.add(reply.json["detail"])
        assert len(details) == 1
        reply = await web.once(http(b"{}", target="/in/x", auth=False))
        assert reply.status == 401


async def test_keys_of_one_kind_are_tried_one_after_the_other(tmp_path: Path) -> None:
    old, new = (tokens.ec.generate_private_key(tokens.ec.SECP256R1()) for _ in range(2))
    rig = rig_of(config_of(tmp_path, public(old), public(new)))
    assert lets_in(rig, token(old, "ES256"))
    assert lets_in(rig, token(new, "ES256"))
    assert not lets_in(rig, token(CURVE, "ES256"))
    assert not lets_in(rig, token(old, "ES256", headers={"kid": "any"}))


# -- what it says --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "good"),
    [
        ({}, True),
        ({"aud": ["them", AUDIENCE]}, True),
        ({"nbf": NOW, "iat": NOW}, True),
        ({"iss": "https://id.example.com"}, False),
        ({"iss": None}, False),
        ({"aud": "them"}, False),
        ({"aud": None}, False),
        ({"exp": None}, False),
        ({"exp": str(NOW + 60)}, False),
        ({"exp": NOW - 3600}, False),
        ({"nbf": NOW + 3600}, False),
        ({"iat": NOW + 3600}, False),
    ],
)
async def test_what_a_token_says_counts(rig: Rig, claims: dict[str, Any], good: bool) -> None:
    assert lets_in(rig, token(**claims)) is good


async def test_the_clock_is_the_gateways_and_may_differ_by_the_leeway(tmp_path: Path) -> None:
    for leeway, allowed in (("60s", 60), ("0s", 0), ("10m", 600)):
        rig = rig_of(config_of(tmp_path, leeway=leeway))
        text = token(exp=NOW)
        rig.clock.wall_offset = allowed - 1.0
        assert lets_in(rig, text)
        rig.clock.wall_offset = float(allowed)
        assert not lets_in(rig, text)


# -- attacks -------------------------------------------------------------------------------------


def forged(
    header: Any, claims: Any = CLAIMS, sign: Callable[[bytes], bytes] = lambda _: b""
) -> str:
    signed = f"{part(header)}.{part(claims)}"
    return f"{signed}.{part(sign(signed.encode()))}"


def macs() -> list[bytes]:
    """What an attacker may think the key of an HMAC is: the public key, as text."""
    formats = serialization.PublicFormat.SubjectPublicKeyInfo
    found = [json.dumps(key).encode() for key in KEYS]
    found += [
        key.public_key().public_bytes(encoding, formats)
        for key in (RSA, CURVE, EDWARDS)
        for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER)
    ]
    return [b"", *found, *(each.rstrip() for each in found)]


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512", "RS256", "EdDSA", "ES256"])
async def test_a_public_key_is_no_secret_of_an_hmac(rig: Rig, algorithm: str) -> None:
    for key in macs():
        for kid in ({}, {"kid": "one"}):
            text = forged(
                {"alg": algorithm, **kid},
                sign=lambda signed, key=key: hmac.new(key, signed, sha256).digest(),
            )
            assert not lets_in(rig, text)


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "nOnE", "", None, 0, [], {}, ["RS256"]]
)
async def test_no_algorithm_is_none(rig: Rig, algorithm: Any) -> None:
    assert not lets_in(rig, forged({"alg": algorithm}))
    assert not lets_in(rig, forged({"alg": algorithm, "kid": "one"}))
    assert not lets_in(rig, forged({}))
    signed = token().split(".")
    assert not lets_in(rig, f"{part({'alg': algorithm})}.{signed[1]}.{signed[2]}")


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
async def test_a_key_has_its_own_algorithm_and_no_other(rig: Rig, algorithm: str) -> None:
    assert not lets_in(rig, token(RSA, algorithm))


async def test_a_key_that_comes_with_the_token_is_not_looked_at(rig: Rig) -> None:
    other = tokens.ec.generate_private_key(tokens.ec.SECP256R1())
    for more in (
        {"jwk": public(other)},
        {"jku": "https://evil.example.com/keys.json"},
        {"x5u": "https://evil.example.com/cert.pem", "kid": "two"},
        {"kid": "../../dev/null"},
        {"kid": "two"},
    ):
        assert not lets_in(rig, token(other, "ES256", headers=more))
        assert "kid" in more or lets_in(rig, token(CURVE, "ES256", headers=more))


async def test_a_header_that_asks_for_more_is_refused(rig: Rig) -> None:
    def sign(signed: bytes) -> bytes:
        return EDWARDS.sign(signed)

    assert lets_in(rig, forged({"alg": "EdDSA"}, sign=sign))
    for more in ({"crit": ["exp"]}, {"crit": []}, {"b64": False}, {"b64": True}, {"kid": 7}):
        assert not lets_in(rig, forged({"alg": "EdDSA", **more}, sign=sign))


async def test_another_payload_or_signature_is_refused(rig: Rig) -> None:
    header, payload, signature = token().split(".")
    other = part({**CLAIMS, "sub": "admin"})
    assert not lets_in(rig, f"{header}.{other}.{signature}")
    assert not lets_in(rig, f"{header}.{payload}.{token(sub='x').split('.')[2]}")
    assert not lets_in(rig, f"{header}.{payload}.")
    assert not lets_in(rig, f"{header}.{payload}.{signature[:-8]}")
    raw = base64.urlsafe_b64decode(signature + "==")
    assert not lets_in(rig, f"{header}.{payload}.{part(raw + raw)}")
    zeros = token(CURVE, "ES256").rsplit(".", 1)[0]
    assert not lets_in(rig, f"{zeros}.{part(bytes(64))}")


async def test_a_token_of_8_kib_is_taken_and_no_larger_one(rig: Rig) -> None:
    small = token(EDWARDS, "EdDSA", x="")
    room = 8192 - len(small)
    fits = token(EDWARDS, "EdDSA", x="x" * (room * 3 // 4 - 2))
    larger = token(EDWARDS, "EdDSA", x="x" * (room * 3 // 4 + 2))
    assert len(fits) <= 8192 < len(larger)
    assert lets_in(rig, fits)
    assert not lets_in(rig, larger)


async def test_only_one_bearer_counts(rig: Rig) -> None:
    good = token()
    assert admitted(rig, ("Authorization", f"bearer {good}"))
    assert not admitted(rig, bearer(good), bearer(good))
    assert not admitted(rig, ("Authorization", good))
    assert not admitted(rig, ("Authorization", f"Basic {good}"))
    assert not admitted(rig, ("Authorization", f"Bearer {good}, Bearer {good}"))
    assert not admitted(rig)
    assert admitted(rig, query=[good])
    assert not admitted(rig, query=[good, good])
    assert not admitted(rig, bearer(good), query=[good])


SEGMENT = st.one_of(
    st.text(max_size=40),
    st.binary(max_size=60).map(part),
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "b64", "iss", "aud", "exp", "nbf"]),
        st.one_of(
            st.sampled_from(["RS256", "ES256", "EdDSA", "one", "two", tokens.ISSUER, AUDIENCE]),
            st.none(),
            st.integers(),
            st.floats(),
            st.lists(st.text(max_size=3), max_size=3),
        ),
    ).map(part),
    st.sampled_from(token().split(".")[:2]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.one_of(st.text(max_size=200), st.lists(SEGMENT, max_size=5).map(".".join)))
def test_no_garbage_is_a_token_and_none_is_a_mistake_of_ours(text: str, tmp_path: Path) -> None:
    verify = _verifying(tmp_path)
    given = text.encode("utf-8", "surrogatepass")
    assert verify(given) is None


_KNOWN: dict[Path, Callable[[bytes], bytes | None]] = {}


def _verifying(folder: Path) -> Callable[[bytes], bytes | None]:
    if folder not in _KNOWN:
        jwt = config_of(folder).sources["x"].auth.jwt
        assert jwt is not None
        _KNOWN[folder] = jwt.payload
    return _KNOWN[folder]
