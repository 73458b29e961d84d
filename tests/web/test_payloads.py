"""Links to payloads over a real socket, on a real outbox: what is given, and to whom nothing is."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.builders import FakeClock, an_event
from tests.dispatching import a_snapshot, an_endpoint
from tests.ingest_rig import Client, Reply
from tests.storage.steps import FOREVER, claim_all, delivered, settle

from hookpost.core.errors import StorageUnavailable
from hookpost.core.model import Delivery, EndpointId, Event, Format, Payload
from hookpost.core.payload_links import Links
from hookpost.core.refusals import Refused
from hookpost.core.settings import IngestListener
from hookpost.metrics import Metrics
from hookpost.services import payloads as service
from hookpost.services.payloads import Payloads
from hookpost.services.snapshot import Current
from hookpost.storage.sqlite import SqliteOutbox
from hookpost.web.payloads import PayloadFace
from hookpost.web.server import Listener

LINKS = Links(b"k" * 32, "https://hooks.example.com")


class Rig:
    """A listener that gives payloads out of an outbox."""

    def __init__(self, outbox: SqliteOutbox, clock: FakeClock) -> None:
        self.outbox, self.clock = outbox, clock
        self.metrics = Metrics(clock)
        self.failures: list[BaseException] = []
        self.current: Current

    async def open(self) -> None:
        endpoints = [an_endpoint(name, payload=Payload.THIN) for name in ("crm", "shop")]
        snapshot = await a_snapshot(self.outbox, self.clock, *endpoints)
        self.current = Current(replace(snapshot, links=LINKS))
        payloads = Payloads(self.current, self.outbox, self.failures.append)
        face = PayloadFace(payloads, self.metrics, self.clock)

        def count(refused: Refused) -> None:
            raise AssertionError(refused)

        listener = Listener(face.receive, IngestListener, count, self.clock)
        self.listener = listener
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
        sock = server.sockets[0]._sock.dup()
        server.close()
        self.port = sock.getsockname()[1]
        await listener.start(sock)
        self.client = Client(*await asyncio.open_connection("127.0.0.1", self.port))

    async def close(self) -> None:
        await self.client.close()
        await self.listener.stop(1.0)
        await self.outbox.close()
        assert self.failures == []

    async def delivery(self, endpoint: str = "crm", **event: Any) -> Delivery:
        """One delivery of an event, claimed."""
        number = self.number(endpoint)
        await self.outbox.put(an_event(accepted_at=self.clock.now(), **event), [number])
        (claimed,) = await claim_all(self.outbox, number)
        return claimed

    def number(self, endpoint: str) -> EndpointId:
        return self.current.snapshot.endpoint_ids[endpoint]

    async def ask(self, target: str, *lines: str, method: str = "GET") -> Reply:
        head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: gateway", *lines])
        return await self.client.ask(head.encode() + b"\r\n\r\n")

    def asked(self) -> dict[int, int]:
        return {code: n for code, n in self.metrics.payload_codes.items() if n}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    clock = FakeClock()
    made = Rig(await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock), clock)
    await made.open()
    yield made
    await made.close()


def target(delivery: Delivery) -> str:
    assert LINKS.base is not None
    return LINKS.url(delivery).removeprefix(LINKS.base)


async def test_a_link_gives_the_data_as_it_was_accepted(rig: Rig) -> None:
    link = target(await rig.delivery(body=b'{"n": 1.50, "t": "\xc3\xbc"}'))
    reply = await rig.ask(link)
    assert (reply.status, reply.body) == (200, b'{"n": 1.50, "t": "\xc3\xbc"}')
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Cache-Control"] == "private, no-store"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    again = await rig.ask(link, f"If-None-Match: {reply.headers['ETag']}")
    assert (again.status, again.body) == (304, b"")
    other = await rig.ask(link, 'If-None-Match: "other"')
    assert other.status == 200
    assert rig.asked() == {200: 2, 304: 1}


@pytest.mark.parametrize(
    ("kind", "shown"),
    [("text/html; charset=x", "text/html; charset=x"), (None, "application/octet-stream")],
)
async def test_raw_data_has_its_own_content_type(rig: Rig, kind: str | None, shown: str) -> None:
    event = {"format": Format.RAW, "content_type": kind, "body": b"\x00<html>\xff"}
    reply = await rig.ask(target(await rig.delivery(**event)))
    assert (reply.body, reply.headers["Content-Type"]) == (b"\x00<html>\xff", shown)
    assert reply.headers["Content-Disposition"] == "attachment"


async def test_a_head_is_told_the_length_and_given_nothing(rig: Rig) -> None:
    link = target(await rig.delivery(body=b'"12345"'))
    await rig.client.send(f"HEAD {link} HTTP/1.1\r\nHost: g\r\n\r\n".encode())
    head = await rig.client.reader.readuntil(b"\r\n\r\n")
    assert b"200 OK" in head
    assert b"Content-Length: 7\r\n" in head
    assert (await rig.ask(link)).status == 200  # what follows is the next answer


@pytest.mark.parametrize("event_id", ["a/b", "%41", "x?y#z&sig=1", "~'()*"])
async def test_any_event_id_can_be_linked_to(rig: Rig, event_id: str) -> None:
    link = target(await rig.delivery(id=event_id))
    assert (await rig.ask(link)).status == 200
    absolute = await rig.ask(f"http://gateway{link}")
    assert absolute.status == 200


async def test_what_a_transform_made_is_what_the_link_gives(rig: Rig) -> None:
    event = an_event(accepted_at=rig.clock.now(), body=b'{"secret": 1}')
    event.transformed = {rig.number("crm"): b'{"total":1}'}
    await rig.outbox.put(event, [rig.number("crm"), rig.number("shop")])
    bodies = []
    for endpoint in ("crm", "shop"):
        (claimed,) = await claim_all(rig.outbox, rig.number(endpoint))
        bodies.append((await rig.ask(target(claimed))).body)
    assert bodies == [b'{"total":1}', b'{"secret": 1}']


async def test_a_link_ends_with_the_payload(rig: Rig) -> None:
    claimed = await rig.delivery()
    await settle(rig.outbox, delivered(claimed, rig.clock.now()))
    assert (await rig.ask(target(claimed))).status == 200
    limits = replace(FOREVER, delivered=60.0)
    await rig.outbox.purge(limits, rig.clock.now() + 59)
    assert (await rig.ask(target(claimed))).status == 200
    await rig.outbox.purge(limits, rig.clock.now() + 61)
    reply = await rig.ask(target(claimed))
    assert (reply.status, reply.json["code"]) == (410, "payload_gone")


async def test_a_wrong_signature_and_an_unknown_payload_look_alike(rig: Rig) -> None:
    good = target(await rig.delivery())
    path, _, signature = good.partition("?sig=")
    endpoint, number, mac = signature.split(".")
    foreign = Links(b"x" * 32, "").url(await rig.delivery(id="evt_2"))
    wrong = [
        path,
        f"{path}?sig=",
        f"{path}?sig={signature}&sig={signature}",
        f"{path}?sig={endpoint}.{number}.{mac[::-1]}",
        f"{path}?sig={endpoint}.{int(number) + 1}.{mac}",
        f"{path}?sig={rig.number('shop')}.{number}.{mac}",
        f"/payloads/evt_2?sig={signature}",
        f"/payloads/?sig={signature}",
        f"{path}?{'a=1&' * 20}sig={signature}",
        foreign,
    ]
    replies = [await rig.ask(one) for one in wrong]
    assert {reply.status for reply in replies} == {404}
    assert len({reply.body for reply in replies}) == 1
    assert (await rig.ask(good)).status == 200


async def test_an_endpoint_that_left_may_follow_its_links_no_more(rig: Rig) -> None:
    link = target(await rig.delivery())
    staying = an_endpoint("shop", payload=Payload.THIN)
    snapshot = await a_snapshot(rig.outbox, rig.clock, staying)
    rig.current.snapshot = replace(snapshot, links=LINKS)
    reply = await rig.ask(link)
    assert (reply.status, reply.json["code"]) == (404, "payload_unknown")
    back = [staying, an_endpoint("sales", renamed_from="crm")]
    snapshot = await a_snapshot(rig.outbox, rig.clock, *back)
    rig.current.snapshot = replace(snapshot, links=LINKS)
    assert (await rig.ask(link)).status == 200


async def test_a_number_that_means_another_event_by_now_is_gone(rig: Rig) -> None:
    claimed = await rig.delivery()
    other = replace(claimed, event=an_event(id="evt_of_before_the_restore"))
    assert (await rig.ask(target(other))).status == 410


async def test_without_a_key_nobody_can_follow_anything(rig: Rig) -> None:
    link = target(await rig.delivery())
    rig.current.snapshot = replace(rig.current.snapshot, links=None)
    assert (await rig.ask(link)).status == 404


async def test_a_payload_is_read_by_get_and_without_a_body(rig: Rig) -> None:
    link = target(await rig.delivery())
    reply = await rig.ask(link, "Content-Length: 0", method="POST")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")
    await rig.client.send(f"GET {link} HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\nab".encode())
    assert (await rig.client.reply()).status == 413


async def test_what_is_asked_for_is_never_logged(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    link = target(await rig.delivery())
    with caplog.at_level(logging.DEBUG):
        for one in (link, link + "x", link.replace("evt_1", "evt_9")):
            await rig.ask(one)
    fields = [record.fields for record in caplog.records if record.name == "hookpost.payloads"]
    assert fields == [{"code": "payload_unknown", "status": 404, "peer": "127.0.0.1"}] * 2
    assert link.rpartition(".")[2] not in str([vars(record) for record in caplog.records])


async def test_a_disk_that_cannot_be_read_is_a_503(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> Event | None:
        raise StorageUnavailable("broken")

    link = target(await rig.delivery())
    monkeypatch.setattr(rig.outbox, "payload", broken)
    reply = await rig.ask(link)
    assert (reply.status, reply.headers["Retry-After"]) == (503, "5")


async def test_no_more_are_read_at_once_than_there_is_room_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "AT_ONCE", 1)
    began, go_on = asyncio.Event(), asyncio.Event()
    reading = rig.outbox.payload

    async def slow(*asked: Any) -> Event | None:
        began.set()
        await go_on.wait()
        return await reading(*asked)

    monkeypatch.setattr(rig.outbox, "payload", slow)
    link = target(await rig.delivery())
    first = asyncio.create_task(rig.ask(link))
    await began.wait()
    other = Client(*await asyncio.open_connection("127.0.0.1", rig.port))
    reply = await other.ask(f"GET {link} HTTP/1.1\r\nHost: g\r\n\r\n".encode())
    assert (reply.status, reply.json["code"]) == (503, "payload_busy")
    go_on.set()
    assert (await first).status == 200
    assert (await other.ask(f"GET {link} HTTP/1.1\r\nHost: g\r\n\r\n".encode())).status == 200
    await other.close()
