"""The bounds of the small listeners (P5, P8): nobody holds a descriptor for long, or many."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web
from tests.builders import FakeClock
from tests.ingest_rig import Client

from hookpost.services.operations import Operations
from hookpost.web import admin, bounded, pages
from hookpost.web.admin import admin_app
from hookpost.web.pages import Pages

GET = b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n"

Connect = Callable[[], Awaitable[Client]]


async def small(_: web.Request) -> web.Response:
    return web.Response(text="small")


async def large(_: web.Request) -> web.Response:
    return web.Response(body=bytes(64 << 20))


async def broken(_: web.Request) -> web.Response:
    raise KeyError("our own")


def an_app() -> web.Application:
    app = web.Application()
    app.router.add_get("/small", small)
    app.router.add_get("/large", large)
    app.router.add_get("/broken", broken)
    return app


async def serve(served: Pages, app: web.Application, path: Path | None = None) -> Connect:
    """Serve on loopback or on a UNIX socket; how to connect to it."""
    sock = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
    sock.bind(("127.0.0.1", 0) if path is None else str(path))
    sock.setblocking(False)
    address = sock.getsockname()
    await served.serve(app, sock)

    async def connect() -> Client:
        if path is None:
            return Client(*await asyncio.open_connection(*address))
        return Client(*await asyncio.open_unix_connection(path))

    return connect


@pytest.fixture
async def served(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Pages]:
    caplog.set_level(logging.INFO, "hookpost.pages")
    made = Pages(FakeClock())
    yield made
    await made.close()


@pytest.fixture
async def connect(served: Pages) -> Connect:
    return await serve(served, an_app())


def told(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
    return [one.fields for one in caplog.records if one.getMessage() == name]  # type: ignore[attr-defined]


async def test_a_connection_that_says_nothing_is_closed(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pages, "HEAD", 0.05)
    client = await connect()
    assert await client.closed()
    await client.close()
    (line,) = told(caplog, "connection.silent")
    assert line["listener"].startswith("127.0.0.1:")


@pytest.mark.parametrize("start", [b"G", GET[:-2]])
async def test_half_a_head_is_a_408(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    start: bytes,
) -> None:
    monkeypatch.setattr(pages, "HEAD", 0.2)
    client = await connect()
    reply = await client.ask(start)
    assert (reply.status, reply.headers["Connection"]) == (408, "close")
    assert "did not arrive in time" in reply.json["error"]
    assert await client.closed()
    await client.close()
    assert len(told(caplog, "connection.late")) == 1


async def test_an_idle_connection_is_closed_in_the_end(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "IDLE", 0.05)
    client = await connect()
    assert (await client.ask(GET)).body == b"small"
    assert await client.closed()
    await client.close()


async def test_a_connection_serves_many_requests(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "HEAD", 0.2)
    used, late = await connect(), await connect()
    assert (await used.ask(GET)).body == b"small"
    assert (await late.ask(b"G")).status == 408, "the time for a head has passed"
    assert (await used.ask(GET)).body == b"small"
    for client in (used, late):
        await client.close()


async def test_connections_beyond_the_limit_are_refused_and_said_sparsely(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pages, "CONNECTIONS", 3)
    kept = [await connect() for _ in range(3)]
    assert [(await client.ask(GET)).status for client in kept] == [200] * 3
    for _ in range(15):
        excess = await connect()
        reply = await excess.reply()
        assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
        assert "too many connections" in reply.json["error"]
        assert await excess.closed()
        await excess.close()
    assert len(told(caplog, "connection.refused")) == 10

    kept[0].reset()
    again = await connect()
    while (first := await again.ask(GET)).status == 503:  # the reset is on its way
        await again.close()
        again = await connect()
    assert first.status == 200
    for client in [again, *kept[1:]]:
        await client.close()


async def test_each_listener_has_its_own_limit(
    served: Pages, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pages, "CONNECTIONS", 1)
    other = await serve(served, an_app(), tmp_path / "page.sock")
    first, second = await connect(), await other()
    assert (await first.ask(GET)).status == 200
    assert (await second.ask(GET)).status == 200
    for client in (first, second):
        await client.close()


async def test_an_answer_that_nobody_reads_is_given_up(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "TAKING", 0.05)
    monkeypatch.setattr(pages, "CONNECTIONS", 1)
    deaf = await connect()
    deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await deaf.send(GET.replace(b"small", b"large"))
    async with asyncio.timeout(10):
        while (await (client := await connect()).ask(GET)).status == 503:
            await client.close()
    deaf.reset()
    await client.close()


async def test_a_body_that_nobody_asked_for_is_not_waited_for(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "LINGER", 0.05)
    client = await connect()
    reply = await client.ask(b"GET /small HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
    assert reply.status == 200
    assert await client.closed()
    await client.close()


async def test_what_is_not_http_is_a_400_without_a_traceback(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = await connect()
    assert (await client.ask(b"hello\r\n\r\n")).status == 400
    assert await client.closed()
    await client.close()
    assert [one for one in caplog.records if one.exc_info] == []


async def test_our_own_mistake_is_a_500_and_logged(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = await connect()
    assert (await client.ask(GET.replace(b"small", b"broken"))).status == 500
    await client.close()
    assert told(caplog, "request.failed")[0]["error"] == "KeyError"


# -- the admin socket's bodies -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "body", "status", "words"),
    [
        (b"Content-Length: 9", b'{"a', 408, "did not arrive within 0.05 seconds"),
        (b"Content-Length: 70", b"x" * 70, 413, "more than 64 bytes"),
    ],
)
async def test_a_body_has_a_time_and_a_size(
    served: Pages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    head: bytes,
    body: bytes,
    status: int,
    words: str,
) -> None:
    monkeypatch.setattr(bounded, "LINGER", 0.05)
    monkeypatch.setattr(admin, "BODY", 0.05)
    monkeypatch.setattr(admin, "MAX_BODY", 64)
    app = admin_app(cast(Operations, object()), reload=_nothing, status=_nothing)
    connect = await serve(served, app, tmp_path / "admin.sock")
    client = await connect()
    await client.send(b"POST /deliveries/cancel HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
    reply = await client.ask(body)
    assert reply.status == status
    assert words in json.loads(reply.body)["error"]
    assert status == 413 or await client.closed()
    await client.close()


async def test_a_body_in_chunks_that_make_no_sense_is_a_400(
    served: Pages, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hookpost.admin")
    app = admin_app(cast(Operations, object()), reload=_nothing, status=_nothing)
    connect = await serve(served, app, tmp_path / "admin.sock")
    client, other = await connect(), await connect()
    await client.send(
        b"POST /deliveries/cancel HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    while not told(caplog, "admin.requested"):
        await other.ask(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
    reply = await client.ask(b"XX\r\nzz\r\n")
    assert (reply.status, "framing" in reply.json["error"]) == (400, True)
    for each in (client, other):
        await each.close()


async def _nothing() -> dict[str, Any]:
    return {}
