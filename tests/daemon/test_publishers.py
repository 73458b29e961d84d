"""`hookpost send` against a real daemon: what is sent as any provider would is taken."""

import asyncio
import base64
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from tests import certificates, tokens
from tests.daemon.harness import Home, Nursery
from tests.web.test_presets import KEYS, SENT, secret_of, source_of
from tests.web.test_signed_sources import CURVE, EDWARDS

from hookpost.cli.main import main
from hookpost.config import presets

SPOKEN = {
    "linear": {"type": "Issue", "action": "create", "webhookTimestamp": "now"},
    "sendgrid": [{"event": "delivered", "sg_event_id": "s-1"}],
    "discord": {"type": 1, "id": "1", "event": {"type": "APPLICATION_AUTHORIZED"}},
    "standard-webhooks-v1a": {"type": "user.created"},
}
"""Bodies where those of tests/web/test_presets.py will not do."""

UNSIGNABLE = {"mailgun": "the signature is part of the body"}


def pem(key: Any) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


def body_of(preset: str) -> bytes:
    document = SPOKEN.get(preset, SENT[preset][0] if preset in SENT else {})
    if isinstance(document, str):
        return document.encode()
    if preset == "linear":
        document = {**document, "webhookTimestamp": int(time.time() * 1000)}  # noqa: TID251
    return json.dumps(document).encode()


def with_every_preset(home: Home) -> None:
    home.config["listen"]["ingest"]["address"] = "unix:run/ingest.sock"
    for preset in presets.rows():
        home.secret(preset, secret_of(preset))
        home.config["secrets"][preset] = {"file": f"secrets/{preset}"}
        own = source_of(preset)
        own["secrets"] = [preset]
        if "handshake_secrets" in own:
            own["handshake_secrets"] = [preset]
        home.config["sources"][preset] = {"path": f"/in/{preset}", **own}
    home.write()


