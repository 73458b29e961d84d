"""Drain and hang: what a large backlog and a dead receiver cost."""

import subprocess
import sys
import time
from statistics import mean

from bench import ROOT, WARM_UP, BenchError
from bench.bed import Bed
from bench.figures import Figure, Table, interleaved
from bench.gateway import Gateway, Receiving
from bench.speed import run_through

DRAIN_LEAST = 0.9
RESIDENT_MOST = 100.0  # MB
READY_MOST = 1.0  # seconds
HANG_LEAST = 0.95
HEALTHY = 20
STARTS = 3


def drain(bed: Bed, table: Table) -> None:
    """Arrivals a second from a large backlog, in turns with a small one on another gateway."""
    large, small = bed.gateway(), bed.gateway()
    scale = bed.scale
    large.write()
    large.database.parent.mkdir(mode=0o700)
    _build(large, scale.backlog)
    left = scale.backlog
    shown = f"{scale.backlog:,}"

    with small:
        _ready(bed, table, large, small, shown)
        with large:

            def measure() -> dict[str, float]:
                nonlocal left
                before = _small(bed, small)
                if left <= 2 * scale.segment:
                    raise BenchError(f"a backlog of {shown} is too small for these rounds")
                rate, drained = _segment(bed, large, scale.segment)
                left -= drained
                return {"large": rate, "small": mean([before, _small(bed, small)])}

            run_through(bed, small, WARM_UP, 0)
            left -= _segment(bed, large, WARM_UP)[1]
            rounds = interleaved(scale.rounds, bed.bare_handler, measure)
            bed.receiver.ask(5.0, do="reset")
            large.resume("sink")
            rest = bed.arrived(left, limit=900.0)
            large.settled(scale.backlog)
            peak = large.peak_mb()
    for gateway in (large, small):
        bed.discard(gateway)
    table.add(
        Figure(
            name=f"drain from a backlog of {shown}",
            unit="deliveries/s",
            rounds=rounds.of("large"),
            limit_name=f"backlog of {scale.small:,}",
            limits=rounds.of("small"),
            ratios=rounds.ratio("large", "small"),
            least=DRAIN_LEAST,
            taken_in=rounds,
            note=f"its last {left:,} at {rest['rate']:,.0f}/s",
        )
    )
    table.add(
        Figure(
            name=f"resident memory, peak over {shown}",
            unit="MB",
            rounds=[peak],
            most=RESIDENT_MOST,
        )
    )


def _build(gateway: Gateway, count: int) -> None:
    """Put a backlog into a database that no gateway has opened yet."""
    command = [sys.executable, "-m", "bench.backlog", str(gateway.database), str(count), "sink"]
    try:
        subprocess.run(command, cwd=ROOT, check=True, timeout=900)
    except subprocess.SubprocessError as error:
        raise BenchError(f"the backlog of {count:,} could not be built: {error}") from None


def _ready(bed: Bed, table: Table, large: Gateway, small: Gateway, shown: str) -> None:
    """From the start of the process to 200 on /readyz, several times."""
    taken: list[float] = []
    for _ in range(STARTS):
        with large:
            taken.append(large.ready_after)
    table.add(
        Figure(
            name=f"ready on a backlog of {shown}",
            unit="s",
            rounds=taken,
            limit_name="with an empty database",
            limits=[small.ready_after],
            most=READY_MOST,
        )
    )


def _small(bed: Bed, gateway: Gateway) -> float:
    """Arrivals a second from a small backlog, over so many that the time is long enough."""
    count, spans = bed.scale.small, 0.0
    for _ in range(bed.scale.small_times):
        gateway.pause("sink")
        bed.publish(gateway.port, count)
        bed.receiver.ask(5.0, do="reset")
        gateway.resume("sink")
        arrived = bed.arrived(count)
        spans += arrived["last"] - arrived["first"]
        _idle(bed)
    return (count - 1) * bed.scale.small_times / spans


def _segment(bed: Bed, gateway: Gateway, count: int) -> tuple[float, int]:
    """Drain `count` and what was in flight: arrivals a second, and how many there were."""
    bed.receiver.ask(5.0, do="reset")
    gateway.resume("sink")
    rate: float = bed.arrived(count)["rate"]
    gateway.pause("sink")
    return rate, _idle(bed)


def _idle(bed: Bed) -> int:
    """Wait until nothing arrives any more; how many have arrived since the reset."""
    total = -1
    for _ in range(100):
        now = int(bed.receiver.ask(5.0, do="counts")["total"])
        if now == total:
            return total
        total = now
        time.sleep(0.05)
    raise BenchError("deliveries still arrived 5 s after the endpoint was paused")


def hang(bed: Bed, table: Table) -> None:
    """Twenty healthy endpoints, with and without one beside them that never answers."""
    healthy = [
        Receiving(name=f"h{n:02d}", event_type=f"bench.h{n:02d}", path=f"/h{n:02d}", concurrency=8)
        for n in range(HEALTHY)
    ]
    # Without a breaker its attempts never cease: that is the worst case.
    hung = Receiving(
        name="hung", event_type="bench.hung", path="/hang", concurrency=8, breaker="none"
    )
    alone, beside = bed.gateway(healthy), bed.gateway([*healthy, hung])
    types = tuple(one.event_type for one in healthy)
    count = bed.scale.hang
    settled = WARM_UP

    def measure() -> dict[str, float]:
        nonlocal settled
        without = run_through(bed, alone, count, settled, types)
        with_hung = run_through(bed, beside, count, settled, types)
        settled += count
        return {"without": without, "with": with_hung}

    with alone, beside:
        for gateway in (alone, beside):
            run_through(bed, gateway, WARM_UP, 0, types)
        bed.receiver.ask(5.0, do="reset")
        bed.publish(beside.port, WARM_UP, types=(hung.event_type,))
        rounds = interleaved(bed.scale.rounds, bed.bare_handler, measure)
        time.sleep(3.5)  # longer than the endpoint's timeout, so that attempts still begin
        if not bed.receiver.ask(5.0, do="counts")["hung"]:
            raise BenchError("the hung endpoint had no attempts while the healthy ones ran")
    for gateway in (alone, beside):
        bed.discard(gateway)
    table.add(
        Figure(
            name="20 healthy endpoints beside one that hangs",
            unit="deliveries/s",
            rounds=rounds.of("with"),
            limit_name="without it",
            limits=rounds.of("without"),
            ratios=rounds.ratio("with", "without"),
            least=HANG_LEAST,
            taken_in=rounds,
        )
    )
