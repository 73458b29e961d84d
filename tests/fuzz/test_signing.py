"""Signatures of any body, id, time and keys, verified by an independent library."""

import base64
import datetime
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError
from tests.fuzz.effort import count, fuzzed

from hookpost.core.identity import check_id
from hookpost.core.secrets import Secret
from hookpost.core.signing import sign, signing_key, standard_webhooks

_keys = st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=4, unique=True)
_ids = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="."),
               min_size=1, max_size=128)  # fmt: skip
_texts = st.one_of(st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace")),
                   st.sampled_from([b"", b"\0", b".", b"\r\n", b"{}", b"a" * 70_000]))  # fmt: skip


def _written(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


@st.composite
def _changed(draw: st.DrawFn, sound: bytes) -> bytes:
    """The same with one bit turned over."""
    at = draw(st.integers(0, len(sound) * 8 - 1))
    spoiled = bytearray(sound)
    spoiled[at // 8] ^= 1 << at % 8
    return bytes(spoiled)


@fuzzed(80)
@given(st.data(), _keys, _ids, _texts)
def test_every_key_verifies_and_a_changed_bit_is_refused(
    data: st.DataObject, keys: list[bytes], event_id: str, body: bytes
) -> None:
    count("signatures")
    now = int(datetime.datetime.now(datetime.UTC).timestamp())  # noqa: TID251 - the library's clock
    made = sign(event_id, now, body, [signing_key(_written(key).encode()) for key in keys])
    for key in keys:
        assert _verified(key, event_id, now, body, made)
    key = data.draw(st.sampled_from(keys))
    match data.draw(st.sampled_from(["body", "id", "time", "key", "signature"])):
        case "body" if body:
            assert not _verified(key, event_id, now, data.draw(_changed(body)), made)
        case "id":
            other = data.draw(_changed(event_id.encode())).decode("latin-1")
            assert not _verified(key, other, now, body, made)
        case "time":
            assert not _verified(key, event_id, now + data.draw(st.integers(1, 9)), body, made)
        case "key":
            assert not _verified(data.draw(_changed(key)), event_id, now, body, made)
        case "signature":
            raw = base64.b64decode(made.split(" ")[keys.index(key)][3:])
            spoiled = "v1," + base64.b64encode(data.draw(_changed(raw))).decode()
            assert not _verified(key, event_id, now, body, spoiled)


def _verified(key: bytes, event_id: str, at: int, body: bytes, signature: str) -> bool:
    headers = {
        "webhook-id": event_id,
        "webhook-timestamp": str(at),
        "webhook-signature": signature,
    }
    try:
        text = body.decode()
    except UnicodeDecodeError:  # the library reads text only
        return False
    try:
        Webhook(_written(key)).verify(text, headers, json_parse=False)
    except WebhookVerificationError:
        return False
    return True


@fuzzed(60)
@given(_keys, _ids, st.integers(0, 10**14), st.binary(max_size=300))
def test_any_bytes_are_signed_as_the_standard_says(
    keys: list[bytes], event_id: str, at: int, body: bytes
) -> None:
    count("signatures")
    signed = b"%b.%d.%b" % (event_id.encode(), at, body)
    expected = [base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys]
    assert sign(event_id, at, body, keys) == " ".join(f"v1,{one}" for one in expected)


@fuzzed(100)
@given(st.text(max_size=140) | _ids, st.integers(-5, 5), st.booleans())
def test_what_cannot_be_signed_is_a_value_error(text: str, at: int, keyed: bool) -> None:
    count("signatures")
    try:
        made = sign(text, at, b"", [b"k" * 24] if keyed else [])
    except ValueError:
        assert check_id(text) is not None or at < 0 or not keyed
    else:
        assert check_id(text) is None
        assert made.startswith("v1,")


_secrets = st.one_of(
    st.binary(max_size=100),
    st.binary(max_size=80).map(lambda key: b"whsec_" + base64.b64encode(key)),
    st.binary(max_size=80).map(lambda key: b"whsec_" + base64.urlsafe_b64encode(key)),
    st.binary(max_size=80).map(lambda key: b"whsec_" + base64.encodebytes(key)),
    st.text("AB=+/ \n", max_size=60).map(lambda text: b"whsec_" + text.encode()),
    st.binary(max_size=60).map(lambda key: b"whsk_" + base64.b64encode(key)),
)


@fuzzed(150)
@given(_secrets)
def test_a_secret_is_a_key_of_enough_bytes_or_is_refused_without_being_shown(value: bytes) -> None:
    count("secrets")
    said, key = "", b""
    try:
        key = signing_key(value)
    except ValueError as refused:
        said = str(refused)
    if said:
        shown = value[6:].decode("latin-1")
        assert len(shown) < 6 or shown not in said
        assert standard_webhooks(Secret(name="s", value=value)).keys == ()
        return
    assert 24 <= len(key) <= 64
    assert value == _written(key).encode()


def test_the_library_refuses_a_wrong_signature() -> None:
    headers = {"webhook-id": "a", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
    with pytest.raises(WebhookVerificationError):
        Webhook(_written(b"k" * 24)).verify("", headers)
