"""Ingest on the real outbox: one identity is one event, whoever sends it and when."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.builders import FakeClock
from tests.ingest_rig import Rig, a_rig, a_snapshot, duplicate, served, stored
from tests.ingest_rig import request as http

from hookpost.core.model import EndpointId
from hookpost.core.routing import Routes
from hookpost.services.ingest import Batch
from hookpost.services.snapshot import Snapshot
from hookpost.storage.outbox import EndpointSpec
from hookpost.storage.sqlite import SqliteOutbox


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[SqliteOutbox]:
    opened = await SqliteOutbox.open(tmp_path / "outbox.db", clock=FakeClock())
    try:
        yield opened
    finally:
        await opened.close()


async def durable(outbox: SqliteOutbox) -> Rig:
    plain = a_snapshot()
    records = await outbox.apply_endpoints(
        [EndpointSpec(name=name) for name in plain.config.endpoints], 1_750_000_000.0
    )
    ids: dict[str, EndpointId] = {name: record.id for name, record in records.items()}
    snapshot = Snapshot(
        config=plain.config, endpoint_ids=ids, routes=Routes(plain.config.subscriptions)
    )
    return a_rig(snapshot, outbox)


def body(event_id: str, data: int = 1) -> bytes:
    return b'{"eventType":"invoice.paid","eventId":"%b","data":%d}' % (event_id.encode(), data)


async def test_fifty_clients_with_one_event_store_it_once(outbox: SqliteOutbox) -> None:
    async with served(await durable(outbox)) as web:
        clients = [await web.connect() for _ in range(50)]
        replies = await asyncio.gather(*(client.ask(http(body("in_1"))) for client in clients))
        for client in clients:
            await client.close()

    assert sorted(reply.status for reply in replies) == [200] * 49 + [202]
    assert {reply.json["eventId"] for reply in replies} == {"in_1"}
    assert {reply.json["deliveries"] for reply in replies} == {1}
    [record] = [one for one in outbox.endpoints() if one.name == "crm"]
    assert record.counts.created == 1


async def test_a_batch_is_stored_line_by_line_with_its_duplicates(outbox: SqliteOutbox) -> None:
    rig = await durable(outbox)
    await rig.send(body("a"))

    answer = await rig.send(
        b"\n".join([body("a"), b"{", body("b"), body("b", 2), body("c")]),
        content_type="application/x-ndjson",
    )

    assert isinstance(answer, Batch)
    kinds = [type(line).__name__ for line in answer.results]
    assert kinds == ["Duplicate", "Refused", "Stored", "Duplicate", "Stored"]


async def test_a_duplicate_is_recognised_after_a_restart(tmp_path: Path) -> None:
    answers = []
    for _ in range(2):
        outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=FakeClock())
        answers.append(await (await durable(outbox)).send(body("in_1")))
        await outbox.close()

    assert answers == [stored("in_1", 1), duplicate("in_1", 1)]


async def test_what_was_sent_is_what_is_claimed(outbox: SqliteOutbox) -> None:
    rig = await durable(outbox)

    await rig.send(b'{"eventType":"a","data": {"n": 1.00, "\\u00e4": [ ]} }')

    [delivery] = await outbox.claim(
        rig.current.snapshot.endpoint_ids["crm"], 10, rig.clock.now() + 1
    )
    assert delivery.event.body == b'{"n": 1.00, "\\u00e4": [ ]}'
    outbox.release([delivery])


async def test_after_the_outbox_closed_events_are_refused(tmp_path: Path) -> None:
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=FakeClock())
    rig = await durable(outbox)
    await outbox.close()

    answer = await rig.send(body("in_1"))

    assert (answer.status, answer.code) == (503, "storage_unavailable")
