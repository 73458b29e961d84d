"""Gateways that break a promise on purpose: the simulation must tell each from the real one.

A mutant is a patch of the product, named after what it does wrong.
"""

import contextlib
import dataclasses
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from tests.simulation.life import SimClock

from hookpost.core import breaker, ratelimit
from hookpost.core.gate import Gate
from hookpost.core.model import Event, State, Stored
from hookpost.core.payload import Letterhead
from hookpost.core.retry import RetryPolicy
from hookpost.core.settle import settle
from hookpost.services import endpoint_row, endpoint_worker
from hookpost.services.dispatcher import Dispatcher
from hookpost.services.reload import Reloader
from hookpost.storage.sqlite import (
    claims,
    group,
    lines,
    puts,
    rows,
    settlements,
    transaction,
    verbs,
    waiting,
)
from hookpost.storage.sqlite.store import Store
from hookpost.storage.sqlite.windows import Window

Mutant = Callable[[], contextlib.AbstractContextManager[Any]]
MUTANTS: dict[str, Mutant] = {}


def mutant(make: Callable[[], Any]) -> Callable[[], Any]:
    """Name a mutant after its function, underscores made blanks."""
    MUTANTS[make.__name__.replace("_", " ")] = make
    return make


def _instead(owner: Any, name: str, make: Callable[[Any], Any]) -> Any:
    """Replace a member by `make(what it was)`."""
    return mock.patch.object(owner, name, make(getattr(owner, name)))


@mutant
def answers_before_the_commit() -> Any:
    def make(put: Any) -> Any:
        def early(self: Any, entry: Any, waiter: Any) -> None:
            put(self, entry, waiter)
            if not waiter.done():
                waiter.set_result(Stored(entry[0].id, 0, len(entry[1])))

        return early

    return _instead(group.GroupCommit, "put", make)


@mutant
def answers_what_the_disk_refused() -> Any:
    def make(tell: Any) -> Any:
        def lie(waiters: Any, answers: Any) -> None:
            for waiter, answer in zip(waiters, answers, strict=True):
                entries = getattr(waiter, "entries", ())
                if isinstance(answer, Exception) and entries and not waiter.done():
                    waiter.set_result(Stored(entries[0][0].id, 0, len(entries[0][1])))
            tell(waiters, answers)

        return lie

    return _instead(waiting, "_tell", make)


@mutant
def forgets_settlements() -> Any:
    def make(original: Any) -> Any:
        def lose(self: Any, owned: Any, observed: Any) -> None:
            if owned[0].delivery.id % 7 == 0:
                observed(owned[0], True)
            else:
                original(self, owned, observed)

        return lose

    return _instead(group.GroupCommit, "settle", make)


@mutant
def settles_a_failure_as_a_success() -> Any:
    def wrong(delivery: Any, outcome: Any, policy: Any, **more: Any) -> Any:
        if outcome.status == 500:
            outcome = dataclasses.replace(outcome, result=type(outcome.result).SUCCESS)
        return settle(delivery, outcome, policy, **more)

    return mock.patch.object(endpoint_worker, "settle", wrong)


@mutant
def refills_buckets_at_a_reload() -> Any:
    return mock.patch.object(ratelimit, "resized", lambda _, __, new, now: ratelimit.full(new, now))


@mutant
def refills_buckets_at_a_restart() -> Any:
    from hookpost.core import gate

    def full(endpoint: Any, _: Any, now: float) -> Any:
        limit = endpoint.rate_limit
        return ratelimit.Bucket(0.0, now) if limit is None else ratelimit.full(limit, now)

    return mock.patch.object(gate, "_first_bucket", full)


@mutant
def loses_parked_rows() -> Any:
    def make(original: Any) -> Any:
        def follow(self: Any, endpoint: int, book: Any) -> None:
            returned = self._windows[endpoint].closed and book.record.removed_at is None
            original(self, endpoint, book)
            if returned:
                self._windows[endpoint].disk_next_at = float("inf")

        return follow

    return _instead(claims.Claims, "follow", make)


@mutant
def forgets_what_was_spilled() -> Any:
    return mock.patch.object(Window, "spill", return_value=None)


@mutant
def misses_what_spills_during_a_refill() -> Any:
    def make(spill: Any) -> Any:
        def missed(self: Any, next_at: float, number: int) -> None:
            if not self.refilling:
                spill(self, next_at, number)

        return missed

    return _instead(Window, "spill", make)


@mutant
def ignores_retry_after() -> Any:
    return mock.patch.object(endpoint_worker, "hold", return_value=None)


@mutant
def releases_twice() -> Any:
    def make(release: Any) -> Any:
        def twice(self: Any, deliveries: Any) -> None:
            release(self, deliveries)
            for one in deliveries:
                size = len(one.event.body) + claims.OVERHEAD
                self._windows[one.endpoint].give_back([(0.0, one.id, size, one)])

        return twice

    return _instead(claims.Claims, "release", make)


@mutant
def forgets_identities() -> Any:
    def identity(event: Event) -> str:
        return f"{event.source}:{event.dedup_key}:{event.accepted_at}"

    return mock.patch.object(puts, "identity", identity)


