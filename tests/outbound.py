"""The known answers of tests/vectors/outbound.json as configurations and events."""

import json
from functools import cache
from pathlib import Path

import yaml
from tests.builders import an_event
from tests.vectored import Vector, body, secrets

from hookpost.config.loading import Loaded, load
from hookpost.core.model import Event, Format

FILE = Path(__file__).parent / "vectors" / "outbound.json"
SVIX: Vector = {
    "key": {"encoding": "base64", "strip_prefix": "whsec_"},
    "signature": {
        "header": "svix-signature",
        "format": "list",
        "separator": " ",
        "prefix": "v1,",
        "encoding": "base64",
    },
    "id": {"header": "svix-id"},
    "timestamp": {"header": "svix-timestamp"},
    "template": "{id}.{timestamp}.{body}",
}
"""Standard Webhooks under the header names of Svix, said in the grammar."""


@cache
def vectors() -> list[Vector]:
    """All of them."""
    found: list[Vector] = json.loads(FILE.read_text("utf-8"))
    return found


def event(vector: Vector) -> Event:
    """The event whose sending is known."""
    return an_event(
        id=vector.get("id", "evt_1"),
        accepted_at=float(vector["now"]),
        format=Format.RAW,
        body=body(vector),
    )


def loaded(vector: Vector, folder: Path, url: str = "http://127.0.0.1:9/hooks") -> Loaded:
    """A configuration with one endpoint `crm` for the vector."""
    names = {f"secret-{number}": text for number, text in enumerate(secrets(vector))}
    given = vector.get("config", {})
    config = {
        "version": 1,
        "secrets": {name: {"env": name.replace("-", "_")} for name in names},
        "egress_policies": {"here": {"allow": ["127.0.0.0/8"], "require_https": False}},
        "endpoints": {
            "crm": {
                "url": url,
                "egress": "here",
                "headers": given.get("custom_headers", {}),
                "signing": _signing(vector, names),
            }
        },
    }
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    environ = {name.replace("-", "_"): text for name, text in names.items()}
    return load(file, environ=environ, wall=max(vector["now"], 0))


def _signing(vector: Vector, names: dict[str, str]) -> Vector:
    given = vector.get("config", {})
    if given.get("header_prefix") == "svix-":
        return {"hmac": {**SVIX, "secrets": list(names)}}
    match vector["scheme"]:
        case "generic-hmac":
            return {"hmac": {**given, "secrets": list(names)}}
        case "hook0":
            place = {"header": "X-Hook0-Signature", "format": "kv", "keys": ["v0"]}
            scheme = {"signature": place, "timestamp": {"kv": "t"}}
            return {"hmac": {**scheme, "template": "{timestamp}.{body}", "secrets": list(names)}}
    private = [name for name, text in names.items() if text.startswith("whsk_")]
    shared = [name for name in names if name not in private]
    made = {"standard_webhooks": shared} if shared or not private else {}
    return {**made, **({"ed25519": private} if private else {})}
