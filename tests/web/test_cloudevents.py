"""CloudEvents over a real socket: every known answer, and what they do not show."""

import json
import logging
from typing import Any

import pytest
from tests.cloudevents_rig import (
    BATCH,
    JSON,
    KNOWN,
    STRUCTURED,
    a_cloudevents_rig,
    accepted,
    ask,
    binary,
    document,
    last,
)
from tests.ingest_rig import BEARER, TOKEN, Reply, secret

from hookpost.core.attributes import decoded
from hookpost.core.forwarding import Peers
from hookpost.core.model import Event, Format
from hookpost.core.ratelimit import RateLimit
from hookpost.core.settings import Auth


def attributes(event: Event) -> dict[str, str]:
    """As the publisher meant them."""
    found = {n[3:]: decoded(text) or "" for n, text in event.headers if n.startswith("ce-")}
    return found | ({"datacontenttype": event.content_type} if event.content_type else {})


@pytest.mark.parametrize("known", KNOWN["in"], ids=lambda known: str(known["name"]))
async def test_the_known_answers_hold_on_the_whole_road(known: dict[str, Any]) -> None:
    rig = a_cloudevents_rig()

    reply = await ask(rig, known["headers"], known["body"].encode())

    assert reply.status == known["answer"], reply.json
    if reply.status != 202:
        assert reply.json["code"] in (
            "malformed",
            "cloudevent_invalid",
            "type_invalid",
            "id_invalid",
        )
        assert rig.outbox.events == []
    elif "stored" in known:
        assert reply.json["accepted"] == len(rig.outbox.events) == known["stored"]
        assert reply.json["rejected"] == known["refused"]
        assert len(reply.json["results"]) == known["stored"] + known["refused"]
    else:
        assert attributes(last(rig)) == known["attributes"]
        structured = known["headers"][-1][1].lower().startswith("application/cloudevents")
        data = b'{"n":1,"t":"\xc3\xa9"}' if structured else known["body"].encode()
        assert last(rig).body == data


async def test_attributes_become_what_the_gateway_goes_by() -> None:
    rig = a_cloudevents_rig(forward_headers=("X-Kind",))
    trace = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")

    event = await accepted(
        rig, binary(JSON, ("X-Kind", "k"), trace, time="2026-01-31T12:00:00+01:00"), b"{}"
    )

    assert (event.type, event.format) == ("order.shipped", Format.CLOUDEVENTS)
    assert event.occurred_at == "2026-01-31T12:00:00+01:00"
    assert event.id.startswith("evt_")
    assert event.dedup_key == event.id
    assert event.headers[-2:] == (("X-Kind", "k"), trace)


async def test_without_a_time_an_event_occurred_when_it_was_accepted() -> None:
    event = await accepted(a_cloudevents_rig(), binary())
    assert event.occurred_at == "2025-06-15T15:06:40.000Z"
    assert "time" not in attributes(event)


async def test_an_event_is_the_same_by_source_and_id_in_whatever_mode_it_comes() -> None:
    rig = a_cloudevents_rig()
    first = await ask(rig, binary(JSON), b"{}")
    again = await ask(rig, [STRUCTURED], document(data={}))
    elsewhere = await ask(rig, binary(JSON, source="/there"), b"{}")

    assert (first.status, again.status, elsewhere.status) == (202, 200, 202)
    assert again.json == {**first.json, "duplicate": True}
    assert first.json["eventId"] != elsewhere.json["eventId"]


async def test_a_dedup_key_is_computed_of_the_body_that_came() -> None:
    rig = a_cloudevents_rig(dedup_key=(lambda seen: seen["body"]["n"],))
    first = await accepted(rig, binary(JSON, id="one"), b'{"n":1}')
    second = await ask(rig, binary(JSON, id="two"), b'{"n":1}')
    entries = [document(id=name, n=number).decode() for name, number in (("a", 2), ("b", 2))]
    batch = await ask(rig, [BATCH], f"[{','.join(entries)}]".encode())

    assert (second.status, second.json["eventId"]) == (200, first.id)
    assert (batch.json["accepted"], batch.json["duplicates"]) == (1, 1)


