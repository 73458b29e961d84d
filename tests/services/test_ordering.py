"""Order on the road of an event: its keys at acceptance, and attempts one after the other."""

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.builders import FakeClock
from tests.dispatching import BROKEN, OK, Bench, ScriptedReceiver, a_snapshot, an_endpoint, step
from tests.ingest_rig import a_rig
from tests.ingest_rig import a_snapshot as a_route

from hookpost.config.expressions import compile_formula
from hookpost.core.errors import Conflict
from hookpost.core.model import DeliveryId, EndpointId, State
from hookpost.core.ordering import FIFO_KEY, Ordering, key_of
from hookpost.core.ratelimit import RateLimit
from hookpost.core.settings import Endpoint, Subscription
from hookpost.services.endpoint_worker import EndpointWorker
from hookpost.services.operations import Operations
from hookpost.services.snapshot import Snapshot
from hookpost.storage.outbox import Selection
from hookpost.storage.sqlite import SqliteOutbox, group

CRM, AUDIT = EndpointId(1), EndpointId(2)


# -- at acceptance -------------------------------------------------------------------------------


def by(key: str) -> Ordering:
    return Ordering(compile_formula(key))


def ordered(crm: Ordering | None, audit: Ordering | None = None) -> Snapshot:
    snapshot = a_route(subscriptions=[Subscription(name="all", endpoints=("crm", "audit"))])
    orderings = {"crm": crm, "audit": audit}
    endpoints = {
        name: Endpoint(name=name, url="https://x.test/", ordering=ordering)
        for name, ordering in orderings.items()
    }
    return replace(snapshot, config=replace(snapshot.config, endpoints=endpoints))


def envelope(data: object, event_type: str = "invoice.paid") -> bytes:
    return json.dumps({"eventType": event_type, "data": data}).encode()


async def test_an_event_is_given_its_key_when_it_is_accepted() -> None:
    rig = a_rig(ordered(by("data.customer"), Ordering()))
    for data in ({"customer": "a"}, {"customer": 7}, {"customer": None}, {}, "text", None):
        await rig.send(envelope(data))
    keys = [event.keys for event, _ in rig.outbox.events]
    assert keys == [
        {CRM: key_of("a"), AUDIT: FIFO_KEY},
        {CRM: key_of(7), AUDIT: FIFO_KEY},
        *[{AUDIT: FIFO_KEY}] * 4,
    ]
    assert {owed for _, owed in rig.outbox.events} == {(CRM, AUDIT)}


async def test_a_key_may_be_made_of_anything_that_filters_see() -> None:
    rig = a_rig(ordered(by("[type, source, headers.traceparent, data.id]")))
    await rig.send(envelope({"id": 3}))
    expected = key_of(["invoice.paid", "billing", None, 3])
    assert rig.outbox.last.keys == {CRM: expected}


async def test_without_an_order_nothing_is_made() -> None:
    rig = a_rig(ordered(None))
    await rig.send(envelope({}))
    assert rig.outbox.last.keys is None


async def test_a_key_that_fails_is_told_once_a_configuration(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = a_rig(ordered(by("join(',', data.customer)")))
    with caplog.at_level(logging.WARNING, "hookpost.ingest"):
        for _ in range(3):
            await rig.send(envelope({"customer": "hunter2"}))
    assert [event.keys for event, _ in rig.outbox.events] == [None] * 3
    (record,) = caplog.records
    fields = record.__dict__["fields"]
    assert (record.msg, fields["endpoint"], fields["kind"]) == ("ordering.failed", "crm", "failed")
    assert "hunter2" not in str(fields)


# -- at the endpoint -----------------------------------------------------------------------------


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = FakeClock()
    bench = Bench(await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock), clock)
    yield bench
    await bench.end()


async def put(bench: Bench, worker: EndpointWorker, *names: str) -> None:
    for name in names:
        keys = None if name[0] == "-" else {worker.id: ord(name[0])}
        await bench.put(worker.id, id=name, keys=keys)


def seen(receiver: ScriptedReceiver) -> list[str]:
    return [headers["webhook-id"] for _, headers, _ in receiver.received]


async def through(worker: EndpointWorker) -> None:
    """Until nothing is due any more."""
    while await step(worker) == 0.0 or worker_due(worker):
        pass


def worker_due(worker: EndpointWorker) -> bool:
    due = worker._outbox.next_due(worker.id)
    return due is not None and due <= worker._clock.now()


async def test_concurrency_is_for_lines_and_each_has_one_attempt_at_a_time(bench: Bench) -> None:
    receiver = ScriptedReceiver()
    worker = await bench.worker(an_endpoint(concurrency=8), receiver)
    await put(bench, worker, "a1", "a2", "b1", "b2", "c1", "a3", "-1", "-2")
    receiver.hang()
    await worker.tick()
    await receiver.hit(5)
    assert seen(receiver) == ["a1", "b1", "c1", "-1", "-2"]
    for _ in range(5):
        receiver.answer(OK)
    receiver.answers(OK)
    await worker.idle()
    await through(worker)
    later = seen(receiver)[5:]
    assert sorted(later) == ["a2", "a3", "b2"]
    assert later.index("a2") < later.index("a3")


async def test_a_failing_head_is_retried_while_others_go_on_and_its_line_waits(
    bench: Bench,
) -> None:
    receiver = ScriptedReceiver(BROKEN, OK)
    worker = await bench.worker(an_endpoint(concurrency=1), receiver)
    await put(bench, worker, "a1", "a2", "b1", "b2")
    await through(worker)
    assert seen(receiver) == ["a1", "b1", "b2"]
    bench.clock.advance(10)
    await through(worker)
    assert seen(receiver)[3:] == ["a1", "a2"]


