"""TLS is always verified; what goes wrong is `tls`, and nothing is ever sent in clear."""

import asyncio
import datetime
import ssl

import pytest
import trustme
from tests.transport.receiver import OK, Open, Peer, Receiver, answering

from hookpost.core.model import Result

PAST = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts the tests' own authority and verifies like the real one."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def only_host(host: str) -> list[str]:
    return ["127.0.0.1"]


async def test_a_trusted_receiver_gets_the_post_and_its_connection_is_reused(
    open_transport: Open, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    tls = serving(authority.issue_cert("crm.example"))
    async with Receiver(answering(OK), tls=tls) as receiver:
        url = receiver.url(host="crm.example")
        transport = open_transport(url, lookup=only_host, ssl_context=trusting)
        for _ in range(3):
            outcome = await transport.post(url, (), b"x")
            assert (outcome.result, outcome.answer) == (Result.SUCCESS, b"ok")
        assert receiver.connections == 1


@pytest.mark.parametrize("fault", ["wrong name", "expired", "self-signed", "unknown authority"])
async def test_a_certificate_that_does_not_hold_is_tls_and_nothing_is_sent(
    open_transport: Open, authority: trustme.CA, trusting: ssl.SSLContext, fault: str
) -> None:
    match fault:
        case "wrong name":
            certificate = authority.issue_cert("other.example")
        case "expired":
            certificate = authority.issue_cert("crm.example", not_before=PAST, not_after=PAST)
        case _:
            certificate = trustme.CA().issue_cert("crm.example")
    context = None if fault == "self-signed" else trusting  # None: the system's authorities
    async with Receiver(answering(OK), tls=serving(certificate)) as receiver:
        url = receiver.url("/x?token=canary", host="crm.example")
        outcome = await open_transport(url, lookup=only_host, ssl_context=context).post(
            url, (), b"x"
        )
        assert receiver.requests == []
    assert outcome.result is Result.TLS
    assert "certificate not accepted" in outcome.error
    assert "canary" not in outcome.error


async def test_a_receiver_that_speaks_no_tls_is_tls(
    open_transport: Open, trusting: ssl.SSLContext
) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 No\r\n\r\n")
        await peer.gone()

    async with Receiver(script) as receiver:
        url = f"https://127.0.0.1:{receiver.port}/"
        outcome = await open_transport(url, ssl_context=trusting).post(url, (), b"x")
    assert outcome.result is Result.TLS


async def test_an_old_protocol_is_tls(
    open_transport: Open, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    tls = serving(authority.issue_cert("crm.example"))
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    trusting.minimum_version = ssl.TLSVersion.TLSv1_3
    async with Receiver(answering(OK), tls=tls) as receiver:
        url = receiver.url(host="crm.example")
        outcome = await open_transport(url, lookup=only_host, ssl_context=trusting).post(
            url, (), b"x"
        )
    assert outcome.result is Result.TLS


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_demanded_client_certificate_that_we_lack_is_tls(
    open_transport: Open, authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    tls = serving(authority.issue_cert("crm.example"))
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(tls)
    tls.maximum_version = version
    async with Receiver(answering(OK), tls=tls) as receiver:
        url = receiver.url(host="crm.example")
        outcome = await open_transport(url, lookup=only_host, ssl_context=trusting).post(
            url, (), b"x"
        )
        assert receiver.requests == []
    # in 1.3 the refusal comes after our side of the handshake, here as a bare reset
    assert outcome.result is Result.TLS or version is ssl.TLSVersion.TLSv1_3
    assert outcome.result in (Result.TLS, Result.CONNECT)


async def test_a_handshake_that_never_ends_is_a_timeout_and_leaves_no_socket(
    open_transport: Open, trusting: ssl.SSLContext
) -> None:
    async def script(peer: Peer) -> None:
        await peer.gone()

    async with Receiver(script) as receiver:
        url = f"https://127.0.0.1:{receiver.port}/"
        transport = open_transport(url, ssl_context=trusting, timeout=0.25)
        outcome = await transport.post(url, (), b"x")
        assert outcome.result is Result.TIMEOUT
        async with asyncio.timeout(5):
            while receiver.scripts_left == 0:  # the receiver sees the connection go
                await asyncio.gather(*receiver._tasks)
