"""One POST on real sockets: every odd answer has one outcome, in bounded time and space."""

import asyncio
import logging
import socket
from ipaddress import ip_network

import pytest
from tests.transport.receiver import (
    LOOPBACK,
    NO_CONTENT,
    OK,
    Open,
    Peer,
    Receiver,
    Script,
    answering,
    answering_once,
    answering_then_hanging,
)

from hookpost.core.addresses import Allowance, EgressPolicy
from hookpost.core.model import ANSWER_KEPT, Outcome, Result
from hookpost.transport.client import AiohttpTransport
from hookpost.transport.connector import AnswerProtocol, Progress

HEADERS = (("Content-Type", "application/json"), ("webhook-id", "evt_1"))
BODY = b'{"amount": 1200}'
SHORT = 0.25  # a deadline that is meant to pass


async def post(transport: AiohttpTransport, url: str, body: bytes = BODY) -> Outcome:
    async with asyncio.timeout(10):
        return await transport.post(url, HEADERS, body)


async def outcome_of(open_transport: Open, script: Script, **endpoint: object) -> Outcome:
    """One POST to a receiver that follows `script`."""
    async with Receiver(script) as receiver:
        transport = open_transport(receiver.url(), **endpoint)
        return await post(transport, receiver.url())


def head(status: str, *fields: str) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *fields, "", "")).encode("latin-1")


# -- what is sent ------------------------------------------------------------------------------


async def test_the_request_is_what_was_given_and_nothing_more(open_transport: Open) -> None:
    async with Receiver(answering(NO_CONTENT)) as receiver:
        url = receiver.url("/a%41/../b?q[]=%2F&r")
        outcome = await post(open_transport(url), url)
    assert outcome == Outcome(result=Result.SUCCESS, status=204)
    sent, body = receiver.requests[0]
    assert body == BODY
    lines = sent.decode().split("\r\n")
    assert lines[0] == "POST /a%41/../b?q[]=%2F&r HTTP/1.1"
    names = sorted(line.split(":")[0] for line in lines[1:] if line)
    assert names == [
        "Accept",
        "Accept-Encoding",
        "Content-Length",
        "Content-Type",
        "Host",
        "User-Agent",
        "webhook-id",
    ]
    assert "Accept-Encoding: identity" in lines
    assert any(line.startswith("User-Agent: hookpost/") for line in lines)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) + 1, 3 << 20])
