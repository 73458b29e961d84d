"""A request's headers and body → the Event, as the source declares, or why there is none."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from hookpost.core.dedup import dedup_key
from hookpost.core.envelope import Invalid, Malformed, parse
from hookpost.core.identity import EventIds, check_id, derived_id
from hookpost.core.model import Event, Format, Headers
from hookpost.core.patterns import check_type, reserved
from hookpost.core.received import Headers as RequestHeaders
from hookpost.core.received import Received
from hookpost.core.refusals import Refused
from hookpost.core.settings import Extractor, Source

ID_HEADERS = ("Idempotency-Key", "webhook-id")  # the first that is there counts

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_BLAME = {"eventType": "type_invalid", "eventId": "id_invalid"}


def envelope_event(
    source: Source,
    headers: RequestHeaders,
    body: bytes,
    ids: EventIds,
    *,
    now: float,
    wall: float,
    received: Received | None = None,
) -> Event | Refused:
    """Read one envelope, or one line of a batch. `now` is stored, `wall` is told to receivers."""
    read = parse(body)
    if isinstance(read, Malformed):
        return Refused("malformed", read.detail)
    if isinstance(read, Invalid):
        return Refused(_BLAME.get(read.member, "envelope_invalid"), read.detail)
    wrong = type_mistake(read.event_type)
    if wrong is not None:
        return wrong
    found = _id_header(source, headers) if read.event_id is None else _judged_id(read.event_id)
    if isinstance(found, Refused):
        return found
    forwarded = forwarded_headers(source, headers)
    if isinstance(forwarded, Refused):
        return forwarded
    key = found if source.dedup_window is not None else None
    if source.dedup_key:
        key = dedup_key(source, found, document_of(headers, body, received, source.name))
    return Event(
        id=ids.make(now) if found is None else found,
        source=source.name,
        type=read.event_type,
        occurred_at=utc(wall) if read.occurred_at is None else read.occurred_at,
        accepted_at=now,
        format=Format.ENVELOPE,
        content_type="application/json",
        body=read.data,
        headers=forwarded,
        dedup_key=key,
        dedup_window=source.dedup_window or 0.0,
    )


def raw_event(
    source: Source,
    headers: RequestHeaders,
    body: bytes,
    ids: EventIds,
    *,
    now: float,
    wall: float,
    received: Received | None = None,
) -> Event | Refused:
    """Read a body of any kind: its type, and its id if any, are where the source says."""
    document: Mapping[str, Any] = {}
    if expressed(source):
        document = document_of(headers, body, received, source.name)
    event_type = _raw_type(source.event_type, headers, document)
    if isinstance(event_type, Refused):
        return event_type
    found = _raw_id(source, headers, document)
    if isinstance(found, Refused):
        return found
    forwarded = forwarded_headers(source, headers)
    if isinstance(forwarded, Refused):
        return forwarded
    content_type = headers.get("Content-Type")
    if content_type is not None and not _utf8(content_type):
        return _not_utf8("Content-Type")
    key = dedup_key(source, found, document)
    return Event(
        id=ids.make(now) if found is None else found,
        source=source.name,
        type=event_type,
        occurred_at=utc(wall),
        accepted_at=now,
        format=Format.RAW,
        content_type=content_type,
        body=body,
        headers=forwarded,
        dedup_key=key,
        dedup_window=source.dedup_window or 0.0,
    )


def utc(wall: float) -> str:
    """UNIX seconds as RFC 3339 text in UTC, to the millisecond."""
    second, millisecond = divmod(int(wall * 1000), 1000)
    return f"{_second(second)}.{millisecond:03d}Z"


@lru_cache(maxsize=8)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]


def has_id_header(headers: RequestHeaders) -> bool:
    """Whether the request names an id in a header."""
    return any(headers.get(name) is not None for name in ID_HEADERS)


@lru_cache(maxsize=1024)
def type_mistake(event_type: str) -> Refused | None:
    """Why no publisher may send an event of this type; None: it may."""
    wrong = check_type(event_type)
    if wrong is not None:
        return Refused("type_invalid", wrong)
    if reserved(event_type):
        return Refused("type_reserved", "types that begin with hookpost. are the gateway's own")
    return None


def _judged_id(event_id: str) -> str | Refused:
    wrong = check_id(event_id)
    return event_id if wrong is None else Refused("id_invalid", wrong)


def _id_header(source: Source, headers: RequestHeaders) -> str | Refused | None:
    """The id in a header: what is signed counts before what anybody may have added."""
    for proof in source.auth.proofs:
        for name in proof.id_headers:
            signed = headers.get(name)
            if signed is not None:
                return signed if check_id(signed) is None else derived_id(source.name, signed)
    for name in ID_HEADERS:
        if headers.get(name) is not None:
            values = headers.getall(name, ())
            if len(values) > 1:
                return Refused("id_invalid", f"the header {name} occurs {len(values)} times")
            return _judged_id(values[0])
    return None


def forwarded_headers(source: Source, headers: RequestHeaders) -> Headers | Refused:
    """The headers to pass on, names as configured; a valid traceparent always is (W3C)."""
    found: list[tuple[str, str]] = []
    for name in source.forward_headers:
        for value in headers.getall(name, ()):
            if not _utf8(value):
                return _not_utf8(name)
            found.append((name, value))
    trace = headers.get("traceparent")
    if trace is None:
        return tuple(found)
    named = any(name.lower() == "traceparent" for name in source.forward_headers)
    if not named and _TRACEPARENT.fullmatch(trace):
        found.append(("traceparent", trace))
    return tuple(found)


def _utf8(value: str) -> bool:
    """Whether a header's value came as UTF-8: other bytes are lone surrogates here."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _not_utf8(name: str) -> Refused:
    return Refused("malformed", f"the header {name} is not UTF-8 and could not be passed on")


