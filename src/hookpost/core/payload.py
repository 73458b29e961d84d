"""What an attempt sends: body and headers of the request, from the event and nothing else.

The body depends on the event and the endpoint's payload mode alone, so every attempt of a delivery
sends the same bytes. `data` is never parsed and written again: it is the publisher's own bytes.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from json.encoder import encode_basestring_ascii as quoted

from hookpost.core.attributes import (
    CONTENT_TYPE,
    PREFIX,
    SPECVERSION,
    STRUCTURED,
    is_cloudevents_type,
    is_json_type,
    is_media_type,
)
from hookpost.core.attributes import decoded as attribute
from hookpost.core.attributes import encoded as attribute_header
from hookpost.core.credentials import header_name, header_of, secret_of
from hookpost.core.envelope import is_utf8
from hookpost.core.model import Delivery, Event, Format, Headers, Payload
from hookpost.core.payload_links import Links
from hookpost.core.payload_modes import ModeSince, mode_of
from hookpost.core.settings import Endpoint
from hookpost.core.signing import Signer

JSON = "application/json"
BYTES = "application/octet-stream"
DEEPEST = 64  # levels of nesting taken as JSON, like an envelope's `data`

_OURS = re.compile(r"webhook-.*|hookpost-.*", re.IGNORECASE)
_FRAMING = frozenset(
    {
        *("host", "content-length", "transfer-encoding", "content-encoding", "expect", "te"),
        *("trailer", "upgrade", "connection", "keep-alive"),
        *("proxy-authenticate", "proxy-authorization", "proxy-connection"),
    }
)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2: token
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\uffff]*")
# Possessive, and the closing quote optional: linear time on any bytes.
_NESTING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|([\[{])|([\]}])', re.DOTALL)


@dataclass(slots=True)
class Rendered:
    """The body to send, its content type (None: nobody said) and the event's forwarded headers."""

    content_type: str | None
    body: bytes
    headers: Headers


@dataclass(slots=True)
class Request:
    """One attempt's request: headers in the order in which they are written."""

    headers: Sequence[tuple[str, str]]
    body: bytes


# -- body ------------------------------------------------------------------------------------


def render(event: Event, mode: Payload, url: Callable[[], str] | None = None) -> Rendered:
    """The body of an event in a payload mode.

    `auto`: the envelope for envelope sources, the bytes as received for raw ones, binary mode for
    CloudEvents. `envelope` puts any other body into `data` where it is JSON (RFC 8259, UTF-8, at
    most 64 levels), else into `dataBase64`. `raw` is the event's own bytes, the `data` alone. In
    these two a CloudEvent's attributes are not sent: with them the request would be a CloudEvent
    in binary mode, with other data. `thin` is the envelope of any event with `dataUrl`, what `url`
    gives, in place of the data; ValueError where there is none.
    """
    if mode is Payload.AUTO:
        mode = _OWN[event.format]
    if mode in (Payload.CLOUDEVENTS, Payload.CLOUDEVENTS_STRUCTURED):
        return _cloudevent(event, structured=mode is Payload.CLOUDEVENTS_STRUCTURED)
    headers = event.headers
    if event.format is Format.CLOUDEVENTS:
        headers = tuple([pair for pair in headers if not pair[0].startswith(PREFIX)])
    if mode is Payload.THIN:
        if url is None:
            raise ValueError("there is no key to make a dataUrl with: restart the gateway")
        return Rendered(
            JSON, _envelope(event, b',"dataUrl":', quoted(url()).encode(), b"}"), headers
        )
    if mode is Payload.RAW:
        return Rendered(event.content_type or BYTES, event.body, headers)
    if event.format is Format.ENVELOPE or is_json(event.body):
        return Rendered(JSON, _envelope(event, b',"data":', event.body, b"}"), headers)
    text = base64.b64encode(event.body)
    return Rendered(JSON, _envelope(event, b',"dataBase64":"', text, b'"}'), headers)


