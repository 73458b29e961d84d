"""Events that were read: their types and data judged, then routed, then committed together."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from hookpost.clock import Clock
from hookpost.core.event_types import EventTypes
from hookpost.core.fanout import Choice, Owed
from hookpost.core.model import Event, PutAnswer
from hookpost.core.refusals import Refused
from hookpost.services.commit import BUSY, Commit, Commitment, Entry
from hookpost.services.fanout import Fanout
from hookpost.services.snapshot import Snapshot
from hookpost.services.sparse_log import SparseLog
from hookpost.services.validation import INLINE, Judge, Judgement, Read, Validation

log = logging.getLogger("hookpost.ingest")

Line = PutAnswer | Refused


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of each line or entry, in order."""

    results: tuple[Line, ...]


class Taking:
    """The way from events to a commitment, of a source that lists its types."""

    def __init__(self, commit: Commit, fanout: Fanout, clock: Clock) -> None:
        self._commit = commit
        self._fanout = fanout
        self._validation = Validation()
        self._log = SparseLog(log, clock)

    def take(
        self,
        types: EventTypes | None,
        snapshot: Snapshot,
        read: Read,
        *,
        root: str,
        size: int,
        single: bool,
    ) -> Commitment | Batch | Refused:
        """Take the events that are good, of `size` bytes together.

        A Commitment's answer is a Batch or Refused, where it is a `single` event a PutAnswer.
        """
        judgement = Judgement(types, read, root)
        if not judgement.pending:
            return self._store(snapshot, judgement.read, single=single)
        if size <= INLINE:
            return self._store(snapshot, judgement.judge(), single=single)
        if self._validation.full:
            return BUSY
        commitment = self._commit.later()
        then = partial(self._judged, commitment, snapshot, single=single)
        self._validation.submit(judgement.judge, then)
        return commitment

    def _store(
        self, snapshot: Snapshot, read: Read, *, single: bool
    ) -> Commitment | Batch | Refused:
        good = self._good(snapshot, read)
        if not good:
            return _nothing(read, single=single)
        if single:
            return self._commit.one(*good[0])
        return self._commit.many(good, partial(_merged, read))

    def _good(self, snapshot: Snapshot, read: Read) -> list[Entry]:
        """The events with the endpoints that they are owed to."""
        return [
            (event, self._owed(snapshot, event, len(read)))
            for event in read
            if not isinstance(event, Refused)
        ]

    def _owed(self, snapshot: Snapshot, event: Event, events: int) -> Owed:
        owed = snapshot.route(event.source, event.type)
        if isinstance(owed, Choice):
            return self._fanout.choose(snapshot, owed, event, events=events)
        return owed

    def _judged(
        self, commitment: Commitment, snapshot: Snapshot, result: Judge, *, single: bool
    ) -> None:
        """The threads have answered; the publisher may have been, meanwhile."""
        if commitment.done():
            return
        try:
            read = result()
        except Exception as error:  # a mistake of ours, which must not leave anybody waiting
            fields = {"error": type(error).__name__}
            self._log.write(logging.ERROR, "validation.failed", None, fields, failure=error)
            commitment.conclude(Refused("internal_error", "the gateway's log says more"))
            return
        good = self._good(snapshot, read)
        if good:
            self._commit.hand_in(commitment, good, None if single else partial(_merged, read))
        else:
            commitment.conclude(_nothing(read, single=single))


def _nothing(read: Read, *, single: bool) -> Batch | Refused:
    """The answer where no event is good."""
    refused = tuple(one for one in read if isinstance(one, Refused))
    return refused[0] if single else Batch(refused)


def _merged(read: Sequence[Event | Refused], stored: Sequence[PutAnswer]) -> Batch:
    """What became of each line that was read."""
    answers = iter(stored)
    return Batch(tuple(one if isinstance(one, Refused) else next(answers) for one in read))
