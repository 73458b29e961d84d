"""Credentials, TLS and proxy of an endpoint: judged when the file is checked, told to nobody."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests import certificates
from tests.certificates import FUTURE, PAST
from tests.config.conftest import ENVIRON

from hookpost.config import Loaded, shown
from hookpost.core.credentials import BasicAuth, BearerAuth, KeyAuth, OAuth2, header_of
from hookpost.core.settings import Endpoint, TcpAddress

Write = Callable[..., Loaded]
TEXT = """\
version: 1
secrets: {word: {env: WORD}}
endpoint_defaults: {%s}
endpoints: {crm: {url: "https://crm.example.com/", signing: none%s}}
"""
TLS = "tls: {ca: ca.pem, cert: cert.pem, key: key.pem, min_version: '1.3'}"
OAUTH = (
    'auth: {oauth2: {token_url: "https://id.example.com/token?tenant=canary", client_id: me, '
    "client_secret: word, scope: a b, audience: all, auth_method: post}}"
)


def crm(loaded: Loaded) -> Endpoint:
    return loaded.sound().endpoints["crm"]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def folder(tmp_path: Path, authority: trustme.CA) -> Path:
    certificates.write(tmp_path, authority, not_after=FUTURE)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "kind", "header"),
    [
        ("basic: {username: me, password: word}", BasicAuth, "Basic bWU6bm90LWEta2V5LWF0LWFsbA=="),
        ("bearer: word", BearerAuth, "Bearer not-a-key-at-all"),
        ("api_key: {header: X-Key, secret: word}", KeyAuth, "not-a-key-at-all"),
    ],
)
def test_a_credential_comes_to_a_header(loading: Write, text: str, kind: Any, header: str) -> None:
    own = crm(loading(TEXT % ("", f", auth: {{{text}}}")))
    shared = crm(loading(TEXT % (f"auth: {{{text}}}", "")))
    none = crm(loading(TEXT % (f"auth: {{{text}}}", ", auth: none")))
    assert own == shared
    assert none.auth is None
    assert isinstance(own.auth, kind)
    assert header_of(own.auth) == (getattr(own.auth, "header", "Authorization"), header)
    assert ENVIRON["WORD"] not in repr(own)


def test_every_part_of_oauth2_arrives(loading: Write) -> None:
    auth = crm(loading(TEXT % ("", f", {OAUTH}"))).auth
    assert isinstance(auth, OAuth2)
    assert auth.client_secret.value == b"not-a-key-at-all"
    assert (auth.token_url, auth.client_id) == ("https://id.example.com/token?tenant=canary", "me")
    assert (auth.scope, auth.audience, auth.post) == ("a b", "all", True)


def test_tls_becomes_a_context(loading: Write, folder: Path) -> None:
    tls = crm(loading(TEXT % ("", f", {TLS}"))).tls
    assert tls is not None
    assert (tls.ca, tls.cert, tls.key) == tuple(folder / f"{n}.pem" for n in ("ca", "cert", "key"))
    assert tls.context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert tls.context.verify_mode is ssl.CERT_REQUIRED
    assert tls.context.check_hostname
    assert len(tls.context.get_ca_certs()) == 1, "the system's are not beside it"
    system = crm(loading(TEXT % ("", ", tls: {min_version: '1.2'}"))).tls
    assert system is not None
    assert system.context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_tls_of_the_defaults_is_that_of_the_endpoints(loading: Write, folder: Path) -> None:
    assert crm(loading(TEXT % (TLS, ""))).tls == crm(loading(TEXT % ("", f", {TLS}"))).tls


def test_new_contents_of_a_file_are_another_configuration(loading: Write, folder: Path) -> None:
    text = TEXT % ("", f", {TLS}")
    first, again = loading(text).sound(), loading(text).sound()
    assert (first.fingerprint, first.endpoints) == (again.fingerprint, again.endpoints)
    for name in ("ca.pem", "cert.pem", "key.pem"):
        kept = (folder / name).read_bytes()
        certificates.put(folder / name, kept + b"\n")
        changed = loading(text).sound()
        assert changed.fingerprint != first.fingerprint
        assert changed.endpoints != first.endpoints
        certificates.put(folder / name, kept)


@pytest.mark.parametrize(
    ("name", "content", "key", "code"),
    [
        ("ca.pem", None, "ca", "no-such-file"),
        ("ca.pem", b"nothing", "ca", "bad-certificate"),
        ("cert.pem", b"nothing", "cert", "bad-certificate"),
        ("key.pem", b"nothing", "key", "bad-key"),
    ],
)
def test_a_file_that_does_not_do_is_named_at_its_key(
    loading: Write, folder: Path, name: str, content: bytes | None, key: str, code: str
) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        certificates.put(folder / name, content)
    (mistake,) = loading(TEXT % ("", f", {TLS}")).errors
    assert (mistake.path, mistake.code) == (f"endpoints.crm.tls.{key}", code)
    assert str(folder / name) in mistake.message


def test_a_certificate_that_has_ended_is_a_warning(
    loading: Write, tmp_path: Path, authority: trustme.CA
) -> None:
    certificates.write(tmp_path, authority, not_before=PAST, not_after=PAST)
    loaded = loading(TEXT % ("", f", {TLS}"))
    assert loaded.errors == ()
    assert "endpoints.crm.tls.cert" in [item.path for item in loaded.warnings]


@pytest.mark.parametrize("part", ["cert: cert.pem", "key: key.pem"])
def test_a_certificate_and_its_key_go_together(loading: Write, folder: Path, part: str) -> None:
    (mistake,) = loading(TEXT % ("", f", tls: {{{part}}}")).errors
    assert (mistake.path, mistake.code) == ("endpoints.crm.tls", "missing-key")


def test_a_proxy_is_a_host_and_a_port(loading: Write) -> None:
    text = ', proxy: "http://[fd00::1]:3128"'
    assert crm(loading(TEXT % ("", text))).proxy == TcpAddress("fd00::1", 3128)
    shared = "proxy: http://proxy.example.com:3128"
    assert crm(loading(TEXT % (shared, ""))).proxy == TcpAddress("proxy.example.com", 3128)
    assert crm(loading(TEXT % (shared, ", proxy: none"))).proxy is None


def test_what_is_shown_has_no_secret_and_the_files_where_they_are(
    loading: Write, folder: Path
) -> None:
    loaded = loading(TEXT % ("", f", {TLS}, {OAUTH}"))
    for effective in (False, True):
        text = shown(loaded, effective=effective)
        assert ENVIRON["WORD"] not in text
        assert "canary" not in text
        assert "token_url: https://id.example.com/token?***" in text
    assert f"ca: {folder}/ca.pem" in shown(loaded, effective=True)


def test_without_secrets_nothing_is_looked_up(loading: Write) -> None:
    loaded = loading(TEXT % ("", f", {TLS}, {OAUTH}"), secrets="skip")
    assert loaded.errors == ()
    assert crm(loaded).tls is None


def test_a_credential_that_is_not_live_is_a_warning(loading: Write) -> None:
    text = TEXT % ("", ", auth: {bearer: word}")
    text = text.replace("{env: WORD}", '{env: WORD, not_after: "2020-01-01T00:00:00Z"}')
    found = {item.path: item.code for item in loading(text).warnings}
    assert found["endpoints.crm.auth.bearer"] == "no-live-key"
