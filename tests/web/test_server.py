"""The listener's bounds, with raw bytes over real sockets."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from tests.ingest_rig import Client, Rig, WebRig, a_rig, a_snapshot, a_source, served
from tests.ingest_rig import request as http

from hookpost.web import bounded, connection

PAID = b'{"eventType":"invoice.paid","data":{}}'


async def until(condition: Any) -> None:
    """Turn the loop until the condition holds."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        while not condition():
            turned = loop.create_future()
            loop.call_soon(turned.set_result, None)
            await turned


def no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    assert [one.getMessage() for one in caplog.records if one.exc_info] == []
    assert "Traceback" not in caplog.text


def unknown(rig: Rig) -> dict[str, int]:
    return {name: n for name, n in rig.metrics.unknown_source.rejections.items() if n}


# -- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [b"P", b"POST /in/billing HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_head_that_does_not_arrive_in_time_is_a_408(start: bytes) -> None:
    rig = a_rig(a_snapshot(header_timeout=0.05))
    async with served(rig) as web:
        client = await web.connect()
        reply = await client.ask(start)
        assert await client.closed()
        await client.close()

    assert (reply.status, reply.json["code"]) == (408, "request_timeout")
    assert unknown(rig) == {"malformed": 1}
    assert rig.metrics.unknown_source.codes[408] == 1


async def test_dripping_does_not_stretch_the_time_for_a_head() -> None:
    async with served(a_rig(a_snapshot(header_timeout=0.2))) as web:
        client = await web.connect()
        loop = asyncio.get_running_loop()
        began = loop.time()
        drip = asyncio.ensure_future(_drip(client))
        reply = await client.reply()
        taken = loop.time() - began
        drip.cancel()
        await asyncio.gather(drip, return_exceptions=True)
        await client.close()

    assert reply.status == 408
    assert taken < 1.0


async def _drip(client: Client) -> None:
    await client.send(b"POST /in/billing HTTP/1.1\r\nX-Drip: ")
    while True:
        client.writer.write(b"x")
        pause: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.02, pause.set_result, None)
        await pause


async def test_connections_that_say_nothing_hold_their_places_as_long_as_a_head_may_take(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hookpost.ingest")
    rig = a_rig(a_snapshot(header_timeout=0.1, max_connections=3))
    async with served(rig) as web:
        silent = [await web.connect() for _ in range(3)]
        assert (await web.once(http())).json["code"] == "too_many_connections"
        assert all([await client.closed() for client in silent]), "closed without a word"
        await until(lambda: not web.listener.connections)
        assert (await web.once(http())).status == 202
        for client in silent:
            await client.close()

    assert unknown(rig) == {"rate": 1}
    told = [one for one in caplog.records if one.getMessage() == "connection.silent"]
    assert [one.fields["after"] for one in told] == [0.1] * 3  # type: ignore[attr-defined]


async def test_an_idle_connection_outlives_the_time_for_a_head() -> None:
    async with served(a_rig(a_snapshot(header_timeout=0.2))) as web:
        used = await web.connect()
        await used.ask(http())
        assert (await web.once(b"GET")).status == 408, "the time for a head has passed"

        assert (await used.ask(http())).status == 202
        await used.close()


async def test_the_time_for_a_head_may_be_longer_than_that_for_idling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounded, "IDLE", 0.05)
    async with served(a_rig(a_snapshot(header_timeout=5.0))) as web:
        slow = await web.connect()
        await slow.send(http()[:9])
        idle = await web.connect()
        await idle.ask(http())
        assert await idle.closed(), "the time for idling has passed"

        assert (await slow.ask(http()[9:])).status == 202
        assert await slow.closed()
        for client in (slow, idle):
            await client.close()


async def test_an_idle_connection_is_closed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "IDLE", 0.05)
    async with served(a_rig()) as web:
        used = await web.connect()
        await used.ask(http())

        assert await used.closed()
        await used.close()


async def test_a_body_that_does_not_arrive_in_time_is_a_408(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "LINGER", 0.05)
    rig = a_rig(a_snapshot(body_timeout=0.3, header_timeout=0.2))
    async with served(rig) as web:
        client = await web.connect()
        reply = await client.ask(http(PAID[:5], length=len(PAID)))
        assert await client.closed()
        await client.close()

    assert (reply.status, reply.json["code"]) == (408, "request_timeout")
    assert reply.headers["Connection"] == "close"
    assert rig.outbox.events == []
    assert rig.source().rejections["malformed"] == 1


