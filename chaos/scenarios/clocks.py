"""The wall clock is stepped, while the daemon runs and between two lives."""

import itertools
import signal

from chaos import Violation
from chaos.daemon import Daemon
from chaos.ledger import Reception
from chaos.receiver import Reply
from chaos.rig import Rig

HOUR, YEARS = 3600.0, 10 * 365 * 86400.0
BEGIN = YEARS  # where the first life begins: a start ten years later would rightly purge
RUNNING = (BEGIN + HOUR, BEGIN - HOUR, BEGIN + YEARS, 0.0, BEGIN)
STARTING = (0.0, -HOUR, 0.0)  # ten years back, an hour back, an hour forward
DELAY = 0.2  # seconds until a failed attempt is repeated
# Seconds by which that may be missed: a step is an hour at least, a crowded machine takes some.
EARLY, LATE = 0.01, 15.0


async def steps(rig: Rig) -> None:
    """P10: nothing fires early, late or in a burst, nothing expires, nothing is taken for new."""
    rig.home.config["retry_policies"]["steady"] = {
        "schedule": [f"{DELAY * 1000:.0f}ms"] * 10,
        "jitter": "none",
    }
    rig.receiver.script = _at_first_no
    rig.publisher.start()
    daemon = await _started_at(rig, BEGIN)
    for offset in RUNNING:
        _step(rig, offset)
        await rig.accepted(25)
    daemon.send(signal.SIGTERM)
    await rig.ended(daemon, 0)
    for offset in STARTING:
        daemon = await _started_at(rig, offset)
        await rig.accepted(25)
        await rig.killed(daemon)
    last = await rig.start(env=rig.shim.environment())
    await rig.accepted(25)
    await rig.finish(last)
    rig.facts["gaps measured"] = _punctual(rig)


async def _started_at(rig: Rig, offset: float) -> Daemon:
    environment = rig.shim.environment()
    _step(rig, offset)
    return await rig.start(env=environment)


def _step(rig: Rig, offset: float) -> None:
    rig.shim.set_clock(offset)
    rig.receiver.offsets = (rig.receiver.offsets[-1], offset)
    rig.facts["steps"] += 1


def _at_first_no(reception: Reception) -> Reply:
    return Reply(500 if reception.attempt == 1 and reception.endpoint == "crm" else 204)


def _punctual(rig: Rig) -> int:
    """How many repetitions came when they were due; raises Violation for one that did not."""
    count = 0
    for receptions in rig.ledger.receptions.values():
        for earlier, later in itertools.pairwise(receptions):
            ends = [end.at for end in rig.ledger.endings if earlier.at <= end.at <= later.at]
            if earlier.status != 500 or earlier.answered is None or ends:
                continue
            gap = later.at - earlier.answered
            if not DELAY - EARLY <= gap <= DELAY + LATE:
                raise Violation(f"{later.id}: repeated after {gap:.3f} s in place of {DELAY} s")
            count += 1
    return count
