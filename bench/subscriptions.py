"""Subscriptions with filters: what an event costs where 1, 10 and 100 of them want its type."""

from statistics import median

from bench import WARM_UP
from bench.bed import EVENT_TYPE, Bed
from bench.figures import Figure, Table, interleaved
from bench.gateway import Gateway, Receiving

COUNTS = (1, 10, 100)
LEAST = {10: 4.0, 100: 15.0}
"""How many times cheaper an event must be than as many times the cost with one subscription."""


def subscriptions(bed: Bed, table: Table) -> None:
    """Durable ingest with as many different filters on one type, of which the last is true."""
    paused = (Receiving(name="sink", event_type=EVENT_TYPE, path="/sink", paused=True),)
    gateways = {count: bed.gateway(paused, filters=count) for count in (0, *COUNTS)}
    requests = bed.scale.ingest // 2

    def measure() -> dict[str, float]:
        return {f"{count}": _cpu(bed, gateway, requests) for count, gateway in gateways.items()}

    for gateway in gateways.values():
        gateway.start()
    try:
        for gateway in gateways.values():
            bed.publish(gateway.port, WARM_UP)
        rounds = interleaved(bed.scale.rounds, bed.bare_handler, measure)
    finally:
        for gateway in gateways.values():
            gateway.stop()
            bed.discard(gateway)
    plain = rounds.of("0")
    for count in COUNTS:
        taken = rounds.of(f"{count}")
        each = (median(taken) - median(plain)) / count
        limits = [count * value for value in rounds.of("1")]
        table.add(
            Figure(
                name=f"{count} subscriptions with filters: CPU" if count > 1 else _ONE,
                unit="µs/event",
                rounds=taken,
                limit_name=f"{count} times one" if count > 1 else "without filters",
                limits=limits if count > 1 else plain,
                ratios=[
                    limit / value
                    for limit, value in zip(limits if count > 1 else plain, taken, strict=True)
                ],
                least=LEAST.get(count),
                note=f"{each:.2g} µs a filter",
                taken_in=rounds,
            )
        )


_ONE = "1 subscription with a filter: CPU"


def _cpu(bed: Bed, gateway: Gateway, count: int) -> float:
    """µs of the gateway's CPU for one event."""
    used = gateway.cpu()
    bed.publish(gateway.port, count)
    return (gateway.cpu() - used) / count * 1e6
