"""One batch = one transaction, on the writer's thread: all that waits, or each on its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from hookpost.core.errors import GatewayError, StorageFull, StorageUnavailable
from hookpost.core.model import PutAnswer
from hookpost.storage.sqlite.books import Tally
from hookpost.storage.sqlite.faults import Fault, fault, translated
from hookpost.storage.sqlite.puts import Entry, put_entries
from hookpost.storage.sqlite.settlements import Owned, settle_all, settle_one
from hookpost.storage.sqlite.store import Store

Step = Callable[[Store, frozenset[int], Tally], Any]
"""A piece of a transaction: the store, the ids in flight, what it must count → its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What the loop hands over. `groups` are puts that are stored whole or not at all."""

    entries: Sequence[Entry] = ()
    groups: Sequence[Sequence[Entry]] = ()
    settlements: Sequence[Owned] = ()
    steps: Sequence[Step] = ()
    in_flight: frozenset[int] = frozenset()


@dataclass(slots=True, kw_only=True)
class Done:
    """What came of a batch, each list in the batch's order.

    A settlement that answers None was not stored and must be handed in again. `failed` says that
    the outbox must never be used again, `full` that something found no room on the disk, `short`
    that events find none until some is made.
    """

    puts: Sequence[PutAnswer | GatewayError] = ()
    groups: Sequence[Sequence[PutAnswer] | GatewayError] = ()
    settled: Sequence[bool | None] = ()
    steps: Sequence[Any] = ()
    tally: Tally = field(default_factory=Tally)
    failed: StorageUnavailable | None = None
    full: bool = False
    short: bool = False
    seconds: float = 0.0


def transact(store: Store, batch: Batch) -> Done:
    """Carry out a batch; never raises."""
    store.quiet = not (batch.entries or batch.groups or batch.settlements)
    try:
        done = _admitted(store, batch)
    except Exception as error:  # making room found the disk broken
        return _fatal(batch, error)
    if store.room.short and done.failed is None:
        try:
            store.room.regain()
        except Exception as error:  # of what is committed nothing is taken back
            done.failed = beyond_repair(error)
    done.short = store.room.short
    return done


def _admitted(store: Store, batch: Batch) -> Done:
    """Puts only while the disk has room beside the ballast; the rest while it has any."""
    refusal: Exception | None = None
    if batch.entries or batch.groups:
        bodies = [entry[0].weight for group in (batch.entries, *batch.groups) for entry in group]
        refusal = store.room.refusal(sum(bodies), len(bodies))
    if refusal is not None or store.room.short:
        return _without_puts(store, batch, refusal)
    try:
        return _together(store, batch)
    except Exception as error:
        return _apart(store, batch, error)


def _together(store: Store, batch: Batch) -> Done:
    """The ordinary way: few statements. Raises whatever went wrong, rolled back."""
    tally = Tally()
    numbers = store.sequence, store.delivery
    store.begin()
    try:
        entries = [*batch.entries, *(entry for group in batch.groups for entry in group)]
        answers = put_entries(store, entries, tally) if entries else []
        settled = settle_all(store, batch.settlements, tally) if batch.settlements else []
        steps = _steps(store, batch, tally)
        store.commit(tally, removing=bool(batch.steps))
    except Exception:
        store.sequence, store.delivery = numbers
        store.rollback()
        raise
    groups: list[Sequence[PutAnswer]] = []
    at = len(batch.entries)
    for group in batch.groups:
        groups.append(answers[at : at + len(group)])
        at += len(group)
    puts = answers[: len(batch.entries)]
    return Done(puts=puts, groups=groups, settled=settled, steps=steps, tally=tally)


def _apart(store: Store, batch: Batch, error: Exception) -> Done:
    """After an error: blame the right one, and store what can be stored."""
    match fault(error):
        case Fault.FULL:
            store.room.make()
            return _without_puts(store, batch, error)
        case Fault.BUSY:
            return _refused(batch, error)
        case Fault.FATAL:
            return _fatal(batch, error)
        case Fault.ROW:
            try:
                return _one_by_one(store, batch)
            except Exception as second:
                if fault(second) is Fault.ROW:  # the transaction itself, not a row of it
                    return _refused(batch, second)
                return _apart(store, batch, second)


def _one_by_one(store: Store, batch: Batch) -> Done:
    """Each row in a savepoint of its own: a bad one sinks nobody."""
    tally = Tally()
    store.begin()
    try:
        puts = [
            _alone(store, tally, f"event {entry[0].id!r}", partial(_put_one, store, entry))
            for entry in batch.entries
        ]
        groups = [
            _alone(store, tally, "the batch", partial(put_entries, store, group))
            for group in batch.groups
        ]
        settled = [_settled(store, tally, owned) for owned in batch.settlements]
        steps = _steps(store, batch, tally)
        store.commit(tally, removing=bool(batch.steps))
    except Exception:
        store.rollback()
        raise
    return Done(puts=puts, groups=groups, settled=settled, steps=steps, tally=tally)


def _put_one(store: Store, entry: Entry, tally: Tally) -> PutAnswer:
    return put_entries(store, [entry], tally)[0]


def _settled(store: Store, tally: Tally, owned: Owned) -> bool:
    """A 2xx must not be lost because its record cannot be written: then without the record."""
    settlement, ours = owned
    write = partial(settle_one, store, settlement, ours=ours)
    answer = _alone(store, tally, "a settlement", write)
    if isinstance(answer, GatewayError):
        answer = _alone(store, tally, "a settlement", partial(write, record=False))
    return answer is True


def _steps(store: Store, batch: Batch, tally: Tally) -> list[Any]:
    return [
        _alone(store, tally, "the change", partial(step, store, batch.in_flight))
        for step in batch.steps
    ]


def _alone(store: Store, tally: Tally, what: str, write: Callable[[Tally], Any]) -> Any:
    """The answer of `write`, or the error that it alone failed with; other errors are raised."""
    own = Tally()
    store.connection.execute("SAVEPOINT alone")
    try:
        answer = write(own)
    except Exception as error:
        if fault(error) is not Fault.ROW:
            raise
        store.connection.execute("ROLLBACK TO alone")
        store.connection.execute("RELEASE alone")
        return translated(error, what)
    store.connection.execute("RELEASE alone")
    tally.add(own)
    return answer


def _without_puts(store: Store, batch: Batch, error: Exception | None) -> Done:
    """No room: events are refused with `error`; the rest may use what the ballast left."""
    done = Done()
    if batch.settlements or batch.steps:
        done = _sparing(store, replace(batch, entries=(), groups=()))
    if error is not None:
        done.puts = [translated(error, f"event {event.id!r}") for event, _ in batch.entries]
        done.groups = [translated(error, "the batch") for _ in batch.groups]
        done.full = True
    return done


def _sparing(store: Store, rest: Batch) -> Done:
    """Settlements first in line; each part in a transaction of its own where not both fit."""
    if store.room.spares_settlements():
        done = _or_refused(store, rest)
        if not done.full:
            return done
        store.room.make()
        settled = _or_refused(store, replace(rest, steps=()))
    else:
        none = StorageFull("the room that is left is kept for retention")
        settled = _refused(replace(rest, steps=()), none)
        settled.full = True
    steps = replace(rest, settlements=())
    done = _or_refused(store, steps) if settled.failed is None else _refused(steps, settled.failed)
    done.failed = done.failed or settled.failed
    done.settled = settled.settled
    done.tally.add(settled.tally)
    done.full = done.full or settled.full
    return done


def _or_refused(store: Store, batch: Batch) -> Done:
    """All of it, or row by row; where the disk says no, none."""
    try:
        return _together(store, batch)
    except Exception as error:
        first = error
    try:
        if fault(first) is Fault.ROW:
            return _one_by_one(store, batch)
    except Exception as error:
        first = error
    return _fatal(batch, first) if fault(first) is Fault.FATAL else _refused(batch, first)


def _refused(batch: Batch, error: Exception) -> Done:
    """Nothing of the batch is stored; settlements are to be handed in again."""
    return Done(
        puts=[translated(error, f"event {event.id!r}") for event, _ in batch.entries],
        groups=[translated(error, "the batch") for _ in batch.groups],
        settled=[None] * len(batch.settlements),
        steps=[translated(error, "the change") for _ in batch.steps],
        full=fault(error) is Fault.FULL,
    )


def _fatal(batch: Batch, error: Exception) -> Done:
    """After a failed sync nobody knows what is on disk: never commit again."""
    done = _refused(batch, error)
    done.failed = beyond_repair(error)
    return done


def unserved(batch: Batch, failure: StorageUnavailable) -> Done:
    """What comes of a batch after the outbox has failed for good."""
    done = _refused(batch, failure)
    done.failed = failure
    return done


def beyond_repair(error: Exception) -> StorageUnavailable:
    """What ends the outbox: after a failed sync nobody knows what is on disk."""
    return StorageUnavailable(
        f"the outbox cannot commit any more ({error}); check the disk, then restart"
    )