async def test_a_body_of_any_size_arrives_whole_with_its_length(
    open_transport: Open, size: int
) -> None:
    body = bytes(i % 251 for i in range(1024)) * (size // 1024) + b"x" * (size % 1024)
    async with Receiver(answering(NO_CONTENT)) as receiver:
        outcome = await post(open_transport(receiver.url()), receiver.url(), body)
    assert outcome.ok
    assert receiver.requests[0][1] == body
    assert f"Content-Length: {size}\r\n".encode() in receiver.requests[0][0]
    assert b"Expect" not in receiver.requests[0][0]


async def test_a_header_given_by_the_caller_replaces_the_default(open_transport: Open) -> None:
    async with Receiver(answering(NO_CONTENT)) as receiver:
        transport = open_transport(receiver.url())
        await transport.post(receiver.url(), (("user-agent", "hookpost/9 test"),), BODY)
    assert receiver.requests[0][0].lower().count(b"user-agent: hookpost/9 test") == 1
    assert receiver.requests[0][0].lower().count(b"user-agent") == 1


async def test_a_header_with_a_line_break_is_an_outcome_and_is_not_sent(
    open_transport: Open,
) -> None:
    async with Receiver(answering(NO_CONTENT)) as receiver:
        transport = open_transport(receiver.url())
        outcome = await transport.post(receiver.url(), (("x", "a\r\nInjected: 1"),), BODY)
        assert outcome.result is Result.CONNECT
        assert receiver.requests == []
        assert (await post(transport, receiver.url())).ok


@pytest.mark.parametrize(
    "header",
    [("Transfer-Encoding", "chunked"), ("Content-Length", "1"), ("Host", "other"), ("", "")],
)
async def test_a_header_that_would_frame_the_request_opens_no_connection(
    open_transport: Open, header: tuple[str, str]
) -> None:
    async with Receiver(answering(NO_CONTENT)) as receiver:
        transport = open_transport(receiver.url())
        outcome = await transport.post(receiver.url(), (header,), BODY)
        assert receiver.connections == 0
        assert (outcome.result, outcome.status) == (Result.CONNECT, None)
        assert (await post(transport, receiver.url())).ok


async def test_values_that_differ_between_attempts_are_sent_as_given(open_transport: Open) -> None:
    async with Receiver(answering(NO_CONTENT)) as receiver:
        transport = open_transport(receiver.url())
        for number in range(3):
            headers = (("webhook-id", f"evt_{number}"), ("X-Name", f"Zoë {number}%"))
            assert (await transport.post(receiver.url(), headers, b"x" * number)).ok
        assert receiver.connections == 1
    for number, (sent, body) in enumerate(receiver.requests):
        assert f"webhook-id: evt_{number}\r\nX-Name: Zoë {number}%\r\n".encode() in sent
        assert body == b"x" * number


async def test_proxies_of_the_environment_are_ignored(
    open_transport: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    outcome = await outcome_of(open_transport, answering(NO_CONTENT))
    assert outcome.ok


# -- what is answered --------------------------------------------------------------------------

CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("script", "result", "status", "answer"),
    [
        pytest.param(answering(OK), Result.SUCCESS, 200, b"ok", id="ordinary"),
        pytest.param(answering(NO_CONTENT), Result.SUCCESS, 204, b"", id="no content"),
        pytest.param(
            answering(head("202 Accepted", CHUNKED), b"3\r\nabc\r\n", b"0\r\n\r\n"),
            Result.SUCCESS,
            202,
            b"abc",
            id="chunked, in pieces",
        ),
        pytest.param(
            answering_once(head("200 OK"), b"until the end"),
            Result.SUCCESS,
            200,
            b"until the end",
            id="without a length, until FIN",
        ),
        pytest.param(
            answering(*(OK[i : i + 1] for i in range(len(OK)))),
            Result.SUCCESS,
            200,
            b"ok",
            id="byte by byte",
        ),
        pytest.param(
            answering(head("100 Continue") * 100 + OK), Result.SUCCESS, 200, b"ok", id="100 x 1xx"
        ),
        pytest.param(
            answering(head("103 Early Hints", "Link: </x>")[:-2], b"\r\n" + OK),
            Result.SUCCESS,
            200,
            b"ok",
            id="a head that ends in another segment",
        ),
        pytest.param(
            answering(NO_CONTENT + b"hello"), Result.SUCCESS, 204, b"", id="204 with a body"
        ),
        pytest.param(
            answering(head("204 No Content", "Content-Length: 5"), b"hello"),
            Result.SUCCESS,
            204,
            b"",
            id="204 with a body after its head",
        ),
        pytest.param(
            answering(b"HTTP/1.1 204 No Content\r\nX: y\r\n\r", b"\nrubbish"),
            Result.SUCCESS,
            204,
            b"",
            id="rubbish in the segment that ends the head",
        ),
        pytest.param(
            answering(OK + head("500 No", "Content-Length: 0")),
            Result.SUCCESS,
            200,
            b"ok",
            id="a second answer in the same segment",
        ),
        pytest.param(
            answering_once(head("200 OK", "Content-Length: 100"), b"half"),
            Result.SUCCESS,
            200,
            b"half",
            id="FIN mid body after a 2xx",
        ),
        pytest.param(
            answering_once(head("500 No", "Content-Length: 100"), b"half"),
            Result.HTTP_5XX,
            500,
            b"half",
            id="FIN mid body after a 5xx",
        ),
        pytest.param(
            answering_once(head("200 OK", CHUNKED) + b"zz\r\nhello\r\n"),
            Result.SUCCESS,
            200,
            b"",
            id="a bad chunk",
        ),
        pytest.param(
            answering(head("500 No", "Content-Length: 3") + b"why"),
            Result.HTTP_5XX,
            500,
            b"why",
            id="5xx",
        ),
        pytest.param(
            answering(head("404 Not Found", "Content-Length: 0")),
            Result.HTTP_4XX,
            404,
            b"",
            id="4xx",
        ),
        pytest.param(
            answering(head("401 No", "Content-Length: 0", "WWW-Authenticate: Basic")),
            Result.AUTH,
            401,
            b"",
            id="credentials",
        ),
        pytest.param(
            answering(head("410 Gone", "Content-Length: 0")), Result.GONE, 410, b"", id="gone"
        ),
        pytest.param(
            answering(head("101 Switching", "Upgrade: x", "Connection: upgrade") + b"abc"),
            Result.HTTP_3XX,
            101,
            b"",
            id="an upgrade nobody asked for",
        ),
        pytest.param(
            answering(head("999 What", "Content-Length: 0")),
            Result.HTTP_5XX,
            999,
            b"",
            id="a status out of range",
        ),
        pytest.param(
            answering_once(b"hello, I am HTTP/0.9\r\n"), Result.CONNECT, None, b"", id="HTTP/0.9"
        ),
        pytest.param(
            answering_once(b"HTTP/1.1 99 Low\r\n\r\n"), Result.CONNECT, None, b"", id="two digits"
        ),
        pytest.param(
            answering_once(head("200 OK", "Content-Length: 5", "Content-Length: 6")),
            Result.CONNECT,
            None,
            b"",
            id="two lengths",
        ),
        pytest.param(
            answering_once(b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n"),
            Result.CONNECT,
            None,
            b"",
            id="a NUL in the head",
        ),
        pytest.param(
            answering_once(head("200 OK", *(f"X-{i}: {'v' * 8192}" for i in range(200)))),
            Result.CONNECT,
            None,
            b"",
            id="200 fields of 8 KiB",
        ),
        pytest.param(
            answering_once(head("200 OK", *(f"X-{i}: v" for i in range(200)))),
            Result.CONNECT,
            None,
            b"",
            id="200 fields",
        ),
        pytest.param(
            answering_once(head("200 OK", f"X: {'v' * 20000}")),
            Result.CONNECT,
            None,
            b"",
            id="a field of 20 kB",
        ),
        pytest.param(
            answering_once(head("100 Continue") * 1000 + OK),
            Result.CONNECT,
            None,
            b"",
            id="1,000 x 1xx",
        ),
        pytest.param(answering_once(), Result.CONNECT, None, b"", id="FIN without an answer"),
        pytest.param(
            answering_once(b"HTTP/1.1 200 OK\r\nContent-"),
            Result.CONNECT,
            None,
            b"",
            id="FIN within the head",
        ),
    ],
)
async def test_an_answer_comes_to_one_outcome(
    open_transport: Open, script: Script, result: Result, status: int | None, answer: bytes
) -> None:
    outcome = await outcome_of(open_transport, script)
    assert (outcome.result, outcome.status, outcome.answer) == (result, status, answer)
    assert outcome.ok == (outcome.error == "")
    assert len(outcome.error) <= 200
    assert outcome.error.isprintable()


async def test_statuses_listed_as_success_settle_and_others_do_not(open_transport: Open) -> None:
    moved = answering(head("302 Found", "Location: /x", "Content-Length: 0"))
    assert (await outcome_of(open_transport, moved, success=frozenset({302}))).ok
    outcome = await outcome_of(open_transport, answering(NO_CONTENT), success=frozenset({302}))
    assert (outcome.result, outcome.status) == (Result.HTTP_3XX, 204)


async def test_a_redirect_is_not_followed_and_its_cookie_is_not_returned(
    open_transport: Open,
) -> None:
    async with Receiver(answering(OK)) as inner:
        location = f"Location: {inner.url('/metadata')}"
        script = answering(head("307 Moved", location, "Set-Cookie: a=b", "Content-Length: 0"))
        async with Receiver(script) as receiver:
            transport = open_transport(receiver.url())
            for _ in range(2):
                outcome = await post(transport, receiver.url())
                assert (outcome.result, outcome.status) == (Result.HTTP_3XX, 307)
                assert "redirects are not followed" in outcome.error
        assert inner.connections == 0
    assert b"ookie" not in receiver.requests[1][0]


async def test_64_cookies_are_neither_kept_nor_a_problem(open_transport: Open) -> None:
    cookies = (f"Set-Cookie: c{i}={'x' * 100}; Path=/" for i in range(64))
    async with Receiver(answering(head("200 OK", *cookies, "Content-Length: 0"))) as receiver:
        transport = open_transport(receiver.url())
        assert (await post(transport, receiver.url())).ok
        assert (await post(transport, receiver.url())).ok
    assert b"ookie" not in receiver.requests[1][0]


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        (("Retry-After: 120",), 120.0),
        (("Retry-After: Sun, 15 Jun 2025 15:07:40 GMT",), 60.0),
        (("Retry-After: soon",), None),
        (("Retry-After: 5", "Retry-After: 30"), 30.0),
        ((), None),
    ],
)
async def test_retry_after_is_read_by_the_wall_clock(
    open_transport: Open, fields: tuple[str, ...], wanted: float | None
) -> None:
    script = answering(head("429 Slow down", *fields, "Content-Length: 0"))
    outcome = await outcome_of(open_transport, script)
    assert outcome.result is Result.RATE_LIMITED
    assert outcome.retry_after == wanted


