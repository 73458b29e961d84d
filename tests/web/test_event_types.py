"""Listed event types and their schemas, over a real socket."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.config.schemas import compile_in
from tests.ingest_rig import Reply, WebRig, a_rig, a_snapshot, a_source, served
from tests.ingest_rig import request as http

from hookpost.core.event_types import EventType, EventTypes, Validate
from hookpost.core.model import Format
from hookpost.core.patterns import Pattern
from hookpost.core.settings import Extractor, Source
from hookpost.core.violations import Violation

INVOICE = {
    "type": "object",
    "required": ["number"],
    "properties": {"items": {"items": {"properties": {"price": {"type": "number", "minimum": 0}}}}},
}
PROBLEM = "application/problem+json"


def types_of(validate: Validate) -> EventTypes:
    paid = EventType(schema="invoice.json", validate=validate)
    return EventTypes({"invoice.paid": paid}, ((Pattern.parse("invoice.*"), EventType()),))


def source_of(validate: Validate, **fields: Any) -> Source:
    return a_source(event_types=types_of(validate), **fields)


def paid(data: Any, event_type: str = "invoice.paid") -> bytes:
    return json.dumps({"eventType": event_type, "data": data}).encode()


async def ask(source: Source, raw: bytes) -> Reply:
    async with served(a_rig(a_snapshot(source))) as web:
        return await web.once(raw)


async def test_data_that_does_not_fit_is_a_422_with_its_places(tmp_path: Path) -> None:
    source = source_of(compile_in(tmp_path, INVOICE))
    data = {"items": [{"price": 1}, {"price": -1}, {"price": "free"}]}

    reply = await ask(source, http(paid(data)))

    assert (reply.status, reply.headers["Content-Type"]) == (422, PROBLEM)
    assert reply.json["code"] == "schema_invalid"
    assert reply.json["violations"] == [
        {"path": "$.data", "message": 'the member "number" is missing'},
        {"path": "$.data.items[1].price", "message": "is below the minimum 0"},
        {"path": "$.data.items[2].price", "message": 'is not of type "number"'},
    ]
    assert "free" not in reply.body.decode()


async def test_data_that_fits_and_types_without_a_schema_are_taken(tmp_path: Path) -> None:
    source = source_of(compile_in(tmp_path, INVOICE))
    assert (await ask(source, http(paid({"number": 1})))).status == 202
    assert (await ask(source, http(paid(None, "invoice.sent")))).status == 202


async def test_a_type_that_is_not_listed_is_a_422(tmp_path: Path) -> None:
    rig = a_rig(a_snapshot(source_of(compile_in(tmp_path, INVOICE))))
    async with served(rig) as web:
        reply = await web.once(http(paid({"number": 1}, "order.paid")))
    assert (reply.status, reply.json["code"]) == (422, "type_unlisted")
    assert reply.json["detail"] == "'order.paid' is none of invoice.paid, invoice.*"
    assert "violations" not in reply.json
    assert rig.source().rejections["type"] == 1


async def test_a_refused_line_does_not_block_the_others(tmp_path: Path) -> None:
    rig = a_rig(a_snapshot(source_of(compile_in(tmp_path, INVOICE))))
    lines = [paid({"number": 1}), paid({}), paid({}, "a"), paid({}, "invoice.sent")]
    async with served(rig) as web:
        reply = await web.once(http(b"\n".join(lines), ("Content-Type", "application/x-ndjson")))
    assert reply.status == 202
    assert (reply.json["accepted"], reply.json["rejected"]) == (2, 2)
    assert [line.get("code") for line in reply.json["results"]] == [
        None,
        "schema_invalid",
        "type_unlisted",
        None,
    ]
    [violation] = reply.json["results"][1]["violations"]
    assert violation["path"] == "$.data"
    assert (rig.source().rejections["type"], rig.source().rejections["schema"]) == (1, 1)


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        (b'{"number": 1}', 202, None),
        (b'{"items": [{"price": -1}], "number": 1}', 422, "$.items[0].price"),
        (b"no JSON", 422, "$"),
        (b"", 422, "$"),
        (b"\xff\xfe", 422, "$"),
        (b"[" * 70 + b"]" * 70, 422, "$"),
    ],
)
async def test_of_a_raw_source_the_body_is_judged(
    tmp_path: Path, body: bytes, status: int, path: str | None
) -> None:
    source = source_of(
        compile_in(tmp_path, INVOICE),
        format=Format.RAW,
        event_type=Extractor(value="invoice.paid"),
    )
    reply = await ask(source, http(body))
    assert reply.status == status
    assert [one["path"] for one in reply.json.get("violations", [])] == ([path] if path else [])


@pytest.mark.parametrize("mode", ["binary", "structured", "batch"])
async def test_of_a_cloud_event_the_data_is_judged(tmp_path: Path, mode: str) -> None:
    source = source_of(compile_in(tmp_path, INVOICE), format=Format.CLOUDEVENTS)
    about = {"specversion": "1.0", "id": "1", "source": "/s", "type": "invoice.paid"}
    whole = {**about, "data": {}}
    match mode:
        case "binary":
            headers = [(f"ce-{name}", value) for name, value in about.items()]
            raw = http(b"{}", *headers)
        case "structured":
            kind = ("Content-Type", "application/cloudevents+json")
            raw = http(json.dumps(whole).encode(), kind)
        case _:
            kind = ("Content-Type", "application/cloudevents-batch+json")
            raw = http(json.dumps([whole]).encode(), kind)
    reply = await ask(source, raw)
    assert reply.status == 422
    told = reply.json["results"][0] if mode == "batch" else reply.json
    assert told["code"] == "schema_invalid"
    assert told["violations"][0]["path"] == ("$" if mode == "binary" else "$.data")


async def test_no_event_of_a_cloud_event_without_data(tmp_path: Path) -> None:
    source = source_of(compile_in(tmp_path, INVOICE), format=Format.CLOUDEVENTS)
    headers = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s")]
    reply = await ask(source, http(b"", *headers, ("ce-type", "invoice.paid")))
    assert (reply.status, reply.json["violations"][0]["message"]) == (422, "there is nothing")


class Doorkeeper:
    """A schema whose judgement begins, and ends when it is let."""

    def __init__(self, validate: Validate) -> None:
        self.validate = validate
        self.began = threading.Event()
        self.may_end = threading.Event()

    def __call__(self, data: bytes, root: str) -> Any:
        told: Any = self.validate(data, root)
        self.began.set()
        assert self.may_end.wait(30)
        return told


LARGE = {"number": 1, "items": [{"price": index} for index in range(70_000)]}
"""More than 1 MiB."""


async def _while_judged(web: WebRig, keeper: Doorkeeper) -> tuple[list[int], Reply]:
    """What others are answered while a large body is judged, and what it is answered."""
    client = await web.connect()
    await client.send(http(paid(LARGE)))
    await asyncio.to_thread(keeper.began.wait, 30)
    large = asyncio.create_task(client.reply())
    others = [(await web.once(http(paid(1, "invoice.sent")))).status for _ in range(5)]
    assert not large.done()
    keeper.may_end.set()
    answered = await large
    await client.close()
    return others, answered


async def test_while_a_large_body_is_judged_others_are_answered(tmp_path: Path) -> None:
    keeper = Doorkeeper(compile_in(tmp_path, INVOICE))
    rig = a_rig(a_snapshot(source_of(keeper), max_body=4 << 20))
    async with served(rig) as web:
        others, answered = await _while_judged(web, keeper)
    assert (others, answered.status) == ([202] * 5, 202)
    assert len(rig.outbox.last.body) > 1 << 20


async def test_who_drains_waits_for_what_is_judged(tmp_path: Path) -> None:
    keeper = Doorkeeper(compile_in(tmp_path, INVOICE))
    rig = a_rig(a_snapshot(source_of(keeper), max_body=4 << 20))
    async with served(rig) as web:
        client = await web.connect()
        await client.send(http(paid(LARGE)))
        await asyncio.to_thread(keeper.began.wait, 30)
        stopping = asyncio.create_task(web.listener.stop(30.0))
        asyncio.get_running_loop().call_soon(keeper.may_end.set)
        assert (await client.reply()).status == 202
        await stopping
        await client.close()
    assert rig.outbox.last.type == "invoice.paid"


async def test_who_has_gone_while_its_body_was_judged_harms_nobody(tmp_path: Path) -> None:
    keeper = Doorkeeper(compile_in(tmp_path, INVOICE))
    rig = a_rig(a_snapshot(source_of(keeper), max_body=4 << 20))
    async with served(rig) as web:
        client = await web.connect()
        await client.send(http(paid(LARGE)))
        await asyncio.to_thread(keeper.began.wait, 30)
        client.reset()
        keeper.may_end.set()
        assert (await web.once(http(paid(1, "invoice.sent")))).status == 202


async def test_what_is_busy_is_a_503_that_says_when_to_come_back() -> None:
    let = threading.Event()

    def validate(data: bytes, root: str) -> list[Violation]:
        assert let.wait(30)
        return []

    rig = a_rig(a_snapshot(source_of(validate)), patience=0.05)
    async with served(rig) as web:
        reply = await web.once(http(paid("a" * 10_000)))
    let.set()
    assert (reply.status, reply.json["code"]) == (503, "validation_busy")
    assert int(reply.headers["Retry-After"]) >= 1
