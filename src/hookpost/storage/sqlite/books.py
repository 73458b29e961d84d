"""What is counted and remembered of endpoints and sources, as values and as rows."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hookpost.core.model import (
    DeadReason,
    DeliveryId,
    EndpointCounts,
    EndpointId,
    EndpointRecord,
    Event,
    OnRemove,
)

CREATED, REPLAYED, DELIVERED, DEAD, CANCELLED, PENDING, DEAD_LETTERS = range(7)
"""Places of an endpoint's counters, in a Book's `counts` and in a Tally."""

COUNTERS = tuple(EndpointCounts.__dataclass_fields__)
"""The counters' names, in the order of their places."""

ACCEPTED, DUPLICATES, CONFLICTING, UNROUTED, LAST = range(5)
"""Places of a source's counters; the last is a time."""

_FLAGS = ("paused_by_file", "paused_by_operator", "gone")

Fresh = tuple[EndpointId, DeliveryId, int, float, Event, int | None]
"""A delivery just put: endpoint, delivery id, sequence, round_started, event, key."""


@dataclass(slots=True)
class Book:
    """One endpoint: its record as last committed (counts apart), and its counters."""

    record: EndpointRecord
    max_pending: int
    counts: list[int] = field(default_factory=lambda: [0] * 7)
    _shown: EndpointRecord | None = None

    def shown(self) -> EndpointRecord:
        """The record with its counts."""
        if self._shown is None:
            counts = EndpointCounts(**dict(zip(COUNTERS, self.counts, strict=True)))
            self._shown = replace(self.record, counts=counts)
        return self._shown

    def count(self, deltas: Iterable[int]) -> None:
        """Move the counters."""
        self.counts = [a + b for a, b in zip(self.counts, deltas, strict=True)]
        self._shown = None

    def revise(self, record: EndpointRecord, max_pending: int) -> None:
        """Replace all that is not a counter."""
        self.record, self.max_pending, self._shown = record, max_pending, None


@dataclass(slots=True)
class Tally:
    """What a transaction changes beyond its rows: counters, and what the windows must know.

    `let_go` are deliveries that are blocked no longer: (endpoint, next_at, id).
    """

    endpoints: dict[int, list[int]] = field(default_factory=dict)
    sources: dict[str, list[float]] = field(default_factory=dict)
    fresh: list[Fresh] = field(default_factory=list)
    let_go: list[tuple[int, float, int]] = field(default_factory=list)
    died: dict[tuple[int, DeadReason], int] = field(default_factory=dict)  # as they were put
    own: dict[tuple[int, DeadReason], int] = field(default_factory=dict)  # of our own events
    blocked: dict[int, int] = field(default_factory=dict)  # behind others of their lines

    def endpoint(self, endpoint: int) -> list[int]:
        """The deltas of an endpoint's counters, to be changed in place."""
        deltas = self.endpoints.get(endpoint)
        if deltas is None:
            deltas = self.endpoints[endpoint] = [0] * 7
        return deltas

    def source(self, source: str) -> list[float]:
        """The deltas of a source's counters, to be changed in place."""
        deltas = self.sources.get(source)
        if deltas is None:
            deltas = self.sources[source] = [0, 0, 0, 0, 0.0]
        return deltas

    def add(self, other: "Tally") -> None:
        """Take over what a part of the transaction changed."""
        for endpoint, deltas in other.endpoints.items():
            mine = self.endpoint(endpoint)
            mine[:] = [a + b for a, b in zip(mine, deltas, strict=True)]
        for source, moved in other.sources.items():
            sums = self.source(source)
            latest = max(sums[LAST], moved[LAST])
            sums[:] = [a + b for a, b in zip(sums, moved, strict=True)]
            sums[LAST] = latest
        self.fresh += other.fresh
        self.let_go += other.let_go
        for endpoint, count in other.blocked.items():
            self.blocked[endpoint] = self.blocked.get(endpoint, 0) + count
        for death, count in other.died.items():
            self.died[death] = self.died.get(death, 0) + count
        for death, count in other.own.items():
            self.own[death] = self.own.get(death, 0) + count


def book_of(row: sqlite3.Row) -> Book:
    """A row of `read_endpoints` as a Book."""
    values = dict(row)
    counts = [values.pop(name) for name in COUNTERS]
    max_pending = values.pop("max_pending")
    values.update({flag: bool(values[flag]) for flag in _FLAGS})
    modes = json.loads(values["payload_modes"] or "[]")
    values["payload_modes"] = tuple((since, mode) for since, mode in modes)
    values["on_remove"] = OnRemove(values["on_remove"])
    values["id"] = EndpointId(values["id"])
    return Book(EndpointRecord(**values), max_pending, counts)


def row_of(record: EndpointRecord, max_pending: int) -> Mapping[str, Any]:
    """The parameters of `insert_endpoint` and `update_endpoint`."""
    values = asdict(record)
    del values["counts"], values["fresh"]
    return {
        **values,
        "on_remove": record.on_remove.value,
        "max_pending": max_pending,
        "payload_modes": json.dumps(record.payload_modes),
    }