async def test_an_id_header_beside_an_event_is_not_its_id() -> None:
    rig = a_cloudevents_rig()
    first = await accepted(rig, binary())
    reply = await ask(rig, binary(("webhook-id", "other"), ("Idempotency-Key", "another")))
    assert (reply.status, reply.json["eventId"]) == (200, first.id)


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        (binary(without="type"), b"", 422, "type_invalid"),
        (binary(type=""), b"", 422, "type_invalid"),
        (binary(type="x" * 129), b"", 422, "type_invalid"),
        (binary(type="hookpost.x"), b"", 422, "type_reserved"),
        (binary(specversion="0.3"), b"", 422, "cloudevent_invalid"),
        (binary(time="yesterday"), b"", 422, "cloudevent_invalid"),
        (binary(subject=""), b"", 422, "cloudevent_invalid"),
        (binary(subject="%0D%0AX-Evil: 1"), b"", 422, "cloudevent_invalid"),
        (binary(subject='"open'), b"", 400, "malformed"),
        (binary(subject='"a"b"'), b"", 400, "malformed"),
        (binary(subject="\udcff"), b"", 400, "malformed"),
        (binary(("ce-trace-id", "x")), b"", 422, "cloudevent_invalid"),
        (binary(("ce-", "x")), b"", 422, "cloudevent_invalid"),
        (binary(("ce-data", "x")), b"", 422, "cloudevent_invalid"),
        (binary(JSON, JSON), b"", 400, "malformed_http"),
        (binary(("Content-Type", "json")), b"", 422, "cloudevent_invalid"),
        (binary(big="x" * 8000, bigger="x" * 8000, biggest="x" * 8000), b"", 422,
         "cloudevent_invalid"),
        ([("Content-Type", "application/cloudevents+xml")], b"", 415, "content_type"),
        ([("Content-Type", "application/cloudevents")], b"", 415, "content_type"),
        ([("Content-Type", "application/cloudevents-batch+avro")], b"", 415, "content_type"),
        ([("Content-Type", "application/cloudevents+json; charset=utf-16")], b"", 415,
         "content_type"),
        ([JSON], document(), 422, "cloudevent_invalid"),
        ([STRUCTURED], b"[]", 422, "cloudevent_invalid"),
        ([STRUCTURED], b'{"id":1,"id":2}', 400, "malformed"),
        ([STRUCTURED], document(data=float("nan")), 400, "malformed"),
        ([STRUCTURED], document(data=json.loads("[" * 64 + "]" * 64)), 400, "malformed"),
        ([BATCH], b"[{}", 400, "malformed"),
        ([BATCH], b"[{},]", 400, "malformed"),
        ([BATCH], b"[] []", 400, "malformed"),
        ([BATCH], b"[" + b"[" * 100_000, 400, "malformed"),
        ([BATCH, ("webhook-id", "x")], b"[]", 400, "batch_with_id"),
        ([BATCH], b"[1,2,3,4]", 413, "batch_too_large"),
        ([BATCH], b"[1,2,3]", 422, "batch_rejected"),
    ],
)  # fmt: skip
async def test_what_is_no_cloudevent_is_refused_by_its_code(
    headers: list[tuple[str, str]], body: bytes, status: int, code: str
) -> None:
    rig = a_cloudevents_rig(limits={"max_batch": 3})
    reply = await ask(rig, headers, body)
    assert (reply.status, reply.json["code"]) == (status, code)
    assert rig.outbox.events == []


async def test_refused_entries_of_a_batch_never_block_good_ones() -> None:
    rig = a_cloudevents_rig()
    entries = [
        document(id="a", data={"amount": 1}).decode(),
        '{"specversion":"1.0"}',
        document(id="b").decode()[:-1] + ',"data":[1.50, "ä"]}',
        document(id="a", data={"amount": 1}).decode(),
        document(id="c", data=float("nan")).decode(),
        "[" * 70 + "]" * 70,
        "7",
    ]

    reply = await ask(rig, [BATCH], f" [{' , '.join(entries)}]\n".encode())

    assert reply.status == 202
    counts = [reply.json[name] for name in ("accepted", "duplicates", "rejected")]
    assert counts == [2, 1, 4]
    results = reply.json["results"]
    assert results[0]["eventId"] == results[3]["eventId"]
    assert results[3]["duplicate"]
    assert [one.get("status") for one in results] == [None, 422, None, None, 400, 400, 422]
    assert rig.outbox.transactions == 1
    assert last(rig).body == '[1.50, "ä"]'.encode()
    assert last(rig).content_type == "application/json"


async def test_an_empty_batch_is_accepted_and_stores_nothing() -> None:
    rig = a_cloudevents_rig()
    reply = await ask(rig, [BATCH], b" [ ] ")
    assert reply.status == 202
    assert reply.json == {"accepted": 0, "duplicates": 0, "rejected": 0, "results": []}


async def test_a_batch_takes_a_token_for_each_entry() -> None:
    rig = a_cloudevents_rig(rate_limit=RateLimit(rate=1.0, burst=3))
    assert (await ask(rig, [BATCH], b"[1,2,3]")).status == 422
    assert (await ask(rig, binary())).status == 429


# -- the handshake -----------------------------------------------------------------------------

ORIGIN = "eventemitter.example.com"
ASKED = [("WebHook-Request-Origin", ORIGIN)]


