"""What a transport is made of: a reload that changes it is obeyed."""

from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from tests.builders import FakeClock
from tests.dispatching import Bench, ScriptedReceiver, an_endpoint

from hookpost.core.addresses import Allowance, EgressPolicy
from hookpost.core.settings import Endpoint
from hookpost.storage.sqlite import SqliteOutbox
from hookpost.transport import Transport


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = FakeClock()
    bench = Bench(await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock), clock)
    yield bench
    await bench.end()


@pytest.mark.parametrize(
    "change",
    [
        {"egress": EgressPolicy(name="lan", require_https=False)},
        {"egress": EgressPolicy(allow=(Allowance(network=ip_network("10.0.0.0/8")),))},
        {"url_secret": "place"},  # the same URL, but from now on no part of it may be told
    ],
)
async def test_another_policy_or_a_url_that_becomes_secret_makes_another_transport(
    bench: Bench, change: dict[str, Any]
) -> None:
    made: list[Endpoint] = []

    def transports(endpoint: Endpoint) -> Transport:
        made.append(endpoint)
        return ScriptedReceiver()

    first = ScriptedReceiver()
    worker = await bench.worker(an_endpoint(), first)
    worker.apply(an_endpoint(headers=(("X-New", "1"),)), bench.metrics.endpoint("crm"), transports)
    assert made == []
    changed = an_endpoint(**change)
    worker.apply(changed, bench.metrics.endpoint("crm"), transports)
    assert made == [changed]
    await bench.put(worker.id)
    await worker.tick()
    await worker.idle()
    assert first.hits == 0
