"""Requests as providers sign them, each with an identity of its own."""

import hashlib
import hmac
import time

from bench import BODY, BenchError

SECRET = b"bench-provider-secret-0123456789"
PLACE = b"e%011d"  # identities of one width, so that every body has the same length


class GitHubRequests:
    """As GitHub sends: the body is signed, the delivery's id is in a header."""

    def __init__(self, path: str) -> None:
        body = _filled(b'{"action":"opened","text":"%s"}')
        signature = hmac.digest(SECRET, body, hashlib.sha256).hex()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            f"X-GitHub-Event: bench.order\r\nX-Hub-Signature-256: sha256={signature}\r\n"
            f"Content-Length: {len(body)}\r\nX-GitHub-Delivery: "
        )
        self._before = head.encode()
        self._after = b"\r\n\r\n" + body

    def make(self, number: int) -> bytes:
        """The bytes of request `number`."""
        return b"%b%b%b" % (self._before, PLACE % number, self._after)


class ZoomRequests:
    """As Zoom sends: time and body are signed, duplicates are told by four values of the body."""

    def __init__(self, path: str) -> None:
        start = (
            b'{"event":"bench.order","event_ts":1,"payload":{"account_id":"a","object":{"uuid":"'
        )
        whole = _filled(start + PLACE % 0 + b'"}},"text":"%s"}')
        self._before, _, self._after = whole.partition(PLACE % 0)
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(whole)}\r\nx-zm-request-timestamp: "
        ).encode()

    def make(self, number: int) -> bytes:
        """The bytes of request `number`, signed now."""
        body = b"%b%b%b" % (self._before, PLACE % number, self._after)
        now = b"%d" % time.time()
        signature = hmac.digest(SECRET, b"v0:%b:%b" % (now, body), hashlib.sha256).hex()
        return b"%b%b\r\nx-zm-signature: v0=%b\r\n\r\n%b" % (
            self._head,
            now,
            signature.encode(),
            body,
        )


def _filled(form: bytes) -> bytes:
    return form % (b"x" * (BODY - len(form) + 2))


def requests(preset: str, path: str) -> GitHubRequests | ZoomRequests:
    """The requests of a preset at a path."""
    kinds = {"github": GitHubRequests, "zoom": ZoomRequests}
    if preset not in kinds:
        raise BenchError(f"no requests of {preset} are made here; take one of {', '.join(kinds)}")
    return kinds[preset](path)
