"""How records are shown."""

from dataclasses import replace
from typing import Any

import pytest
from tests.builders import an_event

from hookpost.core.model import (
    Attempt,
    DeadReason,
    DeliveryId,
    EndpointCounts,
    EndpointId,
    EndpointRecord,
    Outcome,
    Result,
    State,
)
from hookpost.services import views
from hookpost.storage.outbox import Death, DeliveryView

VIEW = DeliveryView(
    id=DeliveryId(4), sequence=9, event_id="evt_1", event_type="invoice.paid", source="billing",
    endpoint="crm", state=State.DEAD, reason=DeadReason.EXHAUSTED, attempts=3,
    accepted_at=1_750_000_000.0, next_at=None, finished_at=1_750_000_009.5,
    last_attempt_at=1_750_000_009.25, last_error="HTTP 503", last_kind="http_5xx", last_status=503,
    replayed_at=None, last_replay_attempt=None, last_replay_error=None,
    death=Death(
        at=1_750_000_009.5, reason=DeadReason.EXHAUSTED, attempted_at=1_750_000_009.25,
        error="HTTP 503", kind="http_5xx", status=503,
    ),
)  # fmt: skip


def test_a_dead_letter_has_the_fields_of_the_contract() -> None:
    shown = views.shown_dead_letter_line(VIEW)
    assert shown["originalEvent"]["eventId"] == "evt_1"
    assert shown["error"] == {
        "message": "HTTP 503", "kind": "http_5xx", "status": 503,
        "timestamp": "2025-06-15T15:06:49.250Z",
    }  # fmt: skip
    assert (shown["attempts"], shown["status"]) == (3, "failed")
    assert shown["addedAt"] == "2025-06-15T15:06:49.500Z"
    assert shown["replayedAt"] is shown["lastReplayAttempt"] is shown["lastReplayError"] is None


def test_a_replayed_one_says_when_and_what_came_of_it() -> None:
    again = replace(
        VIEW, state=State.DELIVERED, reason=None, finished_at=9.0, last_error=None,
        replayed_at=1.0, last_replay_attempt=2.0, last_replay_error="no",
    )  # fmt: skip
    shown = views.shown_dead_letter_line(again)
    assert shown["status"] == "replayed"
    first = views.shown_dead_letter_line(VIEW)
    assert all(shown[key] == first[key] for key in ("reason", "error", "addedAt"))
    assert shown["replayedAt"] == "1970-01-01T00:00:01.000Z"
    assert shown["lastReplayAttempt"] == "1970-01-01T00:00:02.000Z"
    assert shown["lastReplayError"] == "no"


def test_one_that_was_never_attempted_has_its_reason_as_error() -> None:
    never = replace(
        VIEW, reason=DeadReason.OVERFLOW, attempts=0, last_error=None, last_kind=None,
        last_status=None, last_attempt_at=None,
    )  # fmt: skip
    error = views.shown_error(never)
    assert error is not None
    assert (error["message"], error["kind"]) == ("never attempted: overflow", "overflow")
    assert error["timestamp"] == "2025-06-15T15:06:49.500Z"


def test_a_delivered_one_has_no_error_although_it_once_failed() -> None:
    assert views.shown_error(replace(VIEW, state=State.DELIVERED)) is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a": 1}', {"data": {"a": 1}}),
        (b"plain", {"data": "plain"}),
        (b"\xff\x00", {"dataBase64": "/wA="}),
        (b"[" * 100_000, {"data": "[" * 100_000}),
    ],
)
def test_a_body_is_shown_as_json_text_or_base64(body: bytes, expected: dict[str, Any]) -> None:
    shown = views.shown_event(an_event(body=body), sequence=1, body=True)
    assert {key: shown[key] for key in expected} == expected
    assert (
        not expected.keys() & views.shown_event(an_event(body=body), sequence=1, body=False).keys()
    )


def test_an_attempt_is_shown_with_its_answer() -> None:
    outcome = Outcome(result=Result.HTTP_5XX, status=500, answer=b"oops", error="HTTP 500")
    attempt = Attempt(number=2, started_at=0.5, duration=0.1234567, outcome=outcome)
    assert views.shown_attempt(attempt) == {
        "number": 2, "startedAt": "1970-01-01T00:00:00.500Z", "duration": 0.123457,
        "result": "http_5xx", "status": 500, "error": "HTTP 500", "answer": "oops",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "state", "paused_by"),
    [
        ({}, "active", []),
        ({"paused_by_file": True, "gone": True}, "paused", ["file", "gone"]),
        ({"paused_by_operator": True}, "paused", ["operator"]),
        ({"removed_at": 1.0, "gone": True}, "removed", ["gone"]),
    ],
)
def test_an_endpoints_state_and_who_paused_it(
    changes: dict[str, Any], state: str, paused_by: list[str]
) -> None:
    counts = EndpointCounts(created=5, pending=3, delivered=2)
    record = EndpointRecord(id=EndpointId(1), name="crm", counts=counts, **changes)
    shown = views.shown_endpoint(record, None, {"inFlight": 1}, now=0.0)
    assert (shown["state"], shown["pausedBy"]) == (state, paused_by)
    waiting = "parked" if state == "removed" else "pending"
    assert (shown[waiting], shown["inFlight"]) == (2, 1)


@pytest.mark.parametrize(
    ("hold_until", "shown"),
    [(None, None), (1_750_000_000.5, "2025-06-15T15:06:40.500Z"), (1_750_000_000.0, None)],
)
def test_a_hold_is_shown_while_it_holds(hold_until: float | None, shown: str | None) -> None:
    record = EndpointRecord(id=EndpointId(1), name="crm", hold_until=hold_until)
    assert views.shown_endpoint(record, None, {}, now=1_750_000_000.0)["holdUntil"] == shown
