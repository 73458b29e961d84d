"""What is sent is what was accepted, the same at every attempt."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import an_event

from hookpost.core.model import Delivery, DeliveryId, EndpointId, Format, Payload
from hookpost.core.payload import (
    Letterhead,
    encoded,
    header_mistake,
    is_json,
    render,
    reserved,
)
from hookpost.core.payload_links import Links
from hookpost.core.secrets import Secret
from hookpost.core.settings import Endpoint
from hookpost.core.signing import standard_webhooks

KEY = Secret(name="crm", value=b"whsec_" + base64.b64encode(b"k" * 24))
RAW: dict[str, Any] = {"format": Format.RAW, "content_type": "text/plain; charset=latin-1"}


def headers_of(
    endpoint: Endpoint, *, attempts: int = 0, wall: float = 1_750_000_000.9, **event: Any
) -> dict[str, str]:
    delivery = Delivery(
        id=DeliveryId(7),
        endpoint=EndpointId(1),
        sequence=5,
        event=an_event(**event),
        attempts=attempts,
    )
    request = Letterhead(endpoint, "1.2.3").request(delivery, wall)
    assert request is not None
    names = [name.lower() for name, _ in request.headers]
    assert len(names) == len(set(names))
    return {name.lower(): value for name, value in request.headers}


def an_endpoint(**overrides: Any) -> Endpoint:
    return Endpoint(
        name="crm", url="https://crm.example.com/", signing=standard_webhooks(KEY), **overrides
    )


# -- bodies ------------------------------------------------------------------------------------


def test_an_envelope_is_compact_and_keeps_the_data_as_the_bytes_that_came() -> None:
    data = b'{ "amount" : 1.10,"big":123456789012345678901234567890 }'
    rendered = render(an_event(body=data), Payload.AUTO)
    assert rendered.body == (
        b'{"eventId":"evt_1","eventType":"invoice.paid",'
        b'"occurredAt":"2025-06-15T15:06:40Z","data":' + data + b"}"
    )
    assert rendered.content_type == "application/json"


def test_an_envelope_source_sends_its_data_alone_where_raw_is_wanted() -> None:
    assert render(an_event(body=b"[1, 2]"), Payload.RAW).body == b"[1, 2]"


@pytest.mark.parametrize("mode", [Payload.AUTO, Payload.RAW])
def test_a_raw_source_sends_what_it_received(mode: Payload) -> None:
    rendered = render(an_event(body=b"\x00\xff", **RAW), mode)
    assert (rendered.body, rendered.content_type) == (b"\x00\xff", "text/plain; charset=latin-1")


def test_a_raw_body_of_no_stated_type_is_sent_as_bytes() -> None:
    rendered = render(an_event(format=Format.RAW, content_type=None, body=b""), Payload.AUTO)
    assert rendered.content_type == "application/octet-stream"


def test_a_raw_json_body_is_put_into_an_envelope_as_it_is() -> None:
    rendered = render(an_event(body=b' {"a":1e400} ', **RAW), Payload.ENVELOPE)
    assert rendered.body.endswith(b',"data": {"a":1e400} }')
    assert rendered.content_type == "application/json"


def test_a_raw_body_that_is_no_json_is_put_into_an_envelope_as_base64() -> None:
    rendered = render(an_event(body=b"\x00not json", **RAW), Payload.ENVELOPE)
    envelope = json.loads(rendered.body)
    assert "data" not in envelope
    assert base64.b64decode(envelope["dataBase64"]) == b"\x00not json"


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (b"0", True),
        (b'"x"', True),
        (b" [1,2.5e3,null] \r\n", True),
        (b"9" * 6000, True),
        (b"[" * 64 + b"]" * 64, True),
        (b'{"[[[": "' + b"[" * 500 + b'"}', True),
        (b"[" * 65 + b"]" * 65, False),
        (b"[" * 100_000, False),
        (b"", False),
        (b"NaN", False),
        (b"[Infinity]", False),
        (b"-Infinity", False),
        (b"01", False),
        (b"[1,]", False),
        (b"{'a':1}", False),
        (b'"a\nb"', False),
        (b"\xef\xbb\xbf{}", False),
        (b'"\xff"', False),
        (b"{} {}", False),
    ],
)
def test_what_is_json_is_judged_strictly(body: bytes, verdict: bool) -> None:
    assert is_json(body) is verdict


def test_hostile_quotes_are_judged_in_linear_time() -> None:
    assert is_json(b'\\"' * 300_000) is False


@given(body=st.binary() | st.text().map(str.encode), mode=st.sampled_from(Payload))
def test_every_attempt_renders_the_same_bytes(body: bytes, mode: Payload) -> None:
    event = an_event(body=body, **RAW)
    assert render(event, mode, lambda: "https://h/") == render(event, mode, lambda: "https://h/")


@given(event_id=st.text(), event_type=st.text(), when=st.text(), data=st.integers() | st.text())
def test_every_envelope_is_json_with_the_four_members(
    event_id: str, event_type: str, when: str, data: Any
) -> None:
    event = an_event(id=event_id, type=event_type, occurred_at=when, body=json.dumps(data).encode())
    assert json.loads(render(event, Payload.AUTO).body) == {
        "eventId": event_id,
        "eventType": event_type,
        "occurredAt": when,
        "data": data,
    }


# -- headers -----------------------------------------------------------------------------------


def test_the_headers_of_an_attempt() -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = headers_of(
        an_endpoint(headers=(("X-Env", "prod"),)),
        attempts=2,
        headers=(("traceparent", traceparent),),
    )
    assert headers.pop("webhook-signature").startswith("v1,")
    assert headers == {
        "content-type": "application/json",
        "user-agent": "hookpost/1.2.3",
        "x-env": "prod",
        "webhook-id": "evt_1",
        "webhook-timestamp": "1750000000",
        "hookpost-delivery": "7",
        "hookpost-attempt": "3",
        "hookpost-event-type": "invoice.paid",
        "hookpost-sequence": "5",
        "traceparent": traceparent,
    }


def test_an_unsigned_endpoint_gets_an_id_and_no_signature() -> None:
    headers = headers_of(Endpoint(name="open", url="https://open.example.com/"))
    assert headers["webhook-id"] == "evt_1"
    assert "webhook-signature" not in headers


def test_every_live_key_signs_and_no_other_does() -> None:
    old = Secret(name="old", value=b"whsec_" + base64.b64encode(b"o" * 24), not_after=100.0)
    endpoint = Endpoint(
        name="crm", url="https://crm.example.com/", signing=standard_webhooks(KEY, old)
    )
    assert len(headers_of(endpoint, wall=100.0)["webhook-signature"].split(" ")) == 2
    assert len(headers_of(endpoint, wall=101.0)["webhook-signature"].split(" ")) == 1


def test_without_a_live_key_there_is_no_request_at_all() -> None:
    old = Secret(name="old", value=KEY.value, not_after=100.0)
    endpoint = Endpoint(name="crm", url="https://crm.example.com/", signing=standard_webhooks(old))
    delivery = Delivery(id=DeliveryId(1), endpoint=EndpointId(1), sequence=1, event=an_event())
    assert Letterhead(endpoint, "0").request(delivery, 101.0) is None


def test_neither_forwarded_nor_configured_headers_replace_those_that_are_ours() -> None:
    evil = (
        ("Webhook-Signature", "v1,AAAA"),
        ("webhook-id", "x"),
        ("Hookpost-Attempt", "99"),
        ("Host", "evil.example.com"),
        ("Content-Length", "1"),
        ("Transfer-Encoding", "chunked"),
    )
    for headers in (
        headers_of(an_endpoint(headers=evil)),
        headers_of(an_endpoint(), headers=evil),
    ):
        assert headers["webhook-id"] == "evt_1"
        assert headers["webhook-signature"] != "v1,AAAA"
        assert headers["hookpost-attempt"] == "1"
        assert not {"host", "content-length", "transfer-encoding"} & set(headers)


def test_a_configured_header_replaces_a_forwarded_one_and_the_user_agent() -> None:
    endpoint = an_endpoint(
        headers=(("X-Kind", "mine"), ("User-Agent", "acme"), ("content-type", "a/b"))
    )
    headers = headers_of(endpoint, headers=(("x-kind", "theirs"), ("User-Agent", "theirs")))
    assert (headers["x-kind"], headers["user-agent"], headers["content-type"]) == (
        "mine",
        "acme",
        "a/b",
    )


def test_a_raw_events_forwarded_headers_are_sent() -> None:
    headers = headers_of(an_endpoint(), headers=(("X-GitHub-Event", "push"),), **RAW)
    assert headers["x-github-event"] == "push"
    assert headers["content-type"] == "text/plain; charset=latin-1"


@pytest.mark.parametrize(
    ("event_type", "header"),
    [
        ("invoice.paid", "invoice.paid"),
        ("rechnung.bezahlt-ä", "rechnung.bezahlt-%C3%A4"),
        ("50% off", "50%25%20off"),
        ('say "x"', "say%20%22x%22"),
        ("a\r\nX-Evil: 1", "a%0D%0AX-Evil:%201"),
    ],
)
def test_an_event_type_is_percent_encoded_where_a_header_cannot_hold_it(
    event_type: str, header: str
) -> None:
    assert encoded(event_type) == header


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X Tenant", "a"),
        ("", "a"),
        ("X-Tenänt", "a"),
        ("X-Tenant", "a\r\nX-Evil: 1"),
        ("X-Tenant", "a\x00"),
        ("Webhook-Anything", "a"),
        ("hookpost-x", "a"),
        ("HOST", "a"),
        ("Connection", "close"),
    ],
)
def test_a_header_that_cannot_be_added_is_explained(name: str, value: str) -> None:
    assert header_mistake(name, value)


def test_an_ordinary_header_can_be_added() -> None:
    assert header_mistake("X-Env", "prod\tä") is None
    assert not reserved("X-Env")


# -- CloudEvents -------------------------------------------------------------------------------

CLOUD: dict[str, Any] = {
    "format": Format.CLOUDEVENTS,
    "content_type": "application/json; charset=utf-8",
    "body": b'{"a": 1.00}',
    "headers": (
        ("ce-specversion", "1.0"),
        ("ce-id", "1%202"),
        ("ce-source", "/here"),
        ("ce-type", "invoice.paid"),
        ("X-Kind", "k"),
    ),
}
BOTH = [Payload.CLOUDEVENTS, Payload.CLOUDEVENTS_STRUCTURED]


def test_a_cloudevent_is_sent_in_binary_mode_as_it_came() -> None:
    for mode in (Payload.AUTO, Payload.CLOUDEVENTS):
        rendered = render(an_event(**CLOUD), mode)
        assert (rendered.body, rendered.content_type) == (CLOUD["body"], CLOUD["content_type"])
        assert rendered.headers == CLOUD["headers"]


def test_a_cloudevent_is_written_as_one_document_around_its_bytes() -> None:
    rendered = render(an_event(**CLOUD), Payload.CLOUDEVENTS_STRUCTURED)
    assert rendered.content_type == "application/cloudevents+json"
    assert rendered.headers == (("X-Kind", "k"),)
    assert rendered.body == (
        b'{"specversion":"1.0","id":"1 2","source":"/here","type":"invoice.paid",'
        b'"datacontenttype":"application/json; charset=utf-8","data":{"a": 1.00}}'
    )


@pytest.mark.parametrize(
    ("kind", "body", "ending"),
    [
        ("text/plain", b"hi", b',"datacontenttype":"text/plain","data_base64":"aGk="}'),
        ("text/plain", b"12", b',"datacontenttype":"text/plain","data_base64":"MTI="}'),
        ("a/json;charset=latin-1", b"1", b'":"a/json;charset=latin-1","data_base64":"MQ=="}'),
        ("application/json", b"{", b',"datacontenttype":"application/json","data_base64":"ew=="}'),
        ("a/b+json", b"[1]", b',"datacontenttype":"a/b+json","data":[1]}'),
        ("application/json", b"", b',"datacontenttype":"application/json"}'),
        (None, b"{}", b',"data_base64":"e30="}'),
        (None, b"", b'"type":"invoice.paid"}'),
    ],
)
def test_what_is_not_json_goes_into_a_document_as_base64(
    kind: str | None, body: bytes, ending: bytes
) -> None:
    event = an_event(**{**CLOUD, "content_type": kind, "body": body})
    assert render(event, Payload.CLOUDEVENTS_STRUCTURED).body.endswith(ending)


@pytest.mark.parametrize("fields", [{}, RAW, CLOUD], ids=["envelope", "raw", "cloudevents"])
def test_a_thin_payload_is_an_envelope_with_a_link_whatever_the_source(
    fields: dict[str, Any],
) -> None:
    headers = (("ce-id", "x"), ("X-Kind", "k"))
    event = an_event(**{**fields, "body": b'"secret"', "headers": headers})
    rendered = render(event, Payload.THIN, lambda: 'https://h/payloads/"?sig=1')
    assert json.loads(rendered.body) == {
        "eventId": event.id,
        "eventType": event.type,
        "occurredAt": event.occurred_at,
        "dataUrl": 'https://h/payloads/"?sig=1',
    }
    assert rendered.content_type == "application/json"
    assert ("X-Kind", "k") in rendered.headers
    assert (("ce-id", "x") in rendered.headers) == (event.format is not Format.CLOUDEVENTS)


def test_a_thin_payload_is_signed_and_the_same_at_every_attempt() -> None:
    links = Links(b"k" * 32, "https://hooks.example.com")
    letterhead = Letterhead(an_endpoint(payload=Payload.THIN), "1.2.3", (), links)
    event = an_event()
    made = [
        letterhead.request(
            Delivery(
                id=DeliveryId(7), endpoint=EndpointId(1), sequence=5, event=event, attempts=attempts
            ),
            1_750_000_000.0 + attempts,
        )
        for attempts in (0, 1)
    ]
    assert made[0] is not None
    assert made[1] is not None
    assert made[0].body == made[1].body
    assert b'"dataUrl":"https://hooks.example.com/payloads/evt_1?sig=1.7.' in made[0].body
    assert "webhook-signature" in {name.lower() for name, _ in made[0].headers}


def test_a_thin_payload_without_links_is_no_payload() -> None:
    with pytest.raises(ValueError, match="no key"):
        headers_of(an_endpoint(payload=Payload.THIN))


def test_other_payloads_of_a_cloudevent_are_not_cloudevents() -> None:
    event = an_event(**CLOUD)
    raw, envelope = render(event, Payload.RAW), render(event, Payload.ENVELOPE)
    assert (raw.body, raw.content_type) == (CLOUD["body"], CLOUD["content_type"])
    assert envelope.body.endswith(b'"data":{"a": 1.00}}')
    assert raw.headers == envelope.headers == (("X-Kind", "k"),)
    assert render(an_event(**{**CLOUD, "content_type": None}), Payload.RAW).content_type


@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize("kind", ["application/cloudevents+json", "Application/CloudEvents"])
def test_data_that_is_a_cloudevent_is_sent_in_a_document(mode: Payload, kind: str) -> None:
    for fields in (CLOUD, RAW):
        rendered = render(an_event(**{**fields, "content_type": kind, "body": b"{}"}), mode)
        assert rendered.content_type == "application/cloudevents+json"
        assert b'"datacontenttype":"%b"' % kind.encode() in rendered.body


@pytest.mark.parametrize("mode", BOTH)
def test_forwarded_attributes_do_not_meet_those_that_are_made_here(mode: Payload) -> None:
    fields = {**RAW, "body": b"x", "headers": (("Ce-Id", "theirs"), ("X-Kind", "k"))}
    headers = headers_of(an_endpoint(payload=mode), **fields)
    assert headers["x-kind"] == "k"
    assert headers.get("ce-id", "evt_1") == "evt_1"


@pytest.mark.parametrize("kind", ["nonsense", "a/b\u00e4", ""])
def test_a_content_type_that_is_none_is_bytes_in_a_cloudevent(kind: str) -> None:
    event = an_event(**{**RAW, "content_type": kind, "body": b"x"})
    assert render(event, Payload.CLOUDEVENTS).content_type == "application/octet-stream"
