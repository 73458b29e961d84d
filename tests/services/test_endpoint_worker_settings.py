"""Settings of an endpoint that only the whole worker shows: what is sent, how long it is held."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.builders import FakeClock
from tests.dispatching import RETRY, Bench, ScriptedReceiver, an_endpoint, step

from hookpost.core.model import Format, Outcome, Payload, Result
from hookpost.storage.sqlite import SqliteOutbox


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = FakeClock()
    bench = Bench(await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock), clock)
    yield bench
    await bench.end()
    assert bench.failures == []


FROM_ENVELOPE = {"format": Format.ENVELOPE, "body": b'{"amount": 1.0}'}
FROM_RAW = {"format": Format.RAW, "content_type": "text/csv", "body": b"a;b"}


@pytest.mark.parametrize(
    ("payload", "event", "sent", "content_type"),
    [
        (Payload.AUTO, FROM_ENVELOPE, None, "application/json"),
        (Payload.RAW, FROM_ENVELOPE, b'{"amount": 1.0}', "application/json"),
        (Payload.AUTO, FROM_RAW, b"a;b", "text/csv"),
        (Payload.ENVELOPE, FROM_RAW, None, "application/json"),
    ],
)
async def test_what_is_sent_is_what_the_endpoint_wants(
    bench: Bench, payload: Payload, event: dict[str, Any], sent: bytes | None, content_type: str
) -> None:
    receiver = ScriptedReceiver()
    worker = await bench.worker(an_endpoint(payload=payload), receiver)
    await bench.put(worker.id, **event)
    await step(worker)
    [(_, headers, body)] = receiver.received
    assert headers["content-type"] == content_type
    if sent is None:  # an envelope
        assert json.loads(body)["eventId"] == "evt_1"
    else:
        assert body == sent


@pytest.mark.parametrize("most", [60.0, 90.0])
async def test_a_receiver_is_given_no_longer_hold_than_its_policy_allows(
    bench: Bench, most: float
) -> None:
    asked = Outcome(result=Result.RATE_LIMITED, status=429, retry_after=600.0, error="429")
    patient = an_endpoint(retry=replace(RETRY, retry_after_max=most))
    worker = await bench.worker(patient, ScriptedReceiver(asked))
    await bench.put(worker.id)
    await step(worker)
    await bench.put(worker.id)  # which would be due now
    assert await step(worker) == pytest.approx(most)