async def test_a_body_in_pieces_does_not_start_the_time_for_a_head() -> None:
    rig = a_rig(a_snapshot(header_timeout=0.2, body_timeout=5.0))
    async with served(rig) as web:
        slow = await web.connect()
        await slow.send(http(PAID[:5], length=len(PAID)))
        await until(lambda: any(one._current_request for one in web.listener.connections))
        await slow.send(PAID[5:9])
        assert (await web.once(b"GET")).status == 408, "the time for a head has passed"
        first = await slow.ask(PAID[9:])
        assert (await web.once(b"GET")).status == 408, "and once more, after the answer"
        second = await slow.ask(http())
        await slow.close()

    assert (first.status, second.status) == (202, 202)


async def test_a_client_that_reads_no_answers_is_cut_off() -> None:
    rig = a_rig(a_snapshot(body_timeout=0.05))
    async with served(rig) as web:
        client = await web.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(10):
            while web.listener.connections or not rig.metrics.unknown_source.codes[404]:
                client.writer.write(http(b"", target="/nowhere") * 200)
                await until_turned()
                if client.writer.transport.is_closing():
                    break
        client.reset()

    assert rig.metrics.unknown_source.codes[404] > 0


async def until_turned() -> None:
    turned = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.001, turned.set_result, None)
    await turned


# -- connections ---------------------------------------------------------------------------------


async def test_connections_beyond_the_limit_are_refused_at_once_and_counted() -> None:
    rig = a_rig(a_snapshot(max_connections=30))
    async with served(rig) as web:
        idle = [await web.connect() for _ in range(30)]
        await until(lambda: len(web.listener.connections) == 30)
        excess = [await web.connect() for _ in range(10)]
        replies = [await client.reply() for client in excess]
        ended = [await client.closed() for client in excess]
        good = await idle[7].ask(http())
        await idle[0].close()
        await until(lambda: len(web.listener.connections) == 29)
        again = await web.once(http())
        for client in [*idle[1:], *excess]:
            await client.close()

    assert {reply.json["code"] for reply in replies} == {"too_many_connections"}
    assert {reply.status for reply in replies} == {503}
    assert all(ended)
    assert (good.status, again.status) == (202, 202)
    assert unknown(rig) == {"rate": 10}


async def test_a_reload_changes_the_number_of_connections() -> None:
    async with served(a_rig()) as web:
        first = await web.connect()
        await first.ask(http())
        web.limit(max_connections=1)
        second = await web.connect()
        assert (await second.reply()).status == 503
        await first.close()
        await second.close()


# -- what is not HTTP ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "malformed_http"),
        (b"hello\r\n\r\n", 400, "malformed_http"),
        (b"POST /in/billing HTTP/1.1\r\n\r\n", 400, "malformed_http"),
        (
            http(PAID, ("Transfer-Encoding", "chunked"), ("Content-Length", "5")),
            400,
            "malformed_http",
        ),
        (http(PAID, ("Host", "other")), 400, "malformed_http"),
        (http(PAID, ("Content-Length", "5")), 400, "malformed_http"),
        (
            b"POST /in/billing HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            400,
            "malformed_http",
        ),
        (b"POST /in/billing HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n", 400, "malformed_http"),
        (http(PAID, *[(f"X-{n}", "1") for n in range(200)]), 431, "header_too_large"),
        (http(PAID, ("X-Long", "x" * 9000)), 431, "header_too_large"),
        (http(PAID, target="/" + "x" * 9000), 431, "header_too_large"),
    ],
)
async def test_what_is_not_http_is_counted_and_answered_as_a_problem(
    raw: bytes, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    rig = a_rig()
    async with served(rig) as web:
        client = await web.connect()
        reply = await client.ask(raw)
        assert await client.closed()
        await client.close()

    assert (reply.status, reply.json["code"]) == (status, code)
    assert reply.headers["Connection"] == "close"
    assert rig.metrics.unknown_source.codes[status] == 1
    assert sum(unknown(rig).values()) == 1
    assert rig.outbox.events == []
    no_traceback(caplog)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (http(PAID, *[(f"X-{n}", "1") for n in range(126)]), "at most 128 header fields"),
        (http(PAID, ("X-Long", "x" * 9000)), "at most 8190 bytes a line"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 30, "the Content-Length"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000, "the Content-Length"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -3", "the Content-Length"),
        (http(PAID, ("Content-Length", "5")), "the Content-Length"),
        (
            http(PAID, ("Transfer-Encoding", "chunked"), ("Content-Length", "5")),
            "send Content-Length or Transfer-Encoding, not both",
        ),
    ],
)
async def test_what_is_not_http_is_told_with_the_limit(raw: bytes, told: str) -> None:
    async with served(a_rig()) as web:
        client = await web.connect()
        reply = await client.ask(raw if b"\r\n\r\n" in raw else raw + b"\r\n\r\n")
        await client.close()
    assert reply.json["detail"].startswith(told)


