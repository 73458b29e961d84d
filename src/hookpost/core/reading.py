"""How a request is read: its source's format and its Content-Type → what makes events of it."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from hookpost.core.cloudevents import Mode, entries, mode
from hookpost.core.cloudevents_in import binary_event, structured_event
from hookpost.core.envelope import Malformed, Media, lines, media
from hookpost.core.extract import envelope_event, raw_event
from hookpost.core.identity import EventIds
from hookpost.core.model import Event, Format
from hookpost.core.received import Headers, Received
from hookpost.core.refusals import Refused
from hookpost.core.settings import Source


class Extract(Protocol):
    """Makes one event of a body, or of one part of a batch."""

    def __call__(
        self,
        source: Source,
        headers: Headers,
        body: bytes,
        ids: EventIds,
        /,
        *,
        now: float,
        wall: float,
        received: Received | None = None,
    ) -> Event | Refused:
        """`now` is stored, `wall` is told to receivers; `received` is the whole request."""
        ...


class Reading(NamedTuple):
    """`cut` makes the parts of a batch (more than so many: at least one more); None: no batch.

    `emptiable`: a batch without a part is nothing wrong. `root` is the path of an event's data in
    the body, or in its part of the batch.
    """

    extract: Extract
    cut: Callable[[bytes, int], list[bytes] | Malformed] | None = None
    emptiable: bool = False
    root: str = "$"


def reading(source: Source, headers: Headers) -> Reading | Refused:
    """How to read a request to this source."""
    if source.format is Format.RAW:
        return _RAW
    content_type = headers.get("Content-Type") or ""
    if source.format is Format.ENVELOPE:
        found = _ENVELOPES.get(media(content_type))
    else:
        found = _CLOUDEVENTS.get(mode(content_type))
    return found or Refused("content_type", _TAKEN[source.format])


_DATA = "$.data"
_RAW = Reading(raw_event)
_ENVELOPES: Mapping[Media, Reading] = {
    Media.JSON: Reading(envelope_event, root=_DATA),
    Media.NDJSON: Reading(envelope_event, lambda body, _: lines(body), root=_DATA),
}
_CLOUDEVENTS: Mapping[Mode, Reading] = {
    Mode.BINARY: Reading(binary_event),
    Mode.STRUCTURED: Reading(structured_event, root=_DATA),
    Mode.BATCH: Reading(structured_event, entries, emptiable=True, root=_DATA),
}
_TAKEN: Mapping[Format, str] = {
    Format.ENVELOPE: "send application/json, a type that ends in +json, or application/x-ndjson",
    Format.CLOUDEVENTS: "of CloudEvents' own types send application/cloudevents+json or "
    "application/cloudevents-batch+json, in UTF-8",
}
