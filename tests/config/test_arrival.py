"""What a file says arrives in the settings: half of what test_every_key.py wants of each key.

KEYS lists every property with a value other than the default and where it must arrive. A property
that is added to the schema without a line here fails the last test.
"""

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from tests.config.schema_keys import leaves

from hookpost.config import Loaded
from hookpost.core.addresses import Allowance
from hookpost.core.forwarding import Peers
from hookpost.core.model import Format, OnRemove, Payload
from hookpost.core.ordering import Ordering
from hookpost.core.ratelimit import RateLimit
from hookpost.core.retry import Jitter
from hookpost.core.scheme import Encoding, Form
from hookpost.core.settings import Auth, Config, TcpAddress

Write = Callable[..., Loaded]

SCHEMA = Path(__file__).with_name("mistakes") / "schemas" / "good.json"

BASE = """\
version: 1
%s
secrets:
  token: {env: TOKEN}
  key: {env: KEY}
  other: {env: WORD}
%s
sources:
  billing: {path: /in/billing, auth: %s, rate_limit: %s%s}
  spare: {path: /in/spare, auth: {api_key: {header: X-Key, secrets: [other]}}}
endpoints:
  crm: {url: %s, retry: %s, circuit_breaker: %s, egress: %s%s}
subscriptions:
  all: {endpoints: [crm]%s}
"""
_DEFAULTS = {
    "top": "",
    "secret": "",
    "auth": "{bearer: [token]}",
    "limit": "none",
    "source": "",
    "url": '"https://crm.example.com/hooks"',
    "retry": "standard",
    "breaker": "standard",
    "egress": "public",
    "endpoint": ", signing: {standard_webhooks: [key]}",
    "subscription": "",
}


def _text(**parts: str) -> str:
    return BASE % tuple({**_DEFAULTS, **parts}.values())


def _signed(extra: str) -> str:
    return f"{_DEFAULTS['endpoint']}, {extra}"


def _top(text: str) -> dict[str, str]:
    return {"top": text}


def _source(text: str) -> dict[str, str]:
    return {"source": f", {text}"}


def _endpoint(text: str) -> dict[str, str]:
    return {"endpoint": _signed(text)}


def _retry(text: str) -> dict[str, str]:
    return {"top": f"retry_policies: {{own: {{{text}}}}}", "retry": "own"}


def _breaker(text: str) -> dict[str, str]:
    return {"top": f"circuit_breakers: {{own: {{{text}}}}}", "breaker": "own"}


def _egress(text: str) -> dict[str, str]:
    return {"top": f"egress_policies: {{own: {{{text}}}}}", "egress": "own"}


Get = Callable[[Config], Any]
Case = tuple[dict[str, str], Get, Any]


def ingest(config: Config) -> Any:
    return config.listen.ingest


def billing(config: Config) -> Any:
    return config.sources["billing"]


def crm(config: Config) -> Any:
    return config.endpoints["crm"]


RAW = "format: raw, event_type: "

