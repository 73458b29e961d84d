"""Signed sources in the real process: what survives a restart, what a reload changes."""

import hashlib
import hmac
import json
import signal
import time

import aiohttp
import pytest
from tests.daemon.harness import Daemon, Home, Nursery, Receiver

ZOOM = {
    "event": "meeting.started",
    "event_ts": 1,
    "payload": {"account_id": "a", "object": {"uuid": "u=="}},
}


@pytest.fixture
def zoom(home: Home) -> None:
    """A source that tells duplicates by four values of the body."""
    home.secret("zoom", "first")
    home.config["secrets"]["zoom"] = {"file": "secrets/zoom"}
    home.config["sources"]["zoom"] = {"path": "/in/zoom", "preset": "zoom", "secrets": ["zoom"]}


async def post(daemon: Daemon, document: object, key: str, age: int = 0) -> tuple[int, object]:
    """One request as Zoom signs it."""
    body = json.dumps(document).encode()
    at = str(int(time.time()) - age)  # noqa: TID251 - the daemon's clock is the real one
    mac = hmac.new(key.encode(), f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {"x-zm-request-timestamp": at, "x-zm-signature": f"v0={mac}"}
    url = f"http://{daemon.address('ingest')}/in/zoom"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers=headers) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


@pytest.mark.usefixtures("zoom")
async def test_a_duplicate_is_known_after_a_kill(nursery: Nursery, crm: Receiver) -> None:
    daemon = await nursery.start()
    status, first = await post(daemon, ZOOM, "first")
    assert status == 200
    assert first["duplicate"] is False
    assert await daemon.stop(signal.SIGKILL) == -signal.SIGKILL
    again = await nursery.start()
    status, second = await post(again, ZOOM, "first")
    assert (status, second) == (200, {**first, "duplicate": True})
    metrics = await again.metrics()
    assert metrics['hookpost_events_duplicate_total{source="zoom"}'] == 1
    for received in await crm.count(1):  # an attempt that the kill cut short comes again
        assert received.id == first["eventId"]
        assert json.loads(received.body) == ZOOM
    assert await again.stop() == 0


@pytest.mark.usefixtures("zoom")
async def test_a_secret_rotates_by_a_reload(nursery: Nursery, home: Home) -> None:
    daemon = await nursery.start()
    assert (await post(daemon, ZOOM, "next-key"))[0] == 401
    home.secret("zoom", "next-key")
    assert (await daemon.reload())["msg"] == "config.reloaded"
    assert (await post(daemon, ZOOM, "next-key"))[0] == 200
    assert (await post(daemon, ZOOM, "first"))[0] == 401
    status, answer = await post(daemon, ZOOM, "next-key", age=420)
    assert (status, answer["code"]) == (400, "timestamp_stale")
    assert "420 s old" in answer["detail"] or "421 s old" in answer["detail"]
    validation = {"event": "endpoint.url_validation", "payload": {"plainToken": "p"}}
    expected = hmac.new(b"next-key", b"p", hashlib.sha256).hexdigest()
    status, answer = await post(daemon, validation, "next-key")
    assert (status, answer) == (200, {"plainToken": "p", "encryptedToken": expected})
    assert "next-key" not in daemon.text
    assert await daemon.stop() == 0
