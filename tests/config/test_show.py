"""What is shown can be read again, says everything in force, and hides what is secret."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hookpost.config import ConfigError, Loaded, shown
from hookpost.core.settings import Config

Write = Callable[..., Loaded]

RICH = """\
version: 1
x-note: {a: 1}
listen: {ops: {address: "unix:run/ops.sock", mode: "0600"}}
secrets:
  token: {file: token}
  key: {env: KEY, not_after: "2099-01-01T00:00:00Z"}
retry_policies:
  listed: {schedule: [1s, 5m], jitter: none, reject_on: [4xx]}
rate_limits: {partner: {rate: 50/s, burst: 100}}
egress_policies: {lan: {allow: ["10.0.0.0/8"], require_https: false}}
sources:
  billing:
    path: /in/billing
    auth: {bearer: [token]}
    allow_from: [unix, 10.0.0.0/8]
    format: raw
    event_type: {expression: "join('.', ['order', body.on])"}
    dedup: none
    rate_limit: partner
endpoint_defaults: {timeout: 9s, headers: {X-Env: "on"}, retry: listed}
endpoints:
  crm:
    url: "http://10.1.2.3/hooks?key=hunter2"
    signing: {standard_webhooks: [key]}
    headers: {X-Api-Key: hunter2, X-Count: "1e3", X-Zero: "007"}
    egress: lan
    circuit_breaker: none
    timeout: 1s
subscriptions:
  all: {endpoints: [crm], events: ["order.**"]}
"""


@pytest.fixture
def rich(loading: Write, tmp_path: Path) -> Loaded:
    (tmp_path / "token").write_text("from-a-file")
    (tmp_path / "token").chmod(0o600)
    return loading(RICH)


def _comparable(config: Config) -> Config:
    """Without what is hidden: the query of the URL, one header, and with it the hash."""
    crm = config.endpoints["crm"]
    crm = replace(crm, url=crm.url.split("?")[0], headers=crm.headers[1:])
    return replace(config, endpoints={"crm": crm}, hash="", fingerprint="")


@pytest.mark.parametrize("effective", [False, True])
def test_what_is_shown_is_the_same_configuration(
    loading: Write, rich: Loaded, *, effective: bool
) -> None:
    text = shown(rich, effective=effective)
    again = loading(text).sound()
    assert _comparable(again) == _comparable(rich.sound())


@pytest.mark.parametrize("effective", [False, True])
def test_nothing_secret_is_shown(rich: Loaded, *, effective: bool) -> None:
    text = shown(rich, effective=effective)
    assert "hunter2" not in text
    assert "from-a-file" not in text
    assert "whsec_" not in text
    assert "http://10.1.2.3/hooks?***" in text
    assert 'X-Count: "1e3"' in text


def test_effective_fills_in_every_default(rich: Loaded, tmp_path: Path) -> None:
    text = shown(rich, effective=True)
    for line in (
        "max_body: 1MiB",
        "max_size: 10GiB",
        "keepalive: 1500ms",
        "timeout: 1s",
        "retry: listed",
        "failure_ratio: 0.5",
        "max_age: 3d",
        "max: 6h",
        "level: info",
        f"path: {tmp_path}/var/outbox.db",
        f"file: {tmp_path}/token",
        f"address: unix:{tmp_path}/run/ops.sock",
    ):
        assert f"{line}\n" in text, line
    assert "x-note" not in text
    assert "endpoint_defaults" not in text


def test_what_does_not_apply_is_left_out(rich: Loaded) -> None:
    listed = shown(rich, effective=True).split("listed:")[1].split("rate_limits:")[0]
    assert "backoff" not in listed
    assert "schedule" in listed
    ingest = shown(rich, effective=True).split("ingest:")[1].split("ops:")[0]
    assert "mode" not in ingest


def test_a_file_with_mistakes_is_not_shown(loading: Write) -> None:
    with pytest.raises(ConfigError):
        shown(loading("version: 3\n"), effective=False)
