"""The known answers of tests/vectors/inbound.json as configurations and raw requests."""

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from hookpost.config.loading import Loaded, load

Vector = dict[str, Any]
FILE = Path(__file__).parent / "vectors" / "inbound.json"

PRESETS = {
    "zoom-seed-hex": "zoom-body",
    "zoom-verification-token": "zoom-token",
    "gitlab-token": "gitlab",
    "hubspot-v3": "hubspot",
    "meta-challenge": "meta",
    "msgraph-validation": "msgraph",
    "twitter-crc": "twitter",
}
"""Schemes whose preset has another name."""


@cache
def vectors() -> list[Vector]:
    """All of them."""
    found: list[Vector] = json.loads(FILE.read_text("utf-8"))
    return found


def secrets(vector: Vector) -> list[str]:
    """The secrets as an operator has them."""
    given = vector["secret"]
    return list(given) if isinstance(given, list) else [given]


def url(vector: Vector) -> str:
    """The address that the publisher calls."""
    registered = vector.get("config", {}).get("notification_url")
    asked: str = vector.get("request", {}).get("url", "https://hooks.example.invalid/in/x")
    return str(registered or asked)


def body(vector: Vector) -> bytes:
    """The request's body."""
    if "body_b64" in vector:
        return base64.b64decode(vector["body_b64"])
    text: str = vector.get("body", "")
    return text.encode()


def loaded(vector: Vector, folder: Path) -> Loaded:
    """A configuration with one source `x` for the vector."""
    names = [f"secret-{number}" for number, _ in enumerate(secrets(vector))]
    basic = vector["scheme"] == "basic-auth"
    environ = {
        f"SECRET_{number}": text.partition(":")[2] if basic else text
        for number, text in enumerate(secrets(vector))
    }
    config = {
        "version": 1,
        "secrets": {name: {"env": f"SECRET_{number}"} for number, name in enumerate(names)},
        "sources": {
            "x": {"path": urlsplit(url(vector)).path.rstrip("/"), **_source(vector, names)}
        },
        "endpoints": {"crm": {"url": "https://crm.example.com/", "signing": "none"}},
        "subscriptions": {"all": {"endpoints": ["crm"]}},
    }
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return load(file, environ=environ, wall=vector["now"])


def _source(vector: Vector, names: list[str]) -> dict[str, Any]:
    raw = {"format": "raw", "event_type": {"value": "x"}}
    match vector["scheme"]:
        case "generic-hmac":
            member = {**vector["config"], "secrets": names}
            if "timestamp" in member:
                place = dict(member["timestamp"])
                place["tolerance"] = f"{place['tolerance']}s"
                member["timestamp"] = place
            own = (
                {"url": url(vector).partition("?")[0]}
                if "{url}" in member.get("template", "")
                else {}
            )
            return {**raw, "auth": {"hmac": member}, **own}
        case "basic-auth":
            username = secrets(vector)[0].partition(":")[0]
            return {**raw, "auth": {"basic": {"username": username, "passwords": names}}}
        case "bearer-token":
            return {**raw, "auth": {"bearer": names}}
        case "meta-challenge":
            return {"preset": "meta", "secrets": names, "handshake_secrets": names}
        case scheme:
            preset = PRESETS.get(scheme, scheme)
            own = {}
            if preset in ("square", "twilio", "hubspot"):
                own["url"] = url(vector).partition("?")[0]
            if preset == "meta":
                own["handshake_secrets"] = names
            return {"preset": preset, "secrets": names, **own}


def request(vector: Vector) -> bytes:
    """The request as it goes over the wire."""
    given = vector.get("request", {})
    parts = urlsplit(given.get("url", url(vector)))
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    target = target.replace("/?", "?").rstrip("/")
    lines = [f"{given.get('method', 'POST')} {target} HTTP/1.1"]
    if not any(name.lower() == "host" for name, _ in vector["headers"]):
        lines.append("Host: gateway")
    lines += [f"{name}: {value}" for name, value in vector["headers"]]
    sent = body(vector)
    lines.append(f"Content-Length: {len(sent)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + sent
