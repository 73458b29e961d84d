"""Signatures equal the published vectors, and an independent library accepts them."""

import base64
import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from hookpost.core.payload import header_mistake
from hookpost.core.secrets import Secret
from hookpost.core.signing import sign, signing_key, signing_keys

VECTORS = json.loads((Path(__file__).parent / "vectors/standard_webhooks.json").read_text())[
    "vectors"
]
GOOD = [vector for vector in VECTORS if vector["expect"] == "accept"]
BAD = [vector for vector in VECTORS if vector["expect"] == "reject"]
SECRET = "whsec_" + base64.b64encode(b"fake-key-of-hookpost-tests!!").decode()


def secrets_of(vector: dict[str, Any]) -> list[bytes]:
    given_secrets = vector["secret"]
    texts = given_secrets if isinstance(given_secrets, list) else [given_secrets]
    return [text.encode() for text in texts]


def body_of(vector: dict[str, Any]) -> bytes:
    if "body_b64" in vector:
        return base64.b64decode(vector["body_b64"])
    text: str = vector["body"]
    return text.encode()


def test_the_vectors_are_all_here() -> None:
    assert (len(GOOD), len(BAD)) == (13, 23)


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector["name"])
def test_a_signature_equals_its_vector(vector: dict[str, Any]) -> None:
    keys = [signing_key(secret) for secret in secrets_of(vector)]
    wanted = {name.split("-", 1)[1]: value for name, value in vector["headers"]}
    assert str(vector["now"]) == wanted["timestamp"]
    assert sign(vector["id"], vector["now"], body_of(vector), keys) == wanted["signature"]


@pytest.mark.parametrize("vector", BAD, ids=lambda vector: vector["name"])
def test_what_must_be_refused_is_refused(vector: dict[str, Any]) -> None:
    headers = vector.get("config", {}).get("custom_headers", {})
    if headers:
        assert all(header_mistake(name, value) for name, value in headers.items())
        return
    with pytest.raises(ValueError):
        sign(
            vector["id"],
            vector["now"],
            body_of(vector),
            [signing_key(secret) for secret in secrets_of(vector)],
        )


@pytest.mark.parametrize(
    "secret",
    [b"canary-no-prefix", b"whsec_%%%canary%%%", b"whsec_Y2FuYXJ5", b"whsk_Y2FuYXJ5", b""],
)
def test_a_refusal_never_quotes_the_secret(secret: bytes) -> None:
    with pytest.raises(ValueError) as refusal:
        signing_key(secret)
    assert "canary" not in str(refusal.value)
    assert "Y2FuYXJ5" not in str(refusal.value)


@given(data=st.dictionaries(st.text(), st.text() | st.integers()))
def test_the_independent_library_verifies_what_we_sign_and_refuses_a_changed_byte(
    data: dict[str, Any],
) -> None:
    body = json.dumps(data, ensure_ascii=False).encode("utf-8", "backslashreplace")
    now = int(datetime.datetime.now(datetime.UTC).timestamp())  # noqa: TID251 - the library's clock
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign("evt_1", now, body, [signing_key(SECRET.encode())]),
    }
    library = Webhook(SECRET)
    library.verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        library.verify(body + b" ", headers)


def test_several_keys_sign_in_the_order_given() -> None:
    keys = [b"n" * 24, b"o" * 24]
    both = sign("evt_1", 1, b"x", keys).split(" ")
    assert both == [sign("evt_1", 1, b"x", [key]) for key in keys]


def test_a_secret_that_is_no_key_is_left_out() -> None:
    good = Secret(name="good", value=SECRET.encode())
    bad = Secret(name="bad", value=b"whsec_short")
    assert [secret.name for secret, _ in signing_keys([bad, good])] == ["good"]
