"""The face of payloads: a link is followed by GET, on the listener that events come in by.

A link is a credential: neither its path nor its query is ever logged.
"""

import logging
from collections.abc import Callable
from hashlib import blake2b
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from hookpost.clock import Clock
from hookpost.core.model import Event
from hookpost.core.payload_links import PREFIX, Link
from hookpost.core.refusals import Refused
from hookpost.services.payloads import Payloads
from hookpost.services.sparse_log import SparseLog
from hookpost.web.answer import Answer
from hookpost.web.problem import problem
from hookpost.web.request import BodyEnd, Limits, Request

log = logging.getLogger("hookpost.payloads")

SECONDS = 10.0  # that a body may take to come, of which nothing is taken
_METHODS = ("GET", "HEAD")
_PRIVATE = (
    b"Cache-Control: private, no-store\r\nX-Content-Type-Options: nosniff\r\n"
    b"Content-Disposition: attachment\r\nContent-Security-Policy: sandbox\r\n"
)


class Counts(Protocol):
    """Who counts the requests."""

    def payload_asked(self, status: int) -> None:
        """A link was followed, and answered with this status."""
        ...


def is_payload(request: Request) -> bool:
    """Whether the request is to a payload and not to a source."""
    target = request.target
    return target.startswith(PREFIX) or (
        not target.startswith("/") and request.path.startswith(PREFIX)
    )


class PayloadFace:
    """Answers every request to a payload."""

    def __init__(self, payloads: Payloads, counts: Counts, clock: Clock) -> None:
        self.payloads = payloads
        self._counts = counts
        self._log = SparseLog(log, clock)

    def receive(self, request: Request) -> "PayloadExchange":
        """One more request."""
        return PayloadExchange(self, request)

    def refuse(self, refused: Refused, request: Request) -> Answer:
        """The answer, counted and sparsely logged: without a word of the request."""
        fields = {"code": refused.code, "status": refused.status, "peer": request.peer}
        self._log.write(logging.WARNING, "payload.refused", refused.code, fields)
        self._counts.payload_asked(refused.status)
        allow = {"Allow": ", ".join(_METHODS)} if refused.status == 405 else {}
        return problem(refused, {"Cache-Control": "no-store", **allow})

    def give(self, event: Event, request: Request) -> Answer:
        """The data as it was accepted, or a 304 to who has it."""
        tag = f'"{blake2b(event.body, digest_size=16).hexdigest()}"'
        known = request.headers.get("If-None-Match", "")
        same = known.strip() == "*" or tag in [one.strip() for one in known.split(",")]
        status = 304 if same else 200
        self._counts.payload_asked(status)
        head = [b"HTTP/1.1 304 Not Modified\r\n" if same else b"HTTP/1.1 200 OK\r\n"]
        head += [f"ETag: {tag}\r\n".encode(), _PRIVATE]
        if not same:
            kind = event.content_type or "application/octet-stream"
            head += [b"Content-Type: ", kind.encode("utf-8", "surrogateescape"), b"\r\n"]
            head.append(b"Content-Length: %d\r\n" % len(event.body))
        return Answer(status, b"".join(head), b"" if same else event.body)


class PayloadExchange:
    """One request, from its head to its counted answer; see connection.Exchange."""

    __slots__ = ("_face", "_found", "_link", "_request")

    def __init__(self, face: PayloadFace, request: Request) -> None:
        self._face = face
        self._request = request
        self._link: Link | None = None
        self._found: Event | Refused | None = None

    def judge(self) -> Answer | Limits:
        """The method, then the signature: before it is judged nothing is read."""
        request, face = self._request, self._face
        if request.method not in _METHODS:
            wrong = Refused("payload_method", f"read it by GET, not {request.method}")
            return face.refuse(wrong, request)
        link = face.payloads.find(_event_id(request), _signature(request))
        if isinstance(link, Refused):
            return face.refuse(link, request)
        self._link = link
        return 0, SECONDS

    def take(self, body: bytes | BodyEnd, told: Callable[[], None]) -> Answer | None:
        """Nothing is taken: the payload is on its way from the disk."""
        link = self._link
        if isinstance(body, BodyEnd) or link is None:
            refused = Refused("too_large", "a payload is asked for without a body")
            answer = self._face.refuse(refused, self._request)
            answer.keep_alive = False
            return answer

        def read(found: Event | Refused) -> None:
            self._found = found
            told()

        self._face.payloads.read(link, read)
        return None

    def conclude(self) -> Answer:
        """The disk has answered."""
        found = self._found
        if isinstance(found, Event):
            return self._face.give(found, self._request)
        assert found is not None  # noqa: S101 - it was told
        return self._face.refuse(found, self._request)


def _event_id(request: Request) -> str:
    """The event id in the path, decoded once."""
    target = request.target
    path = target.partition("?")[0] if target.startswith("/") else urlsplit(target).path
    return unquote(path.removeprefix(PREFIX), errors="surrogateescape")


def _signature(request: Request) -> str:
    """The one signature in the query; "" where there is none, or several."""
    try:
        found = parse_qs(request.query, max_num_fields=8).get("sig", [])
    except ValueError:
        return ""
    return found[0] if len(found) == 1 else ""
