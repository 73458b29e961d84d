"""Ingest, end to end and latency: the three figures that are taken with slow syncs too."""

from statistics import median

from bench import CONNECTIONS, WARM_UP, BenchError
from bench.bed import EVENT_TYPE, Bed
from bench.figures import Figure, Rounds, Table, interleaved, percentile
from bench.gateway import Gateway, Receiving

INGEST_LEAST = 0.75
END_TO_END_LEAST = 0.75
VERIFIED_LEAST = 0.8  # of what a source takes that verifies a bearer and compares nothing
P50_MOST, P99_MOST = 3.0, 10.0  # ms


def ingest(bed: Bed, table: Table) -> None:
    """Durable ingest, one event a request, against a bare handler; nothing is delivered."""
    paused = Receiving(name="sink", event_type=EVENT_TYPE, path="/sink", paused=True)
    gateway = bed.gateway([paused])
    count = bed.scale.ingest
    loads: list[float] = []

    def measure() -> dict[str, float]:
        used = gateway.cpu()
        plain = bed.publish(gateway.port, count)
        cpu = (gateway.cpu() - used) / count * 1e6
        known = bed.publish(gateway.port, count, ids=True)
        loads.append(plain["cpu"])
        return {"rate": plain["rate"], "with_ids": known["rate"], "cpu": cpu}

    with gateway:
        bed.publish(gateway.port, WARM_UP)
        rounds = interleaved(bed.scale.rounds, bed.bare_handler, measure)
    bed.discard(gateway)
    bare = rounds.of("bare")
    table.add(
        Figure(
            name=f"ingest{bed.label}",
            unit="events/s",
            rounds=rounds.of("rate"),
            limit_name="bare handler",
            limits=bare,
            ratios=rounds.ratio("rate", "bare"),
            least=None if bed.slow_us else INGEST_LEAST,
            taken_in=rounds,
        )
    )
    table.add(
        Figure(
            name=f"ingest with event ids{bed.label}",
            unit="events/s",
            rounds=rounds.of("with_ids"),
            limit_name="bare handler",
            limits=bare,
            ratios=rounds.ratio("with_ids", "bare"),
            note="duplicates looked for",
            taken_in=rounds,
        )
    )
    table.add(
        Figure(
            name=f"ingest: gateway CPU{bed.label}",
            unit="µs/event",
            rounds=rounds.of("cpu"),
            note=f"the load generator's own: {median(loads):.0f}",
            taken_in=rounds,
        )
    )
    if bed.slow_us:
        _closed_loop_ceiling(bed, table, rounds)


def _closed_loop_ceiling(bed: Bed, table: Table, rounds: Rounds) -> None:
    """No design answers faster than all connections once a sync and their handling."""
    sync = bed.bare_disk()[0] / 1000.0
    ceilings = [CONNECTIONS / (sync + CONNECTIONS / bare) for bare in rounds.of("bare")]
    table.add(
        Figure(
            name=f"ingest{bed.label}, of the closed loop's ceiling",
            unit="events/s",
            rounds=rounds.of("rate"),
            limit_name="64 / (sync + 64 / bare)",
            limits=ceilings,
            ratios=[a / b for a, b in zip(rounds.of("rate"), ceilings, strict=True)],
            taken_in=rounds,
        )
    )


def verified(bed: Bed, table: Table) -> None:
    """Signatures and duplicates: sources of providers against the plain one of the same gateway."""
    paused = Receiving(name="sink", event_type=EVENT_TYPE, path="/sink", paused=True)
    gateway = bed.gateway([paused])
    count = bed.scale.ingest

    def plain() -> float:
        rate: float = bed.publish(gateway.port, count)["rate"]
        return rate

    def measure() -> dict[str, float]:
        return {
            preset: bed.publish(gateway.port, count, preset=preset)["rate"]
            for preset in ("github", "zoom")
        }

    with gateway:
        bed.publish(gateway.port, WARM_UP)
        rounds = interleaved(bed.scale.rounds, plain, measure)
    bed.discard(gateway)
    for preset, what, least in (
        ("github", "HMAC of the body, id in a header", VERIFIED_LEAST),
        ("zoom", "HMAC with time, four expressions", None),
    ):
        table.add(
            Figure(
                name=f"ingest, preset {preset}",
                unit="events/s",
                rounds=rounds.of(preset),
                limit_name="plain source",
                limits=rounds.of("bare"),
                ratios=rounds.ratio(preset, "bare"),
                least=least,
                note=what,
                taken_in=rounds,
            )
        )


