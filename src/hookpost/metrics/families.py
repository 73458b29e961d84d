"""Series and readings → families of samples, in the order of the reference."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.core import Metric

from hookpost.core.model import EndpointCounts, EndpointRecord, SourceRecord
from hookpost.metrics.builders import counter, gauge, histogram
from hookpost.metrics.readings import EndpointState, PendingAge
from hookpost.metrics.series import BREAKER_STATES, OUTCOMES, EndpointMetrics, SourceMetrics

if TYPE_CHECKING:
    from hookpost.metrics.registry import Metrics

NO_COUNTS = EndpointCounts()


@dataclass(frozen=True, slots=True)
class _View:
    """One endpoint as a scrape sees it: counters, row, live state and age."""

    series: EndpointMetrics
    record: EndpointRecord | None
    state: EndpointState | None
    age: PendingAge | None

    @property
    def counts(self) -> EndpointCounts:
        """As committed with the rows they count: they survive a restart and always add up."""
        return self.record.counts if self.record is not None else NO_COUNTS

    @property
    def in_flight(self) -> int:
        return self.state.in_flight if self.state is not None else 0

    @property
    def waiting(self) -> int:
        """Rows in state pending that no attempt holds; the row's own count includes both."""
        if self.record is None:
            return 0
        return max(0, self.record.counts.pending - self.in_flight)

    @property
    def parked(self) -> bool:
        return self.record is not None and self.record.removed_at is not None


def collect(metrics: "Metrics") -> Iterator[Metric]:
    """All of the gateway's families, each value read once, now."""
    sources = metrics.shown_sources()
    known = metrics.readings.sources()
    records = [known.get(each.name) or SourceRecord(each.name) for each in sources[:-1]]
    yield from _ingest(sources)
    yield from _events(records)
    views = _views(metrics)
    yield from _deliveries(views)
    yield from _standing(views, metrics.now())
    yield counter(
        "expression_errors_total",
        "Filters that did not decide and transforms that made nothing, by why.",
        ["subscription", "kind"],
        (([name, mishap.value], n) for name, mishap, n in metrics.shown_expression_errors()),
    )
    yield counter(
        "payload_requests_total",
        "Links of `payload: thin` that were followed, by status.",
        ["code"],
        (([str(code)], n) for code, n in metrics.payload_codes.items()),
    )
    yield from _storage(metrics)
    yield from _config(metrics)
    yield gauge(
        "source_last_event_timestamp_seconds",
        "When the source's last event was committed, UNIX seconds; 0: never.",
        ["source"],
        (([each.name], each.last_event_at or 0.0) for each in records),
    )
    yield histogram(
        "event_loop_lag_seconds",
        "How late the event loop woke up, sampled four times a second.",
        [],
        [([], metrics.loop_lag)],
    )
    yield gauge(
        "ready", "1 while new events are taken, else 0.", [], [([], metrics.readings.ready())]
    )
    yield gauge(
        "build_info",
        "1, with what is running as labels.",
        list(metrics.build),
        [(list(metrics.build.values()), 1)],
    )


def _views(metrics: "Metrics") -> list[_View]:
    records = {record.name: record for record in metrics.readings.endpoints()}
    states = metrics.readings.states()
    ages = metrics.readings.ages()
    views = []
    for series in metrics.shown_endpoints(records.values()):
        record = records.get(series.name)
        age = ages.get(record.id) if record is not None else None
        views.append(_View(series, record, states.get(series.name), age))
    return views


def _ingest(sources: Sequence[SourceMetrics]) -> Iterator[Metric]:
    yield counter(
        "ingest_requests_total",
        "Requests answered, by status; source _unknown is every path that no source has.",
        ["source", "code"],
        (([s.name, str(code)], n) for s in sources for code, n in s.codes.items()),
    )
    yield histogram(
        "ingest_request_duration_seconds",
        "From a request's head to its answer.",
        ["source"],
        (([s.name], s.request_seconds) for s in sources),
    )
    yield histogram(
        "ingest_body_bytes",
        "Bodies of requests, in bytes.",
        ["source"],
        (([s.name], s.body_bytes) for s in sources),
    )
    yield counter(
        "events_rejected_total",
        "Events refused, by reason.",
        ["source", "reason"],
        (([s.name, reason], n) for s in sources for reason, n in s.rejections.items()),
    )


def _events(records: Sequence[SourceRecord]) -> Iterator[Metric]:
    """As committed with the events that they count."""
    plain: tuple[tuple[str, str, Callable[[SourceRecord], int]], ...] = (
        ("accepted", "Events committed.", lambda r: r.accepted),
        ("duplicate", "Events recognised as seen before.", lambda r: r.duplicates),
        ("conflicting", "Duplicates with other bytes or type.", lambda r: r.conflicting),
        ("unrouted", "Accepted events owed to no endpoint.", lambda r: r.unrouted),
    )
    for name, help_text, value in plain:
        samples = [([record.name], value(record)) for record in records]
        yield counter(f"events_{name}_total", help_text, ["source"], samples)