@mutant
def allows_one_place_too_many() -> Any:
    def make(adopt: Any) -> Any:
        def more(self: Any, endpoint: Any) -> None:
            adopt(self, endpoint)
            self._concurrency += 1

        return more

    return _instead(Gate, "_adopt", make)


@mutant
def never_opens_the_circuit() -> Any:
    return mock.patch.object(breaker, "record", lambda circuit, *_, **__: circuit)


@mutant
def forgets_the_circuit_at_a_restart() -> Any:
    return mock.patch.object(breaker, "load", return_value=breaker.Closed())


@mutant
def keeps_no_hold_over_a_restart() -> Any:
    def make(keep: Any) -> Any:
        def without(self: Any, **changes: Any) -> None:
            changes.pop("hold_until", None)
            if changes:
                keep(self, **changes)

        return without

    return _instead(endpoint_row.EndpointRow, "keep", make)


@mutant
def sends_other_bytes_from_the_disk() -> Any:
    def make(original: Any) -> Any:
        def changed(item: Any, record: Any) -> Any:
            delivery = original(item, record)
            if isinstance(item, sqlite3.Row):
                delivery.event.body += b" "
            return delivery

        return changed

    return mock.patch.object(claims, "delivery_of", make(rows.delivery_of))


@mutant
def signs_with_the_time_of_acceptance() -> Any:
    def make(request: Any) -> Any:
        def stale(self: Any, delivery: Any, _: float) -> Any:
            return request(self, delivery, delivery.event.accepted_at)

        return stale

    return _instead(Letterhead, "request", make)


@mutant
def does_not_wait_between_attempts() -> Any:
    return mock.patch.object(RetryPolicy, "delay", return_value=0.0)


@mutant
def goes_by_the_wall_clock() -> Any:
    return mock.patch.object(SimClock, "now", SimClock.wall)


@mutant
def lets_two_of_a_line_go() -> Any:
    return mock.patch.object(lines.Joining, "waits", return_value=False)


@mutant
def forgets_who_is_next_in_line() -> Any:
    return mock.patch.object(settlements, "let_go", return_value=None)


@mutant
def sends_a_replay_before_those_who_waited() -> Any:
    def make(original: Any) -> Any:
        def first(store: Any, joining: Any, now: float, tally: Any) -> Any:
            rows = original(store, joining, now, tally)
            return [(now, -place, number) for _, place, number in rows]

        return first

    return mock.patch.object(verbs, "at_the_tail", make(lines.at_the_tail))


@mutant
def lets_the_next_go_when_the_head_fails() -> Any:
    def make(original: Any) -> Any:
        def early(store: Any, owned: Any, tally: Any) -> Any:
            answer = original(store, owned, tally)
            for settlement, _ in owned:
                one = settlement.delivery
                if one.key is not None and settlement.transition.state is State.PENDING:
                    free = store.connection.execute(
                        "UPDATE delivery SET next_at = ? WHERE state = 0 AND next_at = 9e999"
                        " AND endpoint = ? AND order_key = ? RETURNING endpoint, next_at, id",
                        (settlement.settled_at, one.endpoint, one.key),
                    )
                    tally.let_go += free.fetchall()[:1]
            return answer

        return early

    return mock.patch.object(transaction, "settle_all", make(transaction.settle_all))


@mutant
def miscounts() -> Any:
    def make(commit: Any) -> Any:
        def drift(self: Any, tally: Any, **more: Any) -> None:
            if self.sequence % 5 == 0:
                tally.endpoints.clear()
            commit(self, tally, **more)

        return drift

    return _instead(Store, "commit", make)


@mutant
def goes_on_while_paused() -> Any:
    paused = property(lambda _: False, lambda *_: None)
    return mock.patch.object(Gate, "paused", paused, create=True)


@mutant
def retires_an_endpoint_twice() -> Any:
    async def retire(self: Any, worker: Any) -> None:
        await worker.finished()
        if worker.gate.removed:
            del self._workers[worker.id]
            await worker.close()

    return mock.patch.object(Dispatcher, "_retire", retire)


@mutant
def forgets_who_is_leaving() -> Any:
    async def retire(self: Any, worker: Any) -> None:
        await worker.finished()
        if worker.gate.removed and self._workers.get(worker.id) is worker:
            del self._workers[worker.id]
            await worker.close()

    return mock.patch.object(Dispatcher, "_retire", retire)


@mutant
def returns_before_it_has_left() -> Any:
    async def retire(self: Any, worker: Any) -> None:
        await worker.finished()
        if worker.gate.removed and self._workers.get(worker.id) is worker:
            del self._workers[worker.id]
            self._leaving[worker] = worker  # where nobody looks who adds one that returns
            await worker.close()
            del self._leaving[worker]

    return mock.patch.object(Dispatcher, "_retire", retire)


@mutant
def applies_a_refused_file() -> Any:
    def make(refused: Any) -> Any:
        def applied(self: Any, old: Any, errors: Any) -> Any:
            self._current.snapshot = dataclasses.replace(self._current.snapshot)
            return refused(self, old, errors)

        return applied

    return _instead(Reloader, "_refused", make)


@contextlib.contextmanager
def mutated(name: str) -> Iterator[None]:
    """Everything that runs inside is this mutant."""
    with MUTANTS[name]():
        yield