KEYS: dict[str, Case] = {
    "listen.ingest.address": (
        _top('listen: {ingest: {address: "0.0.0.0:80"}}'),
        lambda c: ingest(c).address,
        TcpAddress("0.0.0.0", 80),
    ),
    "listen.ingest.mode": (
        _top('listen: {ingest: {address: "unix:/run/in.sock", mode: "0600"}}'),
        lambda c: ingest(c).mode,
        0o600,
    ),
    "listen.ingest.max_body": (
        _top("listen: {ingest: {max_body: 2MiB}}"),
        lambda c: ingest(c).max_body,
        2 << 20,
    ),
    "listen.ingest.header_timeout": (
        _top("listen: {ingest: {header_timeout: 5s}}"),
        lambda c: ingest(c).header_timeout,
        5.0,
    ),
    "listen.ingest.body_timeout": (
        _top("listen: {ingest: {body_timeout: 1m}}"),
        lambda c: ingest(c).body_timeout,
        60.0,
    ),
    "listen.ingest.max_connections": (
        _top("listen: {ingest: {max_connections: 7}}"),
        lambda c: ingest(c).max_connections,
        7,
    ),
    "listen.ingest.max_batch": (
        _top("listen: {ingest: {max_batch: 9}}"),
        lambda c: ingest(c).max_batch,
        9,
    ),
    "listen.ingest.trusted_proxies": (
        _top('listen: {ingest: {trusted_proxies: [unix, 10.0.0.7, "::ffff:192.0.2.0/120"]}}'),
        lambda c: ingest(c).trusted_proxies,
        Peers((ip_network("10.0.0.7/32"), ip_network("192.0.2.0/24")), unix=True),
    ),
    "listen.ingest.public_url": (
        _top('listen: {ingest: {public_url: "https://hooks.example.com:8443/gateway/"}}'),
        lambda c: ingest(c).public_url,
        "https://hooks.example.com:8443/gateway",
    ),
    "listen.ops.address": (
        _top('listen: {ops: {address: "[::1]:81"}}'),
        lambda c: c.listen.ops.address,
        TcpAddress("::1", 81),
    ),
    "listen.ops.mode": (
        _top('listen: {ops: {address: "unix:/run/ops.sock", mode: "666"}}'),
        lambda c: c.listen.ops.mode,
        0o666,
    ),
    "listen.admin.address": (
        _top('listen: {admin: {address: "unix:/run/x.sock"}}'),
        lambda c: c.listen.admin.address.path,
        Path("/run/x.sock"),
    ),
    "listen.admin.mode": (
        _top('listen: {admin: {mode: "0600"}}'),
        lambda c: c.listen.admin.mode,
        0o600,
    ),
    "storage.sqlite.path": (
        _top("storage: {sqlite: {path: /srv/o.db}}"),
        lambda c: c.storage.path,
        Path("/srv/o.db"),
    ),
    "storage.sqlite.synchronous": (
        _top("storage: {sqlite: {synchronous: extra}}"),
        lambda c: c.storage.synchronous,
        "extra",
    ),
    "storage.min_free": (
        _top("storage: {min_free: 1GiB}"),
        lambda c: c.storage.min_free,
        1 << 30,
    ),
    "alerts.failure_ratio": (
        _top("alerts: {failure_ratio: 0.5}"),
        lambda c: c.alerts.failure_ratio,
        0.5,
    ),
    "alerts.min_attempts": (
        _top("alerts: {min_attempts: 3}"),
        lambda c: c.alerts.min_attempts,
        3,
    ),
    "alerts.consecutive_failures": (
        _top("alerts: {consecutive_failures: 4}"),
        lambda c: c.alerts.consecutive_failures,
        4,
    ),
    "alerts.window": (
        _top("alerts: {window: 1m}"),
        lambda c: c.alerts.window,
        60.0,
    ),
    "retention.delivered": (
        _top("retention: {delivered: 1h}"),
        lambda c: c.retention.delivered,
        3600.0,
    ),
    "retention.dead": (
        _top("retention: {dead: 90d}"),
        lambda c: c.retention.dead,
        90 * 86400.0,
    ),
    "retention.cancelled": (
        _top("retention: {cancelled: 1d}"),
        lambda c: c.retention.cancelled,
        86400.0,
    ),
    "retention.parked": (
        _top("retention: {parked: 5d}"),
        lambda c: c.retention.parked,
        5 * 86400.0,
    ),
    "retention.max_size": (
        _top("retention: {max_size: 1GiB}"),
        lambda c: c.retention.max_size,
        1 << 30,
    ),
    "retry_policies.NAME.max_attempts": (
        _retry("max_attempts: 4"),
        lambda c: crm(c).retry.max_attempts,
        4,
    ),
    "retry_policies.NAME.max_age": (
        _retry("max_age: 1h"),
        lambda c: crm(c).retry.max_age,
        3600.0,
    ),
    "retry_policies.NAME.backoff.initial": (
        _retry("max_age: 1h, backoff: {initial: 100ms}"),
        lambda c: crm(c).retry.backoff.initial,
        0.1,
    ),
    "retry_policies.NAME.backoff.multiplier": (
        _retry("max_age: 1h, backoff: {multiplier: 1.5}"),
        lambda c: crm(c).retry.backoff.multiplier,
        1.5,
    ),
    "retry_policies.NAME.backoff.max": (
        _retry("max_age: 1h, backoff: {max: 1m}"),
        lambda c: crm(c).retry.backoff.max,
        60.0,
    ),
    "retry_policies.NAME.backoff.jitter": (
        _retry("max_age: 1h, backoff: {jitter: full}"),
        lambda c: crm(c).retry.jitter,
        Jitter.FULL,
    ),
    "retry_policies.NAME.schedule": (
        _retry("schedule: [1s, 1m]"),
        lambda c: (crm(c).retry.schedule, crm(c).retry.backoff),
        ((1.0, 60.0), None),
    ),
    "retry_policies.NAME.jitter": (
        _retry("schedule: [1s], jitter: none"),
        lambda c: crm(c).retry.jitter,
        Jitter.NONE,
    ),
    "retry_policies.NAME.retry_after_max": (
        _retry("max_age: 1h, retry_after_max: 5m"),
        lambda c: crm(c).retry.retry_after_max,
        300.0,
    ),
    "retry_policies.NAME.reject_on": (
        _retry("max_age: 1h, reject_on: [404, 422]"),
        lambda c: crm(c).retry.reject_on,
        frozenset({404, 422}),
    ),
    "rate_limits.NAME.rate": (
        {"top": "rate_limits: {own: {rate: 60/m, burst: 3}}", "limit": "own"},
        lambda c: billing(c).rate_limit.rate,
        1.0,
    ),
    "rate_limits.NAME.burst": (
        {"top": "rate_limits: {own: {rate: 60/m, burst: 3}}", "limit": "own"},
        lambda c: billing(c).rate_limit.burst,
        3,
    ),
    "circuit_breakers.NAME.window": (
        _breaker("window: 5m"),
        lambda c: crm(c).circuit_breaker.window,
        300.0,
    ),
    "circuit_breakers.NAME.min_attempts": (
        _breaker("min_attempts: 2"),
        lambda c: crm(c).circuit_breaker.min_attempts,
        2,
    ),
    "circuit_breakers.NAME.failure_ratio": (
        _breaker("failure_ratio: 1"),
        lambda c: crm(c).circuit_breaker.failure_ratio,
        1.0,
    ),
    "circuit_breakers.NAME.consecutive_failures": (
        _breaker("consecutive_failures: 3"),
        lambda c: crm(c).circuit_breaker.consecutive_failures,
        3,
    ),
    "circuit_breakers.NAME.open_for": (
        _breaker("open_for: 5s"),
        lambda c: crm(c).circuit_breaker.open_for,
        5.0,
    ),
    "circuit_breakers.NAME.max_open_for": (
        _breaker("max_open_for: 1h"),
        lambda c: crm(c).circuit_breaker.max_open_for,
        3600.0,
    ),
    "circuit_breakers.NAME.probes": (
        _breaker("probes: 5"),
        lambda c: crm(c).circuit_breaker.probes,
        5,
    ),
    "egress_policies.NAME.allow": (
        _egress('allow: ["10.0.0.0/8", "[fd00::/8]:8443", "192.0.2.1"]'),
        lambda c: crm(c).egress.allow,
        (
            Allowance(network=ip_network("10.0.0.0/8")),
            Allowance(network=ip_network("fd00::/8"), port=8443),
            Allowance(network=ip_network("192.0.2.1/32")),
        ),
    ),
    "egress_policies.NAME.require_https": (
        _egress("require_https: false"),
        lambda c: (crm(c).egress.name, crm(c).egress.require_https),
        ("own", False),
    ),
    "sources.NAME.path": ({}, lambda c: billing(c).path, "/in/billing"),
    "sources.NAME.auth": ({"auth": "none"}, lambda c: billing(c).auth, Auth()),
    "sources.NAME.auth.bearer": (
        {},
        lambda c: [secret.value for secret in billing(c).auth.bearer],
        [b"token-for-publishers"],
    ),
    "sources.NAME.auth.basic.username": (
        {"auth": "{basic: {username: u, passwords: [token]}}"},
        lambda c: billing(c).auth.basic.username,
        "u",
    ),
    "sources.NAME.auth.basic.passwords": (
        {"auth": "{basic: {username: u, passwords: [token, other]}}"},
        lambda c: [secret.name for secret in billing(c).auth.basic.passwords],
        ["token", "other"],
    ),
    "sources.NAME.auth.api_key.header": (
        {},
        lambda c: c.sources["spare"].auth.api_key.header,
        "X-Key",
    ),
    "sources.NAME.auth.api_key.secrets": (
        {},
        lambda c: [secret.name for secret in c.sources["spare"].auth.api_key.secrets],
        ["other"],
    ),
    "sources.NAME.allow_from": (
        _source('allow_from: [10.0.0.0/8, "::1", unix]'),
        lambda c: billing(c).allow_from,
        Peers((ip_network("10.0.0.0/8"), ip_network("::1/128")), unix=True),
    ),
    "sources.NAME.max_body": (
        _source("max_body: 4KiB"),
        lambda c: (billing(c).max_body, c.sources["spare"].max_body),
        (4096, None),
    ),
    "sources.NAME.content_types": (
        _source(RAW + "{value: v}, content_types: [Application/JSON, text/*]"),
        lambda c: (billing(c).content_types, c.sources["spare"].content_types),
        (("application/json", "text/*"), None),
    ),
    "sources.NAME.format": (
        _source(RAW + "{value: v}"),
        lambda c: billing(c).format,
        Format.RAW,
    ),
    "sources.NAME.webhook_origins": (
        _source('format: cloudevents, webhook_origins: [Emitter.Example.com, "*"]'),
        lambda c: (billing(c).format, billing(c).webhook_origins),
        (Format.CLOUDEVENTS, ("emitter.example.com", "*")),
    ),
    "sources.NAME.event_type.header": (
        _source(RAW + "{header: X-Type}"),
        lambda c: billing(c).event_type.header,
        "X-Type",
    ),
    "sources.NAME.event_type.value": (
        _source(RAW + "{value: order.paid}"),
        lambda c: billing(c).event_type.value,
        "order.paid",
    ),
    "sources.NAME.event_type.expression": (
        _source(RAW + "{expression: body.t}"),
        lambda c: billing(c).event_type.expression({"body": {"t": "x"}}),
        "x",
    ),
    "sources.NAME.event_id.header": (
        _source(RAW + "{value: v}, event_id: {header: X-Id}"),
        lambda c: billing(c).event_id.header,
        "X-Id",
    ),
    "sources.NAME.event_id.expression": (
        _source(RAW + "{value: v}, event_id: {expression: body.id}"),
        lambda c: billing(c).event_id.expression({"body": {"id": "7"}}),
        "7",
    ),
    "sources.NAME.event_types.NAME.schema": (
        _source(f"event_types: {{a.b: {{schema: {SCHEMA}}}, 'c.*': {{}}}}"),
        lambda c: (
            [
                (found.schema, [tuple(one) for one in found.validate(b"1", "$.data")])
                for found in [billing(c).event_types.find("a.b")]
            ]
            + [billing(c).event_types.find("c.d").validate, billing(c).event_types.find("d")]
        ),
        [(str(SCHEMA), [("$.data", 'is not of type "object"')]), None, None],
    ),
    "sources.NAME.forward_headers": (
        _source("forward_headers: [X-Kind]"),
        lambda c: billing(c).forward_headers,
        ("X-Kind",),
    ),
    "sources.NAME.dedup": (
        _source("dedup: none"),
        lambda c: billing(c).dedup_window,
        None,
    ),
    "sources.NAME.dedup.window": (
        _source("dedup: {window: 7d}"),
        lambda c: billing(c).dedup_window,
        7 * 86400.0,
    ),
    "sources.NAME.rate_limit": (
        {"top": "rate_limits: {own: {rate: 60/m, burst: 3}}", "limit": "own"},
        lambda c: billing(c).rate_limit,
        RateLimit(rate=1.0, burst=3),
    ),
    "endpoints.NAME.url": ({}, lambda c: crm(c).url, "https://crm.example.com/hooks"),
    "endpoints.NAME.url.secret": (
        {"url": "{secret: place}", "secret": "  place: {env: GOOD_URL}"},
        lambda c: (crm(c).url, crm(c).url_secret, crm(c).shown_url),
        ("https://hooks.example.com/T0/B0", "place", "secret:place"),
    ),
    "endpoints.NAME.renamed_from": (
        _endpoint("renamed_from: crm-2024"),
        lambda c: crm(c).renamed_from,
        "crm-2024",
    ),
    "subscriptions.NAME.sources": (
        {"subscription": ", sources: [billing, spare]"},
        lambda c: c.subscriptions[0].sources,
        ("billing", "spare"),
    ),
    "subscriptions.NAME.events": (
        {"subscription": ', events: [a.b, "c.**"]'},
        lambda c: c.subscriptions[0].events,
        ("a.b", "c.**"),
    ),
    "subscriptions.NAME.filter": (
        {"subscription": ', filter: "data.amount > `1000`"'},
        lambda c: c.subscriptions[0].filter.text,
        "data.amount > `1000`",
    ),
    "subscriptions.NAME.transform": (
        {"subscription": ', transform: "{id: data.id}"'},
        lambda c: c.subscriptions[0].transform.text,
        "{id: data.id}",
    ),
    "subscriptions.NAME.endpoints": ({}, lambda c: c.subscriptions[0].endpoints, ("crm",)),
    "logging.level": (_top("logging: {level: debug}"), lambda c: c.logging.level, "debug"),
    "logging.format": (_top("logging: {format: json}"), lambda c: c.logging.format, "json"),
}