async def test_128_header_fields_are_taken() -> None:
    async with served(a_rig()) as web:
        filled = [(f"X-{n}", "1") for n in range(128 - 4)]
        assert (await web.once(http(PAID, *filled))).status == 202


async def test_chunks_that_make_no_sense_are_a_400(caplog: pytest.LogCaptureFixture) -> None:
    rig = a_rig()
    async with served(rig) as web:
        client = await web.connect()
        await client.send(http(b'5\r\n{"eve', ("Transfer-Encoding", "chunked")))
        await until(lambda: any(one._current_request for one in web.listener.connections))
        reply = await client.ask(b"XX\r\nzz\r\n")
        assert await client.closed()
        await client.close()

    assert reply.status == 400
    assert rig.outbox.events == []
    no_traceback(caplog)


# -- clients that have said all ------------------------------------------------------------------


@pytest.mark.parametrize("unix", [False, True])
@pytest.mark.parametrize("requests", [1, 3, 40])
async def test_a_client_that_has_sent_its_last_gets_its_answers(
    tmp_path: Path, unix: bool, requests: int
) -> None:
    async with served(a_rig(), tmp_path / "in.sock" if unix else None) as web:
        client = await web.connect()
        client.writer.write(http() * requests)
        client.writer.write_eof()
        assert [(await client.reply()).status for _ in range(requests)] == [202] * requests
        assert await client.closed()
        await client.close()
        await until(lambda: not web.listener.connections)


async def test_a_client_that_has_sent_its_last_may_be_waited_for_by_the_disk() -> None:
    rig = a_rig()
    rig.outbox.held = asyncio.get_running_loop().create_future()
    async with served(rig) as web:
        client = await web.connect()
        await client.send(http())
        await until(lambda: any(one._current_request for one in web.listener.connections))
        client.writer.write_eof()
        await until(lambda: any(getattr(one, "_heard", False) for one in web.listener.connections))
        rig.outbox.held.set_result(None)
        reply = await client.reply()
        assert await client.closed()
        await client.close()

    assert (reply.status, reply.headers["Connection"]) == (202, "close")


async def test_a_body_that_is_cut_off_by_the_clients_last_is_a_400() -> None:
    rig = a_rig()
    async with served(rig) as web:
        client = await web.connect()
        client.writer.write(http() + http(PAID[:9], length=len(PAID)))
        client.writer.write_eof()
        replies = [await client.reply() for _ in range(2)]
        assert await client.closed()
        await client.close()
        await until(lambda: not web.listener.connections)

    assert [reply.status for reply in replies] == [202, 400]
    assert replies[1].json["code"] == "body_incomplete"


async def test_a_client_that_says_nothing_and_leaves_holds_no_place() -> None:
    async with served(a_rig()) as web:
        for said in (b"", http()[:9]):
            client = await web.connect()
            await client.send(said)
            client.writer.write_eof()
            assert await client.closed()
            await client.close()
        await until(lambda: not web.listener.connections)


# -- clients that vanish -------------------------------------------------------------------------


async def test_a_client_that_vanishes_at_any_byte_leaves_all_or_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = a_rig()
    raw = http()
    async with served(rig) as web:
        for offset in range(len(raw)):
            client = await web.connect()
            await client.send(raw[:offset])
            if offset % 2:
                client.reset()
            await client.close()
        await until(lambda: not web.listener.connections)
        assert rig.outbox.events == []

        client = await web.connect()
        await client.send(raw)
        client.reset()
        await until(lambda: len(rig.outbox.events) <= 1 and not web.listener.connections)
        assert (await web.once(raw)).status == 202

    no_traceback(caplog)


