"""CloudEvents on their whole way: a request on a real listener, and what a receiver then gets."""

import json
from collections.abc import Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.builders import FakeClock
from tests.ingest_rig import MemoryOutbox, Reply, Rig, a_rig, a_snapshot, a_source, served
from tests.transport.receiver import LOOPBACK, NO_CONTENT, Receiver, answering

from hookpost.core.model import Delivery, DeliveryId, EndpointId, Event, Format, Payload
from hookpost.core.payload import Letterhead
from hookpost.core.settings import Auth, Endpoint, Source
from hookpost.transport.client import AiohttpTransport

KNOWN: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parent / "vectors/cloudevents.json").read_text("utf-8")
)
JSON = ("Content-Type", "application/json")
STRUCTURED = ("Content-Type", "application/cloudevents+json")
BATCH = ("Content-Type", "application/cloudevents-batch+json")
MINIMAL = {"specversion": "1.0", "id": "a-1", "source": "/here", "type": "order.shipped"}

Pairs = Iterable[tuple[str, str]]


def binary(*added: tuple[str, str], without: str = "", **changed: str) -> list[tuple[str, str]]:
    """The headers of a good binary request, some of them changed."""
    attributes = {**MINIMAL, **changed}
    found = [(f"ce-{name}", text) for name, text in attributes.items() if name != without]
    return [*found, *added]


def document(**members: Any) -> bytes:
    """A structured event."""
    return json.dumps({**MINIMAL, **members}).encode()


def a_cloudevents_source(**fields: Any) -> Source:
    """At /in/ce, open to all unless told otherwise."""
    return a_source("ce", **{"auth": Auth(), "format": Format.CLOUDEVENTS, **fields})


def a_cloudevents_rig(*, limits: Mapping[str, Any] | None = None, **fields: Any) -> Rig:
    return a_rig(a_snapshot(a_cloudevents_source(**fields), **(limits or {})))


def raw(
    headers: Pairs, body: bytes = b"", *, method: str = "POST", target: str = "/in/ce"
) -> bytes:
    """A whole request with these headers and no others that matter."""
    lines = [f"{method} {target} HTTP/1.1", "Host: gateway", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


async def ask(rig: Rig, headers: Pairs, body: bytes = b"", **request: str) -> Reply:
    """One request on a listener of its own."""
    async with served(rig) as web:
        return await web.once(raw(headers, body, **request))


async def accepted(rig: Rig, headers: Pairs, body: bytes = b"") -> Event:
    """The event that is stored for a request."""
    reply = await ask(rig, headers, body)
    assert reply.status == 202, reply.json
    return last(rig)


def last(rig: Rig) -> Event:
    outbox: MemoryOutbox = rig.outbox
    return outbox.last


class Sender:
    """Delivers events over a real connection, and says what came."""

    def __init__(self, receiver: Receiver, **endpoint: Any) -> None:
        fields = {"egress": LOOPBACK, "timeout": 5.0, **endpoint}
        self._receiver = receiver
        self._endpoint = Endpoint(name="crm", url=receiver.url(), **fields)
        self._transport = AiohttpTransport(self._endpoint, clock=FakeClock())

    async def deliver(self, event: Event, payload: Payload) -> tuple[list[tuple[str, str]], bytes]:
        """Headers and body as the receiver got them."""
        endpoint = Endpoint(
            name="crm", url=self._endpoint.url, signing=self._endpoint.signing, payload=payload
        )
        delivery = Delivery(id=DeliveryId(1), endpoint=EndpointId(1), sequence=1, event=event)
        request = Letterhead(endpoint, "0").request(delivery, 1_750_000_000.0)
        assert request is not None
        outcome = await self._transport.post(endpoint.url, request.headers, request.body)
        assert outcome.ok, outcome
        head, body = self._receiver.requests[-1]
        lines = head.decode().split("\r\n")[1:-2]
        return [(name, value) for name, _, value in (line.partition(": ") for line in lines)], body

    async def close(self) -> None:
        await self._transport.close()


@asynccontextmanager
async def sending(**endpoint: Any) -> Any:
    """A sender with its receiver."""
    async with Receiver(answering(NO_CONTENT)) as receiver:
        sender = Sender(receiver, **endpoint)
        try:
            yield sender
        finally:
            await sender.close()


def attributes_of(headers: Pairs) -> dict[str, str]:
    """The `ce-` headers as they are written, and the content type."""
    found: dict[str, str] = {}
    for header, text in headers:
        name = header.lower().removeprefix("ce-")
        if name != header.lower() or name == "content-type":
            found["datacontenttype" if name == "content-type" else name] = text
    return found
