"""A stopped daemon's database, and the command line run in this process."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.builders import an_event
from tests.storage.steps import settle

from hookpost.cli.main import main
from hookpost.clock import SystemClock
from hookpost.core.model import (
    Attempt,
    Cause,
    DeadReason,
    DeliveryId,
    Outcome,
    Result,
    Settlement,
    State,
    Stored,
    Transition,
)
from hookpost.storage.outbox import EndpointSpec
from hookpost.storage.sqlite import SqliteOutbox

CONFIG = """\
version: 1
listen: {admin: {address: "unix:run/admin.sock"}}
storage: {sqlite: {path: var/outbox.db}}
endpoints: {crm: {url: "https://crm.example.com/hooks", this is: not valid}}
"""


@dataclass(frozen=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class CommandLine:
    """Runs commands on one configuration."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.file = folder / "gateway.yaml"
        self.database = folder / "var" / "outbox.db"
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ran:
        self._capsys.readouterr()
        try:
            code = main([*arguments, "-c", str(self.file)], hangup_was_asked=lambda: False)
        except SystemExit as end:
            code = int(str(end.code))
        said = self._capsys.readouterr()
        return Ran(code, said.out, said.err)


def fill(database: Path) -> None:
    """Deliveries 1 and 2 dead (crm, audit), 3 delivered, 4 pending, 5 parked (removed: gone)."""
    asyncio.run(_fill(database))


async def _fill(database: Path) -> None:
    clock = SystemClock()
    outbox = await SqliteOutbox.open(database, clock=clock)
    names = ("crm", "audit", "gone")
    records = await outbox.apply_endpoints([EndpointSpec(name=name) for name in names], clock.now())
    owed: Sequence[tuple[str, str]] = (
        ("evt_1", "crm"), ("evt_2", "audit"), ("evt_3", "crm"), ("evt_4", "crm"), ("evt_5", "gone"),
    )  # fmt: skip
    for id, endpoint in owed:
        event = an_event(id=id, dedup_key=id, dedup_window=60.0, accepted_at=clock.now())
        assert isinstance(await outbox.put(event, [records[endpoint].id]), Stored)
    for endpoint in ("crm", "audit"):
        for delivery in await outbox.claim(records[endpoint].id, 10, clock.now() + 1):
            if delivery.id in (1, 2, 3):
                await settle(outbox, _settlement(delivery, clock.now()))
            else:
                outbox.release([delivery])
    await outbox.apply_endpoints([EndpointSpec(name=name) for name in names[:2]], clock.now())
    await outbox.close()


def _settlement(delivery: Any, now: float) -> Settlement:
    if delivery.id == DeliveryId(3):
        transition = Transition(state=State.DELIVERED, cause=Cause.SUCCEEDED)
        outcome = Outcome(result=Result.SUCCESS, status=204)
    else:
        transition = Transition(
            state=State.DEAD, cause=Cause.EXHAUSTED, reason=DeadReason.EXHAUSTED
        )
        outcome = Outcome(
            result=Result.HTTP_5XX, status=503, error="HTTP 503", answer=b"\x1b[31mred"
        )
    attempt = Attempt(number=1, started_at=now, duration=0.1, outcome=outcome)
    return Settlement(delivery=delivery, transition=transition, settled_at=now, attempt=attempt)