async def test_a_client_that_vanishes_in_its_body_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = a_rig()
    async with served(rig) as web:
        client = await web.connect()
        await client.send(http(PAID[:9], length=len(PAID)))
        await until(lambda: any(one._current_request for one in web.listener.connections))
        client.reset()
        await until(lambda: rig.source().rejections["malformed"] == 1)

    assert rig.source().codes[400] == 1
    no_traceback(caplog)


async def test_a_client_that_vanishes_before_its_answer_has_its_event_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    rig = a_rig()
    rig.outbox.held = held
    async with served(rig) as web:
        client = await web.connect()
        await client.send(http())
        await until(lambda: any(one._current_request for one in web.listener.connections))
        client.reset()
        await until(lambda: not web.listener.connections)
        held.set_result(None)
        await until(lambda: len(rig.outbox.events) == 1)

    no_traceback(caplog)


async def test_a_client_that_leaves_after_an_early_refusal_causes_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = a_rig(a_snapshot(max_body=10))
    async with served(rig) as web:
        client = await web.connect()
        assert (await client.ask(http(b"x" * 50, length=100))).status == 413
        await client.send(b"x" * 10)
        client.reset()
        await until(lambda: not web.listener.connections)

    no_traceback(caplog)


# -- HTTP as it is spoken ------------------------------------------------------------------------


async def test_pipelined_requests_are_answered_in_order() -> None:
    bodies = [b'{"eventType":"a","data":1,"eventId":"e%d"}' % n for n in range(60)]
    rig = a_rig()
    async with served(rig) as web:
        client = await web.connect()
        await client.send(b"".join(http(body) for body in bodies))
        replies = [await client.reply() for _ in bodies]
        await client.close()

    assert [reply.json["eventId"] for reply in replies] == [f"e{n}" for n in range(60)]


REFUSED_HEAD = b"POST /in/billing HTTP/1.1\r\nBad Header: 1\r\n\r\n"


