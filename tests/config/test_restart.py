"""What a reload cannot change is named."""

from collections.abc import Callable

import pytest

from hookpost.config import Loaded, restart_only_changes, schema
from hookpost.config.schema import resolved

Write = Callable[..., Loaded]

CHANGES = {
    "listen.ingest.address": 'listen: {ingest: {address: "127.0.0.1:1"}}',
    "listen.ingest.mode": 'listen: {ingest: {address: "unix:/run/i.sock", mode: "0600"}}',
    "listen.ops.address": 'listen: {ops: {address: "127.0.0.1:2"}}',
    "listen.ops.mode": 'listen: {ops: {address: "unix:/run/o.sock", mode: "0600"}}',
    "listen.admin.address": "listen: {admin: {address: unix:other.sock}}",
    "listen.admin.mode": 'listen: {admin: {mode: "0600"}}',
    "storage.sqlite.path": "storage: {sqlite: {path: other.db}}",
    "storage.sqlite.synchronous": "storage: {sqlite: {synchronous: extra}}",
    "storage.min_free": "storage: {min_free: 1GiB}",
}


@pytest.mark.parametrize("key", CHANGES)
def test_a_restart_only_key_that_changes_is_named(loading: Write, key: str) -> None:
    old = loading("version: 1\n").sound()
    new = loading(f"version: 1\n{CHANGES[key]}\n").sound()
    assert key in restart_only_changes(old, new)
    assert restart_only_changes(old, old) == []


def test_other_keys_are_no_reason_to_restart(loading: Write) -> None:
    old = loading("version: 1\n").sound()
    new = loading(
        "version: 1\nretention: {dead: 60d}\nlogging: {level: debug}\n"
        "listen: {ingest: {max_body: 2MiB, max_connections: 5}}\n"
    ).sound()
    assert restart_only_changes(old, new) == []


def test_the_schema_says_of_the_same_keys_that_they_are_restart_only() -> None:
    def marked(part: dict[str, object], path: str = "") -> set[str]:
        found: set[str] = set()
        inner = part.get("properties", {})
        assert isinstance(inner, dict)
        for key, value in inner.items():
            here = f"{path}.{key}" if path else key
            found |= marked(resolved(value), here)
            found |= {here} if resolved(value).get("x-restart") else set()
        return found

    assert marked(schema.schema()) == set(CHANGES)
