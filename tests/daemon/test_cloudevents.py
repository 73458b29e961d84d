"""CloudEvents through a real process: stored, read back from disk, delivered."""

import json
from typing import Any

import aiohttp
from cloudevents.core.bindings import http as sdk
from cloudevents.core.bindings.http import HTTPMessage
from cloudevents.core.v1.event import CloudEvent
from tests.daemon.harness import TOKEN, Home, Nursery, Receiver, verified

EVENT = CloudEvent(
    {
        "id": "a 1",
        "source": "/here",
        "type": "order.shipped",
        "subject": "Euro €",
        "datacontenttype": "application/json",
    },
    {"amount": 1.5, "text": "ü"},
)


def configured(home: Home) -> None:
    home.config["sources"]["orders"] = {
        "path": "/in/orders",
        "format": "cloudevents",
        "auth": {"bearer": ["token"]},
        "webhook_origins": ["emitter.example.com"],
    }
    home.endpoint("whole", payload="cloudevents-structured")
    home.config["endpoints"]["crm"]["paused"] = home.config["endpoints"]["whole"]["paused"] = True


async def asked(
    url: str, method: str, headers: dict[str, str], body: bytes = b""
) -> tuple[int, Any, dict[str, str]]:
    async with (
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
        session.request(method, url, data=body, headers=headers) as answer,
    ):
        return answer.status, await answer.read(), dict(answer.headers)


async def test_a_cloudevent_outlives_the_process_and_arrives_as_it_was(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    configured(home)
    daemon = await nursery.start()
    url = f"http://{daemon.address('ingest')}/in/orders"
    origin = {"WebHook-Request-Origin": "emitter.example.com"}
    status, _, headers = await asked(url, "OPTIONS", origin)
    assert (status, headers["WebHook-Allowed-Origin"]) == (200, "emitter.example.com")

    message = sdk.to_binary_event(EVENT)
    target = f"{url}?access_token={TOKEN}"
    status, answer, _ = await asked(target, "POST", message.headers, message.body)
    assert (status, json.loads(answer)["deliveries"]) == (202, 2)
    assert await daemon.stop() == 0
    assert TOKEN not in "".join(daemon.raw)

    for name in ("crm", "whole"):
        home.config["endpoints"][name]["paused"] = False
    daemon = await nursery.start()
    await crm.count(2)
    (binary,), (whole,) = crm.to("crm"), crm.to("whole")
    for received, read in ((binary, sdk.from_binary_event), (whole, sdk.from_structured_event)):
        verified(received)
        event = read(HTTPMessage(dict(received.headers), received.body))
        assert event.get_attributes() == EVENT.get_attributes()
        assert event.get_data() == EVENT.get_data()
    assert binary.body == message.body
    assert binary.id == whole.id == json.loads(answer)["eventId"]
    assert await daemon.stop() == 0
