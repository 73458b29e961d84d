"""Order: what lines cost, against the same deliveries in any order."""

from bench import WARM_UP
from bench.bed import Bed
from bench.figures import Figure, Table, interleaved
from bench.gateway import Gateway, Receiving
from bench.speed import run_through

LINES = 1000
TYPES = tuple(f"bench.line.{number}" for number in range(LINES))
LEAST = 0.6  # of the rate without order
ORDERINGS = {"none": "none", "lines": "{key: type}", "fifo": "fifo"}


def ordering(bed: Bed, table: Table) -> None:
    """End to end, and from a backlog, with a thousand lines, with one, and without."""
    gateways = {name: _gateway(bed, text) for name, text in ORDERINGS.items()}
    count, few = bed.scale.end_to_end, bed.scale.end_to_end // 10
    settled = dict.fromkeys(gateways, 0)

    def run(name: str, events: int) -> float:
        settled[name] += events
        return run_through(bed, gateways[name], events, settled[name] - events, TYPES)

    def drained(name: str, events: int) -> float:
        gateway = gateways[name]
        gateway.pause("sink")
        bed.publish(gateway.port, events, types=TYPES)
        bed.receiver.ask(5.0, do="reset")
        gateway.resume("sink")
        rate: float = bed.arrived(events)["rate"]
        settled[name] += events
        gateway.settled(settled[name])
        return rate

    def measure() -> dict[str, float]:
        amounts = {name: few if name == "fifo" else count for name in gateways}
        return {
            **{name: run(name, amount) for name, amount in amounts.items()},
            **{f"{name}, drained": drained(name, amount) for name, amount in amounts.items()},
        }

    for gateway in gateways.values():
        gateway.start()
    try:
        for name in gateways:
            run(name, few if name == "fifo" else WARM_UP)
        rounds = interleaved(bed.scale.rounds, bed.bare_handler, measure)
    finally:
        for gateway in gateways.values():
            gateway.stop()
            bed.discard(gateway)
    for name, what in (("lines", f"{LINES:,} keys"), ("fifo", "one line (fifo)")):
        for suffix, how in (("", "end to end"), (", drained", "drain")):
            table.add(
                Figure(
                    name=f"ordered, {what}: {how}",
                    unit="deliveries/s",
                    rounds=rounds.of(name + suffix),
                    limit_name="without order",
                    limits=rounds.of("none" + suffix),
                    ratios=rounds.ratio(name + suffix, "none" + suffix),
                    least=LEAST if name == "lines" else None,
                    taken_in=rounds,
                )
            )


def _gateway(bed: Bed, text: str) -> Gateway:
    sink = Receiving(name="sink", event_type="bench.line.*", path="/sink", ordering=text)
    return bed.gateway([sink])
