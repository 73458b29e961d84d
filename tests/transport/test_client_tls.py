"""`tls` of an endpoint against real servers: whose CA, which certificate, from which version on."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests import certificates
from tests.transport.receiver import OK, Open, Receiver, answering

from hookpost.config import load
from hookpost.core.model import Result
from hookpost.core.settings import ClientTls

PAST = datetime(2020, 1, 1, tzinfo=UTC)
HOST = "crm.example"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def settings(folder: Path, authority: trustme.CA, text: str) -> ClientTls:
    """What a configuration comes to that says this of `tls`; the files are of the authority."""
    certificates.write(folder, authority)
    file = folder / "gateway.yaml"
    file.write_text(
        f"version: 1\nendpoints: {{crm: {{url: 'https://{HOST}/', signing: none, tls: {text}}}}}\n"
    )
    tls = load(file).sound().endpoints["crm"].tls
    assert tls is not None
    return tls


def serving(authority: trustme.CA, host: str = HOST, **validity: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host, **validity).configure_cert(context)
    return context


async def posted(open_transport: Open, tls: ClientTls, context: ssl.SSLContext) -> tuple[Any, int]:
    """The outcome, and how many requests the receiver got."""
    async with Receiver(answering(OK), tls=context) as receiver:
        url = receiver.url(host=HOST)
        transport = open_transport(url, lookup=lambda _: ["127.0.0.1"], tls=tls)
        return await transport.post(url, (), b"x"), len(receiver.requests)


async def test_a_private_ca_is_trusted_and_another_is_not(
    open_transport: Open, authority: trustme.CA, tmp_path: Path
) -> None:
    tls = settings(tmp_path, authority, "{ca: ca.pem}")
    outcome, requests = await posted(open_transport, tls, serving(authority))
    assert (outcome.result, requests) == (Result.SUCCESS, 1)
    outcome, requests = await posted(open_transport, tls, serving(trustme.CA()))
    assert (outcome.result, requests) == (Result.TLS, 0)
    assert "certificate not accepted" in outcome.error


async def test_without_a_ca_the_systems_are_asked(
    open_transport: Open, authority: trustme.CA, tmp_path: Path
) -> None:
    tls = settings(tmp_path, authority, "{cert: cert.pem, key: key.pem}")
    outcome, requests = await posted(open_transport, tls, serving(authority))
    assert (outcome.result, requests) == (Result.TLS, 0)


@pytest.mark.parametrize(
    ("host", "validity"),
    [("other.example", {}), (HOST, {"not_before": PAST, "not_after": PAST})],
)
async def test_a_wrong_name_and_a_certificate_that_has_ended_are_tls(
    open_transport: Open, authority: trustme.CA, tmp_path: Path, host: str, validity: dict[str, Any]
) -> None:
    tls = settings(tmp_path, authority, "{ca: ca.pem}")
    outcome, requests = await posted(open_transport, tls, serving(authority, host, **validity))
    assert (outcome.result, requests) == (Result.TLS, 0)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_that_demands_a_certificate_is_shown_it(
    open_transport: Open, authority: trustme.CA, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    context = serving(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version
    authority.configure_trust(context)
    tls = settings(tmp_path, authority, "{ca: ca.pem, cert: cert.pem, key: key.pem}")
    outcome, requests = await posted(open_transport, tls, context)
    assert (outcome.result, requests) == (Result.SUCCESS, 1)
    tls = settings(tmp_path, authority, "{ca: ca.pem}")
    outcome, requests = await posted(open_transport, tls, context)
    assert outcome.result in (Result.TLS, Result.CONNECT)
    assert requests == 0
    strange = settings(tmp_path, trustme.CA(), "{cert: cert.pem, key: key.pem}")
    strange.context.load_verify_locations(cadata=authority.cert_pem.bytes().decode())
    outcome, requests = await posted(open_transport, strange, context)
    assert outcome.result in (Result.TLS, Result.CONNECT)
    assert requests == 0


async def test_a_server_of_tls_1_2_alone_is_too_old_for_1_3(
    open_transport: Open, authority: trustme.CA, tmp_path: Path
) -> None:
    context = serving(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    tls = settings(tmp_path, authority, "{ca: ca.pem, min_version: '1.2'}")
    assert (await posted(open_transport, tls, context))[0].ok
    tls = settings(tmp_path, authority, "{ca: ca.pem, min_version: '1.3'}")
    outcome, requests = await posted(open_transport, tls, context)
    assert (outcome.result, requests) == (Result.TLS, 0)
