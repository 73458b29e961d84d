"""The daemon's listener with a certificate, and another one after a SIGHUP."""

import asyncio
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from tests import certificates
from tests.certificates import HOST, serial, trusting
from tests.daemon.harness import Daemon, Home, Nursery, environment
from tests.daemon.test_parts import EVENT, request
from tests.daemon.test_starting import ACTIVATED
from tests.ingest_rig import Client

REQUEST = request(EVENT)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def folder(home: Home, authority: trustme.CA) -> Path:
    """Where the files are that the configuration names."""
    certificates.write(home.folder, authority)
    home.config["listen"]["ingest"]["tls"] = {"cert": "cert.pem", "key": "key.pem"}
    return home.folder


@asynccontextmanager
async def connected(daemon: Daemon, context: ssl.SSLContext) -> AsyncIterator[Client]:
    host, _, port = daemon.address("ingest").rpartition(":")
    async with asyncio.timeout(10):
        link = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=HOST)
    client = Client(*link)
    try:
        yield client
    finally:
        await client.close()


async def test_a_new_certificate_is_shown_from_the_reload_on(
    nursery: Nursery, folder: Path, authority: trustme.CA
) -> None:
    daemon = await nursery.start()
    context = trusting(authority)
    async with connected(daemon, context) as old:
        assert (await old.ask(REQUEST)).status == 202
        await old.send(REQUEST[:-1])
        certificates.write(folder, authority)

        assert (await daemon.reload())["msg"] == "config.reloaded"

        async with connected(daemon, context) as new:
            assert serial(new.writer) != serial(old.writer)
            assert (await new.ask(REQUEST)).status == 202
        assert (await old.ask(REQUEST[-1:])).status == 202, "a request in flight goes on"
    assert daemon.logged("config.changed", change="listen: changed")


@pytest.mark.parametrize("name", ["cert.pem", "key.pem"])
async def test_a_certificate_that_does_not_do_changes_nothing(
    nursery: Nursery, folder: Path, authority: trustme.CA, name: str
) -> None:
    daemon = await nursery.start()
    context = trusting(authority)
    async with connected(daemon, context) as client:
        shown = serial(client.writer)
    certificates.put(folder / name, b"half a file")

    assert (await daemon.reload())["msg"] == "config.rejected"

    assert str(folder / name) in (await daemon.log("config.mistake"))["mistake"]
    async with connected(daemon, context) as client:
        assert serial(client.writer) == shown
        assert (await client.ask(REQUEST)).status == 202


async def test_with_a_client_ca_only_its_clients_come_in(
    nursery: Nursery, home: Home, folder: Path, authority: trustme.CA
) -> None:
    home.config["listen"]["ingest"]["tls"]["client_ca"] = "ca.pem"
    daemon = await nursery.start()
    async with connected(daemon, trusting(authority, authority.issue_cert("a@b.example"))) as one:
        assert (await one.ask(REQUEST)).status == 202
    with pytest.raises((ssl.SSLError, OSError, asyncio.IncompleteReadError)):
        async with connected(daemon, trusting(authority)) as other:
            await other.ask(REQUEST)
    failed = await daemon.log("handshake.failed", reason="no_certificate")
    assert (failed["listener"], failed["peer"]) == ("ingest", "127.0.0.1")
    assert "Traceback" not in daemon.text


async def test_plain_http_gets_nothing_and_the_daemon_ends_as_ever(
    nursery: Nursery, folder: Path, authority: trustme.CA
) -> None:
    daemon = await nursery.start()
    host, _, port = daemon.address("ingest").rpartition(":")
    plain = Client(*await asyncio.open_connection(host, int(port)))
    await plain.send(REQUEST)
    assert len(await plain.reader.read()) <= 7, "an alert at most"
    await plain.close()
    await daemon.log("handshake.failed", reason="not_tls")
    async with connected(daemon, trusting(authority)) as client:
        assert (await client.ask(REQUEST)).status == 202
        assert await daemon.stop() == 0
    assert "Traceback" not in daemon.text


async def test_a_socket_that_was_passed_speaks_tls_as_well(
    nursery: Nursery, folder: Path, authority: trustme.CA
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ingest:
        daemon = await nursery.start(
            through=(sys.executable, "-c", ACTIVATED, str(ingest.fileno())),
            pass_fds=(ingest.fileno(),),
            env=environment(LISTEN_FDS="1", LISTEN_FDNAMES="ingest"),
        )
        async with connected(daemon, trusting(authority)) as client:
            assert (await client.ask(REQUEST)).status == 202
        assert daemon.address("ingest") == f"127.0.0.1:{ingest.getsockname()[1]}"


async def test_without_a_certificate_the_daemon_does_not_start(
    nursery: Nursery, folder: Path
) -> None:
    (folder / "key.pem").unlink()
    daemon = nursery.launch()
    assert await daemon.ended() == 78
    assert f"there is no file {folder}/key.pem" in daemon.text
