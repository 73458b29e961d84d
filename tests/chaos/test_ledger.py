"""The accounts can fail: each kind of mistake, made on purpose, is found."""

import time
from collections.abc import Sequence

import pytest
from chaos.ledger import Ledger, Reception, Row

from chaos import Violation

BODY = b'{"eventId":"evt-1","data":{"n":1}}'


class Way:
    """A way that let everything through at one moment, or nothing at all."""

    def __init__(self, at: float | None) -> None:
        self.at = at

    def passed(self, end: int) -> float | None:
        return self.at


@pytest.fixture
def ledger() -> Ledger:
    """One event, accepted, owed to one endpoint."""
    made = Ledger(timeout=10.0)
    sent = made.send("evt-1", b'{"n":1}')
    made.answered(sent, 202, "evt-1", 1)
    return made


def received(
    ledger: Ledger, status: int | None = 204, *, way: Way | None = None, after: float = 0.0
) -> Reception:
    now = time.monotonic()
    made = Reception(
        endpoint="crm", id="evt-1", attempt=1, digest=b"d", at=now, status=status, way=way
    )
    made.answered = None if status is None else now + after
    ledger.receive(made, BODY)
    return made


def rows(*states: str) -> Sequence[Row]:
    return [Row("evt-1", "crm", state, "gone" if state == "dead" else None) for state in states]


def test_what_was_accepted_and_delivered_is_in_order(ledger: Ledger) -> None:
    received(ledger)
    assert not ledger.reckon(rows("delivered"))


def test_a_forged_id_is_missed(ledger: Ledger) -> None:
    received(ledger)
    ledger.answered(ledger.send("evt-2", b"{}"), 202, "evt-2", 1)
    with pytest.raises(Violation, match="evt-2: accepted, 1 deliveries owed, 0 stored"):
        ledger.reckon(rows("delivered"))


@pytest.mark.parametrize("state", ["pending", "dead", "cancelled"])
def test_an_event_that_ends_otherwise_is_found_unless_the_scenario_wants_it(
    ledger: Ledger, state: str
) -> None:
    with pytest.raises(Violation, match=f"{state} .* at crm, and not delivered"):
        ledger.reckon(rows(state))
    ledger.spared = frozenset({state})
    ledger.reckon(rows(state))


def test_a_delivery_that_no_receiver_took_is_found(ledger: Ledger) -> None:
    received(ledger, 500)
    with pytest.raises(Violation, match=r"delivered .* and not delivered"):
        ledger.reckon(rows("delivered"))


def test_half_an_event_is_found(ledger: Ledger) -> None:
    ledger.sent["evt-1"].owed = 2
    received(ledger)
    with pytest.raises(Violation, match="2 deliveries owed, 1 stored"):
        ledger.reckon(rows("delivered"))


def test_a_purged_row_is_missed_unless_it_was_received_or_counted_as_dead(ledger: Ledger) -> None:
    ledger.purged = True
    with pytest.raises(Violation, match="1 deliveries are neither stored nor received, 0 died"):
        ledger.reckon([])
    ledger.forgiven = 1
    ledger.reckon([])
    ledger.forgiven = 0
    received(ledger)
    ledger.reckon([])


def test_a_repetition_after_a_2xx_is_unexplained(ledger: Ledger) -> None:
    received(ledger)
    received(ledger)
    with pytest.raises(Violation, match="repeated at crm though answered 204"):
        ledger.reckon(rows("delivered"))


def test_a_kill_explains_only_what_was_pending_then(ledger: Ledger) -> None:
    received(ledger)
    ledger.end("killed", rows("delivered"))
    received(ledger)
    with pytest.raises(Violation, match="repeated"):
        ledger.reckon(rows("delivered"))


def test_a_kill_explains_what_was_pending_then(ledger: Ledger) -> None:
    received(ledger)
    ledger.end("killed", rows("pending"))
    received(ledger)
    assert ledger.reckon(rows("delivered")) == {"killed": 1}


@pytest.mark.parametrize(
    ("status", "way", "after", "why"),
    [
        (500, None, 0.0, "refused"),
        (None, None, 0.0, "unanswered"),
        (204, Way(None), 0.0, "cut"),
        (204, None, 9.0, "late"),
        (204, Way(time.monotonic() + 1e6), 0.0, "late"),
    ],
)
def test_what_explains_a_repetition(
    ledger: Ledger, status: int | None, way: Way | None, after: float, why: str
) -> None:
    received(ledger, status, way=way, after=after)
    received(ledger)
    assert ledger.reckon(rows("delivered")) == {why: 1}


def test_bytes_that_change_on_the_way_are_found(ledger: Ledger) -> None:
    made = received(ledger)
    ledger.receive(
        Reception(endpoint="crm", id="evt-1", attempt=2, digest=b"e", at=made.at),
        BODY.replace(b"1}", b"2}"),
    )
    assert ledger.mistakes == [
        "evt-1: crm got other data than sent",
        "evt-1: other bytes on another attempt",
    ]


@pytest.mark.parametrize(
    ("status", "id", "owed", "mistake"),
    [
        (202, "evt-1", 1, "accepted twice"),
        (200, "evt-9", 1, "answered with another id"),
        (200, "evt-1", 2, "owed 1 deliveries, now 2"),
    ],
)
def test_answers_that_contradict_each_other_are_found(
    ledger: Ledger, status: int, id: str, owed: int, mistake: str
) -> None:
    ledger.answered(ledger.sent["evt-1"], status, id, owed)
    assert mistake in ledger.mistakes[0]


def test_a_new_event_cannot_be_a_duplicate_unless_it_was_in_doubt(ledger: Ledger) -> None:
    sent = ledger.send("evt-2", b"{}")
    sent.doubted = True
    ledger.answered(sent, 200, "evt-2", 1)
    ledger.answered(ledger.send("evt-3", b"{}"), 200, "evt-3", 1)
    assert ledger.mistakes == ["evt-3: new, but answered as a duplicate"]


def test_an_event_that_was_refused_or_never_sent_must_not_arrive(ledger: Ledger) -> None:
    ledger.sent["evt-1"].refused = 401
    received(ledger)
    del ledger.sent["evt-1"]
    received(ledger)
    assert ledger.mistakes == [
        "evt-1: received, though refused with 401",
        "evt-1: received, but never sent",
    ]
