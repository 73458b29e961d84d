"""What the daemon notices of itself: a line for the service manager, a stepped clock, a part that
makes no progress."""

import logging

from hookpost.clock import SystemClock
from hookpost.daemon.parts import Parts
from hookpost.systemd import Notifier

log = logging.getLogger("hookpost.daemon")

STATUS_EVERY = 10.0  # seconds between two lines for the service manager
STEP = 2.0  # seconds of the wall clock's departure worth a line in the log
STUCK = 30.0  # seconds after which a batch that the outbox's writer still holds is no progress


class Watch:
    """Looks at the parts of one daemon."""

    def __init__(self, parts: Parts, notifier: Notifier) -> None:
        self._parts = parts
        self._notifier = notifier

    def line(self) -> str:
        """One line of state for `systemctl status`."""
        parts = self._parts
        records = [record for record in parts.outbox.endpoints() if record.removed_at is None]
        states = parts.dispatcher.states().values()
        refusals = parts.health.refusals()
        return "; ".join(
            (
                "refusing events: " + ", ".join(refusals) if refusals else "ready",
                f"{len(records)} endpoints",
                f"{sum(record.counts.pending for record in records)} pending",
                f"{sum(state.breaker == 'open' for state in states)} breakers open",
                f"configuration {parts.current.snapshot.config.hash}",
            )
        )

    def stuck(self) -> list[str]:
        """The parts that make no progress, by name; empty means all is well."""
        return ["outbox"] if self._parts.outbox.busy_for > STUCK else []

    async def tell_status(self) -> None:
        """Keep the service manager's line fresh, for ever."""
        while True:
            await self._parts.clock.sleep(STATUS_EVERY)
            self._notifier.status(self.line())


async def watch_clock(clock: SystemClock) -> None:
    """Log each step of the wall clock, for ever."""
    known = 0.0
    while True:
        step = clock.step()
        if abs(step - known) > STEP:
            fields = {"seconds": round(step - known, 3), "since_start": round(step, 3)}
            log.warning("clock.stepped", extra={"fields": fields})
            known = step
        await clock.sleep(STATUS_EVERY)