def _hmac(text: str, get: Callable[[Any], Any], expected: Any) -> tuple[str, Get, Any]:
    place = (
        "signature: {header: [X-Signature, X-Also], format: kv, keys: [v1], separator: ';', "
        "pair_separator: ':', header_prefix: 'a ', prefix: p, encoding: base64}"
    )
    more = f", {text}" if text else ""
    return (
        f"signing: {{hmac: {{secrets: [other], {place}{more}}}}}",
        lambda c: get(crm(c).signing.hmac),
        expected,
    )


OPTIONS: dict[str, tuple[str, Get, Any]] = {
    "signing.standard_webhooks": (
        "signing: {standard_webhooks: [key]}",
        lambda c: [key.secret.name for key in crm(c).signing.standard_webhooks],
        ["key"],
    ),
    "signing.ed25519": (
        "signing: {ed25519: [private]}",
        lambda c: [key.secret.name for key in crm(c).signing.ed25519],
        ["private"],
    ),
    "signing.hmac.secrets": _hmac("", lambda h: [key.secret.name for key in h.keys], ["other"]),
    "signing.hmac.algorithm": _hmac("algorithm: sha512", lambda h: h.algorithm, "sha512"),
    "signing.hmac.key.encoding": _hmac(
        "key: {encoding: base64}", lambda h: h.keys[0].value, bytes.fromhex("c28c28")
    ),
    "signing.hmac.key.strip_prefix": _hmac(
        "key: {strip_prefix: w}", lambda h: h.keys[0].value, b"owo"
    ),
    "signing.hmac.signature.header": _hmac(
        "", lambda h: h.signature.headers, ("X-Signature", "X-Also")
    ),
    "signing.hmac.signature.format": _hmac("", lambda h: h.signature.form, Form.KV),
    "signing.hmac.signature.header_prefix": _hmac("", lambda h: h.signature.header_prefix, "a "),
    "signing.hmac.signature.prefix": _hmac("", lambda h: h.signature.prefix, "p"),
    "signing.hmac.signature.separator": _hmac("", lambda h: h.signature.separator, ";"),
    "signing.hmac.signature.pair_separator": _hmac("", lambda h: h.signature.pair_separator, ":"),
    "signing.hmac.signature.keys": _hmac("", lambda h: h.signature.keys, ("v1",)),
    "signing.hmac.signature.encoding": _hmac("", lambda h: h.signature.encoding, Encoding.BASE64),
    "signing.hmac.timestamp.header": _hmac(
        "timestamp: {header: X-Time}", lambda h: h.timestamp.headers, ("X-Time",)
    ),
    "signing.hmac.timestamp.kv": _hmac("timestamp: {kv: t}", lambda h: h.timestamp.kv, "t"),
    "signing.hmac.timestamp.unit": _hmac(
        "timestamp: {kv: t, unit: ms}", lambda h: h.timestamp.milliseconds, True
    ),
    "signing.hmac.id.header": _hmac(
        "id: {header: X-Id}, template: '{id}{body}'", lambda h: h.id_headers, ("X-Id",)
    ),
    "signing.hmac.template": _hmac("template: '<{body}>'", lambda h: h.template.text, "<{body}>"),
    "headers": ("headers: {X-Env: prod}", lambda c: crm(c).headers, (("X-Env", "prod"),)),
    "payload": ("payload: raw", lambda c: crm(c).payload, Payload.RAW),
    "success": (
        "success: [200, 204]",
        lambda c: crm(c).success,
        frozenset({200, 204}),
    ),
    "retry": ("retry: slow", lambda c: crm(c).retry.max_attempts, 77),
    "rate_limit": ("rate_limit: slow", lambda c: crm(c).rate_limit.burst, 77),
    "circuit_breaker": (
        "circuit_breaker: none",
        lambda c: crm(c).circuit_breaker,
        None,
    ),
    "egress": ("egress: slow", lambda c: crm(c).egress.name, "slow"),
    "concurrency": ("concurrency: 3", lambda c: crm(c).concurrency, 3),
    "timeout": ("timeout: 750ms", lambda c: crm(c).timeout, 0.75),
    "keepalive": ("keepalive: 0s", lambda c: crm(c).keepalive, 0.0),
    "ordering": ("ordering: fifo", lambda c: crm(c).ordering, Ordering()),
    "ordering.key": (
        "ordering: {key: data.customer}",
        lambda c: crm(c).ordering.key.text,
        "data.customer",
    ),
    "max_pending": ("max_pending: 5", lambda c: crm(c).max_pending, 5),
    "on_remove": ("on_remove: cancel", lambda c: crm(c).on_remove, OnRemove.CANCEL),
    "paused": ("paused: true", lambda c: crm(c).paused, True),
}
"""Keys of an endpoint that `endpoint_defaults` may give, too."""

