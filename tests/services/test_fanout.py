"""Filters and transforms on the road of an event: what is parsed, counted and logged."""

import json
import logging
from typing import Any

import pytest
from tests.ingest_rig import BEARER, a_rig, a_snapshot, a_source, stored

from hookpost.config.expressions import compile_expression, compile_formula
from hookpost.core.expression import Mishap
from hookpost.core.model import EndpointId, Format
from hookpost.core.settings import Extractor, Subscription
from hookpost.services import fanout
from hookpost.services.ingest import Batch

CRM, AUDIT = EndpointId(1), EndpointId(2)


def a_subscription(name: str, *endpoints: str, **fields: Any) -> Subscription:
    for key in ("filter", "transform"):
        if key in fields:
            fields[key] = compile_formula(fields[key])
    return Subscription(name=name, endpoints=endpoints or ("crm",), **fields)


def rigged(*subscriptions: Subscription, **fields: Any) -> Any:
    snapshot = a_snapshot(a_source(**fields), subscriptions=subscriptions, max_body=1000)
    rig = a_rig(snapshot)
    rig.metrics.configure(
        sources=["billing"],
        endpoints=["crm", "audit"],
        secrets={},
        subscriptions=[one.name for one in subscriptions],
    )
    return rig


def envelope(data: object, event_type: str = "invoice.paid") -> bytes:
    return json.dumps({"eventType": event_type, "data": data}).encode()


def errors(rig: Any) -> dict[tuple[str, str], int]:
    shown = rig.metrics.shown_expression_errors()
    return {(name, mishap.value): count for name, mishap, count in shown if count}


async def test_an_event_goes_where_its_filter_is_true() -> None:
    rig = rigged(
        a_subscription("large", "crm", filter="data.amount > `1000` && data.currency == 'EUR'"),
        a_subscription("all", "audit"),
    )
    for amount, deliveries in ((1001, 2), (1000, 1)):
        answer = await rig.send(envelope({"amount": amount, "currency": "EUR"}))
        assert answer == stored(rig.outbox.last.id, deliveries)
    assert [owed for _, owed in rig.outbox.events] == [(CRM, AUDIT), (AUDIT,)]
    assert all(event.transformed is None for event, _ in rig.outbox.events)


async def test_an_event_that_no_filter_wants_is_kept_unrouted() -> None:
    rig = rigged(a_subscription("no", filter="type == 'other'"))
    assert await rig.send(envelope({})) == stored(rig.outbox.last.id, 0)
    assert errors(rig) == {}


async def test_a_transform_is_evaluated_at_acceptance_and_bounded_by_max_body() -> None:
    rig = rigged(
        a_subscription("a", "crm", transform="{total: data.amount, id: id, at: time}"),
        a_subscription("b", "audit", transform="[data, data, data, data]"),
    )
    body = json.dumps(
        {"eventType": "t", "eventId": "e1", "occurredAt": "2026-01-31T12:00:00Z",
         "data": {"amount": 1.50, "x": "y" * 300}}
    ).encode()  # fmt: skip
    await rig.send(body)
    made = rig.outbox.last.transformed
    assert made == {CRM: b'{"at":"2026-01-31T12:00:00Z","id":"e1","total":1.5}', AUDIT: None}
    assert errors(rig) == {("b", "too_large"): 1}


async def test_mistakes_are_counted_each_time_and_logged_once_a_configuration(
    caplog: pytest.LogCaptureFixture,
) -> None:
    subscriptions = (
        a_subscription("null", filter="data.amount"),
        a_subscription("failed", "audit", filter="contains(data.amount, 'x')"),
    )
    rig = rigged(*subscriptions)
    with caplog.at_level(logging.WARNING, "hookpost.ingest"):
        for _ in range(3):
            await rig.send(envelope({"amount": None, "secret": "hunter2"}))
        lines = [one.__dict__["fields"] for one in caplog.records]
        assert [(one["subscription"], one["kind"]) for one in lines] == [
            ("null", "not_boolean"),
            ("failed", "failed"),
        ]
        rig.reload(a_snapshot(subscriptions=subscriptions))
        await rig.send(envelope({"amount": None}))
        assert len(caplog.records) == 4
    assert errors(rig) == {("null", "not_boolean"): 4, ("failed", "failed"): 4}
    assert "hunter2" not in caplog.text + str(lines)
    text = rig.metrics.render().decode()
    assert 'hookpost_expression_errors_total{kind="failed",subscription="failed"} 4.0' in text
    assert 'hookpost_expression_errors_total{kind="cost",subscription="null"} 0.0' in text