async def test_a_reason_phrase_of_a_stranger_is_made_one_printable_line(
    open_transport: Open,
) -> None:
    line = "HTTP/1.1 500 \u202e\x1b[31mred".encode() + b"\xff" + b"x" * 400
    outcome = await outcome_of(open_transport, answering(line + b"\r\nContent-Length: 0\r\n\r\n"))
    if outcome.status is not None:
        assert outcome.status == 500
    assert outcome.error.isprintable()
    assert len(outcome.error) <= 200
    assert "\u202e" not in outcome.error


# -- bounds ------------------------------------------------------------------------------------


async def test_an_endless_body_is_cut_off_and_the_rest_is_never_read(open_transport: Open) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head("200 OK", f"Content-Length: {10 << 30}"))
        while True:
            await peer.send(b"x" * 65536)

    async with Receiver(script) as receiver:
        outcome = await post(open_transport(receiver.url()), receiver.url())
        assert (outcome.result, outcome.status) == (Result.SUCCESS, 200)
        assert outcome.answer == b"x" * ANSWER_KEPT
        assert receiver.peers[0].written < 32 << 20  # what the kernel's buffers took, no more


async def test_an_endless_chunked_error_body_is_cut_off_too(open_transport: Open) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head("503 No", CHUNKED))
        while True:
            await peer.send(b"1\r\ny\r\n" * 10000)

    outcome = await outcome_of(open_transport, script)
    assert (outcome.result, outcome.status) == (Result.HTTP_5XX, 503)
    assert outcome.answer == b"y" * ANSWER_KEPT


