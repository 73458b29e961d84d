"""Any headers and any document as a CloudEvent: refused by a code, or unchanged at the receiver."""

import base64
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from tests.cloudevents_rig import BATCH, STRUCTURED, Sender, a_cloudevents_rig, raw, sending
from tests.fuzz.bodies import any_bodies
from tests.fuzz.effort import count, fuzzed
from tests.fuzz.sockets import looped
from tests.ingest_rig import Reply, Rig, WebRig, served

from hookpost.core.cloudevents import CloudEvent, binary, structured
from hookpost.core.model import Event, Payload

_printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=12)
_wire = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=12)
_values = (
    _printable
    | _wire
    | st.sampled_from(["1.0", "/s", "%41", "%ff", "%", '"a b"', '"', "%C3%A4", "\udcff", ""])
)
_names = st.sampled_from(
    ["specversion", "id", "source", "type", "time", "subject", "dataschema", "datacontenttype",
     "data", "data_base64", "ext", "x1", "EXT", "a-b", ""]
)  # fmt: skip
_kinds = st.sampled_from(
    ["application/json", "text/plain; charset=x", "application/cloudevents+json", "json",
     "a/json; charset=y", "a/b;\t c", "application/CLOUDEVENTS+json", ""]
)  # fmt: skip
_good = {"specversion": "1.0", "id": "a", "source": "/s", "type": "t"}


@st.composite
def headers(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Mostly good, now and then twice, absent or broken."""
    found = {**_good, **draw(st.dictionaries(_names, _values, max_size=3))}
    pairs = [
        (f"{draw(st.sampled_from(['ce-', 'CE-']))}{name}", text) for name, text in found.items()
    ]
    pairs += draw(st.lists(st.sampled_from(pairs), max_size=1))
    if draw(st.integers(0, 9)) == 0:
        pairs.pop(draw(st.integers(0, len(pairs) - 1)))
    if draw(st.booleans()):
        pairs.append(("Content-Type", draw(_kinds)))
    return pairs


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """Structured events, mostly good."""
    members: dict[str, Any] = {
        **_good,
        **draw(st.dictionaries(_names, _values | _json, max_size=3)),
    }
    match draw(st.integers(0, 4)):
        case 0:
            members["data"] = draw(_json)
        case 1:
            members["data_base64"] = base64.b64encode(draw(st.binary(max_size=9))).decode()
        case 2:
            members |= {"datacontenttype": "text/plain", "data": draw(st.text(max_size=9))}
        case 3:
            members |= {"datacontenttype": draw(_kinds), "data": draw(_json)}
    text = json.dumps(members, ensure_ascii=draw(st.booleans()))
    return text.encode("utf-8", "surrogatepass")


class Road:
    """Listener and receiver on a loop that stays."""

    def __init__(self) -> None:
        self.stack = AsyncExitStack()
        self.rig: Rig
        self.web: WebRig
        self.sender: Sender

    async def start(self) -> None:
        self.rig = a_cloudevents_rig()
        self.web = await self.stack.enter_async_context(served(self.rig))
        self.sender = await self.stack.enter_async_context(sending())

    async def ask(self, pairs: list[tuple[str, str]], body: bytes) -> tuple[Reply, list[Event]]:
        self.rig.outbox.events.clear()
        self.rig.clock.advance(2.0)
        reply = await self.web.once(raw(pairs, body))
        assert reply.status in (200, 202, 400, 415, 422), reply
        stored = [event for event, _ in self.rig.outbox.events]
        assert bool(stored) == (reply.status == 202 and reply.json.get("results") != [])
        return reply, stored

    async def delivered(self, event: Event, payload: Payload) -> CloudEvent:
        """As a receiver reads it, from the wire."""
        pairs, body = await self.sender.deliver(event, payload)
        found = CIMultiDict(pairs)
        kind = found.get("Content-Type", "").lower()
        whole = kind.startswith("application/cloudevents")
        read = structured(body) if whole else binary(found, body)
        assert isinstance(read, CloudEvent), read
        return read


@pytest.fixture
def road() -> Iterator[tuple[Any, Road]]:
    with looped("asyncio") as runner:
        made = Road()
        runner.run(made.start())
        yield runner.run, made
        runner.run(made.stack.aclose())


async def _unchanged(road: Road, sent: CloudEvent, event: Event) -> None:
    read = await road.delivered(event, Payload.AUTO)
    assert (read.attributes, read.content_type, read.data) == (
        sent.attributes,
        sent.content_type,
        sent.data,
    )
    whole = await road.delivered(event, Payload.CLOUDEVENTS_STRUCTURED)
    assert (whole.attributes, whole.content_type) == (sent.attributes, sent.content_type)
    assert whole.data.strip(b" \t\r\n") == sent.data.strip(b" \t\r\n")


@fuzzed(150)
@given(pairs=headers(), body=st.binary(max_size=20) | any_bodies)
def test_any_headers_are_refused_or_arrive_unchanged(
    road: tuple[Any, Road], pairs: list[tuple[str, str]], body: bytes
) -> None:
    run, made = road
    count("requests")

    async def fired() -> None:
        _, stored = await made.ask(pairs, body)
        for event in stored:
            trimmed = CIMultiDict((name, text.strip(" \t")) for name, text in pairs)
            kind = trimmed.get("Content-Type", "").lower()
            whole = kind.startswith("application/cloudevents")
            sent = structured(body) if whole else binary(trimmed, body)
            assert isinstance(sent, CloudEvent)
            await _unchanged(made, sent, event)

    run(fired())


@fuzzed(200)
@given(body=documents() | any_bodies)
def test_any_document_is_refused_or_arrives_unchanged(road: tuple[Any, Road], body: bytes) -> None:
    run, made = road
    count("requests")

    async def fired() -> None:
        _, stored = await made.ask([STRUCTURED], body)
        for event in stored:
            sent = structured(body)
            assert isinstance(sent, CloudEvent)
            await _unchanged(made, sent, event)

    run(fired())


@fuzzed(60)
@given(parts=st.lists(documents() | any_bodies, max_size=4))
def test_a_batch_is_each_of_its_entries(road: tuple[Any, Road], parts: list[bytes]) -> None:
    """Refused as a whole only where it is no JSON array; else each entry is as it is alone."""
    run, made = road
    count("requests")

    async def fired() -> None:
        reply, stored = await made.ask([BATCH], b"[" + b",".join(parts) + b"]")
        alone = [structured(part) for part in parts]
        if reply.status == 400:
            assert any(not isinstance(one, CloudEvent) for one in alone)
            return
        results = reply.json["results"]
        if len(results) != len(parts):
            return  # a part that is no JSON text moved the commas
        good = [one for one, part in zip(results, parts, strict=True) if "eventId" in one]
        assert len(stored) == sum(not one["duplicate"] for one in good)
        for result, read in zip(results, alone, strict=True):
            if isinstance(read, CloudEvent) and "eventId" not in result:
                assert result["code"].startswith("type_")
            assert isinstance(read, CloudEvent) or "eventId" not in result

    run(fired())


def test_the_judge_sees_a_change(road: tuple[Any, Road]) -> None:
    run, made = road

    async def fired() -> None:
        pairs = [(f"ce-{name}", text) for name, text in _good.items()]
        _, (event,) = await made.ask(pairs, b"x")
        sent = binary(CIMultiDict(pairs), b"x")
        assert isinstance(sent, CloudEvent)
        await _unchanged(made, sent, event)
        with pytest.raises(AssertionError):
            await _unchanged(made, sent, replace(event, body=b"y"))

    run(fired())
