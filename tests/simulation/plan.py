"""Configurations that a run goes through: a handful of endpoints that come, change and go."""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

SECRET = "whsec_ZmFrZS1rZXktb2YtaG9va3Bvc3QtdGVzdHMhIQ=="
OPEN_FOR, MAX_OPEN_FOR, FAILURES = 30.0, 240.0, 4  # of every circuit breaker
RETRY_AFTER_MAX = 600.0
LEAST_DELAY = {"quick": 1.0, "long": 2.5}  # seconds between two attempts, by retry policy
TYPES = ("order.placed", "order.paid", "invoice.paid", "user.added")

_POLICIES = {
    "quick": {
        "max_attempts": 4,
        "backoff": {"initial": "2s", "multiplier": 2, "max": "1m", "jitter": "equal"},
        "retry_after_max": "10m",
        "reject_on": [422],
    },
    "long": {
        "max_age": "6h",
        "backoff": {"initial": "5s", "multiplier": 3, "max": "30m", "jitter": "equal"},
        "retry_after_max": "10m",
    },
}
_BREAKER = {
    "consecutive_failures": FAILURES,
    "min_attempts": 100000,
    "open_for": f"{OPEN_FOR:g}s",
    "max_open_for": f"{MAX_OPEN_FOR:g}s",
    "probes": 1,
}


@dataclass
class Line:
    """One endpoint over all its names. Its receiver is told by `key`, which its URL holds."""

    key: str
    name: str
    concurrency: int = 3
    rate: tuple[float, int] | None = None
    retry: str = "quick"
    breaker: bool = True
    paused: bool = False
    on_remove: str = "park"
    max_pending: int = 100000
    ordering: str = "none"  # or fifo, or type: one line for each type of event
    present: bool = True
    renamed_from: str | None = None

    @property
    def other_name(self) -> str:
        """What it is called when it is renamed and not yet renamed back."""
        back = self.name.removesuffix("-alias")
        return f"{self.name}-alias" if back == self.name else back

    def shown(self) -> dict[str, Any]:
        """As the file has it."""
        said: dict[str, Any] = {
            "url": f"https://{self.key}.test/hooks",
            "signing": {"standard_webhooks": ["key"]},
            "concurrency": self.concurrency,
            "retry": self.retry,
            "timeout": "5s",
            "payload": "raw",
            "paused": self.paused,
            "on_remove": self.on_remove,
            "max_pending": self.max_pending,
        }
        if self.ordering != "none":
            said["ordering"] = {"key": "type"} if self.ordering == "type" else self.ordering
        if self.breaker:
            said["circuit_breaker"] = "sim"
        if self.rate is not None:
            said["rate_limit"] = _limit(self.rate)
        if self.renamed_from is not None:
            said["renamed_from"] = self.renamed_from
        return said


