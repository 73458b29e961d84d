"""From a publisher to a receiver, over two real connections; the public package at both ends."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import http as sdk
from cloudevents.core.bindings.http import HTTPMessage
from cloudevents.core.v1.event import CloudEvent
from standardwebhooks.webhooks import Webhook
from tests.builders import an_event
from tests.cloudevents_rig import (
    JSON,
    KNOWN,
    STRUCTURED,
    a_cloudevents_rig,
    accepted,
    ask,
    attributes_of,
    binary,
    document,
    sending,
)

from hookpost.core.model import Event, Format, Payload
from hookpost.core.secrets import Secret
from hookpost.core.signing import standard_webhooks

KEY = "whsec_" + base64.b64encode(b"fake-key-of-hookpost-tests!!").decode()


@pytest.mark.parametrize("known", KNOWN["out"], ids=lambda known: str(known["name"]))
async def test_the_known_answers_are_sent_in_binary_mode(known: dict[str, Any]) -> None:
    rig = a_cloudevents_rig()
    body = json.dumps(known["attributes"])[:-1] + f',"data":{known["body"]}}}'
    if known["sent"] is None:
        reply = await ask(rig, [STRUCTURED], body.encode())
        assert 400 <= reply.status < 500
        return
    event = await accepted(rig, [STRUCTURED], body.encode())

    async with sending() as sender:
        headers, sent = await sender.deliver(event, Payload.AUTO)

    assert sent == known["body"].encode()
    attributes = attributes_of(headers)
    if not any(name == "Content-Type" for name, _ in known["sent"]):
        assert attributes.pop("datacontenttype") == "application/json"
    assert attributes == attributes_of(known["sent"])


# -- the public package ------------------------------------------------------------------------

ATTRIBUTES = {
    "id": "a-1",
    "source": "/here?x=ä",
    "type": "order.shipped",
    "subject": 'Euro € 😀 "100%"',
    "time": datetime(2026, 1, 31, 12, 0, 0, 250000, UTC),
    "dataschema": "https://example.com/schema",
    "tenant": "größe",
}
DATA: list[tuple[dict[str, Any], Any]] = [
    ({"datacontenttype": "application/json"}, {"n": 1.5, "t": "ä", "l": [None, True]}),
    ({"datacontenttype": "application/vnd.acme+json"}, {"deep": {"er": []}}),
    ({"datacontenttype": "application/octet-stream"}, b"\x00\xff"),
    ({"datacontenttype": "text/plain"}, "plain ä"),
    ({"datacontenttype": "text/plain"}, ""),
    ({}, None),
]


def came(headers: list[tuple[str, str]], body: bytes, structured: bool) -> CloudEvent:
    """What the public package reads."""
    message = HTTPMessage({name.lower(): text for name, text in headers}, body)
    read: Any = (sdk.from_structured_event if structured else sdk.from_binary_event)(message)
    return read


def as_bytes(data: Any, kind: str | None) -> Any:
    """Data as something that can be compared: JSON by its value, other data by its bytes."""
    if kind is not None and "json" in kind:
        return json.loads(data) if isinstance(data, str | bytes) else data
    return data.encode() if isinstance(data, str) else data or b""


@pytest.mark.parametrize(("more", "data"), DATA)
@pytest.mark.parametrize("way_in", ["binary", "structured"])
@pytest.mark.parametrize("way_out", ["binary", "structured"])
async def test_what_the_public_package_sends_it_reads_back_equal(
    more: dict[str, Any], data: Any, way_in: str, way_out: str
) -> None:
    given = CloudEvent({**ATTRIBUTES, **more}, data)
    to = sdk.to_binary_event if way_in == "binary" else sdk.to_structured_event
    message = to(given)
    payload = Payload.CLOUDEVENTS_STRUCTURED if way_out == "structured" else Payload.CLOUDEVENTS

    event = await accepted(a_cloudevents_rig(), list(message.headers.items()), message.body)
    async with sending() as sender:
        read = came(*await sender.deliver(event, payload), way_out == "structured")

    assert read.get_attributes() == given.get_attributes()
    kind = more.get("datacontenttype")
    assert as_bytes(read.get_data(), kind) == as_bytes(data, kind)


@pytest.mark.parametrize("payload", [Payload.CLOUDEVENTS, Payload.CLOUDEVENTS_STRUCTURED])
@pytest.mark.parametrize(
    ("fields", "kind", "data"),
    [
        ({"body": b'{"amount":1.50}'}, "application/json", {"amount": 1.5}),
        ({"format": Format.RAW, "content_type": "text/plain", "body": b"hi"}, "text/plain", b"hi"),
        (
            {"format": Format.RAW, "content_type": None, "body": b"\xff"},
            "application/octet-stream",
            b"\xff",
        ),
    ],
)
async def test_events_of_every_format_are_read_by_the_public_package(
    payload: Payload, fields: dict[str, Any], kind: str, data: Any
) -> None:
    async with sending() as sender:
        headers, body = await sender.deliver(an_event(**fields), payload)
    read = came(headers, body, payload is Payload.CLOUDEVENTS_STRUCTURED)

    assert read.get_attributes() == {
        "specversion": "1.0",
        "id": "evt_1",
        "source": "/sources/billing",
        "type": "invoice.paid",
        "time": datetime(2025, 6, 15, 15, 6, 40, tzinfo=UTC),
        "datacontenttype": kind,
    }
    assert as_bytes(read.get_data(), kind) == data


# -- what is sent ------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [Payload.AUTO, Payload.CLOUDEVENTS_STRUCTURED])
async def test_the_signature_covers_the_bytes_that_are_sent(payload: Payload) -> None:
    event = await accepted(a_cloudevents_rig(), binary(JSON), b'{"a": 1.00}')
    secret = Secret(name="k", value=KEY.encode())
    async with sending(signing=standard_webhooks(secret)) as sender:
        headers, body = await sender.deliver(event, payload)
    named = {name.lower(): text for name, text in headers}
    named["webhook-timestamp"] = "1750000000"
    verifier = Webhook(KEY)
    signature = verifier.sign(event.id, datetime.fromtimestamp(1_750_000_000, UTC), body.decode())
    assert named["webhook-signature"] == signature
    assert named["webhook-id"] == event.id


async def test_an_event_that_names_no_content_type_is_sent_without_one() -> None:
    event = await accepted(a_cloudevents_rig(), binary(), b"\x00")
    async with sending() as sender:
        headers, body = await sender.deliver(event, Payload.AUTO)
    assert body == b"\x00"
    assert not [name for name, _ in headers if name.lower() == "content-type"]


async def test_data_that_is_an_event_itself_is_not_sent_as_if_it_were_the_event() -> None:
    inner = document(id="inner")
    outer = document(datacontenttype="application/cloudevents+json", data=json.loads(inner))
    event: Event = await accepted(a_cloudevents_rig(), [STRUCTURED], outer)

    async with sending() as sender:
        headers, body = await sender.deliver(event, Payload.AUTO)
    again = await accepted(
        a_cloudevents_rig(), [("Content-Type", dict(headers)["Content-Type"])], body
    )

    assert json.loads(body)["id"] == "a-1"
    assert (again.id, again.body, again.content_type) == (event.id, event.body, event.content_type)
