"""The exposition: which series exist, with which labels, and what they say."""

import re
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.builders import FakeClock

from hookpost.core.model import (
    DeadReason,
    EndpointCounts,
    EndpointId,
    EndpointRecord,
    Result,
    SourceRecord,
)
from hookpost.core.secrets import Secret
from hookpost.metrics import Metrics

NAMES = {
    "expression_errors_total",
    "payload_requests_total",
    "ingest_requests_total", "ingest_request_duration_seconds", "ingest_body_bytes",
    "events_accepted_total", "events_duplicate_total", "events_conflicting_total",
    "events_unrouted_total", "events_rejected_total", "deliveries_created_total",
    "deliveries_finished_total", "deliveries_replayed_total", "delivery_attempts_total",
    "delivery_attempt_duration_seconds", "delivery_latency_seconds", "deliveries_pending",
    "deliveries_in_flight", "deliveries_parked", "dead_letters", "dead_letters_total",
    "oldest_pending_delivery_age_seconds", "delivery_overdue_seconds", "circuit_breaker_state",
    "deliveries_throttled_total", "endpoint_paused", "storage_operation_duration_seconds",
    "storage_errors_total", "storage_size_bytes", "storage_free_bytes", "retention_purged_total",
    "config_last_reload_successful", "config_last_reload_success_timestamp_seconds",
    "config_reloads_total", "config_hash", "config_items", "secret_not_after_timestamp_seconds",
    "source_last_event_timestamp_seconds", "event_loop_lag_seconds", "ready", "build_info",
}  # fmt: skip


@dataclass
class State:
    in_flight: int = 0
    breaker: str = "closed"
    held_by: str | None = None


@dataclass
class Age:
    accepted_at: float
    due_at: float


@dataclass
class DiskSizes:
    database: int = 4096
    wal: int = 100
    free: int = 10**9


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def metrics(clock: FakeClock) -> Metrics:
    made = Metrics(clock)
    secret = Secret(name="crm-old", value=b"canary", not_after=2_000_000_000.0)
    lasting = Secret(name="crm-new", value=b"canary")
    made.configure(
        sources=["billing"],
        endpoints=["crm", "audit"],
        secrets={"crm-old": secret, "crm-new": lasting},
        subscriptions=["a", "b", "c"],
    )
    return made


def samples(metrics: Metrics) -> dict[str, float]:
    """Every sample of the gateway, `name{label="value"}` without the prefix → value."""
    found = {}
    for line in metrics.render().decode().splitlines():
        if line.startswith("hookpost_"):
            name, value = line.removeprefix("hookpost_").rsplit(" ", 1)
            found[name] = float(value)
    return found


def imbalances(metrics: Metrics) -> dict[str, float]:
    """created + replayed - finished - pending - in flight - parked of each endpoint: all 0."""
    shown = samples(metrics)
    totals: dict[str, float] = {}
    signs = {
        "deliveries_created_total": 1,
        "deliveries_replayed_total": 1,
        "deliveries_finished_total": -1,
        "deliveries_pending": -1,
        "deliveries_in_flight": -1,
        "deliveries_parked": -1,
    }
    for sample, value in shown.items():
        name, _, labels = sample.partition("{")
        endpoint = re.search(r'endpoint="([^"]+)"', labels)
        if endpoint and name in signs:
            totals[endpoint[1]] = totals.get(endpoint[1], 0.0) + signs[name] * value
    return totals


def a_record(name: str = "crm", number: int = 1, **overrides: object) -> EndpointRecord:
    return EndpointRecord(id=EndpointId(number), name=name, **overrides)


def test_every_metric_of_the_reference_is_exposed_and_no_other(metrics: Metrics) -> None:
    families = text_string_to_metric_families(metrics.render().decode())
    shown = set()
    for family in families:
        if family.name.startswith("hookpost_"):
            suffix = "_total" if family.type == "counter" else ""
            shown.add(family.name.removeprefix("hookpost_") + suffix)
    # the parser reads `dead_letters` and `dead_letters_total` as one name apart from the suffix
    assert shown == NAMES


def test_the_exposition_of_a_counter_is_exactly_this(metrics: Metrics) -> None:
    metrics.readings.sources = lambda: {"billing": SourceRecord("billing", accepted=1)}
    text = metrics.render().decode()
    assert (
        "# HELP hookpost_events_accepted_total Events committed.\n"
        "# TYPE hookpost_events_accepted_total counter\n"
        'hookpost_events_accepted_total{source="billing"} 1.0\n'
    ) in text


def test_the_exposition_of_a_histogram_is_cumulative(metrics: Metrics) -> None:
    for seconds in (0.0005, 0.001, 0.3, 9.0):
        metrics.source("billing").answered(202, seconds, 500)
    shown = samples(metrics)
    name = "ingest_request_duration_seconds"
    assert shown[f'{name}_bucket{{le="0.001",source="billing"}}'] == 2
    assert shown[f'{name}_bucket{{le="0.25",source="billing"}}'] == 2
    assert shown[f'{name}_bucket{{le="0.5",source="billing"}}'] == 3
    assert shown[f'{name}_bucket{{le="+Inf",source="billing"}}'] == 4
    assert shown[f'{name}_count{{source="billing"}}'] == 4
    assert shown[f'{name}_sum{{source="billing"}}'] == pytest.approx(9.3015)


