"""The face of ingest: a request in, one call of the service, its answer rendered."""

import json
import logging
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from hookpost.clock import Clock
from hookpost.core.model import Duplicate, PutAnswer, Stored
from hookpost.core.refusals import Refused
from hookpost.core.verification import Headers, challenge
from hookpost.metrics import Metrics, SourceMetrics
from hookpost.services.ingest import Batch, Entrance, IngestService
from hookpost.services.sparse_log import SparseLog
from hookpost.web.answer import Answer
from hookpost.web.problem import document, problem
from hookpost.web.request import BodyEnd, Request

log = logging.getLogger("hookpost.ingest")

_JSON = b"\r\nContent-Type: application/json\r\nContent-Length: "
_ACCEPTED = b"HTTP/1.1 202 Accepted" + _JSON
_DUPLICATE = b"HTTP/1.1 200 OK" + _JSON
_UNREAD = {
    BodyEnd.LATE: Refused("request_timeout", "the body did not arrive in time"),
    BodyEnd.BROKEN: Refused("body_incomplete", "the body broke off, or its chunks make no sense"),
}


class IngestFace:
    """Answers every request to the ingest listener."""

    def __init__(self, service: IngestService, metrics: Metrics, clock: Clock) -> None:
        self._service = service
        self._unknown = metrics.unknown_source
        self._clock = clock
        self._log = SparseLog(log, clock)

    async def handle(self, request: Request) -> Answer:
        """One request, from its head to its counted answer."""
        began = self._clock.monotonic()
        entrance = self._service.entrance(request.target) or self._service.entrance(request.path)
        if entrance is None:
            unknown = Refused("not_found", "no source has this path")
            return self._refuse(request, None, unknown, began, 0)
        refused = self._judge_head(request, entrance)
        if refused is not None:
            return self._refuse(request, entrance, refused, began, 0)
        limits = entrance.snapshot.config.listen.ingest
        body = await request.read(limits.max_body, limits.body_timeout)
        if isinstance(body, BodyEnd):
            refused = _UNREAD.get(body) or _too_large(limits.max_body)
            answer = self._refuse(request, entrance, refused, began, 0)
            answer.keep_alive = False
            return answer
        answered = await self._service.accept(entrance, request.headers, body)
        match answered:
            case Stored():
                answer = _single(202, _ACCEPTED, answered.event_id, answered.deliveries, b"false}")
            case Duplicate():
                answer = _single(200, _DUPLICATE, answered.event_id, answered.deliveries, b"true}")
            case Batch():
                answer = self._batch(request, entrance, answered)
            case Refused():
                return self._refuse(request, entrance, answered, began, len(body))
        entrance.metrics.answered(answer.status, self._clock.monotonic() - began, len(body))
        return answer

    def count_unseen(self, refused: Refused) -> None:
        """Count and log what was refused before it was a request: the listener's limits."""
        self._count(self._unknown, refused, None)
        self._unknown.answered(refused.status, 0.0, 0)

    def _judge_head(self, request: Request, entrance: Entrance) -> Refused | None:
        """Method, limits, then what the service judges by the headers."""
        if request.method != "POST":
            return Refused("method_not_allowed", f"send events by POST, not {request.method}")
        headers = request.headers
        allowed = entrance.snapshot.config.listen.ingest.max_body
        length = headers.get("Content-Length")
        if length is not None and int(length) > allowed:
            return _too_large(allowed)
        if "Content-Encoding" in headers or "Transfer-Encoding" in headers:
            refused = _encoded(headers)
            if refused is not None:
                return refused
        return self._service.admit(entrance, headers, request.peer)

    def _refuse(
        self,
        request: Request,
        entrance: Entrance | None,
        refused: Refused,
        began: float,
        size: int,
    ) -> Answer:
        metrics = self._unknown if entrance is None else entrance.metrics
        headers: dict[str, str] = {}
        if refused.code == "method_not_allowed":
            headers["Allow"] = "POST"
        elif refused.code == "unauthorized" and entrance is not None:
            headers["WWW-Authenticate"] = challenge(entrance.source.auth)
        answer = problem(refused, headers)
        self._count(metrics, refused, request.peer)
        metrics.answered(refused.status, self._clock.monotonic() - began, size)
        return answer

    def _batch(self, request: Request, entrance: Entrance, batch: Batch) -> Answer:
        """202 if any line is stored, now or before; else 422. Results in order, as of singles."""
        shown = [_shown(line) for line in batch.results]
        accepted = sum(isinstance(line, Stored) for line in batch.results)
        duplicates = sum(isinstance(line, Duplicate) for line in batch.results)
        rejected = [line for line in batch.results if isinstance(line, Refused)]
        for line in rejected:
            self._count(entrance.metrics, line, request.peer)
        members = {
            "accepted": accepted,
            "duplicates": duplicates,
            "rejected": len(rejected),
            "results": shown,
        }
        if accepted or duplicates:
            body = json.dumps(members).encode()
            return Answer(202, b"%b%d\r\n" % (_ACCEPTED, len(body)), body)
        return problem(
            Refused("batch_rejected", "the results say why, line by line"), None, members
        )

    def _count(self, metrics: SourceMetrics, refused: Refused, peer: str | None) -> None:
        """One verb and one line for each refusal; the line is never more than ten a second."""
        if refused.reason is not None:
            metrics.rejected(refused.reason)
        fields = {
            "source": metrics.name,
            "reason": refused.reason or refused.code,
            "code": refused.code,
            "status": refused.status,
            "peer": peer,
        }
        key = (metrics.name, refused.code)
        self._log.write(logging.WARNING, "request.rejected", key, fields)


def _encoded(headers: Headers) -> Refused | None:
    """Bodies are taken as they are; chunks are how they travel, not what they are."""
    if any(each.strip().lower() != "identity" for each in headers.getall("Content-Encoding", ())):
        return Refused("content_encoding", "send the body as it is, without Content-Encoding")
    if any(each.strip().lower() != "chunked" for each in headers.getall("Transfer-Encoding", ())):
        return Refused("content_encoding", "of transfer encodings only chunked is taken")
    return None


def _too_large(limit: int) -> Refused:
    return Refused("too_large", f"at most {limit} bytes are taken; send less, or a smaller batch")


def _single(status: int, head: bytes, event_id: str, deliveries: int, end: bytes) -> Answer:
    """`{"eventId","deliveries","duplicate"}`: put together by hand, it is the hot answer."""
    body = b'{"eventId": %b, "deliveries": %d, "duplicate": %b' % (
        quoted(event_id).encode(),
        deliveries,
        end,
    )
    return Answer(status, b"%b%d\r\n" % (head, len(body)), body)


def _shown(line: PutAnswer | Refused) -> dict[str, Any]:
    if isinstance(line, Refused):
        return document(line)
    return {
        "eventId": line.event_id,
        "deliveries": line.deliveries,
        "duplicate": isinstance(line, Duplicate),
    }
