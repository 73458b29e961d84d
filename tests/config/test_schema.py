"""The schema is complete, says the truth about defaults, and is found wherever it is installed."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from hookpost.config import policies, schema, values
from hookpost.core import units
from hookpost.core.addresses import EgressPolicy
from hookpost.core.breaker import BreakerPolicy
from hookpost.core.forwarding import Peers
from hookpost.core.retry import STANDARD, Backoff, RetryPolicy
from hookpost.core.settings import (
    AdminListener,
    ClientTls,
    Endpoint,
    IngestListener,
    Jwt,
    Logging,
    OpsListener,
    Retention,
    Source,
    Storage,
    Subscription,
)

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]


def every_part(part: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every property of the schema by its path; NAME stands for a map's own names."""
    part = schema.resolved(part)
    yield path, part
    for key, inner in part.get("properties", {}).items():
        yield from every_part(inner, f"{path}.{key}" if path else key)
    if isinstance(part.get("additionalProperties"), dict):
        yield from every_part(part["additionalProperties"], f"{path}.NAME")
    if "items" in part:
        yield from every_part(part["items"], f"{path}[]")


ALL = dict(every_part(schema.schema()))


def test_the_schema_is_draft_07() -> None:
    Draft7Validator.check_schema(schema.schema())
    assert schema.schema()["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_every_property_is_described() -> None:
    assert [path for path, part in ALL.items() if not part.get("description")] == []


def test_every_map_is_closed() -> None:
    open_maps = [
        path
        for path, part in ALL.items()
        if "object" in part.get("type", "") and "additionalProperties" not in part
    ]
    assert open_maps == []


def test_no_part_offers_alternatives_that_hide_the_mistake() -> None:
    text = schema.text()
    assert not any(f'"{word}"' in text for word in ("oneOf", "anyOf", "allOf", "if"))


def test_every_kind_of_text_has_a_reader() -> None:
    kinds = {part["x-type"] for part in ALL.values() if "x-type" in part} | {"sent-header"}
    assert kinds - {"expression"} == set(values.READERS)


def test_every_optional_property_states_a_default_or_means_absence() -> None:
    without = {
        "retry_policies.NAME.max_attempts": "no limit",
        "retry_policies.NAME.max_age": "no limit",
        "retry_policies.NAME.schedule": "the backoff",
        "listen.ingest.tls": "plain HTTP",
        "listen.ingest.public_url": "nobody says",
        "listen.ingest.tls.client_ca": "no certificates of clients",
        "sources.NAME.allow_from": "everybody",
        "sources.NAME.max_body": "the listener's",
        "sources.NAME.content_types": "what the format can read",
        "sources.NAME.webhook_origins": "no handshake",
        "sources.NAME.event_types": "every type",
        "sources.NAME.event_types.NAME.schema": "data of any kind",
        "sources.NAME.event_type": "the envelope's",
        "sources.NAME.event_id": "the headers'",
        "sources.NAME.event_type.header": "the value",
        "sources.NAME.event_type.value": "none",
        "sources.NAME.event_type.expression": "the value",
        "sources.NAME.url": "public_url and the path",
        "sources.NAME.preset": "no provider",
        "sources.NAME.secrets": "none",
        "sources.NAME.dedup.key": "the event id",
        "sources.NAME.answer": "the usual",
        "sources.NAME.answer.status": "the usual",
        "sources.NAME.answer.body": "the usual",
        "sources.NAME.handshake": "none",
        "sources.NAME.handshake_secrets": "the source's secrets",
        "sources.NAME.handshake[].when.query": "any",
        "sources.NAME.handshake[].when.header": "any",
        "sources.NAME.handshake[].when.json": "any",
        "sources.NAME.handshake[].secret": "none",
        "sources.NAME.handshake[].respond.text": "none",
        "sources.NAME.handshake[].respond.json": "none",
        "endpoints.NAME.renamed_from": "no former name",
        **{
            f"{section}.{key}": why
            for section in ("endpoints.NAME", "endpoint_defaults")
            for key, why in {
                "signing.standard_webhooks": "no such signature",
                "signing.ed25519": "no such signature",
                "signing.hmac": "no such signature",
                "signing.hmac.timestamp": "webhook-timestamp alone",
                "signing.hmac.timestamp.header": "the pair",
                "signing.hmac.timestamp.kv": "the header",
                "signing.hmac.id": "webhook-id alone",
                "signing.hmac.signature.header_prefix": "none",
                "signing.hmac.signature.prefix": "none",
                "signing.hmac.signature.keys": "no pairs",
                "signing.hmac.key.strip_prefix": "none",
                "tls": "the system's CAs, TLS 1.2",
                "tls.ca": "the system's",
                "tls.cert": "none is shown",
                "tls.key": "none is shown",
            }.items()
        },
        "subscriptions.NAME.sources": "all sources",
        "subscriptions.NAME.filter": "every event",
        "subscriptions.NAME.transform": "the data as it came",
    }
    found = set()
    for path, part in ALL.items():
        exempt = part.get("x-one-of") or path.startswith("secrets.NAME") or "auth" in path
        for key, inner in part.get("properties", {}).items():
            inner = schema.resolved(inner)
            if not exempt and key not in part.get("required", ()) and "default" not in inner:
                found.add(f"{path}.{key}" if path else key)
    assert found == set(without)


def _plain(value: Any, part: Json) -> Any:
    """A stated default as the dataclass has it."""
    match part.get("x-type"):
        case "duration":
            return units.duration(value)
        case "size":
            return units.size(value)
        case "mode":
            return values.mode(value)
        case "address":
            return values.address(value)
        case "proxy":
            return values.proxy(value)
    return value


def _defaults(part: Json) -> Json:
    found = {}
    for key, inner in part.get("properties", {}).items():
        inner = schema.resolved(inner)
        if "default" in inner:
            found[key] = _plain(inner["default"], inner)
    return found


def _of(kind: type) -> Json:
    assert is_dataclass(kind)
    stated = {}
    for item in fields(kind):
        if item.default_factory is not None and callable(item.default_factory):
            stated[item.name] = item.default_factory()
        elif item.default is not item.default_factory:
            stated[item.name] = item.default
    return stated


@pytest.mark.parametrize(
    ("path", "kind", "apart"),
    [
        ("listen.ingest", IngestListener, {"trusted_proxies"}),
        ("listen.ops", OpsListener, set()),
        ("listen.admin", AdminListener, {"address"}),
        ("storage", Storage, {"sqlite"}),
        ("storage.sqlite", Storage, {"path"}),
        ("retention", Retention, set()),
        ("retry_policies.NAME", RetryPolicy, {"backoff", "reject_on"}),
        ("retry_policies.NAME.backoff", Backoff, {"jitter"}),
        ("circuit_breakers.NAME", BreakerPolicy, set()),
        ("egress_policies.NAME", EgressPolicy, {"allow"}),
        ("logging", Logging, set()),
        (
            "endpoints.NAME",
            Endpoint,
            {
                "signing",
                "auth",
                "headers",
                "success",
                "retry",
                "rate_limit",
                "circuit_breaker",
                "egress",
                "ordering",
            },
        ),
        ("endpoints.NAME.tls", ClientTls, set()),
        ("sources.NAME.auth.jwt", Jwt, set()),
        ("sources.NAME", Source, {"auth", "dedup", "rate_limit", "forward_headers"}),
        ("subscriptions.NAME", Subscription, {"events"}),
    ],
)
def test_stated_defaults_are_those_of_the_settings(path: str, kind: type, apart: set[str]) -> None:
    stated, own = _defaults(ALL[path]), _of(kind)
    assert stated
    assert apart <= set(stated)
    for key in set(stated) - apart:
        assert stated[key] == own[key], key


def test_stated_defaults_of_another_form_mean_those_of_the_settings() -> None:
    endpoint, source = _of(Endpoint), _of(Source)
    stated = _defaults(ALL["endpoints.NAME"])
    for key in ("signing", "rate_limit", "ordering"):
        assert (stated[key], endpoint[key]) == ("none", None)
    assert policies.statuses(stated["success"]) == endpoint["success"]
    assert tuple(stated["headers"].items()) == endpoint["headers"]
    assert policies.retry_policies({})[stated["retry"]] == endpoint["retry"]
    assert policies.breakers({})[stated["circuit_breaker"]] == endpoint["circuit_breaker"]
    assert policies.egress_policies({})[stated["egress"]] == endpoint["egress"]
    window = ALL["sources.NAME.dedup.window"]["default"]
    assert units.duration(window) == source["dedup_window"]
    assert ALL["listen.ingest.trusted_proxies"]["default"] == []
    assert _of(IngestListener)["trusted_proxies"] == Peers()
    assert ALL["sources.NAME.auth"]["default"] == "none"
    assert ALL["sources.NAME.forward_headers"]["default"] == []
    assert tuple(ALL["subscriptions.NAME.events"]["default"]) == _of(Subscription)["events"]
    assert policies.statuses(ALL["retry_policies.NAME.reject_on"]["default"]) == frozenset()
    assert policies.retry_policy({"max_age": "3d"}) == STANDARD
    jitter = ALL["retry_policies.NAME.backoff.jitter"]["default"]
    assert jitter == _of(RetryPolicy)["jitter"] == "equal"


def test_the_schema_of_the_package_is_the_one_of_the_repository() -> None:
    packaged = resources.files("hookpost.config").joinpath("gateway.schema.json")
    assert packaged.read_text("utf-8") == (ROOT / "schema/gateway.schema.json").read_text("utf-8")
