"""CloudEvents → the Event: attributes become its type, its id and its time.

Two ids of different sources may be equal, so the event's id is made of both, and so is what
duplicates are compared by. The attributes stay with the event as `ce-` headers.
"""

from collections.abc import Mapping
from typing import Any

from hookpost.core.attributes import PREFIX, encoded
from hookpost.core.cloudevents import CloudEvent, binary, structured
from hookpost.core.dedup import dedup_key
from hookpost.core.envelope import Invalid, Malformed
from hookpost.core.extract import document_of, forwarded_headers, type_mistake, utc
from hookpost.core.identity import EventIds, derived_id
from hookpost.core.model import Event, Format
from hookpost.core.received import Headers, Received
from hookpost.core.refusals import Refused
from hookpost.core.settings import Source

_BLAME = {"type": "type_invalid", "id": "id_invalid"}


def binary_event(
    source: Source,
    headers: Headers,
    body: bytes,
    _: EventIds,
    *,
    now: float,
    wall: float,
    received: Received | None = None,
) -> Event | Refused:
    """Read a request in binary mode. `now` is stored, `wall` is told to receivers."""
    request = received or Received(method="POST", headers=headers, body=body)
    return _event(source, request, binary(headers, body), now, wall)


def structured_event(
    source: Source,
    headers: Headers,
    body: bytes,
    _: EventIds,
    *,
    now: float,
    wall: float,
    received: Received | None = None,
) -> Event | Refused:
    """Read a structured request, or one entry of a batch; `ce-` headers beside it do not count."""
    request = received or Received(method="POST", headers=headers, body=body)
    return _event(source, request, structured(body), now, wall)


def _event(
    source: Source,
    request: Received,
    read: CloudEvent | Malformed | Invalid,
    now: float,
    wall: float,
) -> Event | Refused:
    if isinstance(read, Malformed):
        return Refused("malformed", read.detail)
    if isinstance(read, Invalid):
        return Refused(_BLAME.get(read.member, "cloudevent_invalid"), read.detail)
    attributes = read.attributes
    wrong = type_mistake(attributes["type"])
    if wrong is not None:
        return wrong
    forwarded = forwarded_headers(source, request.headers)
    if isinstance(forwarded, Refused):
        return forwarded
    found = derived_id(source.name, f"{attributes['source']}\n{attributes['id']}")
    kept = [(f"{PREFIX}{name}", encoded(text)) for name, text in attributes.items()]
    document: Mapping[str, Any] = {}
    if source.dedup_key:
        document = document_of(request.headers, request.body, request, source.name)
    return Event(
        id=found,
        source=source.name,
        type=attributes["type"],
        occurred_at=attributes.get("time") or utc(wall),
        accepted_at=now,
        format=Format.CLOUDEVENTS,
        content_type=read.content_type,
        body=read.data,
        headers=(*kept, *forwarded),
        dedup_key=dedup_key(source, found, document),
        dedup_window=source.dedup_window or 0.0,
    )
