"""TLS on the ingest listener: handshakes are parts of connections, under the same limits."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests import certificates
from tests.certificates import HOST, serial, trusting
from tests.ingest_rig import Client, Rig, WebRig, a_rig, a_snapshot, served
from tests.ingest_rig import request as http

from hookpost.core.settings import Tls


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(tmp_path: Path, authority: trustme.CA) -> Tls:
    certificates.write(tmp_path, authority)
    return certificates.settings(tmp_path)


async def secure(web: WebRig, context: ssl.SSLContext) -> Client:
    """A connection whose handshake is done on this side."""
    async with asyncio.timeout(10):
        return await web.connect(ssl=context, server_hostname=HOST)


@asynccontextmanager
async def connected(web: WebRig, context: ssl.SSLContext) -> AsyncIterator[Client]:
    client = await secure(web, context)
    try:
        yield client
    finally:
        await client.close()


async def until(condition: Any) -> None:
    """Turn the loop until the condition holds."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        while not condition():
            turned = loop.create_future()
            loop.call_soon(turned.set_result, None)
            await turned


def failed(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The reasons of failed handshakes; and nothing that was logged has a traceback."""
    assert [one.getMessage() for one in caplog.records if one.exc_info] == []
    assert [one for one in caplog.records if one.name == "asyncio" and one.levelno > 20] == []
    told = [one for one in caplog.records if one.getMessage() == "handshake.failed"]
    return [one.fields["reason"] for one in told]  # type: ignore[attr-defined]


async def sound(web: WebRig, context: ssl.SSLContext) -> None:
    """Whatever came before: the next good request is served."""
    async with connected(web, context) as client:
        assert (await client.ask(http())).status == 202


# -- requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_requests_are_served_over_one_connection(
    tls: Tls, authority: trustme.CA, version: ssl.TLSVersion
) -> None:
    context = trusting(authority)
    context.maximum_version = version
    body = b'{"eventType":"invoice.paid","data":"%b"}' % (b"x" * 300_000)
    async with served(a_rig(a_snapshot(tls=tls))) as web, connected(web, context) as client:
        assert (await client.ask(http())).status == 202
        assert (await client.ask(http(body))).status == 202
        await client.send(http() + http())
        assert [(await client.reply()).status for _ in range(2)] == [202, 202]
        assert len(web.listener.connections) == 1


async def test_a_unix_socket_may_have_a_certificate_as_well(
    tls: Tls, authority: trustme.CA, tmp_path: Path
) -> None:
    async with served(a_rig(a_snapshot(tls=tls)), unix=tmp_path / "in.sock") as web:
        await sound(web, trusting(authority))


async def test_a_request_that_comes_with_the_end_of_the_handshake_is_not_lost(
    tls: Tls, authority: trustme.CA
) -> None:
    """Both in one segment, so that both are there before the listener's next turn."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    half = trusting(authority).wrap_bio(incoming, outgoing, server_hostname=HOST)
    async with served(a_rig(a_snapshot(tls=tls))) as web:
        client = await web.connect()
        async with asyncio.timeout(10):
            while True:
                try:
                    half.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await client.send(outgoing.read())
                    incoming.write(await client.reader.read(65536))
            half.write(http())
            await client.send(outgoing.read())
            answer = b""
            while b"eventId" not in answer:
                incoming.write(await client.reader.read(65536))
                try:
                    answer += half.read(65536)
                except ssl.SSLWantReadError:
                    continue
        await client.close()

    assert answer.startswith(b"HTTP/1.1 202 ")


# -- who is let in -------------------------------------------------------------------------------


async def test_tls_before_1_2_is_not_spoken(
    tls: Tls, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    context = trusting(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with served(a_rig(a_snapshot(tls=tls))) as web:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await secure(web, context)
        await sound(web, trusting(authority))

    assert failed(caplog) == ["version"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("shown", "reason"), [(None, "no_certificate"), ("other", "certificate"), ("own", None)]
)
async def test_with_a_client_ca_nobody_comes_in_without_its_certificate(
    tmp_path: Path,
    authority: trustme.CA,
    caplog: pytest.LogCaptureFixture,
    version: ssl.TLSVersion,
    shown: str | None,
    reason: str | None,
) -> None:
    certificates.write(tmp_path, authority)
    issuer = authority if shown == "own" else trustme.CA()
    identity = None if shown is None else issuer.issue_cert("publisher@example.com")
    context = trusting(authority, identity)
    context.maximum_version = version
    rig = a_rig(a_snapshot(tls=certificates.settings(tmp_path, client_ca=True)))
    async with served(rig) as web:
        if reason is None:
            await sound(web, context)
        else:
            with pytest.raises((ssl.SSLError, OSError, asyncio.IncompleteReadError)):
                async with connected(web, context) as client:
                    await client.ask(http())
            await until(lambda: not web.listener.handshakes)
            await sound(web, trusting(authority, authority.issue_cert("other@example.com")))

    assert failed(caplog) == ([] if reason is None else [reason])
    assert len(rig.outbox.events) == 1


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (http(), "not_tls"),
        (b"\x00" * 600, "not_tls"),
        (b"\x16\x03\x01\xff\xff" + b"\xff" * 600, "tls"),
        (b"SSH-2.0-OpenSSH_9.0\r\n", "not_tls"),
    ],
)
async def test_what_is_not_tls_is_closed_without_harm(
    tls: Tls, authority: trustme.CA, caplog: pytest.LogCaptureFixture, raw: bytes, reason: str
) -> None:
    rig = a_rig(a_snapshot(tls=tls))
    async with served(rig) as web:
        client = await web.connect()
        await client.send(raw)
        answer = await client.reader.read()
        await client.close()
        assert len(answer) <= 7, "an alert at most"
        await until(lambda: not web.listener.handshakes)
        await sound(web, trusting(authority))

    assert failed(caplog) in ([reason], ["tls"])
    assert len(rig.outbox.events) == 1


async def test_who_goes_away_in_the_handshake_leaves_nothing_behind(
    tls: Tls, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(a_rig(a_snapshot(tls=tls))) as web:
        for end in (Client.close, Client.reset):
            client = await web.connect()
            await client.send(b"\x16\x03\x01")
            await until(lambda: web.listener.handshakes)
            ended = end(client)
            if ended is not None:
                await ended
            await until(lambda: not web.listener.handshakes)
        await sound(web, trusting(authority))

    assert failed(caplog) == ["gone", "gone"]


async def test_a_flood_of_bad_handshakes_is_a_few_lines(
    tls: Tls, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(a_rig(a_snapshot(tls=tls))) as web:
        for _ in range(25):
            client = await web.connect()
            await client.send(http())
            assert await client.closed() is not None
            await client.close()
        await until(lambda: not web.listener.handshakes)

    assert len(failed(caplog)) == 10


# -- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [b"", b"\x16\x03\x01\x02"])
async def test_a_handshake_takes_no_longer_than_a_head_and_has_a_place_meanwhile(
    tls: Tls, authority: trustme.CA, caplog: pytest.LogCaptureFixture, start: bytes
) -> None:
    rig = a_rig(a_snapshot(tls=tls, header_timeout=0.3, max_connections=2))
    async with served(rig) as web:
        slow = [await web.connect() for _ in range(2)]
        for client in slow:
            await client.send(start)
        await until(lambda: len(web.listener.handshakes) == 2)
        third = await web.connect()
        assert await third.closed(), "there is no place left"
        assert all([await client.closed() for client in slow])
        await until(lambda: not web.listener.handshakes)
        await sound(web, trusting(authority))
        for client in (*slow, third):
            await client.close()

    assert failed(caplog) == ["late", "late"]
    assert rig.metrics.unknown_source.rejections["rate"] == 1


async def test_connections_and_handshakes_share_the_places(tls: Tls, authority: trustme.CA) -> None:
    context = trusting(authority)
    async with served(a_rig(a_snapshot(tls=tls, max_connections=2))) as web:
        shaking = await web.connect()
        await until(lambda: web.listener.handshakes)
        async with connected(web, context) as client:
            assert (await client.ask(http())).status == 202
            third = await web.connect()
            assert await third.closed()
            await third.close()
        await shaking.close()


async def test_the_end_does_not_wait_for_handshakes(
    tls: Tls, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(a_rig(a_snapshot(tls=tls))) as web:
        client = await web.connect()
        await until(lambda: web.listener.handshakes)
        async with asyncio.timeout(5):
            await web.listener.stop(4.0)
            assert await client.closed()
        await until(lambda: not web.listener.handshakes)
        await client.close()

    assert failed(caplog) == []


# -- a new certificate ---------------------------------------------------------------------------


def renewed(web: WebRig, folder: Path, authority: trustme.CA) -> str:
    """Another certificate, as after a reload; its serial number."""
    leaf = certificates.write(folder, authority)
    web.limit(tls=certificates.settings(folder))
    file = folder / "leaf.pem"
    file.write_bytes(leaf.cert_chain_pems[0].bytes())
    decoded: dict[str, str] = ssl._ssl._test_decode_cert(str(file))  # type: ignore[attr-defined]
    return decoded["serialNumber"]


async def test_a_new_certificate_is_for_new_connections_and_an_old_one_ends_with_an_answer(
    tls: Tls, authority: trustme.CA, tmp_path: Path
) -> None:
    context = trusting(authority)
    async with served(a_rig(a_snapshot(tls=tls))) as web, connected(web, context) as old:
        assert (await old.ask(http())).status == 202
        await old.send(http()[:-1])

        number = renewed(web, tmp_path, authority)

        assert serial(old.writer) != number
        async with connected(web, context) as new:
            assert serial(new.writer) == number
            reply = await new.ask(http())
            assert "Connection" not in reply.headers
        reply = await old.ask(http()[-1:])
        assert (reply.status, reply.headers["Connection"]) == (202, "close")
        assert await old.closed()


async def test_the_same_certificate_read_again_ends_nothing(
    tls: Tls, authority: trustme.CA, tmp_path: Path
) -> None:
    context = trusting(authority)
    async with served(a_rig(a_snapshot(tls=tls))) as web, connected(web, context) as client:
        web.limit(tls=certificates.settings(tmp_path))
        for _ in range(2):
            assert (await client.ask(http())).status == 202


async def test_tls_may_come_and_go(tls: Tls, authority: trustme.CA) -> None:
    rig: Rig = a_rig()
    async with served(rig) as web:
        plain = await web.connect()
        assert (await plain.ask(http())).status == 202
        web.limit(tls=tls)
        assert (await plain.ask(http())).headers["Connection"] == "close"
        await plain.close()
        await sound(web, trusting(authority))
        web.limit(tls=None)
        assert (await web.once(http())).status == 202


async def test_a_peer_is_known_by_its_address_behind_tls(
    tls: Tls, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hookpost.ingest")
    async with served(a_rig(a_snapshot(tls=tls))) as web:
        async with connected(web, trusting(authority)) as client:
            assert (await client.ask(http(auth=False))).status == 401
        raw = await web.connect()
        await raw.send(b"x" * 600)
        assert await raw.closed() is not None
        await raw.close()
        await until(lambda: not web.listener.handshakes)

    told = {one.getMessage(): one.fields for one in caplog.records}  # type: ignore[attr-defined]
    assert told["request.rejected"]["peer"] == "127.0.0.1"
    assert told["handshake.failed"]["peer"] == "127.0.0.1"