_OWN = {
    Format.ENVELOPE: Payload.ENVELOPE,
    Format.RAW: Payload.RAW,
    Format.CLOUDEVENTS: Payload.CLOUDEVENTS,
}
"""What `auto` stands for."""


def _cloudevent(event: Event, *, structured: bool) -> Rendered:
    """The event as a CloudEvent 1.0; one that came as one keeps its attributes.

    Data that is a CloudEvent itself goes out structured: its content type would say in binary mode
    that the body is the event.
    """
    kind, attributes, forwarded = event.content_type, _attributes(event), event.headers
    if event.format is not Format.CLOUDEVENTS and (kind is None or not is_media_type(kind)):
        kind = BYTES
    forwarded = tuple([pair for pair in forwarded if not pair[0].lower().startswith(PREFIX)])
    if structured or (kind is not None and is_cloudevents_type(kind)):
        return Rendered(STRUCTURED, _structured(attributes, kind, event.body), forwarded)
    made = [(f"{PREFIX}{name}", attribute_header(text)) for name, text in attributes.items()]
    return Rendered(kind, event.body, (*made, *forwarded))


def _attributes(event: Event) -> Mapping[str, str]:
    """All but datacontenttype. The source of other events is `/sources/` and its source's name."""
    if event.format is Format.CLOUDEVENTS:
        came = [pair for pair in event.headers if pair[0].startswith(PREFIX)]
        return {name[len(PREFIX) :]: attribute(text) or "" for name, text in came}
    return {
        "specversion": SPECVERSION,
        "id": event.id,
        "source": f"/sources/{event.source}",
        "type": event.type,
        "time": event.occurred_at,
    }


def _structured(attributes: Mapping[str, str], kind: str | None, body: bytes) -> bytes:
    """The JSON document: JSON goes in as its bytes, other data as base64, no data not at all."""
    named = dict(attributes) if kind is None else {**attributes, CONTENT_TYPE: kind}
    parts = [f'"{name}":{quoted(text)}'.encode() for name, text in named.items()]
    if body and kind is not None and _says_json(kind) and is_json(body):
        parts.append(b'"data":' + body)
    elif body:
        parts.append(b'"data_base64":"' + base64.b64encode(body) + b'"')
    return b"{" + b",".join(parts) + b"}"


def _says_json(kind: str) -> bool:
    return is_json_type(kind) and is_utf8(kind)


def _envelope(event: Event, key: bytes, data: bytes, end: bytes) -> bytes:
    head = (
        f'{{"eventId":{quoted(event.id)},"eventType":{quoted(event.type)},'
        f'"occurredAt":{quoted(event.occurred_at)}'
    )
    return b"%b%b%b%b" % (head.encode(), key, data, end)


def is_json(body: bytes) -> bool:
    """Whether the bytes are one JSON text: strict RFC 8259, no NaN, at most 64 levels deep."""
    if _too_deep(body):
        return False
    try:
        json.loads(body.decode(), parse_constant=_refused, parse_int=_unread, parse_float=_unread)
    except ValueError:
        return False
    return True


def _too_deep(body: bytes) -> bool:
    depth = 0
    for found in _NESTING.finditer(body):
        if found[1]:
            depth += 1
            if depth > DEEPEST:
                return True
        elif found[2]:
            depth -= 1
    return False


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _unread(number: str) -> None:
    """Numbers are judged by their grammar alone: reading 5,000 digits would fail or be slow."""


# -- headers ---------------------------------------------------------------------------------


def header_mistake(name: str, value: str) -> str | None:
    """What is wrong with a header that an endpoint's configuration adds; None: nothing."""
    if _NAME.fullmatch(name) is None:
        return f"{name!r} is not a header name"
    if reserved(name):
        return f"{name} is written by Hookpost itself: leave it out"
    if _VALUE.fullmatch(value) is None:
        return f"the value of {name} holds control characters: leave them out"
    return None