OPTIONED = """\
version: 1
secrets: {key: {env: KEY}, token: {env: TOKEN}, other: {env: TINY}, private: {env: PRIVATE}}
retry_policies: {slow: {max_attempts: 77}}
rate_limits: {slow: {rate: 1/s, burst: 77}}
egress_policies: {slow: {}}
sources: {billing: {path: /in/billing, auth: {bearer: [token]}}}
endpoint_defaults: {%s}
endpoints:
  crm: {url: "https://crm.example.com/hooks"%s}
subscriptions: {all: {endpoints: [crm]}}
"""

ELSEWHERE = {
    "sources.NAME.auth.jwt.jwks_file": "tests/config/test_jwks.py",
    "sources.NAME.auth.jwt.issuer": "tests/config/test_jwks.py",
    "sources.NAME.auth.jwt.audience": "tests/config/test_jwks.py",
    "sources.NAME.auth.jwt.leeway": "tests/config/test_jwks.py",
    "listen.ingest.tls.cert": "tests/config/test_tls.py",
    "listen.ingest.tls.key": "tests/config/test_tls.py",
    "listen.ingest.tls.client_ca": "tests/config/test_tls.py",
    "version": "tests/config/mistakes/version-unknown.yaml",
    "include": "tests/config/test_include.py",
    "endpoints.NAME.signing": "tests/config/test_arrival.py",  # the word `none`
    "endpoint_defaults.signing": "tests/config/test_arrival.py",
    **{
        key: "tests/config/test_credentials.py"
        for key in leaves()
        for part in ("auth", "tls", "proxy")
        if key.startswith((f"endpoints.NAME.{part}", f"endpoint_defaults.{part}"))
    },
    "secrets.NAME.env": "tests/config/test_secrets.py",
    "secrets.NAME.file": "tests/config/test_secrets.py",
    "secrets.NAME.credential": "tests/config/test_secrets.py",
    "secrets.NAME.not_before": "tests/config/test_secrets.py",
    "secrets.NAME.not_after": "tests/config/test_secrets.py",
    **{
        key: "tests/web/test_signed_sources.py"
        for key in leaves()
        if key.startswith(("sources.NAME.auth.hmac.", "sources.NAME.auth.public_key."))
    },
    "sources.NAME.auth.twilio.secrets": "tests/web/test_signed_sources.py",
    "sources.NAME.auth.body_secret.json": "tests/web/test_signed_sources.py",
    "sources.NAME.auth.body_secret.secrets": "tests/web/test_signed_sources.py",
    "sources.NAME.answer.status": "tests/web/test_signed_sources.py",
    "sources.NAME.answer.body": "tests/web/test_signed_sources.py",
    "sources.NAME.dedup.key": "tests/web/test_signed_sources.py",
    "sources.NAME.url": "tests/web/test_signed_sources.py",
    "sources.NAME.preset": "tests/web/test_presets.py",
    "sources.NAME.secrets": "tests/web/test_presets.py",
    "sources.NAME.handshake_secrets": "tests/web/test_handshakes.py",
    **{
        key: "tests/web/test_handshakes.py"
        for key in leaves()
        if key.startswith("sources.NAME.handshake[]")
    },
}
"""Keys whose behaviour is tested in files of their own."""