def told_nothing(reply: Reply) -> bool:
    return not any(name.lower().startswith("webhook-") for name in reply.headers)


@pytest.mark.parametrize("known", KNOWN["handshake"], ids=lambda known: str(known["name"]))
async def test_the_known_handshakes_are_answered(known: dict[str, Any]) -> None:
    rate = known["rate"]
    limit = None if rate == "*" else RateLimit(rate=rate / 60, burst=1)
    rig = a_cloudevents_rig(webhook_origins=tuple(known["webhook_origins"]), rate_limit=limit)

    reply = await ask(rig, known["headers"], method="OPTIONS")

    assert reply.status == known["answer"]
    for name, value in known["has"].items():
        assert reply.headers[name] == value
    assert not [name for name in known["lacks"] if name in reply.headers]
    assert (reply.status == 200) != told_nothing(reply)
    assert rig.source("ce").codes[known["answer"]] == 1


@pytest.mark.parametrize(
    "headers",
    [[*ASKED, *ASKED], [("WebHook-Request-Origin", "")], [("WebHook-Request-Origin", "a b")],
     [("WebHook-Request-Origin", "<script>")], [("WebHook-Request-Origin", "a,b")],
     [("WebHook-Request-Origin", "\udcff")], [("WebHook-Request-Origin", "x" * 254)]],
)  # fmt: skip
async def test_an_origin_that_is_no_name_is_not_echoed(headers: list[tuple[str, str]]) -> None:
    reply = await ask(a_cloudevents_rig(webhook_origins=("*",)), headers, method="OPTIONS")
    assert (reply.status, reply.json["code"]) == (400, "origin_missing")
    assert told_nothing(reply)


async def test_a_handshake_needs_no_credentials_but_a_place_to_ask_from() -> None:
    closed = Auth(bearer=(secret(TOKEN),))
    rig = a_cloudevents_rig(webhook_origins=(ORIGIN,), auth=closed)
    assert (await ask(rig, ASKED, method="OPTIONS")).status == 200

    rig = a_cloudevents_rig(webhook_origins=(ORIGIN,), allow_from=Peers(unix=True))
    reply = await ask(rig, ASKED, method="OPTIONS")
    assert (reply.status, reply.json["code"]) == (403, "address_not_allowed")
    assert told_nothing(reply)


async def test_a_grant_is_logged_without_the_origin_that_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "hookpost.ingest")
    await ask(a_cloudevents_rig(webhook_origins=("*",)), ASKED, method="OPTIONS")
    (line,) = [one for one in caplog.records if one.message == "handshake.answered"]
    assert ORIGIN not in str(vars(line))


async def test_a_callback_is_not_followed_and_a_grant_leaves_the_connection_open() -> None:
    callback = ("WebHook-Request-Callback", "http://127.0.0.1:1/never")
    rig = a_cloudevents_rig(webhook_origins=(ORIGIN,))
    reply = await ask(rig, [*ASKED, callback], method="OPTIONS")
    assert (reply.status, reply.body) == (200, b"")
    assert "Connection" not in reply.headers


async def test_other_methods_are_told_of_both_that_are_answered() -> None:
    reply = await ask(a_cloudevents_rig(webhook_origins=(ORIGIN,)), ASKED, method="PUT")
    assert (reply.status, reply.headers["Allow"]) == (405, "OPTIONS, POST")


# -- the token in the query ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        (f"/in/ce?access_token={TOKEN}", [], 202),
        (f"/in/ce?x=1&access_token={TOKEN.replace('-', '%2D')}", [], 202),
        ("/in/ce", [BEARER], 202),
        ("/in/ce", [], 401),
        ("/in/ce?access_token=wrong", [], 401),
        ("/in/ce?access_token=", [BEARER], 401),
        (f"/in/ce?access_token={TOKEN}", [BEARER], 401),
        (f"/in/ce?access_token={TOKEN}", [("Authorization", "")], 401),
        (f"/in/ce?access_token={TOKEN}&access_token={TOKEN}", [], 401),
        ("/in/ce?access_token=%FF%00", [], 401),
    ],
)
async def test_a_bearer_token_may_come_in_the_query_alone(
    target: str, headers: list[tuple[str, str]], status: int
) -> None:
    rig = a_cloudevents_rig(auth=Auth(bearer=(secret(TOKEN),)))
    assert (await ask(rig, binary(*headers), target=target)).status == status


async def test_sources_of_other_formats_take_no_token_from_the_query() -> None:
    rig = a_cloudevents_rig(auth=Auth(bearer=(secret(TOKEN),)), format=Format.ENVELOPE)
    reply = await ask(
        rig, [JSON], b'{"eventType":"a","data":1}', target=f"/in/ce?access_token={TOKEN}"
    )
    assert reply.status == 401
