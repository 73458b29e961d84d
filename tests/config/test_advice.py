"""Warnings that depend on the machine, and those that must not be given."""

import resource
from collections.abc import Callable

import pytest

from hookpost.config import Loaded
from hookpost.config.advice import credential_like
from hookpost.web import pages

Write = Callable[..., Loaded]
Codes = Callable[[Loaded], list[str]]


def test_too_few_descriptors_are_a_warning(
    loading: Write, codes: Codes, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 1024 + 2 * pages.CONNECTIONS + 64  # ingest; ops and admin; all else
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, needed - 1))
    loaded = loading("version: 1\n")
    assert codes(loaded) == ["few-descriptors"]
    assert "may need 1344 open files, and the limit is 1343" in str(loaded.warnings[0])
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, needed))
    assert codes(loading("version: 1\n")) == []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, resource.RLIM_INFINITY))
    assert codes(loading("version: 1\n")) == []


def test_a_reserve_smaller_than_the_outbox_needs_is_a_warning(loading: Write, codes: Codes) -> None:
    loaded = loading("version: 1\nstorage: {min_free: 31MiB}\n")
    assert codes(loaded) == ["small-reserve"]
    assert "storage.min_free: 31MiB is less than the 32MiB" in str(loaded.warnings[0])
    assert codes(loading("version: 1\nstorage: {min_free: 32MiB}\n")) == []


QUIET = """\
version: 1
secrets: {key: {env: KEY}}
sources: {open: {path: /in/open, auth: none, allow_from: [unix]}}
egress_policies: {home: {allow: ["10.0.0.0/8"], require_https: false}}
endpoints:
  one: {url: "http://10.0.0.1/", egress: home, signing: {standard_webhooks: [key]}}
  two: {url: "http://billing.internal/", egress: home, signing: {standard_webhooks: [key]}}
  three: {url: "http://billing:8080/", egress: home, signing: {standard_webhooks: [key]}}
subscriptions: {all: {endpoints: [one, two, three], events: ["a.*", "**"]}}
"""


def test_what_is_meant_is_not_warned_of(loading: Write) -> None:
    assert loading(QUIET).diagnostics == ()


@pytest.mark.parametrize(
    "name", ["Authorization", "Cookie", "X-Api-Key", "x-auth-token", "X-Shared-Secret", "apikey"]
)
def test_names_of_credentials_are_known(name: str) -> None:
    assert credential_like(name)


@pytest.mark.parametrize("name", ["X-Env", "Content-Type", "X-Author", "X-Keyboard"])
def test_other_names_are_not(name: str) -> None:
    assert not credential_like(name)