class Publisher:
    """Sends by the command, in this process."""

    def __init__(self, home: Home, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._home = home
        self._folder = folder
        self._capsys = capsys
        (folder / "ed25519.pem").write_bytes(pem(EDWARDS))
        (folder / "p256.pem").write_bytes(pem(CURVE))

    def key(self, preset: str) -> Sequence[str]:
        if preset not in KEYS:
            return ()
        name = "p256.pem" if preset == "sendgrid" else "ed25519.pem"
        return ("--key", str(self._folder / name))

    async def send(self, preset: str, *options: str, body: bytes | None = None) -> tuple[int, str]:
        """The exit code, and what was said."""
        data = self._folder / "data"
        data.write_bytes(body_of(preset) if body is None else body)
        arguments = ["send", preset, "--data", str(data), *options, "-c", str(self._home.file)]
        self._capsys.readouterr()
        code = await asyncio.to_thread(main, arguments, hangup_was_asked=lambda: False)
        told = self._capsys.readouterr()
        return code, told.out + told.err


@pytest.fixture
def publisher(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Publisher:
    with_every_preset(home)
    return Publisher(home, tmp_path, capsys)


async def test_what_is_sent_as_any_provider_would_is_taken(
    publisher: Publisher, nursery: Nursery
) -> None:
    daemon = await nursery.start()
    for preset in presets.rows():
        code, said = await publisher.send(preset, *publisher.key(preset))
        if preset in UNSIGNABLE:
            assert code == 64
            assert UNSIGNABLE[preset] in said
        else:
            assert code == 0, (preset, said)
            assert secret_of(preset) not in said
    status = await daemon.status()
    assert status["totalReceived"] == len(presets.rows()) - len(UNSIGNABLE)


async def test_an_id_a_type_and_a_query_stand_where_the_provider_puts_them(
    publisher: Publisher, nursery: Nursery
) -> None:
    await nursery.start()
    for preset in ("github", "standard-webhooks", "svix", "shopify", "gitlab-signing"):
        first = await publisher.send(preset, "--id", "x1")
        again = await publisher.send(preset, "--id", "x1")
        other = await publisher.send(preset, "--id", "x2")
        told = [text for _, text in (first, again, other)]
        assert ['"duplicate": true' in text for text in told] == [False, True, False], told
        assert [code for code, _ in (first, again, other)] == [0, 0, 0]
    code, said = await publisher.send("standard-webhooks", "--id", "mine")
    assert (code, '"eventId": "mine"' in said) == (0, True)
    code, said = await publisher.send("github", "--type", "push", "--query", "a=1&b=%20")
    assert code == 0, said
    code, said = await publisher.send("stripe", "--type", "charge.succeeded")
    assert (code, "takes" in said or "body.type" in said) == (64, True)
    for query in ("", "?a=1"):
        json_body = ("--content-type", "application/json", "--query", query)
        assert (await publisher.send("twilio", *json_body, body=b'{"a":1}'))[0] == 0


@pytest.mark.parametrize(
    ("preset", "options", "body", "why"),
    [
        ("discord", (), None, "only the publisher has the private key"),
        ("linear", (), b'{"webhookTimestamp": 1}', "the timestamp in the body is stale"),
        ("linear", (), b"{}", "the timestamp is part of the body, which has none"),
        ("msgraph", (), b'{"value": [{"clientState": "x"}]}', "must hold the secret (msgraph)"),
        ("github", ("--key", "KEY"), None, "leave --key out"),
        ("discord", ("--key", "DATA"), None, "no private key in PEM"),
        ("discord", ("--key", "OTHER"), None, "not the other half of a public key"),
        ("sendgrid", ("--key", "KEY"), None, "no private key of the kind ecdsa-p256"),
        ("github", ("--id", "a\r\nb"), None, "printable ASCII only"),
        ("github", ("--query", "a b"), None, "printable ASCII only"),
        ("twilio", ("--content-type", "application/x-www-form-urlencoded"), b"a=\xff", "no form"),
    ],
)
async def test_what_cannot_be_signed_is_told_before_anything_is_sent(
    publisher: Publisher,
    tmp_path: Path,
    preset: str,
    options: tuple[str, ...],
    body: bytes | None,
    why: str,
) -> None:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    other = ed25519.Ed25519PrivateKey.from_private_bytes(b"o" * 32)
    (tmp_path / "other.pem").write_bytes(pem(other))
    paths = {"KEY": "ed25519.pem", "DATA": "data", "OTHER": "other.pem"}
    given = [str(tmp_path / paths[one]) if one in paths else one for one in options]
    code, said = await publisher.send(preset, *given, body=body)
    assert code == 64
    assert why in said


def test_a_key_may_be_any_unlocked_one_in_pem() -> None:
    from hookpost.config.keys import signer

    locked = EDWARDS.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    with pytest.raises(ValueError, match="locked by a password"):
        signer(locked, "ed25519")
    made = signer(pem(CURVE), "ecdsa-p256")(b"signed")
    assert base64.b64encode(made).startswith(b"ME")


async def test_a_token_is_sent_over_tls_to_a_listener_that_asks_for_certificates(
    home: Home, nursery: Nursery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = trustme.CA()
    leaf = certificates.write(tmp_path, authority)
    (tmp_path / "mine.pem").write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    tokens.write(tmp_path / "keys.json", tokens.public(tokens.RSA, kid="one"))
    now = int(time.time())  # noqa: TID251
    made = tokens.token(headers={"kid": "one"}, exp=now + 60)
    (tmp_path / "token").write_text(made + "\n")
    home.config["listen"]["ingest"] = {
        "address": "unix:run/ingest.sock",
        "tls": {"cert": "cert.pem", "key": "key.pem", "client_ca": "ca.pem"},
    }
    jwt = {"jwks_file": "keys.json", "issuer": tokens.ISSUER, "audience": tokens.AUDIENCE}
    home.config["sources"]["billing"]["auth"] = {"jwt": jwt}
    home.config["sources"]["other"] = {"path": "/in/other", "auth": {"bearer": ["token"]}}
    home.write()
    await nursery.start()
    publisher = Publisher(home, tmp_path, capsys)
    envelope = b'{"eventType":"a.b","data":1}'
    shown = ("--cert", str(tmp_path / "mine.pem"))
    token = ("--token", str(tmp_path / "token"))

    assert (await publisher.send("billing", *token, *shown, body=envelope))[0] == 0
    for options, words in (
        (token, "give --cert"),
        (shown, "give --token"),
        ((*shown, "--token", str(tmp_path / "absent")), "--token"),
    ):
        code, said = await publisher.send("billing", *options, body=envelope)
        assert code in (64, 66)
        assert words in said
        assert made not in said
    code, said = await publisher.send("other", *token, *shown, body=envelope)
    assert (code, "leave --token out" in said) == (64, True)