def expressed(source: Source) -> bool:
    """Whether expressions of the source look into its requests."""
    looks = _expressed(source.event_type) or _expressed(source.event_id)
    return looks or bool(source.dedup_key)


def _expressed(extractor: Extractor | None) -> bool:
    return extractor is not None and extractor.expression is not None


def document_of(
    headers: RequestHeaders, body: bytes, received: Received | None, source: str
) -> Mapping[str, Any]:
    """What expressions see: source, headers (lower case, joined) and body (null if not JSON)."""
    if received is None:
        received = Received(method="POST", headers=headers, body=body)
    joined: dict[str, str] = {}
    for name, text in headers.items():
        key = name.lower()
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return {"source": source, "headers": joined, "body": received.json}


def _raw_type(
    extractor: Extractor | None, headers: RequestHeaders, document: Mapping[str, Any]
) -> str | Refused:
    found = None if extractor is None else _extracted(extractor, headers, document)
    if isinstance(found, _Failed):
        return Refused("type_invalid", f"the event type cannot be read: {found.why}")
    if found is None:
        unread = document.get("body", "") is None
        hint = ": the body is not JSON, so it is null there" if unread else ""
        return Refused("type_missing", f"no event type in {_where(extractor)}{hint}")
    if not isinstance(found, str):
        return Refused("type_invalid", f"the event type in {_where(extractor)} is no text")
    return type_mistake(found) or found


def _raw_id(
    source: Source, headers: RequestHeaders, document: Mapping[str, Any]
) -> str | Refused | None:
    """The id that stands for the provider's own; without one, what the id headers say."""
    if source.event_id is None:
        return _id_header(source, headers)
    found = _extracted(source.event_id, headers, document)
    if isinstance(found, _Failed):
        return Refused("id_invalid", f"the event id cannot be read: {found.why}")
    if found is None:
        return _id_header(source, headers)
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    if not isinstance(found, str) or not found:
        return Refused("id_invalid", f"the event id in {_where(source.event_id)} is no text")
    return derived_id(source.name, found)


class _Failed:
    """An extractor could not be applied."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why


def _extracted(
    extractor: Extractor, headers: RequestHeaders, document: Mapping[str, Any]
) -> Any | _Failed:
    """What the header or the expression finds; where it finds nothing, the value."""
    found: Any = None
    if extractor.header is not None:
        values = headers.getall(extractor.header, ())
        if len(values) > 1:
            return _Failed(f"the header {extractor.header} occurs {len(values)} times")
        found = values[0] if values else None
    elif extractor.expression is not None:
        try:
            found = extractor.expression(document)
        except ValueError as mistake:
            return _Failed(f"the expression {extractor.text!a} failed: {mistake}")
    return extractor.value if extractor.value is not None and found in (None, "") else found


def _where(extractor: Extractor | None) -> str:
    if extractor is None:
        return "the source's configuration"
    if extractor.header is not None:
        return f"the header {extractor.header}"
    return "the value" if extractor.text is None else f"the expression {extractor.text!a}"
