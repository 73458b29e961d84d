"""One family of samples each, as prometheus_client wants it built."""

from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from hookpost.metrics.series import Histogram

PREFIX = "hookpost_"

Sample = tuple[Sequence[str], float]


def counter(name: str, help_text: str, labels: list[str], samples: Iterable[Sample]) -> Metric:
    """A counter's family; `name` without the prefix, label values in the order of `labels`."""
    family = CounterMetricFamily(PREFIX + name, help_text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def gauge(name: str, help_text: str, labels: list[str], samples: Iterable[Sample]) -> Metric:
    """A gauge's family; a boolean counts as 1 or 0."""
    family = GaugeMetricFamily(PREFIX + name, help_text, labels=labels)
    for values, value in samples:
        family.add_metric(values, float(value))
    return family


def histogram(
    name: str, help_text: str, labels: list[str], samples: Iterable[tuple[list[str], Histogram]]
) -> Metric:
    """A histogram's family: cumulative buckets, count and sum."""
    family = HistogramMetricFamily(PREFIX + name, help_text, labels=labels)
    for values, observed in samples:
        running = accumulate(observed.counts)
        bounds = [*map(floatToGoString, observed.bounds), "+Inf"]
        buckets = list(zip(bounds, running, strict=True))
        family.add_metric(values, buckets, observed.total)
    return family