@pytest.mark.parametrize("path", KEYS)
def test_a_key_changes_what_it_says(loading: Write, path: str) -> None:
    parts, get, expected = KEYS[path]
    loaded = loading(_text(**parts))
    assert loaded.errors == ()
    assert get(loaded.sound()) == expected


@pytest.mark.parametrize("path", [path for path, (parts, _, _) in KEYS.items() if parts])
def test_the_value_is_not_what_it_would_be_anyway(loading: Write, path: str) -> None:
    _, get, expected = KEYS[path]
    try:
        usual = get(loading(_text()).sound())
    except (AttributeError, TypeError):
        return  # without the key there is not even a place for the value
    assert usual != expected


@pytest.mark.parametrize("key", OPTIONS)
def test_an_option_may_stand_at_the_endpoint_or_in_the_defaults(loading: Write, key: str) -> None:
    text, get, expected = OPTIONS[key]
    own = loading(OPTIONED % ("", f", {text}"))
    shared = loading(OPTIONED % (text, ""))
    neither = loading(OPTIONED % ("", ""))
    assert own.errors == shared.errors == neither.errors == ()
    assert own.sound().endpoints == shared.sound().endpoints
    assert get(own.sound()) == expected
    try:
        usual = get(neither.sound())
    except (AttributeError, TypeError):
        return
    assert usual != expected


