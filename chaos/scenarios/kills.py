"""`kill -9` at random moments under load, while it starts, too."""

import asyncio
import zlib

from chaos import ChaosError, Violation
from chaos.ledger import Reception
from chaos.receiver import Reply
from chaos.rig import Rig

CONCURRENCY = 5
STARTING = 0.15  # share of the kills that strike before the daemon serves
BEGINNING = 1.0  # seconds in which such a kill strikes
LIFE = 0.5  # seconds that a life lasts at most after it serves


def grudging(rig: Rig) -> None:
    """One request in ten is refused and another late, by the seed and not by the moment."""

    seed = rig.seed

    def answer(reception: Reception) -> Reply:
        key = f"{seed} {reception.endpoint} {reception.id} {reception.attempt}"
        chance = zlib.crc32(key.encode()) % 100
        if chance < 10:
            return Reply((500, 429, 302)[chance % 3])
        return Reply(delay=0.03) if chance < 20 else Reply()

    rig.receiver.script = answer


async def kill(rig: Rig) -> None:
    """P1, P2, P3, P7: so many lives on one database, each killed; then an orderly one."""
    grudging(rig)
    for endpoint in rig.home.config["endpoints"].values():
        endpoint["concurrency"] = CONCURRENCY
    rig.publisher.start()
    for _ in range(rig.lives):
        if rig.dice.random() < STARTING:
            daemon = rig.launch()
            await asyncio.sleep(rig.dice.uniform(0.0, BEGINNING))
        else:
            daemon = await rig.start()
            await asyncio.sleep(rig.dice.uniform(0.0, LIFE))
        if not daemon.alive:
            raise ChaosError(f"it ended by itself: {daemon.text}")
        await rig.killed(daemon)
    last = await rig.start()
    await rig.accepted(20)
    await rig.finish(last)
    if max(rig.receiver.peak.values()) > CONCURRENCY:
        raise Violation(f"more than {CONCURRENCY} attempts at once: {dict(rig.receiver.peak)}")
