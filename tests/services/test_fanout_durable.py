"""Filters and transforms over real connections and the real outbox."""

import json
from dataclasses import replace
from pathlib import Path

from tests.builders import FakeClock
from tests.ingest_rig import Rig, a_rig, a_snapshot, a_source, request, served
from tests.services.test_fanout import a_subscription

from hookpost.core.model import EndpointId, Format, Payload
from hookpost.core.payload import render
from hookpost.core.settings import Extractor
from hookpost.storage.outbox import EndpointSpec
from hookpost.storage.sqlite import SqliteOutbox

SUBSCRIPTIONS = (
    a_subscription("large", "crm", "audit", filter="data.n > `1`", transform="{n: data.n, m: id}"),
    a_subscription("bad", "audit", filter="data.n == `1`", transform="keys(data.n)"),
    a_subscription("all", "crm"),
)


async def durable(outbox: SqliteOutbox) -> Rig:
    raw = a_source("raw", format=Format.RAW, event_type=Extractor(value="t"))
    snapshot = a_snapshot(a_source(), raw, subscriptions=SUBSCRIPTIONS)
    records = await outbox.apply_endpoints(
        [EndpointSpec(name=name) for name in ("crm", "audit")], 1_750_000_000.0
    )
    ids = {name: record.id for name, record in records.items()}
    rig = a_rig(replace(snapshot, endpoint_ids=ids), outbox)
    rig.metrics.configure(
        sources=["billing", "raw"],
        endpoints=["crm", "audit"],
        secrets={},
        subscriptions=[one.name for one in SUBSCRIPTIONS],
    )
    return rig


async def claimed(rig: Rig, name: str) -> list[tuple[bytes, str | None]]:
    endpoint: EndpointId = rig.current.snapshot.endpoint_ids[name]
    found = await rig.outbox.claim(endpoint, 10, rig.clock.now() + 1)
    rig.outbox.release(found)
    sent = [render(delivery.event, Payload.AUTO) for delivery in found]
    return [(one.body, one.content_type) for one in sent]


async def test_endpoints_get_different_bytes_of_one_event_before_and_after_a_restart(
    tmp_path: Path,
) -> None:
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=FakeClock())
    rig = await durable(outbox)
    async with served(rig) as web:
        for body, deliveries in ((b'{"n": 2.0}', 2), (b'{"n": 1}', 2), (b"\xff", 1)):
            reply = await web.once(request(body, target="/in/raw"))
            assert (reply.status, reply.json["deliveries"]) == (202, deliveries)
        body = b'{"eventType":"t","eventId":"e1","data":{"n":3}}'
        assert (await web.once(request(body))).json["deliveries"] == 2
    seen = []
    for _ in range(2):
        seen.append((await claimed(rig, "crm"), await claimed(rig, "audit")))
        await outbox.close()
        outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=FakeClock())
        rig = await durable(outbox)
    await outbox.close()

    assert seen[0] == seen[1]
    crm, audit = seen[0]
    assert crm[0] == audit[0]
    assert json.loads(crm[0][0])["n"] == 2.0
    assert crm[0][1] == "application/json"
    assert crm[1:3] == [(b'{"n": 1}', "application/json"), (b"\xff", "application/json")]
    assert crm[3] == audit[1]
    assert b'"data":{"m":"e1","n":3}' in crm[3][0]
    assert len(audit) == 2, "the one whose transform failed is a dead letter"
    records = {one.name: one for one in outbox.endpoints()}
    assert records["audit"].counts.dead_letters == 1
