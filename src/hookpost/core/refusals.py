"""Every way a request is refused: one table, from a stable code to its status and its reason.

`reason` is the label under which the refusal is counted (a closed set); None where nothing that
could become an event was refused: a wrong path, a wrong method, our own mistake.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from hookpost.core.violations import Violation


class Refusal(NamedTuple):
    """One row: HTTP status, metric reason, title for people."""

    status: int
    reason: str | None
    title: str


REFUSALS: Mapping[str, Refusal] = {
    "malformed": Refusal(400, "malformed", "The request cannot be read"),
    "malformed_http": Refusal(400, "malformed", "This is not HTTP as RFC 9112 has it"),
    "body_incomplete": Refusal(400, "malformed", "The body broke off"),
    "timestamp_malformed": Refusal(400, "malformed", "The signature's timestamp cannot be read"),
    "timestamp_stale": Refusal(400, "stale", "The signature's timestamp is too far from now"),
    "handshake_invalid": Refusal(400, "malformed", "This is no handshake that is answered here"),
    "batch_with_id": Refusal(400, "id", "A batch has no id of its own"),
    "unauthorized": Refusal(401, "auth", "The credentials are missing or wrong"),
    "handshake_refused": Refusal(403, "auth", "The handshake's secret is missing or wrong"),
    "address_not_allowed": Refusal(403, "address", "This address may not send to this source"),
    "not_found": Refusal(404, None, "No source has this path"),
    "origin_missing": Refusal(400, None, "The handshake names no origin"),
    "origin_not_allowed": Refusal(403, None, "This origin may not send to this source"),
    "method_not_allowed": Refusal(405, None, "Events are sent by POST"),
    "request_timeout": Refusal(408, "malformed", "The request took too long to arrive"),
    "too_large": Refusal(413, "too_large", "The body is too large"),
    "batch_too_large": Refusal(413, "too_large", "The batch has too many events"),
    "content_type": Refusal(415, "encoding", "The content type is not taken here"),
    "content_encoding": Refusal(415, "encoding", "Encoded bodies are not taken"),
    "envelope_invalid": Refusal(422, "schema", "The body is JSON, but no envelope"),
    "cloudevent_invalid": Refusal(422, "schema", "The request is no valid CloudEvent"),
    "type_missing": Refusal(422, "type", "The event has no type"),
    "type_invalid": Refusal(422, "type", "The event type is not valid"),
    "type_reserved": Refusal(422, "type", "The event type is reserved"),
    "type_unlisted": Refusal(422, "type", "The event type is not taken here"),
    "schema_invalid": Refusal(422, "schema", "The data does not fit the schema of its type"),
    "id_invalid": Refusal(422, "id", "The event id is not valid"),
    "payload_unknown": Refusal(404, None, "There is no such payload"),
    "payload_method": Refusal(405, None, "Payloads are read by GET"),
    "payload_gone": Refusal(410, None, "The payload is not kept any more"),
    "batch_rejected": Refusal(422, None, "No event of the batch was taken"),
    "rate_limited": Refusal(429, "rate", "Too many events"),
    "header_too_large": Refusal(431, "too_large", "The request line or a header is too large"),
    "internal_error": Refusal(500, None, "The gateway failed; the event was not acknowledged"),
    "validation_busy": Refusal(503, "rate", "The gateway has too many events to validate"),
    "payload_busy": Refusal(503, None, "Too many payloads are being read"),
    "payload_unavailable": Refusal(503, None, "The payload cannot be read now"),
    "too_many_connections": Refusal(503, "rate", "Too many connections"),
    "starting": Refusal(503, "draining", "The gateway is starting"),
    "draining": Refusal(503, "draining", "The gateway is shutting down"),
    "storage_low": Refusal(503, "storage", "The gateway is nearly out of space"),
    "storage_failed": Refusal(503, "storage", "The gateway cannot store events"),
    "storage_full": Refusal(503, "storage", "The gateway is out of space"),
    "storage_unavailable": Refusal(503, "storage", "The gateway cannot store events now"),
    "storage_slow": Refusal(503, "storage", "The gateway could not store the event in time"),
    "no_live_key": Refusal(503, "auth", "The gateway has no live key to verify with"),
}


@dataclass(frozen=True, slots=True)
class Refused:
    """A request, or one line of a batch, that was refused; nothing of it was acknowledged.

    `detail` is for the publisher; it may quote the request and is never logged. `retry_after` is
    seconds, None where trying again later is no remedy. `violations` say where a schema is not met.
    `why` is for the operator's log, where the publisher is not to know; it quotes nothing of the
    request.
    """

    code: str
    detail: str
    retry_after: float | None = None
    violations: tuple[Violation, ...] = ()
    why: str | None = None

    @property
    def status(self) -> int:
        """The HTTP status."""
        return REFUSALS[self.code].status

    @property
    def reason(self) -> str | None:
        """The metric label; None: not counted as a rejected event."""
        return REFUSALS[self.code].reason

    @property
    def title(self) -> str:
        """What happened, the same for every request with this code."""
        return REFUSALS[self.code].title
