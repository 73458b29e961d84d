"""Answers that a provider insists on: to its handshakes, and to events in a form of its own."""

import json
from http import HTTPStatus

from hookpost.core.handshake import Greeting
from hookpost.core.settings import SuccessAnswer
from hookpost.web.answer import Answer

_TEXT = "text/plain; charset=utf-8"
# What is echoed came from a stranger: no browser may take it for a page.
_PLAINLY = "X-Content-Type-Options: nosniff\r\n"


def greeting(said: Greeting) -> Answer:
    """The answer to a handshake."""
    text = said.body if isinstance(said.body, str) else json.dumps(said.body)
    return _written(said.status, said.content_type, text)


def fixed(wanted: SuccessAnswer, usual: Answer) -> Answer:
    """A success as the source has it: `wanted` where it says something, else the usual."""
    status = usual.status if wanted.status is None else wanted.status
    if wanted.body is not None:
        return _written(status, _TEXT, wanted.body)
    if status == HTTPStatus.NO_CONTENT:
        return _written(status, None, "")
    return _written(status, "application/json", usual.body.decode())


def _written(status: int, content_type: str | None, text: str) -> Answer:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    body = text.encode()
    lines = [f"HTTP/1.1 {status} {phrase}\r\n"]
    if content_type is not None:
        lines += [f"Content-Type: {content_type}\r\n", _PLAINLY]
    if status != HTTPStatus.NO_CONTENT:  # which has no length either (RFC 9110, 8.6)
        lines.append(f"Content-Length: {len(body)}\r\n")
    return Answer(status, "".join(lines).encode(), body)
