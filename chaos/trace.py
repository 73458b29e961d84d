"""What a traced run shows: the log is synced between a request's arrival and its 2xx."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from chaos import Violation
from chaos.shim import Kind, Record

NAMED = re.compile(rb'"eventId": ?"(evt-\d{6})"')
STORED = re.compile(rb"evt-\d{6}")
FRAME_HEAD = 24  # bytes; 4 to 8 tell, where they are not zero, that the frame ends a transaction
LOG = "-wal"


@dataclass
class Trace:
    """How far each event has come: arrived, written to the log, committed there, synced."""

    arrived: set[bytes] = field(default_factory=set)
    written: set[bytes] = field(default_factory=set)
    committed: set[bytes] = field(default_factory=set)
    synced: set[bytes] = field(default_factory=set)
    answered: set[bytes] = field(default_factory=set)
    _held: dict[int, bytes] = field(default_factory=dict)
    _ends: bool = False

    def take(self, record: Record) -> None:
        """One more record; raises Violation for an answer or an attempt that came too early."""
        match record.kind:
            case Kind.RECEIVED:
                whole = self._held.get(record.fd, b"") + record.data
                self.arrived.update(NAMED.findall(whole))
                self._held[record.fd] = whole[-40:]
            case Kind.WRITE if record.name == LOG:
                self._log(record.data)
            case Kind.SYNC if record.name == LOG:
                self.synced |= self.committed
                self.committed.clear()
            case Kind.SENT:
                self._sent(record.data)

    def _log(self, data: bytes) -> None:
        if len(data) == FRAME_HEAD:
            self._ends = any(data[4:8])
            return
        fresh = self.arrived - self.synced - self.committed
        self.written |= fresh.intersection(STORED.findall(data))
        if self._ends:  # the transaction's last page
            self.committed |= self.written
            self.written.clear()

    def _sent(self, data: bytes) -> None:
        for id in NAMED.findall(data):
            if id not in self.synced:
                what = "answered" if data.startswith((b"HTTP/", b"{")) else "attempted"
                raise Violation(f"{id.decode()}: {what} before the log was synced")
            self.answered.add(id)


def proven(records: Iterable[Record]) -> set[str]:
    """The events that were told of only after their sync; raises Violation for any other."""
    trace = Trace()
    for record in records:
        trace.take(record)
    return {id.decode() for id in trace.answered & trace.arrived}
