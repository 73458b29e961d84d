"""Errors as RFC 9457 has them."""

import json

import pytest

from hookpost.core.refusals import REFUSALS, Refused
from hookpost.web.problem import problem


@pytest.mark.parametrize("code", REFUSALS)
def test_every_refusal_renders_as_a_problem(code: str) -> None:
    answer = problem(Refused(code, "because"))

    assert answer.head.startswith(b"HTTP/1.1 %d " % REFUSALS[code].status)
    assert b"Content-Type: application/problem+json\r\n" in answer.head
    assert b"Content-Length: %d\r\n" % len(answer.body) in answer.head
    assert json.loads(answer.body) == {
        "title": REFUSALS[code].title,
        "status": REFUSALS[code].status,
        "code": code,
        "detail": "because",
    }


def test_a_retry_is_told_in_whole_seconds_and_never_as_zero() -> None:
    assert b"Retry-After: 1\r\n" in problem(Refused("rate_limited", "", 0.01)).head
    assert b"Retry-After: 3\r\n" in problem(Refused("rate_limited", "", 2.1)).head
    assert b"Retry-After" not in problem(Refused("malformed", "")).head


def test_headers_and_members_are_added() -> None:
    answer = problem(Refused("malformed", ""), {"Allow": "POST"}, {"results": [1]})

    assert b"Allow: POST\r\n" in answer.head
    assert json.loads(answer.body)["results"] == [1]