def _deliveries(views: Sequence[_View]) -> Iterator[Metric]:
    series = [view.series for view in views]
    yield counter(
        "deliveries_created_total",
        "Deliveries put.",
        ["endpoint"],
        (([v.series.name], v.counts.created) for v in views),
    )
    yield counter(
        "deliveries_finished_total",
        "Deliveries that ended, by how.",
        ["endpoint", "outcome"],
        (([v.series.name, o], getattr(v.counts, o)) for v in views for o in OUTCOMES),
    )
    yield counter(
        "deliveries_replayed_total",
        "Finished deliveries made pending again.",
        ["endpoint"],
        (([v.series.name], v.counts.replayed) for v in views),
    )
    yield counter(
        "delivery_attempts_total",
        "Attempts, by what they came to.",
        ["endpoint", "result"],
        (([e.name, str(r)], n) for e in series for r, n in e.attempts.items()),
    )
    yield histogram(
        "delivery_attempt_duration_seconds",
        "One attempt: name look-up to the answer's end.",
        ["endpoint"],
        (([e.name], e.attempt_seconds) for e in series),
    )
    yield histogram(
        "delivery_latency_seconds",
        "From an event's acceptance to its delivery.",
        ["endpoint"],
        (([e.name], e.latency_seconds) for e in series),
    )
    yield counter(
        "dead_letters_total",
        "Deliveries that became dead letters, by reason.",
        ["endpoint", "reason"],
        (([e.name, str(r)], n) for e in series for r, n in e.dead_reasons.items()),
    )
    yield counter(
        "deliveries_throttled_total",
        "Times that a due delivery was held back, by what (order: each that joined a line).",
        ["endpoint", "by"],
        (([e.name, by], n) for e in series for by, n in e.throttles.items()),
    )


def _standing(views: Sequence[_View], now: float) -> Iterator[Metric]:
    plain: tuple[tuple[str, str, Callable[[_View], float]], ...] = (
        (
            "deliveries_pending",
            "Deliveries waiting for an attempt.",
            lambda v: 0 if v.parked else v.waiting,
        ),
        ("deliveries_in_flight", "Attempts under way.", lambda v: v.in_flight),
        (
            "deliveries_parked",
            "Pending deliveries of an endpoint that left the configuration.",
            lambda v: v.waiting if v.parked else 0,
        ),
        (
            "dead_letters",
            "Deliveries now in state dead.",
            lambda v: v.counts.dead_letters,
        ),
        (
            "oldest_pending_delivery_age_seconds",
            "Age of the oldest pending delivery, since its event's acceptance; 0: none.",
            lambda v: max(0.0, now - v.age.accepted_at) if v.age and v.counts.pending else 0.0,
        ),
        (
            "delivery_overdue_seconds",
            "How long the most overdue delivery has been due; 0: none.",
            lambda v: max(0.0, now - v.age.due_at) if v.age and v.counts.pending else 0.0,
        ),
        (
            "endpoint_paused",
            "1 while the file, an operator or a 410 pauses the endpoint.",
            lambda v: bool(v.record and v.record.paused),
        ),
    )
    for name, help_text, value in plain:
        samples = [([view.series.name], value(view)) for view in views]
        yield gauge(name, help_text, ["endpoint"], samples)
    yield gauge(
        "circuit_breaker_state",
        "1 for the state that the endpoint's circuit breaker is in.",
        ["endpoint", "state"],
        (
            ([view.series.name, state], (view.state.breaker if view.state else "closed") == state)
            for view in views
            for state in BREAKER_STATES
        ),
    )


def _storage(metrics: "Metrics") -> Iterator[Metric]:
    yield histogram(
        "storage_operation_duration_seconds",
        "Operations of the outbox, as their callers wait for them.",
        ["operation"],
        (([name], seconds) for name, seconds in metrics.storage_seconds.items()),
    )
    yield counter(
        "storage_errors_total",
        "Operations of the outbox that failed.",
        ["operation"],
        (([name], n) for name, n in metrics.storage_failures.items()),
    )
    sizes = metrics.readings.sizes()
    yield gauge(
        "storage_size_bytes",
        "Bytes on disk.",
        ["file"],
        [(["database"], sizes.database if sizes else 0), (["wal"], sizes.wal if sizes else 0)],
    )
    yield gauge(
        "storage_free_bytes",
        "Bytes that the file system has free.",
        [],
        [([], sizes.free if sizes else 0)],
    )
    yield counter(
        "retention_purged_total",
        "What retention deleted, by kind and cause.",
        ["kind", "cause"],
        (([kind, cause], n) for (kind, cause), n in metrics.purges.items()),
    )


def _config(metrics: "Metrics") -> Iterator[Metric]:
    yield gauge(
        "config_last_reload_successful",
        "1 if the last (re)load of the configuration was applied, else 0.",
        [],
        [([], metrics.reload_successful)],
    )
    yield gauge(
        "config_last_reload_success_timestamp_seconds",
        "When a configuration was last (re)loaded, UNIX seconds.",
        [],
        [([], metrics.reload_success_at)],
    )
    yield counter(
        "config_reloads_total",
        "Reloads, by how they ended.",
        ["result"],
        (([name], n) for name, n in metrics.reloads.items()),
    )
    yield gauge(
        "config_hash",
        "Hash of the configuration in force, as a number: 48 bits, exact in a float.",
        [],
        [([], int(metrics.config_hash or "0", 16))],
    )
    yield gauge(
        "config_items",
        "What is configured, by kind.",
        ["kind"],
        (([kind], n) for kind, n in metrics.items.items()),
    )
    yield gauge(
        "secret_not_after_timestamp_seconds",
        "When the secret ends, UNIX seconds; only secrets with not_after.",
        ["secret"],
        (([secret.name], secret.not_after or 0.0) for secret in metrics.shown_secrets()),
    )
