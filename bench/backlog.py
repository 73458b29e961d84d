"""Builds a backlog: events put through the outbox itself, one delivery each, to a held endpoint.

`python -m bench.backlog DATABASE COUNT ENDPOINT`
"""

import asyncio
import sys
from pathlib import Path

import uvloop

from bench import BODY
from hookpost.clock import SystemClock
from hookpost.core.model import Event, Format
from hookpost.storage.outbox import EndpointSpec
from hookpost.storage.sqlite import SqliteOutbox

AT_ONCE = 1000  # events a transaction


async def build(path: Path, count: int, name: str) -> None:
    """`count` pending deliveries to endpoint `name`, which an operator has paused."""
    clock = SystemClock()
    outbox = await SqliteOutbox.open(path, synchronous="full", clock=clock)
    try:
        spec = EndpointSpec(name=name, max_pending=5_000_000)
        record = (await outbox.apply_endpoints([spec], clock.now()))[name]
        await outbox.update_endpoint(record.id, clock.now(), paused_by_operator=True)
        data = b'{"n":1,"text":"' + b"x" * (BODY - 60) + b'"}'
        for start in range(0, count, AT_ONCE):
            now = clock.now()
            await outbox.put_many(
                [
                    (_event(number, now, data), (record.id,))
                    for number in range(start, min(count, start + AT_ONCE))
                ]
            )
    finally:
        await outbox.close()


def _event(number: int, now: float, data: bytes) -> Event:
    return Event(
        id=f"evt_{number:026d}",
        source="bench",
        type="bench.order",
        occurred_at="2026-01-01T00:00:00Z",
        accepted_at=now,
        format=Format.ENVELOPE,
        content_type="application/json",
        body=data,
    )


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(build(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
