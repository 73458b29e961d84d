"""What became of claimed deliveries, written: the successful ones many at a time."""

from collections.abc import Sequence
from typing import Any

from hookpost.core.errors import OutboxError
from hookpost.core.model import ANSWER_KEPT, Attempt, Result, Settlement, State
from hookpost.storage.sqlite.books import CANCELLED, DEAD, DEAD_LETTERS, DELIVERED, PENDING, Tally
from hookpost.storage.sqlite.lines import Line, let_go
from hookpost.storage.sqlite.store import Store

Owned = tuple[Settlement, bool]
"""A settlement, and whether the delivery was ours when it was handed in."""

KEPT = 100  # attempts recorded for one delivery

STATES = {State.PENDING: 0, State.DELIVERED: 1, State.DEAD: 2, State.CANCELLED: 3}
"""The stored form of a state."""


_DELIVERED, _PENDING = State.DELIVERED, State.PENDING
_RESULTS = {result: result.value for result in Result}  # `value` costs as much as the whole row


class _NotAllOurs(OutboxError):
    """Some delivery was pending no longer: find out which, one by one."""


def settle_all(store: Store, settlements: Sequence[Owned], tally: Tally) -> list[bool]:
    """Write all settlements, inside the running transaction; which of them applied.

    Any exception leaves the transaction half written: roll back, undo `tally`, and call
    `settle_one` for each.
    """
    delivered: list[int] = []
    others: list[tuple[Any, ...]] = []
    left: list[Line] = []
    attempts = _Attempts()
    latest = 0.0
    for settlement, ours in settlements:
        if not ours:
            _record_stray(store, settlement)
            continue
        delivery, attempt = settlement.delivery, settlement.attempt
        if settlement.settled_at > latest:
            latest = settlement.settled_at
        if delivery.key is not None and settlement.transition.state is not _PENDING:
            left.append((delivery.endpoint, delivery.key))
        if attempt is not None:
            attempts.add(delivery.id, attempt)
        if settlement.transition.state is _DELIVERED and attempt is not None:
            delivered.append(delivery.id)
            deltas = tally.endpoints.get(delivery.endpoint) or tally.endpoint(delivery.endpoint)
            deltas[DELIVERED] += 1
            deltas[PENDING] -= 1
        else:
            others.append(_row(settlement))
            _count(settlement, tally)
    changed = store.run_chunks("settle_delivered", delivered, before=(latest,))
    if others:
        changed += store.run_each("settle", others)
    if changed != len(delivered) + len(others):
        raise _NotAllOurs("some deliveries were settled before")
    attempts.write(store)
    if left:
        let_go(store, left, latest, tally)
    store.seen_at = max(store.seen_at, latest)
    return [ours for _, ours in settlements]


class _Attempts:
    """Attempts to be recorded: the many that left nothing to be told, and those that did."""

    __slots__ = ("_bare", "_told", "_trims")

    def __init__(self) -> None:
        self._bare: list[Any] = []
        self._told: list[Any] = []
        self._trims: list[tuple[int, int]] = []

    def add(self, delivery: int, attempt: Attempt) -> None:
        """Record it under its own number."""
        outcome, number = attempt.outcome, attempt.number
        if outcome.answer or outcome.error or outcome.retry_after is not None:
            self._told += _attempt_row(delivery, number, attempt)
        else:
            self._bare += (
                delivery, number, attempt.started_at, attempt.duration,
                _RESULTS[outcome.result], outcome.status,
            )  # fmt: skip
        if number > KEPT:
            self._trims.append((delivery, number - KEPT))

    def write(self, store: Store) -> None:
        """Insert them."""
        store.run_chunks("put_bare_attempt", self._bare, width=6)
        store.run_chunks("put_attempt", self._told, width=9)
        if self._trims:
            store.run_each("trim_attempts", self._trims)


def settle_one(
    store: Store, settlement: Settlement, tally: Tally, *, ours: bool, record: bool = True
) -> bool:
    """The careful form: whether it applied; its attempt is recorded in any case.

    Without `record` no attempt is: for one that cannot be written.
    """
    if not ours or store.run("settle", _row(settlement)).rowcount == 0:
        if record:
            _record_stray(store, settlement)
        return False
    _count(settlement, tally)
    delivery, attempt = settlement.delivery, settlement.attempt
    if delivery.key is not None and settlement.transition.state is not _PENDING:
        let_go(store, [(delivery.endpoint, delivery.key)], settlement.settled_at, tally)
    if attempt is not None and record:
        row = _attempt_row(delivery.id, attempt.number, attempt)
        store.run_chunks("put_attempt", row, width=9)
        store.run("trim_attempts", (delivery.id, attempt.number - KEPT))
    return True


def _count(settlement: Settlement, tally: Tally) -> None:
    deltas = tally.endpoint(settlement.delivery.endpoint)
    match settlement.transition.state:
        case State.DELIVERED:
            deltas[DELIVERED] += 1
        case State.DEAD:
            deltas[DEAD] += 1
            deltas[DEAD_LETTERS] += 1
        case State.CANCELLED:
            deltas[CANCELLED] += 1
        case _:
            return
    deltas[PENDING] -= 1


def _row(settlement: Settlement) -> tuple[Any, ...]:
    """The parameters of `settle`."""
    delivery, transition, attempt = (
        settlement.delivery,
        settlement.transition,
        settlement.attempt,
    )
    pending = transition.state is State.PENDING
    return (
        STATES[transition.state],
        None if transition.reason is None else transition.reason.value,
        delivery.attempts if attempt is None else attempt.number,
        delivery.round_attempts + (attempt is not None and transition.counted),
        delivery.round_started,
        settlement.settled_at + transition.delay if pending else None,
        None if pending else settlement.settled_at,
        delivery.id,
    )


def _attempt_row(delivery: int, number: int, attempt: Attempt) -> tuple[Any, ...]:
    outcome = attempt.outcome
    return (
        delivery,
        number,
        attempt.started_at,
        attempt.duration,
        _RESULTS[outcome.result],
        outcome.status,
        outcome.answer[:ANSWER_KEPT] or None,
        # a stranger's bytes may be in it: a lone surrogate cannot be stored
        outcome.error.encode("utf-8", "backslashreplace").decode() if outcome.error else None,
        outcome.retry_after,
    )


def _record_stray(store: Store, settlement: Settlement) -> None:
    """Record an attempt that settles nothing, under the next free number."""
    attempt, delivery = settlement.attempt, settlement.delivery.id
    if attempt is None:
        return
    row = store.run("next_attempt_number", (delivery,)).fetchone()
    if row is None:  # purged meanwhile: nothing is left to record it with
        return
    store.run_chunks("put_attempt", _attempt_row(delivery, row[0], attempt), width=9)
    store.run("count_attempt", (row[0], delivery))
    store.run("trim_attempts", (delivery, row[0] - KEPT))