def framing(name: str) -> bool:
    """Whether a header of this name is HTTP's own: how a request travels, not what it says."""
    return name.lower() in _FRAMING


def reserved(name: str) -> bool:
    """Whether neither a forwarded nor a configured header may have this name."""
    return framing(name) or _OURS.fullmatch(name) is not None


class Letterhead:
    """All of an endpoint's requests that does not change between them, made once a snapshot.

    A configured header replaces forwarded ones, `User-Agent` and `Content-Type`; signing, delivery
    and framing headers are never replaced.
    """

    __slots__ = (
        "_constant",
        "_content_type",
        "_credential",
        "_links",
        "_modes",
        "_names",
        "_payload",
        "_signer",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        version: str,
        modes: Sequence[tuple[int, str]] = (),
        links: Links | None = None,
    ) -> None:
        """`modes` tell which deliveries have another payload than the endpoint has now.

        `links` make what `thin` sends in place of the data.
        """
        added = [(name, value) for name, value in endpoint.headers if not reserved(name)]
        self._names = frozenset(name.lower() for name, _ in added) | {"content-type", "user-agent"}
        self._content_type = next(
            (("Content-Type", value) for name, value in added if name.lower() == "content-type"),
            None,
        )
        constant = [(name, value) for name, value in added if name.lower() != "content-type"]
        if not any(name.lower() == "user-agent" for name, _ in constant):
            constant.insert(0, ("User-Agent", f"hookpost/{version}"))
        auth = endpoint.auth
        self._credential = None if auth is None else secret_of(auth)
        if auth is not None:
            self._names |= {header_name(auth).lower()}
            constant += filter(None, [header_of(auth)])
        self._constant = tuple(constant)
        self._payload = endpoint.payload
        self._modes = [ModeSince(*since) for since in modes]
        self._links = links
        self._signer: Signer | None = None
        if endpoint.signing is not None:
            self._signer = Signer(endpoint.signing, endpoint.url)
            self._names |= endpoint.signing.headers

    def request(self, delivery: Delivery, wall: float) -> Request | None:
        """The request of the next attempt, signed for wall-clock time `wall`.

        None: no key, or no credential, is live, and nothing is ever sent without instead. Raises
        ValueError for an event that cannot be signed, or linked to.
        """
        if self._credential is not None and not self._credential.live(wall):
            return None
        signer, live = self._signer, None
        if signer is not None:
            live = signer.live(wall)
            if live is None:
                return None
        event = delivery.event
        mode, links = mode_of(self._modes, delivery.id, self._payload), self._links
        url = None if links is None or mode is not Payload.THIN else partial(links.url, delivery)
        rendered = render(event, mode, url)
        timestamp = int(wall)
        kind = self._content_type
        if kind is None and rendered.content_type is not None:
            kind = ("Content-Type", rendered.content_type)
        headers = [
            *((kind,) if kind else ()),
            *self._constant,
            ("webhook-id", event.id),
            ("webhook-timestamp", f"{timestamp}"),
            ("hookpost-delivery", f"{delivery.id}"),
            ("hookpost-attempt", f"{delivery.attempts + 1}"),
            ("hookpost-event-type", encoded(event.type)),
            ("hookpost-sequence", f"{delivery.sequence}"),
        ]
        for name, value in rendered.headers:
            if _forwardable(name, self._names):
                headers.append((name, value))
        if signer is not None and live is not None:
            signer.sign(headers, event.id, wall, rendered.body, live)
        return Request(headers, rendered.body)


@lru_cache(maxsize=1024)
def _forwardable(name: str, taken: frozenset[str]) -> bool:
    return name.lower() not in taken and not reserved(name)


@lru_cache(maxsize=1024)
def encoded(text: str) -> str:
    """An event type as a header value, like an attribute of a CloudEvent."""
    return attribute_header(text)
