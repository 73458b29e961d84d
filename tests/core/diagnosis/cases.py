"""Requests as they arrive, signed and then spoilt; a diagnosis that may show no secret."""

import base64
import contextlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric import ed25519
from tests.web.test_signed_sources import EDWARDS, NOW, PUBLIC, config_of

from hookpost.config import load
from hookpost.core.diagnosis import Diagnosis, diagnose
from hookpost.core.publishing import Unsignable, signed_headers
from hookpost.core.received import HeaderList, Received, called
from hookpost.core.settings import Config
from hookpost.core.signature import Unproven

CANARY, OTHER = "canary-secret-0123456789", "canary-of-another-source"
WHSEC = "whsec_" + base64.b64encode(b"canary-signing-key-0123456789abc").decode()
BODY = '{"b": 1.0, "a": "é", "url": "a/b <c>"}'.encode()
ADDRESS = "https://hooks.example.com/in/x"

STRANGER = (
    ed25519.Ed25519PrivateKey.from_private_bytes(b"s" * 32).public_key().public_bytes_raw().hex()
)

GENERIC: dict[str, Any] = {"format": "raw", "event_type": {"value": "x"}}


def mac(signed: bytes, key: str | bytes = CANARY, algorithm: str = "sha256") -> bytes:
    return hmac.new(key.encode() if isinstance(key, str) else key, signed, algorithm).digest()


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


@dataclass
class Sent:
    """A request as it arrives, and the source that it arrives at."""

    source: dict[str, Any]
    headers: list[tuple[str, str]]
    body: bytes = BODY
    secrets: dict[str, str] = field(default_factory=lambda: {"a": CANARY})
    lives: dict[str, Any] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    at: float = NOW
    query: str = ""
    method: str = "POST"


GITHUB: dict[str, Any] = {"preset": "github", "secrets": ["a"]}
STRIPE: dict[str, Any] = {"preset": "stripe", "secrets": ["a"]}


def github(signed: bytes = BODY, key: str | bytes = CANARY, **other: Any) -> Sent:
    """Signed over `signed`, whatever the body is."""
    text = f"sha256={mac(signed, key).hex()}"
    pairs = [("X-Hub-Signature-256", text), ("X-GitHub-Event", "push")]
    return Sent(**{"source": GITHUB, "headers": pairs, **other})


def stripe(stamp: int, key: str = CANARY, **other: Any) -> Sent:
    text = mac(f"{stamp}.".encode() + BODY, key).hex()
    return Sent(
        **{"source": STRIPE, "headers": [("Stripe-Signature", f"t={stamp},v1={text}")], **other}
    )


def square(address: str, query: str = "") -> Sent:
    source = {"preset": "square", "secrets": ["a"], "url": ADDRESS}
    text = b64(mac(address.encode() + BODY))
    return Sent(source, [("x-square-hmacsha256-signature", text)], query=query)


def custom(member: dict[str, Any], *headers: tuple[str, str], **other: Any) -> Sent:
    source = {**GENERIC, "auth": {"hmac": {"secrets": ["a"], **member}}}
    return Sent(source, list(headers), **other)


def standard(key: bytes, secret: str = WHSEC) -> Sent:
    source = {"preset": "standard-webhooks", "secrets": ["a"]}
    text = b64(mac(f"m1.{NOW}.".encode() + BODY, key))
    pairs = [
        ("webhook-id", "m1"),
        ("webhook-timestamp", str(NOW)),
        ("webhook-signature", f"v1,{text}"),
    ]
    return Sent(source, pairs, secrets={"a": secret})


def discord(signed: bytes) -> Sent:
    source = {"preset": "discord", "secrets": ["a"]}
    text = EDWARDS.sign(str(NOW).encode() + signed).hex()
    pairs = [("X-Signature-Ed25519", text), ("X-Signature-Timestamp", str(NOW))]
    return Sent(source, pairs, secrets={"a": PUBLIC})


SHOP = {"shop": {"path": "/in/shop", "preset": "shopify", "secrets": ["b"]}}
BOTH = {"a": CANARY, "b": OTHER}
HEX = {"signature": {"header": "X-Sig"}}


def config(folder: Path, sent: Sent) -> Config:
    found = config_of(folder, sent.source, sent.secrets, **sent.lives)
    if sent.others:
        file = folder / "gateway.yaml"
        document = yaml.safe_load(file.read_text())
        document["sources"].update(sent.others)
        file.write_text(yaml.safe_dump(document, sort_keys=False))
        environ = {name.upper(): value for name, value in sent.secrets.items()}
        found = load(file, environ=environ, wall=NOW).sound()
    assert found is not None
    return found


def received(sent: Sent, found: Config) -> Received:
    return Received(
        method=sent.method,
        url=called(found.url_of(found.sources["x"]), sent.query),
        query=sent.query,
        headers=HeaderList(sent.headers),
        body=sent.body,
    )


def diagnosed(folder: Path, sent: Sent) -> Diagnosis:
    """The diagnosis, which holds no secret and no signature that counts."""
    found = config(folder, sent)
    asked = received(sent, found)
    diagnosis = diagnose(found, found.sources["x"], asked, sent.at)
    told = "\n".join(
        [step.text for step in diagnosis.steps] + [one.text for one in diagnosis.hints]
    )
    for value in sent.secrets.values():
        assert value.strip("\"'\n ") not in told
    for _, value in sent.headers:
        for part in value.replace(",", " ").replace("=", " ").split():
            assert len(part) < 24 or part not in told
    for proof in found.sources["x"].auth.proofs:
        with contextlib.suppress(Unsignable, Unproven):
            for name, value in signed_headers(proof, asked, sent.at, "m1").items():
                assert "ignature" not in name or value.rstrip("=").split("=")[-1] not in told
    return diagnosis