@pytest.mark.parametrize("before", [0, 9, len(http()) - 3, len(http())])
@pytest.mark.parametrize("good", [1, 3, 40])
@pytest.mark.parametrize("rubbish", [b"RUBBISH\r\n\r\n", REFUSED_HEAD, b"\0"])
async def test_rubbish_behind_requests_costs_none_of_them(
    before: int, good: int, rubbish: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever one stream is cut in two, `before` bytes of it coming first."""
    rig = a_rig()
    raw = http() * good + rubbish
    async with served(rig) as web:
        client = await web.connect()
        await client.send(raw[:before])
        await until(lambda: rig.outbox.events or not before or before < len(http()))
        await client.send(raw[before:])
        replies = [await client.reply() for _ in range(good + 1)]
        assert await client.closed()
        await client.close()

    assert [reply.status for reply in replies] == [202] * good + [400]
    assert replies[-1].json["code"] == "malformed_http"
    assert len(rig.outbox.events) == good
    no_traceback(caplog)


async def test_a_request_whose_own_body_is_rubbish_is_not_taken() -> None:
    rig = a_rig()
    async with served(rig) as web:
        client = await web.connect()
        chunks = http(b'5\r\n{"eve\r\nzz\r\n', ("Transfer-Encoding", "chunked"))
        await client.send(http() + chunks)
        assert [(await client.reply()).status for _ in range(2)] == [202, 400]
        assert await client.closed()
        await client.close()

    assert len(rig.outbox.events) == 1


async def test_one_byte_at_a_time_is_a_request_too() -> None:
    async with served(a_rig()) as web:
        client = await web.connect()
        for byte in http():
            client.writer.write(bytes([byte]))
            await until_turned()
        reply = await client.reply()
        await client.close()

    assert reply.status == 202


async def test_expect_100_continue_is_granted_before_the_body() -> None:
    async with served(a_rig()) as web:
        client = await web.connect()
        await client.send(http(b"", ("Expect", "100-continue"), length=len(PAID)))
        interim = await client.reply()
        final = await client.ask(PAID)
        await client.close()

    assert (interim.status, final.status) == (100, 202)


@pytest.mark.parametrize(("auth", "limit", "status"), [(False, 1000, 401), (True, 5, 413)])
async def test_expect_100_continue_is_answered_with_the_refusal(
    auth: bool, limit: int, status: int
) -> None:
    async with served(a_rig(a_snapshot(max_body=limit))) as web:
        client = await web.connect()
        reply = await client.ask(http(b"", ("Expect", "100-continue"), length=len(PAID), auth=auth))
        await client.close()

    assert reply.status == status
    assert reply.headers["Connection"] == "close"


async def test_a_connection_lives_on_after_a_refusal_whose_body_was_read() -> None:
    async with served(a_rig()) as web:
        client = await web.connect()
        assert (await client.ask(http(b"{"))).status == 400
        assert (await client.ask(http(auth=False))).status == 401
        assert (await client.ask(http())).status == 202
        await client.close()


@pytest.mark.parametrize(
    ("version", "pairs", "life"),
    [
        ("1.1", (), None),
        ("1.1", (("Connection", "close"),), "close"),
        ("1.0", (), "close"),
        ("1.0", (("Connection", "keep-alive"),), "keep-alive"),
    ],
)
async def test_the_connection_lives_as_long_as_the_client_wants(
    version: str, pairs: tuple[tuple[str, str], ...], life: str | None
) -> None:
    async with served(a_rig()) as web:
        client = await web.connect()
        reply = await client.ask(http(PAID, *pairs, version=version))
        if life == "close":
            assert await client.closed()
        else:
            assert (await client.ask(http(PAID, *pairs, version=version))).status == 202
        await client.close()

    assert reply.headers.get("Connection") == life


async def test_an_upgrade_nobody_offers_is_an_ordinary_request() -> None:
    pairs = (("Connection", "Upgrade"), ("Upgrade", "websocket"))
    async with served(a_rig()) as web:
        client = await web.connect()
        await client.send(http(PAID, *pairs) + http())
        replies = [await client.reply(), await client.reply()]
        await client.close()

    assert [reply.status for reply in replies] == [202, 202]


async def test_a_unix_socket_serves_as_well(tmp_path: Path) -> None:
    async with served(a_rig(), unix=tmp_path / "in.sock") as web:
        assert (await web.once(http())).status == 202


async def test_the_date_is_the_wall_clocks_and_moves_on() -> None:
    rig = a_rig()
    async with served(rig) as web:
        first = await web.once(http())
        rig.clock.advance(61)
        second = await web.once(http())

    assert first.headers["Date"] == "Sun, 15 Jun 2025 15:06:40 GMT"
    assert second.headers["Date"] == "Sun, 15 Jun 2025 15:07:41 GMT"


# -- the end -------------------------------------------------------------------------------------


async def busy(web: WebRig) -> Client:
    client = await web.connect()
    await client.send(http())
    await until(lambda: any(one._current_request for one in web.listener.connections))
    return client


async def test_stopping_closes_idle_connections_and_answers_busy_ones() -> None:
    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    rig = a_rig()
    rig.outbox.held = held
    async with served(rig) as web:
        working = await busy(web)
        idle = await web.connect()
        await until(lambda: len(web.listener.connections) == 2)
        stopping = asyncio.ensure_future(web.listener.stop(10.0))
        assert await idle.closed()
        held.set_result(None)
        reply = await working.reply()
        await stopping

        assert (reply.status, reply.headers["Connection"]) == (202, "close")
        assert await working.closed()
        with pytest.raises(OSError):
            await web.connect()
        await working.close()
        await idle.close()


async def test_what_does_not_finish_in_its_grace_is_cut_off() -> None:
    rig = a_rig()
    rig.outbox.held = asyncio.get_running_loop().create_future()
    async with served(rig) as web:
        working = await busy(web)
        await web.listener.stop(0.01)
        assert await working.closed()
        await working.close()
    rig.outbox.held.cancel()


async def test_while_draining_a_kept_connection_is_told_and_closed() -> None:
    rig = a_rig(a_snapshot(a_source()))
    async with served(rig) as web:
        client = await web.connect()
        await client.ask(http())
        rig.health.draining = True
        web.listener.stop_accepting()
        reply = await client.ask(http())
        assert await client.closed()
        await client.close()

    assert (reply.status, reply.json["code"]) == (503, "draining")
    assert reply.headers["Connection"] == "close"


async def test_a_flood_of_garbage_is_ten_lines_a_second(caplog: pytest.LogCaptureFixture) -> None:
    rig = a_rig()
    async with served(rig) as web:
        for _ in range(25):
            assert (await web.once(b"garbage\r\n\r\n")).status == 400

    lines = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(lines) == 10
    assert unknown(rig) == {"malformed": 25}
