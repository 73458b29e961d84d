"""Credentials on their whole road: from the file to a receiver, through worker and transport."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.builders import FakeClock
from tests.dispatching import Bench, step
from tests.transport.receiver import Peer, Receiver, Script

from hookpost.config import load
from hookpost.core.model import Result, State
from hookpost.core.settings import Endpoint
from hookpost.services.endpoint_worker import EndpointWorker
from hookpost.services.lanes import connection
from hookpost.storage.sqlite import SqliteOutbox
from hookpost.transport.opening import open_transport

SECRET = "canary-5a1f93"
EXPIRED = {"not_after": "2001-01-01T00:00:00Z"}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = FakeClock()
    bench = Bench(await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock), clock)
    yield bench
    await bench.end()
    assert bench.failures == []


def crm(folder: Path, url: str, *, secret: str = SECRET, more: Any = None, **keys: Any) -> Endpoint:
    """An endpoint with these keys."""
    config = {
        "version": 1,
        "secrets": {"word": {"env": "word", **(more or {})}},
        "egress_policies": {"here": {"allow": ["127.0.0.0/8"], "require_https": False}},
        "retry_policies": {"short": {"max_attempts": 3}},
        "endpoints": {
            "crm": {"url": url, "egress": "here", "retry": "short", "signing": "none", **keys}
        },
    }
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(config))
    return load(file, environ={"word": secret}).sound().endpoints["crm"]


async def started(bench: Bench, endpoint: Endpoint) -> EndpointWorker:
    return await bench.worker(endpoint, open_transport(endpoint, clock=bench.clock))


def repeating(status: int = 200) -> Script:
    """Answers with the head of the request, as some trial services do."""

    async def script(peer: Peer) -> None:
        while True:
            head, _ = await peer.request()
            answer = f"HTTP/1.1 {status} Well\r\nContent-Length: {len(head)}\r\n\r\n".encode()
            await peer.send(answer + head)

    return script


def everything(folder: Path) -> bytes:
    """The bytes of the database's files."""
    return b"".join(path.read_bytes() for path in folder.glob("outbox*"))


PAIR = base64.b64encode(f"me:{SECRET}".encode()).decode()


@pytest.mark.parametrize(
    ("auth", "line"),
    [
        ({"basic": {"username": "me", "password": "word"}}, f"Authorization: Basic {PAIR}"),
        ({"bearer": "word"}, f"Authorization: Bearer {SECRET}"),
        ({"api_key": {"header": "X-Key", "secret": "word"}}, f"X-Key: {SECRET}"),
    ],
)
async def test_a_credential_arrives_and_an_answer_that_repeats_it_is_kept_without(
    bench: Bench, tmp_path: Path, auth: dict[str, Any], line: str
) -> None:
    async with Receiver(repeating()) as receiver:
        worker = await started(bench, crm(tmp_path, receiver.url(), auth=auth))
        await bench.put(worker.id, headers=(("x-key", "forged"),))
        await step(worker)
        ((head, _),) = receiver.requests
    lines = head.decode().split("\r\n")
    name = line.partition(":")[0].lower()
    assert [one for one in lines if one.lower().startswith(f"{name}:")] == [line]
    detail = await bench.detail()
    assert detail.view.state is State.DELIVERED
    kept = detail.attempts[0].outcome.answer
    assert b"***" in kept
    assert SECRET.encode() not in kept
    assert PAIR.encode() not in kept
    assert SECRET.encode() not in everything(tmp_path)


async def test_without_a_live_credential_an_endpoint_is_held(bench: Bench, tmp_path: Path) -> None:
    async with Receiver(repeating()) as receiver:
        endpoint = crm(tmp_path, receiver.url(), more=EXPIRED, auth={"bearer": "word"})
        worker = await started(bench, endpoint)
        await bench.put(worker.id)
        await step(worker)
        assert bench.metrics.of["crm"].throttles == {"no_live_key": 1}
        assert receiver.connections == 0


async def test_a_token_server_that_fails_makes_failed_attempts_that_are_tried_again(
    bench: Bench, tmp_path: Path
) -> None:
    answers = [b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"]
    granted = json.dumps({"access_token": "tok", "expires_in": 60}).encode()

    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            good = f"HTTP/1.1 200 OK\r\nContent-Length: {len(granted)}\r\n\r\n".encode() + granted
            await peer.send(answers.pop() if answers else good)

    async with Receiver(serve) as server, Receiver(repeating()) as receiver:
        oauth = {"token_url": server.url(), "client_id": "me", "client_secret": "word"}
        endpoint = crm(tmp_path, receiver.url(), auth={"oauth2": oauth}, concurrency=2)
        worker = await started(bench, endpoint)
        await bench.put(worker.id, 2)
        await step(worker)
        assert bench.metrics.of["crm"].attempts == {Result.AUTH: 2}
        assert receiver.requests == []
        assert await bench.state() is State.PENDING
        bench.clock.advance(60)
        await step(worker)
        assert bench.metrics.of["crm"].attempts == {Result.AUTH: 2, Result.SUCCESS: 2}
        assert len(server.requests) == 2
    first = (await bench.detail()).attempts[0].outcome
    assert first.error == "no token from 127.0.0.1: HTTP 500 No"
    assert b"tok" not in (await bench.detail()).attempts[1].outcome.answer


def test_what_a_connection_is_made_of_makes_another_transport(tmp_path: Path) -> None:
    url = "https://crm.example.com/"
    usual = connection(crm(tmp_path, url, auth={"bearer": "word"}))
    assert connection(crm(tmp_path, url, auth={"bearer": "word"})) == usual
    assert connection(crm(tmp_path, url, auth={"bearer": "word"}, secret="other")) != usual
    assert connection(crm(tmp_path, url, auth={"bearer": "word"}, tls={"min_version": "1.3"})) != (
        usual
    )
    proxied = crm(tmp_path, url, auth={"bearer": "word"}, proxy="http://10.0.0.1:3128")
    assert connection(proxied) != usual