async def test_a_dead_head_lets_its_line_go_on(bench: Bench) -> None:
    receiver = ScriptedReceiver(BROKEN, BROKEN, BROKEN, OK)
    worker = await bench.worker(an_endpoint(), receiver)
    await put(bench, worker, "a1", "a2", "a3")
    for _ in range(3):
        await through(worker)
        bench.clock.advance(30)
    assert seen(receiver) == ["a1", "a1", "a1", "a2", "a3"]
    assert await bench.state(1) is State.DEAD


async def test_a_held_endpoint_lets_nobody_of_a_line_pass(bench: Bench) -> None:
    receiver = ScriptedReceiver()
    endpoint = an_endpoint(rate_limit=RateLimit(rate=1.0, burst=1))
    worker = await bench.worker(endpoint, receiver)
    await put(bench, worker, "a1", "a2", "a3")
    for _ in range(6):
        await step(worker)
        bench.clock.advance(0.5)
    assert seen(receiver) == ["a1", "a2", "a3"]


async def test_a_reload_keeps_the_order_of_what_waits_and_new_events_go_by_the_new_one(
    bench: Bench,
) -> None:
    receiver = ScriptedReceiver(BROKEN, OK)
    worker = await bench.worker(an_endpoint(ordering=Ordering()), receiver)
    await put(bench, worker, "a1", "a2")
    await through(worker)
    snapshot = await a_snapshot(bench.outbox, bench.clock, an_endpoint(ordering=None))
    worker.apply(
        snapshot.config.endpoints["crm"], bench.metrics.endpoint("crm"), lambda _: receiver
    )
    await put(bench, worker, "-1")
    await through(worker)
    assert seen(receiver) == ["a1", "-1"], "a2 was accepted in order, and waits for a1"
    bench.clock.advance(10)
    await through(worker)
    assert seen(receiver) == ["a1", "-1", "a1", "a2"]


# -- for people ----------------------------------------------------------------------------------


Stuck = tuple[Bench, EndpointWorker, ScriptedReceiver]


@pytest.fixture
async def stuck(bench: Bench) -> Stuck:
    receiver = ScriptedReceiver(BROKEN, OK)
    worker = await bench.worker(an_endpoint(concurrency=1, ordering=Ordering()), receiver)
    await put(bench, worker, "a1", "a2", "a3", "b1")
    await through(worker)
    assert seen(receiver) == ["a1", "b1"]
    return bench, worker, receiver


def operations(bench: Bench) -> Operations:
    return Operations(
        bench.outbox,
        bench.clock,
        endpoints=lambda: {"crm": an_endpoint(ordering=by("data.customer"))},
    )


async def test_what_is_blocked_is_listed_with_its_head_its_key_and_since_when(
    stuck: Stuck,
) -> None:
    bench, _, _ = stuck
    ops = operations(bench)
    page: Any = await ops.deliveries(Selection(blocked=True), None, 10)
    since = "2025-06-15T15:06:40.000Z"
    order = {"key": f"{ord('a'):016x}", "behind": 1, "since": since}
    assert [(one["id"], one["order"], one["nextAt"]) for one in page["deliveries"]] == [
        (3, order, None),
        (2, order, None),
    ]
    head: Any = await ops.delivery(1)
    assert head["order"] == {"key": f"{ord('a'):016x}", "behind": None, "since": None}
    shown = await ops.endpoint("crm")
    assert (shown["blocked"], shown["settings"]["ordering"]) == (2, "by key data.customer")


async def test_cancelling_the_head_skips_it(stuck: Stuck) -> None:
    bench, worker, receiver = stuck
    done = await operations(bench).cancel(Selection(ids=(DeliveryId(1),)), dry_run=False)
    assert done["cancelled"] == 1
    await through(worker)
    assert seen(receiver)[2:] == ["a2", "a3"]


async def test_retrying_the_head_tries_it_now_and_the_blocked_are_told_of(stuck: Stuck) -> None:
    bench, worker, receiver = stuck
    ops = operations(bench)
    named = Selection(ids=(DeliveryId(2), DeliveryId(3)))
    refused = await ops.retry(named, to=None, dry_run=True)
    assert refused["retried"] == 0
    assert [one["why"] for one in refused["refused"]] == [
        "waits behind delivery 1, whose turn it is; retry or cancel that one:"
        " hookpost deliveries retry 1"
    ] * 2
    with pytest.raises(Conflict, match="wait behind others"):
        await ops.retry(Selection(blocked=True), to=None, dry_run=False)
    counted = await ops.retry(Selection(endpoint="crm"), to=None, dry_run=True)
    done = await ops.retry(Selection(endpoint="crm"), to=None, dry_run=False)
    assert (counted["retried"], done["retried"]) == (1, 1)
    await through(worker)
    assert seen(receiver)[2:] == ["a1", "a2", "a3"]


async def test_a_line_goes_on_by_itself_without_waiting_for_company(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settlement of a head that others wait for is committed at once."""
    monkeypatch.setattr(group, "SETTLE_WAIT", 1e6)
    receiver = ScriptedReceiver()
    worker = await bench.worker(an_endpoint(ordering=Ordering()), receiver)
    await put(bench, worker, *(f"a{number}" for number in range(20)))
    worker.start()
    await receiver.hit(20)
    assert seen(receiver) == [f"a{number}" for number in range(20)]
    await worker.idle()
