"""The face of ingest: a request in, one call of the service, its answer rendered."""

import json
import logging
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from hookpost.clock import Clock
from hookpost.core.forwarding import Elsewhere
from hookpost.core.handshake import Greeting
from hookpost.core.model import Duplicate, Format, PutAnswer, Stored
from hookpost.core.received import Received
from hookpost.core.refusals import Refused
from hookpost.core.settings import SuccessAnswer
from hookpost.core.verification import Headers, challenge
from hookpost.metrics import Metrics, SourceMetrics
from hookpost.services.commit import Commitment
from hookpost.services.ingest import Batch, Entrance, IngestService
from hookpost.services.sparse_log import SparseLog
from hookpost.web.answer import Answer
from hookpost.web.greeting import fixed, greeting
from hookpost.web.problem import document, problem
from hookpost.web.request import BodyEnd, Limits, Request

log = logging.getLogger("hookpost.ingest")

_USUAL = SuccessAnswer()
_JSON = b"\r\nContent-Type: application/json\r\nContent-Length: "
_ACCEPTED = b"HTTP/1.1 202 Accepted" + _JSON
_DUPLICATE = b"HTTP/1.1 200 OK" + _JSON
_GRANTED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
_UNREAD = {
    BodyEnd.LATE: Refused("request_timeout", "the body did not arrive in time"),
    BodyEnd.BROKEN: Refused("body_incomplete", "the body broke off, or its chunks make no sense"),
}


class IngestFace:
    """Answers every request to the ingest listener."""

    def __init__(self, service: IngestService, metrics: Metrics, clock: Clock) -> None:
        self.service = service
        self.unknown = metrics.unknown_source
        self.clock = clock
        self._log = SparseLog(log, clock)

    def receive(self, request: Request) -> "IngestExchange":
        """One more request."""
        return IngestExchange(self, request)

    def count_unseen(self, refused: Refused) -> None:
        """Count and log what was refused before it was a request: the listener's limits."""
        self.count(self.unknown, refused, None)
        self.unknown.answered(refused.status, 0.0, 0)

    def greeted(self, source: str, status: int, peer: str | None) -> None:
        """One line for each handshake that was answered: that is when a provider begins."""
        fields = {"source": source, "status": status, "peer": peer}
        self._log.write(logging.INFO, "handshake.answered", (source, "handshake"), fields)

    def count(self, metrics: SourceMetrics, refused: Refused, peer: str | None) -> None:
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
        if refused.why is not None:
            fields["why"] = refused.why
        key = (metrics.name, refused.code)
        self._log.write(logging.WARNING, "request.rejected", key, fields)


