"""What the storage tests do again and again."""

import asyncio
from collections.abc import Sequence
from typing import Any

from hookpost.core.errors import OutboxError
from hookpost.core.model import (
    Attempt,
    Cause,
    DeadReason,
    Delivery,
    EndpointId,
    Outcome,
    Result,
    Settlement,
    State,
    Transition,
)
from hookpost.storage.outbox import EndpointSpec, Outbox, RetentionLimits, Settled

NOW = 1_750_000_000.0
FOREVER = RetentionLimits(delivered=1e9, dead=1e9, cancelled=1e9, parked=1e9, max_size=1 << 40)


async def endpoints(outbox: Outbox, *names: str, now: float = NOW, **spec: Any) -> list[EndpointId]:
    records = await outbox.apply_endpoints([EndpointSpec(name=n, **spec) for n in names], now)
    return [records[name].id for name in names]


def delivered(delivery: Delivery, now: float = NOW) -> Settlement:
    return Settlement(
        delivery=delivery,
        transition=Transition(state=State.DELIVERED, cause=Cause.SUCCEEDED),
        settled_at=now,
        attempt=Attempt(
            number=delivery.attempts + 1,
            started_at=now,
            duration=0.01,
            outcome=Outcome(result=Result.SUCCESS, status=204),
        ),
    )


def failed(delivery: Delivery, delay: float, now: float = NOW, error: str = "500") -> Settlement:
    return Settlement(
        delivery=delivery,
        transition=Transition(state=State.PENDING, cause=Cause.FAILED, delay=delay),
        settled_at=now,
        attempt=Attempt(
            number=delivery.attempts + 1,
            started_at=now,
            duration=0.01,
            outcome=Outcome(result=Result.HTTP_5XX, status=500, answer=b"oops", error=error),
        ),
    )


def died(delivery: Delivery, now: float = NOW) -> Settlement:
    return Settlement(
        delivery=delivery,
        transition=Transition(state=State.DEAD, cause=Cause.EXHAUSTED, reason=DeadReason.EXHAUSTED),
        settled_at=now,
        attempt=failed(delivery, 0.0, now).attempt,
    )


def settle(outbox: Outbox, settlement: Settlement) -> "asyncio.Future[bool]":
    """Hand a settlement over; done with what its observer is told. May be dropped."""
    told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def observed(about: Settlement, answer: Settled) -> None:
        assert about is settlement
        if isinstance(answer, OutboxError):
            told.set_exception(answer)
            told.exception()  # nobody need be waiting
        else:
            told.set_result(answer)

    outbox.settle(settlement, observed)
    return told


async def claim_all(outbox: Outbox, endpoint: EndpointId, now: float = NOW) -> list[Delivery]:
    """Everything due, as a worker would get it: claim until nothing more is known to be due."""
    claimed: list[Delivery] = []
    while True:
        more: Sequence[Delivery] = await outbox.claim(endpoint, 100, now)
        claimed += more
        due = outbox.next_due(endpoint)
        if not more and (due is None or due > now):
            return claimed


async def purge_all(outbox: Outbox, limits: RetentionLimits, now: float) -> int:
    """Housekeeping until nothing more is to be done; how many steps it took."""
    steps = 1
    while (await outbox.purge(limits, now)).more:
        steps += 1
    return steps
