"""The test bed: the bench's own processes, and the bare readings taken with them."""

import contextlib
import itertools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import BATCH, CONNECTIONS, LANES, WARM_UP, BenchError
from bench.child import Child, Reply
from bench.figures import percentile
from bench.gateway import BEARER, PATH, Gateway, Receiving
from bench.machine import slow_environment

EVENT_TYPE = "bench.order"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How long each part takes: counts of one round."""

    rounds: int = 5
    bare: int = 15_000
    ingest: int = 20_000
    end_to_end: int = 20_000
    rows: int = 400 * BATCH
    steady_rate: float = 300.0
    steady: int = 6_000
    probe: int = 900
    backlog: int = 1_000_000
    small: int = 1_000
    small_times: int = 15
    segment: int = 30_000
    hang: int = 12_000


QUICK = Scale(
    rounds=3,
    bare=8_000,
    ingest=8_000,
    end_to_end=8_000,
    rows=100 * BATCH,
    steady=1_500,
    probe=300,
    backlog=100_000,
    small_times=6,
    segment=12_000,
    hang=6_000,
)


@dataclass(slots=True, kw_only=True)
class Bed:
    """Load, receiver and baselines, and a directory for the gateways' files.

    `slow_us` microseconds are added to every sync of the gateway and of the disk baseline.
    """

    directory: Path
    scale: Scale
    shim: Path | None = None
    slow_us: int = 0
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _names: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    load: Child = field(init=False)
    receiver: Child = field(init=False)
    handler: Child = field(init=False)
    client: Child = field(init=False)
    disk: Child = field(init=False)

    def __enter__(self) -> "Bed":
        start = self._stack.enter_context
        try:
            self.load = start(Child("bench.load"))
            self.receiver = start(Child("bench.receiver"))
            self.handler = start(Child("bench.bare", "handler"))
            self.client = start(Child("bench.bare", "client"))
            self.disk = start(Child("bench.bare", "disk", env=self.env))
            self.bare_handler(WARM_UP)
            self.bare_client(WARM_UP)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def env(self) -> Mapping[str, str]:
        """What makes syncs slow, or nothing."""
        if not self.slow_us or self.shim is None:
            return {}
        return slow_environment(self.shim, self.slow_us)

    @property
    def label(self) -> str:
        """Added to the names of figures taken with slow syncs."""
        return f", sync +{self.slow_us / 1000:g} ms" if self.slow_us else ""

    # -- the gateway -----------------------------------------------------------------------------

    def gateway(self, endpoints: Sequence[Receiving] = (), *, filters: int = 0) -> Gateway:
        """A gateway that is not started yet, with a database of its own."""
        return Gateway(
            directory=self.directory / f"gateway-{next(self._names)}",
            receiver_port=self.receiver.hello["port"],
            endpoints=tuple(endpoints)
            or (Receiving(name="sink", event_type=EVENT_TYPE, path="/sink"),),
            env=self.env,
            filters=filters,
        )

    def discard(self, gateway: Gateway) -> None:
        """Remove a stopped gateway's files."""
        shutil.rmtree(gateway.directory, ignore_errors=True)

    def publish(
        self,
        port: int,
        count: int,
        *,
        ids: bool = False,
        types: Sequence[str] = (EVENT_TYPE,),
        preset: str | None = None,
    ) -> Reply:
        """Closed loop over all connections; each answer must be a success.

        With `preset` requests are signed as its provider signs, each with an identity of its own.
        """
        first = next(self._ids) * 10_000_000 if ids or preset else None
        answer = self.load.ask(
            300.0,
            do="closed",
            port=port,
            path=PATH if preset is None else f"/in/{preset}",
            count=count,
            connections=CONNECTIONS,
            types=list(types),
            bearer=BEARER,
            first=first,
            preset=preset,
        )
        return checked(answer, count)

    def publish_steadily(self, port: int, count: int, rate: float) -> Reply:
        """Open loop at `rate` a second; each answer must be 202."""
        answer = self.load.ask(
            count / rate + 60.0,
            do="open",
            port=port,
            path=PATH,
            count=count,
            rate=rate,
            connections=CONNECTIONS,
            types=[EVENT_TYPE],
            bearer=BEARER,
            first=next(self._ids) * 10_000_000,
        )
        return checked(answer, count)

    def arrived(self, count: int, limit: float = 300.0) -> Reply:
        """Wait until `count` deliveries arrived since the receiver's reset."""
        return self.receiver.ask(limit + 5.0, do="wait", count=count, limit=limit)

    # -- the bare readings -----------------------------------------------------------------------

    def bare_handler(self, count: int = 0) -> float:
        """Requests a second of a handler that stores nothing."""
        rate: float = self.publish(self.handler.hello["port"], count or self.scale.bare)["rate"]
        return rate

    def bare_client(self, count: int) -> float:
        """POSTs a second of an aiohttp client, as they arrive at the receiver."""
        self.receiver.ask(5.0, do="reset")
        port = self.receiver.hello["port"]
        self.client.ask(120.0, do="post", port=port, count=count, lanes=LANES)
        rate: float = self.arrived(count)["rate"]
        return rate

    def bare_sqlite(self) -> Reply:
        """Rows a second: `insert` (event and delivery) and `update`."""
        directory = str(self.directory)
        return self.disk.ask(300.0, do="sqlite", directory=directory, rows=self.scale.rows)

    def bare_disk(self) -> tuple[float, float]:
        """p50 and p99 of a synced write at the steady rate, ms."""
        answer = self.disk.ask(
            120.0,
            do="probe",
            directory=str(self.directory),
            count=self.scale.probe,
            rate=self.scale.steady_rate,
        )
        return percentile(answer["taken"], 50), percentile(answer["taken"], 99)


def checked(answer: dict[str, Any], count: int) -> Reply:
    """The answer, if all `count` requests were answered 202, or all 200 as Zoom wants it."""
    if answer["statuses"] not in ({"202": count}, {"200": count}):
        raise BenchError(f"{count} answers of 202 were expected, not {answer['statuses']}")
    return answer
