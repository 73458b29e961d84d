"""One round's rig: home, ledger, publisher, receiver, and the lives of one daemon after another."""

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chaos import ChaosError, Violation, outbox
from chaos.daemon import Daemon
from chaos.home import TIMEOUT, Home
from chaos.ledger import Ledger
from chaos.proxy import Proxy
from chaos.publisher import Load, Publisher
from chaos.receiver import Receiver
from chaos.shim import Shim
from chaos.wire import until


class Rig:
    """What a scenario is given. Leaving it ends every process and socket of the round.

    `lives` is the number of ends that a scenario of many lives makes; `command` replaces the
    installed daemon in scenarios that have a negative control.
    """

    def __init__(
        self, folder: Path, seed: int, *, lives: int = 10, command: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.dice = random.Random(seed)
        self.lives = lives
        self.command = command
        self.home = Home(folder)
        self.ledger = Ledger(TIMEOUT)
        self.receiver = Receiver(self.ledger)
        self.proxy = Proxy(self.receiver, random.Random(seed + 1))
        self.publisher = Publisher(self.ledger, random.Random(seed + 2), Load())
        self.shim = Shim(folder, self.home.database)
        self.facts: Counter[str] = Counter()
        self._daemons: list[Daemon] = []

    async def __aenter__(self) -> Self:
        await self.receiver.open()
        for name in ("crm", "audit"):
            self.home.endpoint(name, self.receiver.port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.publisher.close()
        for daemon in self._daemons:
            daemon.close()
        await self.proxy.close()
        await self.receiver.close()
        self.shim.close()

    # -- lives ---------------------------------------------------------------------------------

    def launch(
        self, *arguments: str, command: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> Daemon:
        """Start a daemon as the configuration now is; do not wait."""
        self.home.write()
        log = self.folder / f"daemon-{len(self._daemons) + 1}.log"
        daemon = Daemon(self.home, log, *arguments, command=command, env=env)
        self._daemons.append(daemon)
        self.facts["lives"] += 1
        return daemon

    async def start(self, *arguments: str, **options: Any) -> Daemon:
        """Start a daemon and let the publisher have it."""
        daemon = await self.launch(*arguments, **options).ready()
        self.publisher.place = daemon.address("ingest")
        return daemon

    async def killed(self, daemon: Daemon) -> None:
        """`kill -9`, and what the database then holds."""
        daemon.process.kill()
        await self.over(daemon, "killed", -signal.SIGKILL)
        self.facts["kills"] += 1

    async def ended(self, daemon: Daemon, code: int | None = None) -> None:
        """Wait for the daemon's end, which explains no repetition; with this code, where given."""
        ended = await daemon.ended()
        self.publisher.place = None
        self.publisher.check()
        if code is not None and ended != code:
            raise Violation(f"ended with {ended} in place of {code}: {daemon.text}")

    async def over(self, daemon: Daemon, how: str, code: int | None = None) -> None:
        """The same, but what was pending then may be repeated."""
        await self.ended(daemon, code)
        await self.receiver.quiet()
        self.ledger.end(how, outbox.rows(self.home.database))

    async def accepted(self, more: int, limit: float = 30.0) -> None:
        """Wait until that many further events are accepted."""
        wanted = len(self.ledger.accepted) + more

        def enough() -> bool:
            self.publisher.check()
            return len(self.ledger.accepted) >= wanted

        await until(enough, f"{more} more events accepted", limit)

    async def received(self, more: int, limit: float = 30.0) -> None:
        """Wait until that many further requests have arrived at the receiver."""
        wanted = self.receiver.count + more

        def enough() -> bool:
            self.publisher.check()
            return self.receiver.count >= wanted

        await until(enough, f"{more} more requests at the receiver", limit)

    # -- the reckoning -------------------------------------------------------------------------

    async def finish(self, daemon: Daemon, *, settled: Callable[[Any], bool] | None = None) -> None:
        """Publish no more, wait for the rest, end in order, and reckon.

        `settled` says by an endpoint's counters when the rest is over; else when nothing waits.
        """
        async with _within(60.0, lambda: f"doubts {len(self.publisher.doubts)}: {daemon.text}"):
            await self.publisher.drain()
        shown = await self._at_rest(daemon, settled or _nothing_waits)
        began = time.monotonic()
        code = await daemon.stop()
        if code != 0:
            raise Violation(f"SIGTERM ended it with {code}: {daemon.text}")
        if self.home.admin.exists():
            raise Violation("the admin socket outlived the daemon")
        self.facts["ms to stop"] = round((time.monotonic() - began) * 1000)
        stored = outbox.sound(self.home.database)
        outbox.agree(shown, stored)
        if not self.ledger.accepted and not self.ledger.closed:
            raise ChaosError("nothing was accepted, so nothing was shown")
        self.ledger.forgiven = sum(count["dead"] for count in stored.values())
        explained = self.ledger.reckon(outbox.rows(self.home.database))
        self.facts["accepted"] = self.ledger.closed + len(self.ledger.accepted)
        self.facts["received"] = self.receiver.count
        self.facts.update({f"again: {why}": count for why, count in explained.items()})

    async def _at_rest(
        self, daemon: Daemon, settled: Callable[[Any], bool]
    ) -> Mapping[str, Mapping[str, int]]:
        shown: Mapping[str, Mapping[str, int]] = {}

        async def rests() -> bool:
            nonlocal shown
            shown = await daemon.counters()
            return all(
                settled(count) and count["deliveries_in_flight"] == 0 for count in shown.values()
            )

        try:
            await until(rests, "every delivery settled")
        except ChaosError as error:
            raise Violation(f"{error}: {shown}; log: {daemon.text}") from error
        return shown


def _nothing_waits(count: Mapping[str, int]) -> bool:
    return count["deliveries_pending"] == 0


@contextlib.asynccontextmanager
async def _within(limit: float, what: Callable[[], str]) -> Any:
    try:
        async with asyncio.timeout(limit):
            yield
    except TimeoutError:
        raise Violation(f"not within {limit:g} s; {what()}") from None