class IngestExchange:
    """One request, from its head to its counted answer; see connection.Exchange."""

    __slots__ = ("_began", "_commitment", "_entrance", "_face", "_received", "_request", "_size")

    def __init__(self, face: IngestFace, request: Request) -> None:
        self._face = face
        self._request = request
        self._began = face.clock.monotonic()
        self._entrance: Entrance | None = None
        self._commitment: Commitment | None = None
        self._received: Received | None = None
        self._size = 0

    def judge(self) -> Answer | Limits:
        """Path, method, limits, then what the service judges by the headers."""
        request, service = self._request, self._face.service
        entrance = service.entrance(request.target) or service.entrance(request.path)
        if entrance is None:
            return self._refuse(Refused("not_found", "no source has this path"))
        self._entrance = entrance
        if request.method not in entrance.methods:
            wrong = f"send events by POST, not {request.method}"
            allowed = ", ".join(sorted(entrance.methods))
            return self._refuse(Refused("method_not_allowed", wrong), {"Allow": allowed})
        if request.method == "OPTIONS" and entrance.source.webhook_origins:
            return self._grant(entrance)
        headers, most = request.headers, entrance.max_body
        length = headers.get("Content-Length")
        if length is not None and int(length) > most:
            return self._refuse(_too_large(most))
        if "Content-Encoding" in headers or "Transfer-Encoding" in headers:
            refused = _encoded(headers)
            if refused is not None:
                answer = self._refuse(refused)
                answer.keep_alive = "Transfer-Encoding" not in headers  # nobody knows its end
                return answer
        if entrance.whole:
            self._received = entrance.received(request.method, request.query, headers)
        in_query = entrance.source.format is Format.CLOUDEVENTS
        tokens = request.access_tokens if in_query else ()
        refused = service.admit(entrance, headers, request.peer, self._received, tokens)
        if refused is None:
            return most, entrance.snapshot.config.listen.ingest.body_timeout
        return self._refuse(refused)

    def _grant(self, entrance: Entrance) -> Answer:
        """The answer to a sender who asks whether it may send."""
        granted = self._face.service.grant(entrance, self._request.headers, self._request.peer)
        if isinstance(granted, Refused):
            return self._refuse(granted)
        seconds = self._face.clock.monotonic() - self._began
        entrance.metrics.answered(200, seconds, 0)
        self._face.greeted(entrance.source.name, 200, self._peer())
        said = "".join([f"{name}: {value}\r\n" for name, value in granted.headers.items()])
        return Answer(200, _GRANTED + said.encode(), b"")

    def take(self, body: bytes | BodyEnd, told: Callable[[], None]) -> Answer | None:
        """What is wrong with the body; None: its events are on their way to the disk."""
        entrance = self._entrance
        assert entrance is not None  # noqa: S101 - the request was admitted
        if isinstance(body, BodyEnd):
            answer = self._refuse(_UNREAD.get(body) or _too_large(entrance.max_body))
            answer.keep_alive = False
            return answer
        self._size = len(body)
        headers, received = self._request.headers, self._received
        taken = self._face.service.accept(entrance, headers, body, received)
        if isinstance(taken, Commitment):
            self._commitment = taken
            taken.told = told
            return None
        return self._answer(entrance, taken)

    def conclude(self) -> Answer:
        """The disk has answered."""
        entrance, commitment = self._entrance, self._commitment
        assert entrance is not None and commitment is not None  # noqa: S101, PT018 - it was asked
        return self._answer(entrance, commitment.answer)

    def _answer(
        self, entrance: Entrance, answered: PutAnswer | Batch | Greeting | Refused
    ) -> Answer:
        match answered:
            case Stored():
                answer = _single(202, _ACCEPTED, answered.event_id, answered.deliveries, b"false}")
            case Duplicate():
                answer = _single(200, _DUPLICATE, answered.event_id, answered.deliveries, b"true}")
            case Batch():
                answer = self._batch(entrance, answered)
            case Greeting():
                answer = greeting(answered)
                self._face.greeted(entrance.source.name, answer.status, self._peer())
            case Refused():
                return self._refuse(answered)
        if isinstance(answered, Stored | Duplicate) and entrance.source.answer != _USUAL:
            answer = fixed(entrance.source.answer, answer)
        seconds = self._face.clock.monotonic() - self._began
        entrance.metrics.answered(answer.status, seconds, self._size)
        return answer

    def _refuse(self, refused: Refused, headers: Mapping[str, str] | None = None) -> Answer:
        face = self._face
        if refused.code == "unauthorized" and self._entrance is not None:
            headers = {"WWW-Authenticate": challenge(self._entrance.source.auth)}
        metrics = face.unknown if self._entrance is None else self._entrance.metrics
        face.count(metrics, refused, self._peer())
        metrics.answered(refused.status, face.clock.monotonic() - self._began, self._size)
        return problem(refused, headers)

    def _peer(self) -> str | None:
        """The client's address for the log; None on a UNIX socket."""
        found = self._face.service.client(self._request.headers, self._request.peer)
        if isinstance(found, Elsewhere):
            return None if found is Elsewhere.UNIX else found.value
        return str(found)

    def _batch(self, entrance: Entrance, batch: Batch) -> Answer:
        """202 if any event is stored, now or before, or there was none; else 422.

        Results in order, as of singles.
        """
        accepted = sum(isinstance(line, Stored) for line in batch.results)
        duplicates = sum(isinstance(line, Duplicate) for line in batch.results)
        rejected = [line for line in batch.results if isinstance(line, Refused)]
        peer = self._peer() if rejected else None
        for line in rejected:
            self._face.count(entrance.metrics, line, peer)
        members = {
            "accepted": accepted,
            "duplicates": duplicates,
            "rejected": len(rejected),
            "results": [_shown(line) for line in batch.results],
        }
        if accepted or duplicates or not batch.results:
            body = json.dumps(members).encode()
            return Answer(202, b"%b%d\r\n" % (_ACCEPTED, len(body)), body)
        return problem(Refused("batch_rejected", "the results say why, one by one"), None, members)


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
