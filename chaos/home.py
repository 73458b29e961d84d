"""A configuration's home: the file, its secrets, and what a scenario changes in it."""

import base64
from pathlib import Path
from typing import Any

import yaml

PATH = "/in/chaos"
TOKEN = "chaos-publisher-token-0123456789"
KEY = "whsec_" + base64.b64encode(b"chaos-signing-key-0123456789abcd").decode()
TIMEOUT = 10.0  # seconds an attempt may take; scenarios about time-outs set their own

Document = dict[str, Any]


class Home:
    """A folder with a configuration that can be changed and written again.

    Endpoints `crm` and `audit` get every event; a failed attempt is repeated soon and for ever.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "gateway.yaml"
        self.database = folder / "var" / "outbox.db"
        self.admin = folder / "run" / "admin.sock"
        self.config: Document = {
            "version": 1,
            "listen": {
                "ingest": {"address": "127.0.0.1:0"},
                "ops": {"address": "127.0.0.1:0"},
                "admin": {"address": "unix:run/admin.sock"},
            },
            "storage": {"sqlite": {"path": "var/outbox.db"}, "min_free": "1KiB"},
            "secrets": {"token": {"file": "secrets/token"}, "key": {"file": "secrets/key"}},
            "retry_policies": {
                "steady": {
                    "max_age": "1d",
                    "backoff": {
                        "initial": "50ms",
                        "multiplier": 1.5,
                        "max": "400ms",
                        "jitter": "equal",
                    },
                }
            },
            "egress_policies": {"here": {"allow": ["127.0.0.0/8"], "require_https": False}},
            "sources": {"chaos": {"path": PATH, "auth": {"bearer": ["token"]}}},
            "endpoint_defaults": {
                "egress": "here",
                "retry": "steady",
                "circuit_breaker": "none",
                "timeout": f"{TIMEOUT:g}s",
                "signing": {"standard_webhooks": ["key"]},
            },
            "endpoints": {},
            "subscriptions": {},
        }
        self._secret("token", TOKEN)
        self._secret("key", KEY)

    def _secret(self, name: str, value: str) -> None:
        path = self.folder / "secrets" / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(value)
        path.chmod(0o600)

    def endpoint(self, name: str, port: int, **settings: Any) -> None:
        """Add an endpoint at that port, subscribed to everything."""
        self.config["endpoints"][name] = {"url": f"http://127.0.0.1:{port}/{name}", **settings}
        self.config["subscriptions"][f"to-{name}"] = {"endpoints": [name]}

    def remove(self, name: str) -> None:
        """Take an endpoint out."""
        del self.config["endpoints"][name]
        del self.config["subscriptions"][f"to-{name}"]

    def write(self, more: str = "") -> None:
        """In one instant, for a reload may read at any time; `more` is text at the file's end."""
        fresh = self.file.with_name("gateway.yaml.new")
        fresh.write_text(yaml.safe_dump(self.config, sort_keys=False) + more)
        fresh.replace(self.file)