def test_every_series_of_a_configured_name_exists_at_zero(metrics: Metrics) -> None:
    shown = samples(metrics)
    for name in ("crm", "audit"):
        for result in Result:
            assert shown[f'delivery_attempts_total{{endpoint="{name}",result="{result}"}}'] == 0
        for reason in DeadReason:
            assert shown[f'dead_letters_total{{endpoint="{name}",reason="{reason}"}}'] == 0
        for outcome in ("delivered", "dead", "cancelled"):
            key = f'deliveries_finished_total{{endpoint="{name}",outcome="{outcome}"}}'
            assert shown[key] == 0
        assert shown[f'deliveries_pending{{endpoint="{name}"}}'] == 0
    assert shown['ingest_requests_total{code="202",source="billing"}'] == 0
    assert shown['ingest_requests_total{code="404",source="_unknown"}'] == 0
    assert shown['events_rejected_total{reason="stale",source="billing"}'] == 0


def test_a_reload_adds_series_at_zero_and_resets_none(metrics: Metrics) -> None:
    metrics.endpoint("crm").dead(DeadReason.GONE, 5)
    metrics.configure(sources=["billing", "shop"], endpoints=["crm", "new"], secrets={})
    shown = samples(metrics)
    assert shown['dead_letters_total{endpoint="crm",reason="gone"}'] == 5
    assert shown['deliveries_created_total{endpoint="new"}'] == 0
    assert shown['events_accepted_total{source="shop"}'] == 0
    assert shown['config_items{kind="endpoint"}'] == 2
    assert shown['config_items{kind="subscription"}'] == 0


def test_a_removed_endpoint_is_shown_only_while_it_owns_deliveries(metrics: Metrics) -> None:
    metrics.configure(sources=[], endpoints=["crm"], secrets={})
    assert 'deliveries_created_total{endpoint="audit"}' not in samples(metrics)

    owing = a_record("audit", removed_at=1.0, counts=EndpointCounts(created=4, pending=4))
    metrics.readings.endpoints = lambda: [owing]
    shown = samples(metrics)
    assert shown['deliveries_created_total{endpoint="audit"}'] == 4
    assert shown['deliveries_parked{endpoint="audit"}'] == 4
    assert shown['deliveries_pending{endpoint="audit"}'] == 0


def test_an_endpoint_that_returns_goes_on_from_its_old_counts(metrics: Metrics) -> None:
    before = metrics.endpoint("audit")
    before.dead(DeadReason.GONE, 4)
    metrics.configure(sources=[], endpoints=[], secrets={})
    metrics.configure(sources=[], endpoints=["audit"], secrets={})
    assert metrics.endpoint("audit") is before
    assert samples(metrics)['dead_letters_total{endpoint="audit",reason="gone"}'] == 4


def test_pending_does_not_count_what_is_in_flight(metrics: Metrics) -> None:
    counts = EndpointCounts(created=10, pending=10, dead_letters=2)
    metrics.readings.endpoints = lambda: [a_record(counts=counts, gone=True)]
    metrics.readings.states = lambda: {"crm": State(in_flight=4, breaker="half_open")}
    shown = samples(metrics)
    assert shown['deliveries_pending{endpoint="crm"}'] == 6
    assert shown['deliveries_in_flight{endpoint="crm"}'] == 4
    assert shown['dead_letters{endpoint="crm"}'] == 2
    assert shown['endpoint_paused{endpoint="crm"}'] == 1
    states = {s: shown[f'circuit_breaker_state{{endpoint="crm",state="{s}"}}'] for s in STATES}
    assert states == {"closed": 0, "open": 0, "half_open": 1}


STATES = ("closed", "open", "half_open")


def test_the_states_of_all_deliveries_add_up(metrics: Metrics) -> None:
    counts = EndpointCounts(
        created=10, replayed=1, delivered=1, dead=2, cancelled=1, pending=7, dead_letters=1
    )
    metrics.readings.endpoints = lambda: [a_record(counts=counts)]
    metrics.readings.states = lambda: {"crm": State(in_flight=3)}
    assert imbalances(metrics) == {"crm": 0, "audit": 0}
    shown = samples(metrics)
    assert shown['deliveries_finished_total{endpoint="crm",outcome="dead"}'] == 2
    assert shown['deliveries_replayed_total{endpoint="crm"}'] == 1


