"""Keys are read strictly, and an independent library accepts what they sign.

The known answers are in tests/services/test_signed_deliveries.py.
"""

import base64
import datetime
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from hookpost.core.secrets import Secret
from hookpost.core.signing import private_key, sign, signing_key, standard_webhooks

SECRET = "whsec_" + base64.b64encode(b"fake-key-of-hookpost-tests!!").decode()


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
    assert [key.secret.name for key in standard_webhooks(bad, good).keys] == ["good"]


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        (b"whpk_Y2FuYXJ5", "a public key: that is the receiver's"),
        (b"whsec_Y2FuYXJ5", 'does not begin with "whsk_"'),
        (b"whsk_%%%canary", "is not base64"),
        (b"whsk_Y2FuYXJ5", "has 6 bytes; 64 are needed"),
        (b"whsk_Y2FuYXJ6YXd=", "is not canonical base64"),
    ],
)
def test_what_is_no_private_key_is_told_why_and_never_quoted(secret: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refusal:
        private_key(secret)
    assert "canary" not in str(refusal.value)
    assert "Y2FuYXJ" not in str(refusal.value)
