"""The verbs: plain integers, closed label sets."""

import pytest

from hookpost.core.gate import HeldBy
from hookpost.core.model import DeadReason, Result
from hookpost.core.refusals import REFUSALS
from hookpost.metrics import REJECTIONS, EndpointMetrics, SourceMetrics
from hookpost.metrics.series import Histogram


def test_a_value_on_a_bound_belongs_to_the_bucket_below_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.count == 5
    assert histogram.mean == 1.5


def test_the_mean_of_nothing_is_unknown() -> None:
    assert Histogram((1.0,)).mean is None


def test_every_status_that_ingest_may_answer_has_a_series() -> None:
    source = SourceMetrics("billing")
    for refusal in REFUSALS.values():
        source.answered(refusal.status, 0.001, 0)
    assert sum(source.codes.values()) == len(REFUSALS)


def test_every_reason_for_a_refusal_has_a_series() -> None:
    reasons = {refusal.reason for refusal in REFUSALS.values()} - {None}
    assert reasons <= set(REJECTIONS)


def test_everything_that_the_gate_may_be_held_by_has_a_series() -> None:
    endpoint = EndpointMetrics("crm", lambda: 0.0)
    for held_by in HeldBy:
        endpoint.throttled(held_by)
    assert set(endpoint.throttles.values()) == {1}


@pytest.mark.parametrize("reason", ["", "evt_1", "10.0.0.1"])
def test_a_label_that_is_not_declared_is_refused(reason: str) -> None:
    with pytest.raises(KeyError):
        SourceMetrics("billing").rejected(reason)
    with pytest.raises(KeyError):
        EndpointMetrics("crm", lambda: 0.0).throttled(reason)


def test_the_end_of_a_delivery_is_counted_by_reason_and_dated() -> None:
    endpoint = EndpointMetrics("crm", lambda: 77.0)
    endpoint.attempted(Result.SUCCESS, 0.2)
    endpoint.delivered(1.5)
    endpoint.dead(DeadReason.OVERFLOW, 3)
    assert endpoint.dead_reasons[DeadReason.OVERFLOW] == 3
    assert endpoint.latency_seconds.total == 1.5
    assert endpoint.attempts[Result.SUCCESS] == 1
    assert endpoint.last_finished_at == 77.0