def test_ages_count_from_acceptance_and_from_due_time(metrics: Metrics, clock: FakeClock) -> None:
    owing = EndpointCounts(created=1, pending=1)
    records = [a_record("crm", 1, counts=owing), a_record("audit", 2, counts=owing)]
    metrics.readings.endpoints = lambda: records
    now = clock.now()
    metrics.readings.ages = lambda: {
        EndpointId(1): Age(accepted_at=now - 90, due_at=now - 30),
        EndpointId(2): Age(accepted_at=now - 5, due_at=now + 60),
    }
    shown = samples(metrics)
    assert shown['oldest_pending_delivery_age_seconds{endpoint="crm"}'] == 90
    assert shown['delivery_overdue_seconds{endpoint="crm"}'] == 30
    assert shown['delivery_overdue_seconds{endpoint="audit"}'] == 0

    records[0] = a_record("crm", 1, counts=EndpointCounts(created=1, delivered=1))
    shown = samples(metrics)  # the ages are looked up now and then, the counts are of this moment
    assert shown['oldest_pending_delivery_age_seconds{endpoint="crm"}'] == 0
    assert shown['delivery_overdue_seconds{endpoint="crm"}'] == 0


def test_a_refused_reload_is_told_and_the_hash_in_force_stays(metrics: Metrics) -> None:
    metrics.loaded("0000000000ff", 100.0)
    metrics.reloaded("invalid", "0000000000ff", 200.0)
    shown = samples(metrics)
    assert shown["config_last_reload_successful"] == 0
    assert shown["config_last_reload_success_timestamp_seconds"] == 100
    assert shown["config_hash"] == 255
    assert shown['config_reloads_total{result="invalid"}'] == 1
    metrics.reloaded("applied", "ffffffffffff", 300.0)
    shown = samples(metrics)
    assert shown["config_last_reload_successful"] == 1
    assert shown["config_hash"] == 2**48 - 1
    assert shown["config_last_reload_success_timestamp_seconds"] == 300


def test_only_secrets_that_end_have_a_date_and_no_value_is_shown(metrics: Metrics) -> None:
    shown = samples(metrics)
    dates = {name: value for name, value in shown.items() if name.startswith("secret_")}
    assert dates == {'secret_not_after_timestamp_seconds{secret="crm-old"}': 2_000_000_000}
    assert b"canary" not in metrics.render()


def test_storage_purges_and_sizes_are_told(metrics: Metrics) -> None:
    metrics.storage("commit", 0.003)
    metrics.storage_error("commit")
    metrics.purged("delivered", "age", 7)
    metrics.purged("event", "age", 3)
    metrics.readings.sizes = DiskSizes
    shown = samples(metrics)
    name = "storage_operation_duration_seconds_bucket"
    assert shown[f'{name}{{le="0.0025",operation="commit"}}'] == 0
    assert shown[f'{name}{{le="0.005",operation="commit"}}'] == 1
    assert shown['storage_errors_total{operation="commit"}'] == 1
    assert shown['retention_purged_total{cause="age",kind="delivered"}'] == 7
    assert shown['retention_purged_total{cause="age",kind="event"}'] == 3
    assert shown['storage_size_bytes{file="database"}'] == 4096
    assert shown["storage_free_bytes"] == 10**9


def test_when_a_source_last_sent_is_remembered_over_a_restart(metrics: Metrics) -> None:
    key = 'source_last_event_timestamp_seconds{source="billing"}'
    assert samples(metrics)[key] == 0
    metrics.readings.sources = lambda: {"billing": SourceRecord("billing", last_event_at=123.0)}
    assert samples(metrics)[key] == 123


def test_events_are_counted_by_the_rows_that_were_committed_with_them(metrics: Metrics) -> None:
    metrics.readings.sources = lambda: {"billing": SourceRecord("billing", 9, 3, 1, 2)}
    shown = samples(metrics)
    names = ("accepted", "duplicate", "conflicting", "unrouted")
    assert [shown[f'events_{name}_total{{source="billing"}}'] for name in names] == [9, 3, 1, 2]


def test_readiness_is_read_at_each_scrape(metrics: Metrics) -> None:
    assert samples(metrics)["ready"] == 0
    metrics.readings.ready = lambda: True
    assert samples(metrics)["ready"] == 1


def test_the_process_is_shown_and_creation_times_are_not(metrics: Metrics) -> None:
    text = metrics.render().decode()
    assert "process_resident_memory_bytes" in text
    assert "python_gc_collections_total" in text
    assert "_created" not in text.replace("deliveries_created_total", "")


def test_labels_stay_inside_closed_sets_whatever_is_sent(metrics: Metrics) -> None:
    before = set(samples(metrics))
    metrics.unknown_source.answered(404, 0.001, 10)
    metrics.source("billing").answered(422, 0.001, 10)
    metrics.source("billing").rejected("type")
    assert set(samples(metrics)) == before


def test_the_gateways_own_source_has_its_series_and_is_no_configured_item(
    metrics: Metrics,
) -> None:
    text = metrics.render().decode()
    assert 'hookpost_events_accepted_total{source="hookpost"} 0.0' in text
    assert 'hookpost_config_items{kind="source"} 1.0' in text