@dataclass
class Plan:
    """What the file says now, and how it may change."""

    lines: list[Line]
    routes: dict[str, list[str]] = field(default_factory=dict)  # event pattern → keys
    keep_delivered: str = "30d"

    @classmethod
    def drawn(cls, rng: random.Random) -> "Plan":
        """Two to five endpoints."""
        keys = "abcde"[: rng.randint(2, 5)]
        plan = cls([Line(key, f"{key}-0") for key in keys])
        for line in plan.lines:
            plan._vary(line, rng)
            line.ordering = rng.choice(["none", "none", "fifo", "type", "type"])
        plan.routes = {
            "**": [rng.choice(keys)],
            "order.*": rng.sample(keys, rng.randint(1, len(keys))),
            "invoice.paid": rng.sample(keys, rng.randint(1, len(keys))),
        }
        plan.keep_delivered = rng.choice(["30d", "30d", "1h"])
        return plan

    def line(self, key: str) -> Line:
        """By its key."""
        return next(line for line in self.lines if line.key == key)

    def wanted(self, event_type: str) -> list[str]:
        """The keys of the endpoints that an event of this type is owed to now."""
        patterns = ("**", event_type, f"{event_type.partition('.')[0]}.*")
        owed = {key for pattern in patterns for key in self.routes.get(pattern, ())}
        return sorted(key for key in owed if self.line(key).present)

    def change(self, rng: random.Random, what: str | None = None) -> str:
        """Change one thing, this or any; what was changed."""
        line = rng.choice(self.lines)
        line.renamed_from = None
        what = what or rng.choice(["vary", "vary", "resize", "remove", "rename", "pause", "return"])
        if what == "remove" and sum(each.present for each in self.lines) > 1:
            line.present = False
        elif what == "return":
            for each in self.lines:
                each.present = True
        elif what == "rename" and line.present:
            line.renamed_from = line.name
            line.name = f"{line.key}-{rng.randint(1, 10**6)}"
        elif what == "pause":
            line.paused = not line.paused
        elif what == "resize":
            line.concurrency = rng.randint(1, 6)
        else:
            self._vary(line, rng)
        return f"{what} {line.key}"

    def flap(self, key: str, rng: random.Random) -> str:
        """Turn one endpoint over: gone or back, paused or not, renamed or back; what was done."""
        line = self.line(key)
        line.renamed_from = None
        alone = sum(each.present for each in self.lines) == 1
        what = rng.choice(["turn", "turn", "turn", "pause", "rename"])
        if not line.present or (what == "turn" and not alone):
            line.present = not line.present
            return f"{'return' if line.present else 'remove'} {key}"
        if what == "rename":
            line.renamed_from, line.name = line.name, line.other_name
            return f"rename {key}"
        line.paused = not line.paused
        return f"{'pause' if line.paused else 'resume'} {key}"

    def heal(self) -> None:
        """Everything is there, and nothing is paused or limited any more."""
        for line in self.lines:
            line.renamed_from = None
            line.present, line.paused, line.max_pending = True, False, 100000

    def _vary(self, line: Line, rng: random.Random) -> None:
        line.concurrency = rng.randint(1, 5)
        line.rate = rng.choice([None, None, (0.5, 1), (0.1, 4), (5.0, 10)])
        line.retry = rng.choice(["quick", "long"])
        line.on_remove = rng.choice(["park", "park", "park", "dead", "cancel"])
        line.max_pending = rng.choice([100000, 100000, 100000, 8])

    def text(self) -> str:
        """The file; JSON is YAML."""
        return json.dumps(dict(self._said()))

    def _said(self) -> Iterator[tuple[str, Any]]:
        present = [line for line in self.lines if line.present]
        names = {line.key: line.name for line in present}
        yield "version", 1
        yield "storage", {"sqlite": {"path": "outbox.db"}, "min_free": "1MiB"}
        yield "listen", {"admin": {"address": "unix:admin.sock"}}
        yield "retention", {"delivered": self.keep_delivered, "dead": "60d", "parked": "60d"}
        yield "secrets", {"key": {"file": "key"}}
        yield "retry_policies", _POLICIES
        yield "circuit_breakers", {"sim": _BREAKER}
        limits = {line.rate for line in present if line.rate is not None}
        yield "rate_limits", {_limit(each): _limited(each) for each in sorted(limits)}
        yield "sources", _SOURCES
        yield "endpoints", {line.name: line.shown() for line in present}
        yield "subscriptions", self._subscriptions(names)

    def _subscriptions(self, names: Mapping[str, str]) -> dict[str, Any]:
        found = {}
        for number, (pattern, keys) in enumerate(self.routes.items()):
            there = [names[key] for key in keys if key in names]
            if there:
                found[f"s{number}"] = {"events": [pattern], "endpoints": there}
        return found


def _limit(rate: tuple[float, int]) -> str:
    return f"at-{rate[0] * 10:g}-{rate[1]}"


def _limited(rate: tuple[float, int]) -> dict[str, Any]:
    return {"rate": f"{rate[0]:g}/s", "burst": rate[1]}


_SOURCES = {
    "billing": {"path": "/in/billing", "auth": "none", "dedup": {"window": "24h"}},
    "shop": {"path": "/in/shop", "auth": "none", "dedup": "none"},
}