async def test_interim_answers_without_end_end_the_attempt_at_once(open_transport: Open) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        while True:
            await peer.send(head("102 Processing") * 1000)

    outcome = await outcome_of(open_transport, script)
    assert outcome.result is Result.CONNECT
    assert "interim" in outcome.error


async def test_a_compressed_body_is_kept_as_it_came(open_transport: Open) -> None:
    bomb = b"\x1f\x8b\x08\x00" + b"\x00" * 3000
    fields = ("Content-Encoding: gzip", f"Content-Length: {len(bomb)}")
    outcome = await outcome_of(open_transport, answering(head("200 OK", *fields) + bomb))
    assert outcome.ok
    assert outcome.answer == bomb[:ANSWER_KEPT]


@pytest.mark.parametrize("size", [4095, 4096, 4097])
async def test_the_connection_is_kept_up_to_the_read_cap_and_closed_beyond(
    open_transport: Open, size: int
) -> None:
    script = answering(head("200 OK", f"Content-Length: {size}"), b"z" * size)
    async with Receiver(script) as receiver:
        transport = open_transport(receiver.url())
        for _ in range(2):
            outcome = await post(transport, receiver.url())
            assert outcome.ok
            assert outcome.answer == b"z" * ANSWER_KEPT
        assert receiver.connections == (1 if size <= 4096 else 2)


# -- the deadline ------------------------------------------------------------------------------


async def hang_at_once(peer: Peer) -> None:
    await peer.gone()


async def drip_head(peer: Peer) -> None:
    await peer.request()
    loop = asyncio.get_running_loop()

    def drip() -> None:
        if not peer.writer.is_closing():
            peer.writer.write(b"x")
            loop.call_later(0.02, drip)

    await peer.send(b"HTTP/1.1 200 ")
    drip()
    await peer.gone()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(hang_at_once, id="reads and says nothing"),
        pytest.param(drip_head, id="a head that drips"),
        pytest.param(answering_then_hanging(head("100 Continue")), id="only an interim answer"),
        pytest.param(answering_then_hanging(b"HTTP/1.1 200 OK\r\n"), id="half a head"),
    ],
)
async def test_no_answer_in_time_is_a_timeout_and_leaves_no_cancellation(
    open_transport: Open, script: Script
) -> None:
    outcome = await outcome_of(open_transport, script, timeout=SHORT)
    assert (outcome.result, outcome.status, outcome.permanent) == (Result.TIMEOUT, None, False)
    assert "0.25 s" in outcome.error
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.parametrize("status", ["200 OK", "500 No"])
async def test_a_status_that_was_seen_stands_when_its_body_does_not_end_in_time(
    open_transport: Open, status: str
) -> None:
    script = answering_then_hanging(head(status, "Content-Length: 9"), b"half")
    outcome = await outcome_of(open_transport, script, timeout=SHORT)
    assert outcome.status == int(status[:3])
    assert outcome.answer == b"half"
    assert outcome.ok == (status == "200 OK")


async def test_a_receiver_that_does_not_read_a_large_body_is_dropped_at_the_deadline(
    open_transport: Open,
) -> None:
    released = asyncio.Event()

    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await released.wait()
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await peer.gone()

    async with Receiver(script) as receiver:
        transport = open_transport(receiver.url(), timeout=SHORT)
        outcome = await post(transport, receiver.url(), b"x" * (64 << 20))
        assert outcome.result is Result.TIMEOUT
        async with asyncio.timeout(5):
            await transport.close()  # does not wait for the unsent rest
        released.set()