def end_to_end(bed: Bed, table: Table) -> None:
    """Ingest, commit, signed delivery, settlement, against the bound of the bare parts."""
    gateway = bed.gateway()
    count = bed.scale.end_to_end
    settled = 0

    def measure() -> dict[str, float]:
        nonlocal settled
        disk = bed.bare_sqlite()
        client = bed.bare_client(bed.scale.bare // 2)
        used = gateway.cpu()
        run = run_through(bed, gateway, count, settled)
        settled += count
        return {
            "rate": run,
            "cpu": (gateway.cpu() - used) / count * 1e6,
            "client": client,
            "parts": 1.0 / disk["insert"] + 1.0 / disk["update"] + 1.0 / client,
        }

    with gateway:
        run_through(bed, gateway, WARM_UP, 0)
        settled = WARM_UP
        rounds = interleaved(bed.scale.rounds, bed.bare_handler, measure)
    bed.discard(gateway)
    bounds = [
        1.0 / (1.0 / bare + parts)
        for bare, parts in zip(rounds.of("bare"), rounds.of("parts"), strict=True)
    ]
    rates = rounds.of("rate")
    table.add(
        Figure(
            name=f"end to end{bed.label}",
            unit="events/s",
            rounds=rates,
            limit_name="bound",
            limits=bounds,
            ratios=[rate / bound for rate, bound in zip(rates, bounds, strict=True)],
            least=None if bed.slow_us else END_TO_END_LEAST,
            note=f"bare client {median(rounds.of('client')):,.0f}/s",
            taken_in=rounds,
        )
    )
    table.add(
        Figure(
            name=f"end to end: gateway CPU{bed.label}",
            unit="µs/event",
            rounds=rounds.of("cpu"),
            taken_in=rounds,
        )
    )


def run_through(
    bed: Bed, gateway: Gateway, count: int, before: int, types: tuple[str, ...] = (EVENT_TYPE,)
) -> float:
    """Publish `count` events, wait until they arrived and are settled; arrivals a second."""
    bed.receiver.ask(5.0, do="reset")
    bed.publish(gateway.port, count, types=types)
    bed.arrived(count)
    gateway.settled(before + count)
    counts = bed.receiver.ask(5.0, do="counts")
    if counts["total"] != count:
        raise BenchError(f"{count} deliveries were expected, {counts['total']} arrived")
    rate: float = counts["rate"]
    return rate


def latency(bed: Bed, table: Table) -> None:
    """At a steady rate: from the publisher's send to the receiver, and from the 202 to there.

    The commit lies between send and 202, so the first is an upper bound of commit to arrival, and
    it is the one that is judged. Both ends read CLOCK_MONOTONIC of one machine.
    """
    gateway = bed.gateway()
    scale = bed.scale

    def measure() -> dict[str, float]:
        disk = bed.bare_disk()
        handler = bed.publish_steadily(bed.handler.hello["port"], scale.probe, scale.steady_rate)
        used = gateway.cpu()
        bed.receiver.ask(5.0, do="reset", record=True)
        sent = bed.publish_steadily(gateway.port, scale.steady, scale.steady_rate)
        bed.arrived(scale.steady)
        times = bed.receiver.ask(30.0, do="times")["times"]
        arrivals = [times[name] for name in sent["ids"]]
        values = {
            "cpu": (gateway.cpu() - used) / scale.steady * 1e6,
            "disk_p50": disk[0],
            "disk_p99": disk[1],
        }
        values |= _percentiles("bare", handler["sent"], handler["answered"])
        values |= _percentiles("send", sent["sent"], arrivals)
        values |= _percentiles("answer", sent["answered"], arrivals)
        values |= _percentiles("publisher", sent["sent"], sent["answered"])
        return values

    with gateway:
        run_through(bed, gateway, WARM_UP, 0)
        rounds = interleaved(scale.rounds, bed.bare_handler, measure)
    bed.discard(gateway)
    for name, most in (("p50", P50_MOST), ("p99", P99_MOST)):
        table.add(
            Figure(
                name=f"send to arrival {name}{bed.label}",
                unit="ms",
                rounds=rounds.of(f"send_{name}"),
                limit_name="disk probe",
                limits=rounds.of(f"disk_{name}"),
                most=None if bed.slow_us else most,
                note=f"bare handler {median(rounds.of(f'bare_{name}')):.2g}, "
                f"202 after {median(rounds.of(f'publisher_{name}')):.2g}, "
                f"from the 202 {median(rounds.of(f'answer_{name}')):.2g}",
                taken_in=rounds,
            )
        )
    table.add(
        Figure(
            name=f"gateway CPU at {scale.steady_rate:g}/s{bed.label}",
            unit="µs/event",
            rounds=rounds.of("cpu"),
            note=f"worst send to arrival {max(rounds.of('send_max')):.3g} ms",
            taken_in=rounds,
        )
    )


def _percentiles(name: str, begins: list[float], ends: list[float]) -> dict[str, float]:
    taken = [(end - begin) * 1e3 for begin, end in zip(begins, ends, strict=True)]
    return {
        f"{name}_p50": percentile(taken, 50),
        f"{name}_p99": percentile(taken, 99),
        f"{name}_max": max(taken),
    }