async def test_a_greedy_filter_costs_the_others_nothing() -> None:
    greedy = "|".join(["[@,@]"] * 28) + " == `1`"
    rig = rigged(
        a_subscription("greedy", "audit", filter=greedy),
        a_subscription("small", "crm", filter="length(data.items[?ok]) == `2`"),
    )
    await rig.send(envelope({"items": [{"ok": True}, {}, {"ok": True}]}))
    assert rig.outbox.events[-1][1] == (CRM,)
    assert errors(rig) == {("greedy", "cost"): 1}


async def test_the_document_is_made_once_and_the_data_parsed_only_where_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed: list[bytes] = []
    monkeypatch.setattr(fanout, "strict_json", lambda body: parsed.append(body) or {"a": 1})
    rig = rigged(
        a_subscription("one", "crm", events=("a.*",), filter="data.a == `1`"),
        a_subscription("two", "audit", events=("a.*",), transform="data"),
        a_subscription("three", "crm", events=("b.*",), filter="type == 'b.c'"),
        a_subscription("four", "crm", events=("c",)),
    )
    await rig.send(envelope(1, "a.x"))
    assert parsed == [b"1"]
    await rig.send(envelope(1, "b.c"))
    await rig.send(envelope(1, "c"))
    assert parsed == [b"1"]
    assert [owed for _, owed in rig.outbox.events] == [(CRM, AUDIT), (CRM,), (CRM,)]


async def test_a_raw_body_is_parsed_once_for_source_and_subscriptions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fanout, "strict_json", lambda body: pytest.fail("parsed again"))
    rig = rigged(
        a_subscription("one", filter="data.kind == 'a' && headers.\"x-kind\" == 'b'"),
        format=Format.RAW,
        event_type=Extractor(expression=compile_expression("body.kind"), text="body.kind"),
        forward_headers=("X-Kind",),
    )
    await rig.send(b'{"kind":"a"}', ("x-kind", "b"))
    assert rig.outbox.events[-1][1] == (CRM,)


@pytest.mark.parametrize("body", [b"", b"not json", b"\xff", b'{"a":NaN}', b"[" * 70 + b"]" * 70])
async def test_data_is_null_where_the_body_is_not_json(body: bytes) -> None:
    rig = rigged(
        a_subscription("one", filter="data == `null` && headers.\"content-type\" == 'text/plain'"),
        format=Format.RAW,
        event_type=Extractor(value="t"),
    )
    await rig.send(body, content_type="text/plain")
    assert rig.outbox.events[-1][1] == (CRM,)


async def test_credentials_are_no_part_of_the_document() -> None:
    rig = rigged(a_subscription("all", transform="@"))
    await rig.send(envelope(1), ("X-Api-Key", "k"), ("Cookie", "c"))
    made = json.loads(rig.outbox.last.transformed[CRM])
    assert made["headers"] == {"content-type": "application/json"}
    assert BEARER[1] not in str(made)


async def test_each_line_of_a_batch_is_judged_by_itself() -> None:
    rig = rigged(
        a_subscription("even", "crm", filter="data.n == `0` || data.n == `2`"),
        a_subscription("all", "audit", transform="data.n"),
    )
    body = b"\n".join(envelope({"n": n}) for n in range(3))
    answer = await rig.send(body, content_type="application/x-ndjson")
    assert isinstance(answer, Batch)
    assert [owed for _, owed in rig.outbox.events] == [(CRM, AUDIT), (AUDIT,), (CRM, AUDIT)]
    assert [event.transformed for event, _ in rig.outbox.events] == [
        {AUDIT: b"0"}, {AUDIT: b"1"}, {AUDIT: b"2"}
    ]  # fmt: skip


async def test_without_expressions_nothing_is_made_for_an_event() -> None:
    rig = rigged(a_subscription("all"), a_subscription("typed", "audit", events=("x",)))
    snapshot = rig.current.snapshot
    await rig.send(envelope(1))
    await rig.send(envelope(2))
    assert snapshot.route("billing", "invoice.paid") is snapshot.route("billing", "invoice.paid")
    assert rig.outbox.events[0][1] == rig.outbox.events[1][1] == (CRM,)
    assert rig.outbox.last.transformed is None


def test_the_kinds_are_a_closed_set() -> None:
    assert {one.value for one in Mishap} == {
        "failed", "cost", "not_boolean", "not_json", "too_large"
    }  # fmt: skip
