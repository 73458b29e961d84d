"""Errors as RFC 9457 `application/problem+json`, with the stable codes of `core.refusals`."""

import json
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from hookpost.core.refusals import REFUSALS, Refused
from hookpost.web.answer import Answer

_STATUS_LINES = {
    row.status: f"HTTP/1.1 {row.status} {HTTPStatus(row.status).phrase}\r\n"
    for row in REFUSALS.values()
}


def document(refused: Refused) -> dict[str, Any]:
    """The problem's members; its type is the default `about:blank`, `code` tells them apart."""
    members: dict[str, Any] = {
        "title": refused.title,
        "status": refused.status,
        "code": refused.code,
        "detail": refused.detail,
    }
    if refused.violations:
        members["violations"] = [one._asdict() for one in refused.violations]
    return members


def problem(
    refused: Refused,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> Answer:
    """The answer to a refused request, with extra headers and extension members."""
    body = json.dumps({**document(refused), **(members or {})}).encode()
    lines = [
        _STATUS_LINES[refused.status],
        "Content-Type: application/problem+json\r\n",
        f"Content-Length: {len(body)}\r\n",
    ]
    if refused.retry_after is not None:
        lines.append(f"Retry-After: {max(1, math.ceil(refused.retry_after))}\r\n")
    lines += [f"{name}: {value}\r\n" for name, value in (headers or {}).items()]
    return Answer(refused.status, "".join(lines).encode(), body)