async def test_a_connection_that_is_never_accepted_is_a_timeout(open_transport: Open) -> None:
    # a listening socket whose backlog is full lets further connects hang
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = listener.getsockname()[1]
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
        fillers.append(filler)
    try:
        url = f"http://127.0.0.1:{port}/"
        started = loop.time()
        outcome = await post(open_transport(url, timeout=SHORT), url)
        assert outcome.result is Result.TIMEOUT
        assert "no connection" in outcome.error
        assert loop.time() - started < 5
    finally:
        for filler in fillers:
            filler.close()
        listener.close()


async def test_a_real_cancellation_is_raised_and_drops_the_connection(
    open_transport: Open,
) -> None:
    async with Receiver(answering_then_hanging()) as receiver:
        transport = open_transport(receiver.url())
        task = asyncio.ensure_future(transport.post(receiver.url(), HEADERS, BODY))
        async with asyncio.timeout(5):
            await receiver.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            await transport.close()


async def test_a_2xx_that_was_seen_survives_a_cancellation_while_its_body_is_read(
    open_transport: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = asyncio.Event()
    original = AiohttpTransport._read

    async def noted(*arguments: object) -> None:
        reading.set()
        await original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(AiohttpTransport, "_read", noted)
    script = answering_then_hanging(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    async with Receiver(script) as receiver:
        transport = open_transport(receiver.url())
        task = asyncio.ensure_future(transport.post(receiver.url(), HEADERS, BODY))
        async with asyncio.timeout(5):
            await reading.wait()
            task.cancel()
            assert (await task).ok


@pytest.mark.parametrize("by", ["cancel", "deadline"])
async def test_a_2xx_that_comes_in_the_very_tick_of_a_cancellation_is_not_lost(
    open_transport: Open, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    original_init, original_feed = Progress.__init__, AnswerProtocol.feed_data
    attempts: list[Progress] = []

    def noted(self: Progress) -> None:
        original_init(self)
        attempts.append(self)

    def fed(self: AnswerProtocol, data: object, size: int = 0) -> None:
        original_feed(self, data, size)
        # the head is there, the attempt has not run since
        attempts[-1].task.cancel() if by == "cancel" else attempts[-1].expire()

    monkeypatch.setattr(Progress, "__init__", noted)
    monkeypatch.setattr(AnswerProtocol, "feed_data", fed)
    async with Receiver(answering(NO_CONTENT)) as receiver:
        transport = open_transport(receiver.url())
        task = asyncio.ensure_future(transport.post(receiver.url(), HEADERS, BODY))
        async with asyncio.timeout(5):
            assert await task == Outcome(result=Result.SUCCESS, status=204)


async def test_a_cancellation_in_the_same_tick_as_the_deadline_is_not_swallowed(
    open_transport: Open,
) -> None:
    async with Receiver(answering_then_hanging()) as receiver:
        transport = open_transport(receiver.url(), timeout=SHORT)
        task = asyncio.ensure_future(transport.post(receiver.url(), HEADERS, BODY))
        async with asyncio.timeout(5):
            await receiver.arrived.wait()
        # the deadline's own cancellation and a real one, before the task can run
        original = Progress.expire

        def both(self: Progress) -> None:
            original(self)
            self.task.cancel()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Progress, "expire", both)
            second = asyncio.ensure_future(transport.post(receiver.url(), HEADERS, BODY))
            with pytest.raises(asyncio.CancelledError):
                await second
        assert (await task).result is Result.TIMEOUT


async def test_the_deadline_works_inside_an_outer_timeout(open_transport: Open) -> None:
    async with Receiver(answering_then_hanging()) as receiver:
        transport = open_transport(receiver.url(), timeout=SHORT)
        async with asyncio.timeout(8):
            outcome = await transport.post(receiver.url(), HEADERS, BODY)
        assert outcome.result is Result.TIMEOUT
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SHORT / 5):
                await transport.post(receiver.url(), HEADERS, BODY)


# -- connections -------------------------------------------------------------------------------


async def test_nobody_listening_is_connect(open_transport: Open) -> None:
    async with Receiver(answering(OK)) as receiver:
        url = receiver.url("/x?token=canary")
    outcome = await post(open_transport(url), url)
    assert outcome.result is Result.CONNECT
    assert "refused" in outcome.error.lower()
    assert "canary" not in outcome.error


async def reset_at_once(peer: Peer) -> None:
    peer.reset()


async def reset_after_request(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def reset_within_head(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nCont")
    peer.reset()


@pytest.mark.parametrize("script", [reset_at_once, reset_after_request, reset_within_head])
async def test_a_reset_on_a_new_connection_is_connect(open_transport: Open, script: Script) -> None:
    outcome = await outcome_of(open_transport, script)
    assert (outcome.result, outcome.status) == (Result.CONNECT, None)
    assert "{" not in outcome.error


async def test_a_reset_after_the_head_leaves_the_status_standing(open_transport: Open) -> None:
    seen = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head("200 OK", "Content-Length: 9") + b"half")
        await seen.wait()
        peer.reset()

    async with Receiver(script) as receiver:
        transport = open_transport(receiver.url())
        asyncio.get_running_loop().call_later(0.05, seen.set)
        outcome = await post(transport, receiver.url())
    assert (outcome.result, outcome.status) == (Result.SUCCESS, 200)


async def test_connections_are_kept_alive_and_reused(open_transport: Open) -> None:
    async with Receiver(answering(OK)) as receiver:
        transport = open_transport(receiver.url())
        for _ in range(5):
            assert (await post(transport, receiver.url())).ok
        assert receiver.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        head("200 OK", "Connection: close", "Content-Length: 2") + b"ok",
        head("204 No Content", "Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        head("101 Switching", "Upgrade: x", "Connection: upgrade"),
    ],
)
async def test_a_connection_that_the_answer_ends_is_not_used_again(
    open_transport: Open, answer: bytes
) -> None:
    async with Receiver(answering(answer)) as receiver:  # which itself would go on
        transport = open_transport(receiver.url())
        for _ in range(2):
            assert (await post(transport, receiver.url())).status == int(answer[9:12])
        assert receiver.connections == 2


async def test_without_keepalive_each_attempt_connects_anew(open_transport: Open) -> None:
    async with Receiver(answering(OK)) as receiver:
        transport = open_transport(receiver.url(), keepalive=0.0)
        for _ in range(3):
            assert (await post(transport, receiver.url())).ok
        assert receiver.connections == 3
        assert b"Connection: close" in receiver.requests[0][0]


async def test_idle_connections_are_closed_after_keepalive(open_transport: Open) -> None:
    left = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.gone()
        left.set()

    async with Receiver(script) as receiver:
        transport = open_transport(receiver.url(), keepalive=0.1)
        assert (await post(transport, receiver.url())).ok
        async with asyncio.timeout(5):
            await left.wait()


async def test_a_busy_connection_is_closed_soon_after_its_last_use(open_transport: Open) -> None:
    loop, left = asyncio.get_running_loop(), asyncio.Event()

    async def script(peer: Peer) -> None:
        try:
            await answering(OK)(peer)
        finally:
            left.set()

    async with Receiver(script) as receiver:
        transport = open_transport(receiver.url(), keepalive=0.6)
        started = last = loop.time()
        while last < started + 0.2:  # what looks after idle connections has begun to count
            assert (await post(transport, receiver.url())).ok
            last = loop.time()
        async with asyncio.timeout(5):
            await left.wait()
        assert 0.55 < loop.time() - last < 0.85
        assert receiver.connections == 1


async def test_long_keepalives_are_not_rounded_up(open_transport: Open) -> None:
    async with Receiver(answering(OK)) as receiver:
        transport = open_transport(receiver.url(), keepalive=10.5)
        loop = asyncio.get_running_loop()
        assert (await post(transport, receiver.url())).ok
        handle = transport._connector._cleanup_handle
        assert handle is not None
        assert handle.when() - loop.time() <= 10.5


async def test_a_connection_that_rested_too_long_is_not_used_again(
    open_transport: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Receiver(answering(OK)) as receiver:
        transport = open_transport(receiver.url(), keepalive=60.0)
        assert (await post(transport, receiver.url())).ok
        late = asyncio.get_running_loop().time() + 60.1
        monkeypatch.setattr("aiohttp.connector.monotonic", lambda: late)
        assert (await post(transport, receiver.url())).ok
        assert receiver.connections == 2


@pytest.mark.parametrize("how", ["finish", "reset"])
async def test_a_reused_connection_that_dies_without_a_byte_is_told_apart(
    open_transport: Open, how: str
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        getattr(peer, how)()

    async with Receiver(script) as receiver:
        transport = open_transport(receiver.url())
        assert (await post(transport, receiver.url())).ok
        outcome = await post(transport, receiver.url())
        assert receiver.connections == 1
        assert len(receiver.requests) == 2  # nothing was sent again behind the record's back
    assert (outcome.result, outcome.status) == (Result.REUSED_CONNECTION, None)


async def test_a_fresh_attempt_never_goes_over_a_used_connection(open_transport: Open) -> None:
    async def script(peer: Peer) -> None:  # closes on every second request of a connection
        await peer.request()
        await peer.send(OK)
        await peer.request()
        peer.finish()

    async with Receiver(script) as receiver:
        transport = open_transport(receiver.url(), concurrency=4)
        all_at_once = [post(transport, receiver.url()) for _ in range(3)]
        assert all(outcome.ok for outcome in await asyncio.gather(*all_at_once))
        outcome = await transport.post(receiver.url(), HEADERS, BODY, fresh=True)
        assert (outcome.ok, receiver.connections) == (True, 4)
        outcome = await post(transport, receiver.url())
        assert (outcome.result, receiver.connections) == (Result.REUSED_CONNECTION, 4)
        outcome = await transport.post(receiver.url(), HEADERS, BODY, fresh=True)
        assert (outcome.ok, receiver.connections) == (True, 5)


async def test_a_reused_connection_that_dies_after_a_byte_is_connect(open_transport: Open) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(b"H")
        peer.finish()

    async with Receiver(script) as receiver:
        transport = open_transport(receiver.url())
        assert (await post(transport, receiver.url())).ok
        outcome = await post(transport, receiver.url())
    assert outcome.result is Result.CONNECT


async def test_a_reused_connection_that_hangs_is_an_ordinary_timeout(open_transport: Open) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.gone()

    async with Receiver(script) as receiver:
        transport = open_transport(receiver.url(), timeout=SHORT)
        assert (await post(transport, receiver.url())).ok
        outcome = await post(transport, receiver.url())
        assert receiver.connections == 1
    assert outcome.result is Result.TIMEOUT


async def test_an_answer_before_the_request_is_all_sent_ends_the_connection(
    open_transport: Open,
) -> None:
    ended = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await peer.send(head("413 Too large", "Content-Length: 0"))
        await ended.wait()

    async with Receiver(script) as receiver:
        transport = open_transport(receiver.url(), keepalive=60.0)
        for _ in range(2):
            outcome = await post(transport, receiver.url(), b"x" * (32 << 20))
            assert (outcome.result, outcome.status) == (Result.HTTP_4XX, 413)
        assert receiver.connections == 2  # on the first, the next would never be read
        ended.set()


async def test_an_answer_nobody_asked_for_is_never_taken_for_the_next(open_transport: Open) -> None:
    gone = asyncio.Event()
    more = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head("500 No", "Content-Length: 0"))
        await more.wait()
        await peer.send(OK)  # without a request
        await peer.gone()
        gone.set()

    async with Receiver(script) as receiver:
        transport = open_transport(receiver.url(), timeout=SHORT, keepalive=60.0)
        assert (await post(transport, receiver.url())).status == 500
        more.set()
        async with asyncio.timeout(5):
            await gone.wait()  # the client has dropped the connection
        outcome = await post(transport, receiver.url())
        assert receiver.connections == 2
    assert outcome.status == 500


async def test_at_most_concurrency_connections_are_open(open_transport: Open) -> None:
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await release.wait()
            await peer.send(OK)

    async with Receiver(script) as receiver:
        transport = open_transport(receiver.url(), concurrency=2)
        posts = [asyncio.ensure_future(post(transport, receiver.url())) for _ in range(5)]
        async with asyncio.timeout(5):
            while len(receiver.requests) < 2:
                receiver.arrived.clear()
                await receiver.arrived.wait()
        release.set()
        outcomes = await asyncio.gather(*posts)
        assert all(outcome.ok for outcome in outcomes)
        assert receiver.connections == 2


# -- closing -----------------------------------------------------------------------------------


async def test_close_lets_a_busy_attempt_finish_and_closes_idle_connections_at_once(
    open_transport: Open,
) -> None:
    release = asyncio.Event()
    idle_gone = asyncio.Event()
    first_done = asyncio.Event()

    async def script(peer: Peer) -> None:
        _, body = await peer.request()
        if body == b"busy":
            await release.wait()
            await peer.send(OK)
        else:
            await first_done.wait()
            await peer.send(OK)
            await peer.gone()
            idle_gone.set()

    async with Receiver(script) as receiver:
        transport = open_transport(receiver.url())
        idle = asyncio.ensure_future(transport.post(receiver.url(), HEADERS, b"idle"))
        busy = asyncio.ensure_future(transport.post(receiver.url(), HEADERS, b"busy"))
        async with asyncio.timeout(5):
            while len(receiver.requests) < 2:
                receiver.arrived.clear()
                await receiver.arrived.wait()
            first_done.set()
            assert (await idle).ok
            closing = asyncio.ensure_future(transport.close())
            await idle_gone.wait()
            assert not busy.done()
            assert not closing.done()
            release.set()
            assert (await busy).ok
            await closing


async def test_a_closed_transport_answers_interrupted(open_transport: Open) -> None:
    transport = open_transport("http://127.0.0.1:9/")
    await transport.close()
    await transport.close()
    outcome = await transport.post("http://127.0.0.1:9/", HEADERS, BODY)
    assert outcome.result is Result.INTERRUPTED


@pytest.mark.parametrize(
    "url",
    [
        "http://canary.example:{port}/canary?canary",
        "http://user:canary@h/",
        "http://canary..example/",
        "https://10.99.98.97/canary",
        "https://canary.example/",
    ],
)
async def test_no_part_of_a_secret_url_is_told(open_transport: Open, url: str) -> None:
    async with Receiver(reset_at_once) as receiver:
        url = url.format(port=receiver.port)
        for answer in (["127.0.0.1"], ["10.0.0.1"], []):
            transport = open_transport(url, url_secret="crm-url", lookup=lambda _, a=answer: a)
            outcome = await post(transport, url)
            assert not outcome.ok
            assert outcome.error
            assert "canary" not in outcome.error
            assert "10.99" not in outcome.error


async def test_interim_answers_are_counted_for_each_request_alone(open_transport: Open) -> None:
    async with Receiver(answering(head("100 Continue") * 200 + OK)) as receiver:
        transport = open_transport(receiver.url())
        for _ in range(3):
            assert (await post(transport, receiver.url())).ok
        assert receiver.connections == 1


# -- policy ------------------------------------------------------------------------------------

DENYING = EgressPolicy(name="strict", require_https=False)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fd00:ec2::254]",
    ],
)
async def test_a_denied_literal_is_blocked_for_good(open_transport: Open, host: str) -> None:
    async with Receiver(answering(OK)) as receiver:
        url = receiver.url(host=host)
        outcome = await post(open_transport(url, egress=DENYING), url)
        assert receiver.connections == 0
    assert (outcome.result, outcome.permanent) == (Result.BLOCKED, True)
    assert '"strict"' in outcome.error


