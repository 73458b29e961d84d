"""`Metrics`: the one object that is injected, and its text form."""

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from hookpost import __version__
from hookpost.clock import Clock
from hookpost.core.expression import Mishap
from hookpost.core.model import EndpointRecord
from hookpost.core.patterns import RESERVED
from hookpost.core.secrets import Secret
from hookpost.metrics import families
from hookpost.metrics.readings import Readings
from hookpost.metrics.series import (
    LAG_SECONDS,
    PAYLOAD_CODES,
    PURGES,
    RELOADS,
    STORAGE_OPERATIONS,
    STORAGE_SECONDS,
    UNKNOWN_SOURCE,
    EndpointMetrics,
    Histogram,
    SourceMetrics,
    zeros,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Every series of the gateway.

    Counters are never reset while the process lives, whatever is reloaded. `readings` is filled
    in by the daemon; `configure` says which names exist.
    """

    def __init__(self, clock: Clock) -> None:
        self.readings = Readings()
        self.unknown_source = SourceMetrics(UNKNOWN_SOURCE)
        self.loop_lag = Histogram(LAG_SECONDS)
        self.storage_seconds = {name: Histogram(STORAGE_SECONDS) for name in STORAGE_OPERATIONS}
        self.storage_failures = zeros(STORAGE_OPERATIONS)
        self.purges = zeros(PURGES)
        self.reloads = zeros(RELOADS)
        self.payload_codes = zeros(PAYLOAD_CODES)
        self.reload_successful = False
        self.reload_success_at = 0.0
        self.config_hash = ""
        self.items = zeros(("source", "endpoint", "subscription", "secret"))
        self.build = {"version": __version__, "python_version": platform.python_version()}
        self._clock = clock
        self._sources: dict[str, SourceMetrics] = {}
        self._endpoints: dict[str, EndpointMetrics] = {}
        self._source_names: tuple[str, ...] = ()
        self._endpoint_names: tuple[str, ...] = ()
        self._subscription_names: tuple[str, ...] = ()
        self._expression_errors: dict[str, dict[Mishap, int]] = {}
        self._secrets: Mapping[str, Secret] = {}
        self._registry = CollectorRegistry()
        self._registry.register(_Gateway(self))
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    # -- who exists ----------------------------------------------------------------------------

    def configure(
        self,
        *,
        sources: Iterable[str],
        endpoints: Iterable[str],
        secrets: Mapping[str, Secret],
        subscriptions: Iterable[str] = (),
    ) -> None:
        """Say which names are configured: each gets all its series, at 0 unless it counted before.

        A name that left the configuration is not shown any more, except an endpoint that still
        owns deliveries; it goes on from its old counts if it returns. The gateway's own source is
        always shown.
        """
        configured = frozenset(sources)
        self._source_names = tuple(sorted({*configured, RESERVED}))
        self._endpoint_names = tuple(sorted(endpoints))
        self._subscription_names = tuple(sorted(subscriptions))
        self._secrets = dict(secrets)
        for subscription in self._subscription_names:
            self._expression_errors.setdefault(subscription, zeros(Mishap))
        for source in self._source_names:
            self.source(source)
        for endpoint in self._endpoint_names:
            self.endpoint(endpoint)
        self.items = {
            "source": len(configured),
            "endpoint": len(self._endpoint_names),
            "subscription": len(self._subscription_names),
            "secret": len(self._secrets),
        }

    def source(self, name: str) -> SourceMetrics:
        """The verbs of one source; the same object for the whole life of the process."""
        known = self._sources.get(name)
        if known is None:
            known = self._sources[name] = SourceMetrics(name)
        return known

    def endpoint(self, name: str) -> EndpointMetrics:
        """The verbs of one endpoint; the same object for the whole life of the process."""
        known = self._endpoints.get(name)
        if known is None:
            known = self._endpoints[name] = EndpointMetrics(name, self._clock.now)
        return known

    # -- verbs of the whole process ------------------------------------------------------------

    def expression_error(self, subscription: str, mishap: Mishap) -> None:
        """A configured subscription's filter did not decide, or its transform made nothing."""
        self._expression_errors[subscription][mishap] += 1

    def storage(self, operation: str, seconds: float) -> None:
        """One storage operation, out of STORAGE_OPERATIONS, took `seconds`."""
        self.storage_seconds[operation].observe(seconds)

    def storage_error(self, operation: str) -> None:
        """One storage operation, out of STORAGE_OPERATIONS, failed."""
        self.storage_failures[operation] += 1

    def purged(self, kind: str, cause: str, n: int = 1) -> None:
        """Retention deleted `n` rows of a kind, because of a cause; the pair is one of PURGES."""
        self.purges[kind, cause] += n

    def payload_asked(self, status: int) -> None:
        """A link to a payload was followed, and answered with `status`, out of PAYLOAD_CODES."""
        self.payload_codes[status] += 1

    def loaded(self, config_hash: str, at: float) -> None:
        """A configuration came into force at UNIX seconds `at`: at start, or by a reload."""
        self.config_hash = config_hash
        self.reload_successful = True
        self.reload_success_at = at

    def reloaded(self, result: str, config_hash: str, at: float) -> None:
        """A reload ended with `result`, out of RELOADS; `config_hash` is that of the files read."""
        self.reloads[result] += 1
        if result in ("applied", "unchanged"):
            self.loaded(config_hash, at)
        else:
            self.reload_successful = False

    # -- what is shown -------------------------------------------------------------------------

    def shown_sources(self) -> Sequence[SourceMetrics]:
        """The configured sources, by name, and the one that stands for requests to none."""
        return [*(self._sources[name] for name in self._source_names), self.unknown_source]

    def shown_endpoints(self, records: Iterable[EndpointRecord]) -> Sequence[EndpointMetrics]:
        """The configured endpoints and those that still own deliveries, by name."""
        names = {*self._endpoint_names, *(record.name for record in records)}
        return [self.endpoint(name) for name in sorted(names)]

    def shown_expression_errors(self) -> Iterator[tuple[str, Mishap, int]]:
        """Of the configured subscriptions, by name."""
        for name in self._subscription_names:
            for mishap, count in self._expression_errors[name].items():
                yield name, mishap, count

    def shown_secrets(self) -> Sequence[Secret]:
        """The configured secrets that end some day, by name."""
        ending = (each for each in self._secrets.values() if each.not_after is not None)
        return sorted(ending, key=lambda each: each.name)

    def now(self) -> float:
        """UNIX seconds, as stored times are read."""
        return self._clock.now()

    def render(self) -> bytes:
        """The whole exposition, in Prometheus' text format (`CONTENT_TYPE`)."""
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """The exposition family by family.

        All values are read before the first chunk is given; turning samples into text is what
        takes long, so a caller on the event loop may let others run between two chunks.
        """
        return map(_text, list(self._registry.collect()))


class _Gateway(Collector):
    """The gateway's own families, as prometheus_client asks for them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Every family with its present samples."""
        return families.collect(self._metrics)

    def describe(self) -> list[Metric]:
        """Nothing: names are fixed, and asking must not scrape."""
        return []


class _Single(Collector):
    """One family on its own."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> list[Metric]:
        """The family."""
        return [self._family]


def _text(family: Metric) -> bytes:
    return generate_latest(_Single(family))