def test_an_endpoints_own_key_replaces_the_default_key_by_key(loading: Write) -> None:
    loaded = loading(
        OPTIONED % ("concurrency: 3, timeout: 9s, headers: {X-A: a}", ", timeout: 1s, headers: {}")
    )
    endpoint = crm(loaded.sound())
    assert (endpoint.concurrency, endpoint.timeout, endpoint.headers) == (3, 1.0, ())


@pytest.mark.parametrize(
    ("switch", "get"),
    [
        ("signing: none", lambda c: crm(c).signing),
        ("circuit_breaker: none", lambda c: crm(c).circuit_breaker),
        ("rate_limit: none", lambda c: crm(c).rate_limit),
    ],
)
def test_none_switches_off_what_the_defaults_switched_on(
    loading: Write, switch: str, get: Get
) -> None:
    on = "signing: {standard_webhooks: [key]}, circuit_breaker: standard, rate_limit: slow"
    assert get(loading(OPTIONED % (on, "")).sound()) is not None
    assert get(loading(OPTIONED % (on, f", {switch}")).sound()) is None


def test_standard_may_be_redefined_and_holds_for_who_names_nothing(loading: Write) -> None:
    loaded = loading(
        _text(
            top="retry_policies: {standard: {max_attempts: 2}}\n"
            "circuit_breakers: {standard: {probes: 4}}"
        ).replace("retry: standard, circuit_breaker: standard, ", "")
    )
    assert loaded.diagnostics == ()
    assert crm(loaded.sound()).retry.max_attempts == 2
    assert crm(loaded.sound()).circuit_breaker.probes == 4


