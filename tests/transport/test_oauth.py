"""Tokens by client credentials: one fetch for all, renewed in time, and lies told as what they are.

The token server and the endpoint are real ones on loopback; hours pass on a fake clock.
"""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
from tests.builders import FakeClock
from tests.transport.receiver import LOOPBACK, NO_CONTENT, Peer, Receiver, Script, answering

from hookpost.core.addresses import EgressPolicy
from hookpost.core.credentials import OAuth2
from hookpost.core.model import Outcome, Result
from hookpost.core.secrets import Secret
from hookpost.core.settings import Endpoint
from hookpost.transport.authorized import AuthorizedTransport
from hookpost.transport.tokens import FAILED_RESTS_FOR

SECRET = Secret(name="client", value=b"canary client:secret")
UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
Post = Callable[..., Awaitable[Outcome]]


def granted(**members: Any) -> bytes:
    """A token server's answer."""
    return answer(json.dumps({"access_token": "tok-1", "token_type": "Bearer", **members}).encode())


def answer(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def counting(seconds: int = 3600) -> Script:
    """Grants tok-1, tok-2, tok-3 …"""
    number = 0

    async def script(peer: Peer) -> None:
        nonlocal number
        while True:
            await peer.request()
            number += 1
            await peer.send(granted(access_token=f"tok-{number}", expires_in=seconds))

    return script


def taking(*tokens: str) -> Script:
    """204 for these tokens, 401 for any other."""
    return taking_of(set(tokens))


def taking_of(tokens: set[str]) -> Script:
    """The same; the set may change meanwhile."""

    async def script(peer: Peer) -> None:
        while True:
            head, _ = await peer.request()
            await peer.send(NO_CONTENT if token_in(head) in tokens else UNAUTHORIZED)

    return script


def token_in(head: bytes) -> str:
    for line in head.decode().split("\r\n"):
        if line.lower().startswith("authorization: bearer "):
            return line[22:]
    return ""


class Rig:
    """A transport between a token server and an endpoint."""

    def __init__(self, server: Receiver, endpoint: Receiver, **changes: Any) -> None:
        self.server, self.endpoint = server, endpoint
        self.clock = FakeClock()
        fields: dict[str, Any] = {"egress": LOOPBACK, "timeout": 5.0, "concurrency": 8}
        oauth = {key: changes.pop(key) for key in ("scope", "audience", "post") if key in changes}
        fields |= changes
        self.oauth = OAuth2(
            token_url=fields.pop("token_url", server.url("/token")),
            client_id="me & mine",
            client_secret=SECRET,
            **oauth,
        )
        self.transport = AuthorizedTransport(
            Endpoint(name="crm", url=endpoint.url(), auth=self.oauth, **fields),
            self.oauth,
            clock=self.clock,
        )

    async def post(self) -> Outcome:
        outcome = await self.transport.post(self.endpoint.url(), (("X-A", "b"),), b"body")
        assert "canary" not in outcome.error
        assert "tok-" not in outcome.error
        return outcome

    @property
    def tokens(self) -> list[str]:
        return [token_in(head) for head, _ in self.endpoint.requests]

    async def __aenter__(self) -> "Rig":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.transport.close()


async def test_one_token_is_fetched_for_many_and_kept() -> None:
    async with (
        Receiver(counting()) as server,
        Receiver(taking("tok-1")) as endpoint,
        Rig(server, endpoint) as rig,
    ):
        outcomes = await asyncio.gather(*(rig.post() for _ in range(8)))
        assert {outcome.status for outcome in outcomes} == {204}
        rig.clock.advance(3000)
        assert (await rig.post()).ok
        assert len(server.requests) == 1
        assert rig.tokens == ["tok-1"] * 9


@pytest.mark.parametrize(("lifetime", "used_for"), [(3600, 3570), (100, 80)])
async def test_a_token_is_fetched_again_before_its_end(lifetime: int, used_for: int) -> None:
    async with (
        Receiver(counting(lifetime)) as server,
        Receiver(taking("tok-1", "tok-2")) as endpoint,
        Rig(server, endpoint) as rig,
    ):
        await rig.post()
        rig.clock.advance(used_for - 1)
        await rig.post()
        assert len(server.requests) == 1
        rig.clock.advance(1)
        await rig.post()
        assert rig.tokens == ["tok-1", "tok-1", "tok-2"]


@pytest.mark.parametrize(
    ("members", "used_for"),
    [({}, 270), ({"expires_in": "900"}, 870), ({"expires_in": 1e300}, 86370)],
)
async def test_a_lifetime_that_is_not_said_or_oddly_said_is_bounded(
    members: dict[str, Any], used_for: int
) -> None:
    async with (
        Receiver(answering(granted(**members))) as server,
        Receiver(taking("tok-1")) as endpoint,
        Rig(server, endpoint) as rig,
    ):
        await rig.post()
        rig.clock.advance(used_for - 1)
        await rig.post()
        assert len(server.requests) == 1
        rig.clock.advance(2)
        await rig.post()
        assert len(server.requests) == 2


async def test_a_401_renews_once_and_tries_again_at_once() -> None:
    taken = {"tok-1"}
    async with (
        Receiver(counting()) as server,
        Receiver(taking_of(taken)) as endpoint,
        Rig(server, endpoint) as rig,
    ):
        await rig.post()
        taken.symmetric_difference_update({"tok-1", "tok-2"})
        outcomes = await asyncio.gather(*(rig.post() for _ in range(4)))
        assert {outcome.status for outcome in outcomes} == {204}
        assert len(server.requests) == 2, "one renewal for all who were refused"
        assert sorted(rig.tokens) == ["tok-1"] * 5 + ["tok-2"] * 4


async def test_a_401_to_a_fresh_token_ends_the_attempt_and_the_next_fetches_anew() -> None:
    async with (
        Receiver(counting()) as server,
        Receiver(answering(UNAUTHORIZED)) as endpoint,
        Rig(server, endpoint) as rig,
    ):
        for number in (1, 2, 3):
            outcome = await rig.post()
            assert (outcome.result, outcome.status) == (Result.AUTH, 401)
            assert len(server.requests) == number
            assert rig.tokens == [f"tok-{one}" for one in range(1, number + 1)]


@pytest.mark.parametrize("post", [False, True])
async def test_the_client_proves_itself_as_the_server_wants(*, post: bool) -> None:
    async with (
        Receiver(counting()) as server,
        Receiver(taking("tok-1")) as endpoint,
        Rig(server, endpoint, post=post, scope="a b", audience="https://x/") as rig,
    ):
        await rig.post()
    ((head, body),) = server.requests
    fields = {
        name: value for name, (value,) in parse_qs(body.decode(), strict_parsing=True).items()
    }
    expected = {"grant_type": "client_credentials", "scope": "a b", "audience": "https://x/"}
    if post:
        expected |= {"client_id": "me & mine", "client_secret": SECRET.value.decode()}
        assert b"uthorization" not in head
    else:
        pair = base64.b64encode(b"me+%26+mine:canary+client%3Asecret").decode()
        assert f"Authorization: Basic {pair}\r\n".encode() in head
    assert fields == expected
    assert head.startswith(b"POST /token HTTP/1.1\r\n")
    assert b"Content-Type: application/x-www-form-urlencoded\r\n" in head


LIES = {
    "no JSON": (answer(b"<html>canary</html>"), "the answer is no JSON object"),
    "a list": (answer(b"[1]"), "the answer is no JSON object"),
    "not UTF-8": (answer(b'{"access_token": "\xff"}'), "the answer is no JSON object"),
    "nesting": (answer(b"[" * 60_000), "the answer is no JSON object"),
    "nothing": (answer(b""), "the answer is no JSON object"),
    "no token": (answer(b'{"token": "canary"}'), "the answer has no access_token"),
    "an error": (
        answer(b'{"error": "invalid_scope", "error_description": "canary"}'),
        "the answer has no access_token, which says invalid_scope",
    ),
    "a number": (granted(access_token=7), "the access_token is not a text that a header can carry"),
    "a line break": (granted(access_token="tok\r\nX-Evil: 1"), "is not a text that a header"),
    "a space": (granted(access_token="tok 1"), "is not a text that a header can carry"),
    "an empty token": (granted(access_token=""), "is not a text that a header can carry"),
    "another type": (granted(token_type="mac"), "the token_type is not bearer"),
    "negative": (granted(expires_in=-1), "expires_in says that the token is over already"),
    "nought": (granted(expires_in=0), "expires_in says that the token is over already"),
    "NaN": (answer(b'{"access_token":"t","expires_in":NaN}'), "the answer is no JSON object"),
    "a word": (granted(expires_in="soon"), "expires_in is no number of seconds"),
    "true": (granted(expires_in=True), "expires_in is no number of seconds"),
    "huge": (granted(access_token="x" * 70_000), "the answer has more than 64 KiB"),
    "endless": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"40000\r\n" + b" " * 0x40000,
        "the answer has more than 64 KiB",
    ),
    "a redirect": (
        b"HTTP/1.1 307 Over There\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n",
        "HTTP 307 Over There (redirects are not followed)",
    ),
    "refused": (
        answer(b'{"error": "invalid_client"}', "401 Unauthorized"),
        "HTTP 401 Unauthorized, which says invalid_client",
    ),
    "refused oddly": (answer(b'{"error": "canary"}', "400 Bad Request"), "HTTP 400 Bad Request"),
    "no HTTP": (b"SSH-2.0-canary\r\n\r\n", "is not HTTP/1.1"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_server_that_lies_is_a_failed_attempt_that_says_so(lie: str) -> None:
    sent, says = LIES[lie]
    async with (
        Receiver(answering(sent)) as server,
        Receiver(taking("tok-1")) as endpoint,
        Rig(server, endpoint) as rig,
    ):
        outcome = await rig.post()
        assert outcome.result is Result.AUTH
        assert (outcome.status, outcome.answer, outcome.permanent) == (None, b"", False)
        assert outcome.error.startswith("no token from 127.0.0.1: ")
        assert says in outcome.error
        assert endpoint.requests == []


async def test_after_a_failure_the_next_attempt_asks_again_and_is_asked_to_wait() -> None:
    failing = [answer(b"busy", "503 Busy").replace(b"Busy\r\n", b"Busy\r\nRetry-After: 77\r\n", 1)]

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(failing.pop() if failing else granted())

    async with (
        Receiver(script) as server,
        Receiver(taking("tok-1")) as endpoint,
        Rig(server, endpoint) as rig,
    ):
        outcome = await rig.post()
        assert (outcome.result, outcome.retry_after, outcome.status) == (Result.AUTH, 77.0, None)
        assert (await rig.post()).ok
        assert len(server.requests) == 2


async def test_a_server_that_hangs_costs_the_attempts_time_and_no_more() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with (
        Receiver(script) as server,
        Receiver(taking("tok-1")) as endpoint,
        Rig(server, endpoint, timeout=0.2) as rig,
    ):
        outcomes = await asyncio.gather(*(rig.post() for _ in range(8)))
        assert {outcome.result for outcome in outcomes} == {Result.AUTH}
        assert len(server.requests) == 1
        assert endpoint.requests == []


async def test_a_cancelled_attempt_leaves_the_fetch_to_the_others() -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await go_on.wait()
            await peer.send(granted())

    async with (
        Receiver(script) as server,
        Receiver(taking("tok-1")) as endpoint,
        Rig(server, endpoint) as rig,
    ):
        first, second = (asyncio.ensure_future(rig.post()) for _ in range(2))
        await server.arrived.wait()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        go_on.set()
        assert (await second).ok
        assert first.cancelled()
        assert len(server.requests) == 1


async def test_closing_ends_a_fetch_that_is_on_its_way() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.gone()

    async with Receiver(script) as server, Receiver(taking("tok-1")) as endpoint:
        rig = Rig(server, endpoint)
        waiting = asyncio.ensure_future(rig.post())
        await server.arrived.wait()
        await rig.transport.close()
        assert (await waiting).result is Result.AUTH


async def test_the_token_server_is_judged_by_the_endpoints_policy() -> None:
    async with Receiver(counting()) as server, Receiver(taking("tok-1")) as endpoint:
        for url, egress in (
            (server.url(), EgressPolicy(require_https=False)),
            (server.url(host="localhost"), EgressPolicy(require_https=False)),
            (server.url(), EgressPolicy(allow=LOOPBACK.allow)),
        ):
            async with Rig(server, endpoint, token_url=url, egress=egress) as rig:
                outcome = await rig.post()
                assert outcome.result is Result.AUTH
                assert not outcome.permanent
                assert outcome.error.startswith("no token from ")
        assert server.requests == []


async def test_an_answer_that_repeats_the_token_does_not_tell_it() -> None:
    async def script(peer: Peer) -> None:
        head, _ = await peer.request()
        await peer.send(answer(head, "400 tok-1"))

    async with (
        Receiver(counting()) as server,
        Receiver(script) as endpoint,
        Rig(server, endpoint) as rig,
    ):
        outcome = await rig.post()
    assert b"Bearer ***" in outcome.answer
    assert b"tok-1" not in outcome.answer
    assert outcome.error == "HTTP 400 ***"


async def test_a_server_that_has_just_failed_is_left_alone_for_a_moment() -> None:
    async with (
        Receiver(answering(answer(b"", "500 No"))) as server,
        Receiver(taking("tok-1")) as endpoint,
        Rig(server, endpoint) as rig,
    ):
        loop = asyncio.get_running_loop()
        await rig.post()
        failed_at = loop.time()
        await rig.post()
        assert loop.time() - failed_at >= FAILED_RESTS_FOR * 0.9
        assert len(server.requests) == 2


async def test_token_and_both_requests_share_one_time_limit() -> None:
    """The first request uses most of it up; the second, after the renewal, gets the rest."""

    async def script(peer: Peer) -> None:
        while True:
            head, _ = await peer.request()
            if token_in(head) == "tok-1" and len(endpoint.requests) == 1:
                await peer.send(NO_CONTENT)
            elif token_in(head) == "tok-1":
                await passed(0.3)
                await peer.send(UNAUTHORIZED)
            else:
                await peer.gone()

    async with (
        Receiver(counting()) as server,
        Receiver(script) as endpoint,
        Rig(server, endpoint, timeout=0.5) as rig,
    ):
        assert (await rig.post()).ok
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert (await rig.post()).result is Result.TIMEOUT
        assert loop.time() - began < 0.75


async def passed(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    loop.call_later(seconds, over.set_result, None)
    await over
