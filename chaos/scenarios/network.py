"""Receivers behind a misbehaving proxy."""

import dataclasses
import zlib

from chaos import Violation
from chaos.ledger import Reception
from chaos.proxy import Fault
from chaos.receiver import Reply
from chaos.rig import Rig

TIMEOUT = 1.5  # seconds an attempt may take
EVENTS = 150
WEIGHTS = dict.fromkeys(Fault, 2) | {Fault.NONE: 6, Fault.LATENCY: 6, Fault.HOLE: 1}


async def proxied(rig: Rig) -> None:
    """P2, P5, P10: answers late, cut, dripped, lost; a 2xx that was seen is never sent again."""
    await rig.proxy.open()
    rig.proxy.weights = WEIGHTS
    rig.proxy.stall = TIMEOUT * 1.3
    rig.ledger.timeout = TIMEOUT
    rig.home.config["endpoint_defaults"]["timeout"] = f"{TIMEOUT * 1000:.0f}ms"
    rig.home.endpoint("crm", rig.proxy.port, concurrency=16)
    rig.home.endpoint("audit", rig.proxy.port, concurrency=16, keepalive="0ms")
    rig.home.endpoint("steady", rig.receiver.port)
    rig.receiver.script = _wordy
    rig.publisher.load = dataclasses.replace(rig.publisher.load, pace=0.02)
    daemon = await rig.start()
    rig.publisher.start()
    await rig.accepted(EVENTS)
    await rig.finish(daemon)
    rig.facts.update({f"drawn: {fault}": count for fault, count in rig.proxy.drawn.items()})
    again = sum(len(r) - 1 for (name, _), r in rig.ledger.receptions.items() if name == "steady")
    if again:
        raise Violation(f"{again} repetitions at the endpoint whose connections were never touched")


def _wordy(reception: Reception) -> Reply:
    """Half of the answers have a body: what breaks there must not count as a failure."""
    if zlib.crc32(reception.id.encode()) % 2:
        return Reply()
    return Reply(200, body=b"thank you " * 4)