def test_systemd_says_where_database_and_socket_are(loading: Write, tmp_path: Path) -> None:
    usual = loading("version: 1\n").sound()
    assert usual.storage.path == tmp_path / "var/outbox.db"
    assert usual.listen.admin.address.path == tmp_path / "run/admin.sock"
    environ = {"STATE_DIRECTORY": "/var/lib/h:/x", "RUNTIME_DIRECTORY": "/run/h"}
    under = loading("version: 1\n", environ=environ).sound()
    assert under.storage.path == Path("/var/lib/h/outbox.db")
    assert under.listen.admin.address.path == Path("/run/h/admin.sock")
    given = loading(
        "version: 1\nstorage: {sqlite: {path: data/o.db}}\n"
        "listen: {admin: {address: unix:a.sock}, ops: {address: unix:o.sock}}\n",
        environ=environ,
    ).sound()
    assert given.storage.path == tmp_path / "data/o.db"
    assert given.listen.admin.address.path == tmp_path / "a.sock"
    assert str(given.listen.ops.address) == f"unix:{tmp_path}/o.sock"


def test_every_key_of_the_schema_arrives() -> None:
    tested = {*KEYS, *ELSEWHERE}
    for section in ("endpoints.NAME", "endpoint_defaults"):
        tested |= {f"{section}.{key}" for key in OPTIONS}
    assert leaves() == tested


def test_tests_elsewhere_exist() -> None:
    root = Path(__file__).parents[2]
    for key, place in ELSEWHERE.items():
        assert key.rpartition(".")[2] in (root / place).read_text("utf-8"), key