@pytest.mark.parametrize(
    "host",
    ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "①②⑦.⓪.⓪.①", "ⓛocalhost", "[::1%25lo]"],
)
async def test_an_odd_spelling_is_blocked_even_where_loopback_is_allowed(
    open_transport: Open, host: str
) -> None:
    async with Receiver(answering(OK)) as receiver:
        url = receiver.url("/?token=canary", host=host)
        outcome = await post(open_transport(url), url)
        assert receiver.connections == 0
    assert (outcome.result, outcome.permanent) == (Result.BLOCKED, True)
    assert "canary" not in outcome.error


async def test_a_mapped_literal_is_judged_and_allowed_by_what_it_carries(
    open_transport: Open,
) -> None:
    async with Receiver(answering(OK)) as receiver:
        url = receiver.url(host="[::ffff:127.0.0.1]")
        outcome = await post(open_transport(url), url)
    assert outcome.result in (Result.SUCCESS, Result.CONNECT)  # no IPv6 on this machine: connect


async def test_plain_http_is_not_sent_where_the_policy_wants_https(open_transport: Open) -> None:
    policy = EgressPolicy(name="lan", allow=LOOPBACK.allow)
    async with Receiver(answering(OK)) as receiver:
        outcome = await post(open_transport(receiver.url(), egress=policy), receiver.url())
        assert receiver.connections == 0
    assert (outcome.result, outcome.permanent) == (Result.BLOCKED, True)
    assert "https" in outcome.error


async def test_an_allowance_for_one_port_allows_no_other(open_transport: Open) -> None:
    async with Receiver(answering(OK)) as receiver:
        network = ip_network("127.0.0.1/32")
        for port, allowed in ((receiver.port, True), (receiver.port - 1, False)):
            policy = EgressPolicy(
                name="lan", allow=(Allowance(network=network, port=port),), require_https=False
            )
            outcome = await post(open_transport(receiver.url(), egress=policy), receiver.url())
            assert outcome.ok is allowed
            assert (outcome.result is Result.BLOCKED) is not allowed


async def test_an_unexpected_fault_is_one_failed_attempt_and_is_logged_without_its_text(
    open_transport: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Receiver(answering(OK)) as receiver:
        transport = open_transport(receiver.url())

        def broken(*_: object, **__: object) -> None:
            raise LookupError("canary")

        with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
            patch.setattr(transport._connector, "lease", broken)
            outcome = await post(transport, receiver.url())
        assert outcome.result is Result.CONNECT
        assert [record.message for record in caplog.records] == ["attempt.broken"]
        assert (await post(transport, receiver.url())).ok
