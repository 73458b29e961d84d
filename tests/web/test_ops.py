"""The pages for Prometheus and for people: only to read, and no secret in sight."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from hookpost.clock import SystemClock
from hookpost.core.model import SourceRecord
from hookpost.metrics import Metrics
from hookpost.services.health import Health
from hookpost.web.ops import ops_app

PAGES = ("/metrics", "/livez", "/readyz", "/status")


class Ops:
    """The pages over parts that a test can change."""

    def __init__(self) -> None:
        clock = SystemClock()
        self.metrics = Metrics(clock)
        self.metrics.configure(sources=["billing"], endpoints=["crm"], secrets={})
        self.health = Health(starting=False)
        self.stuck: list[str] = []
        self.app = ops_app(
            metrics=self.metrics,
            health=self.health,
            status=self.status,
            clock=clock,
            stuck=lambda: self.stuck,
        )

    async def status(self) -> dict[str, Any]:
        return {"totalReceived": 3, "endpoints": {"crm": {"backlog": 1}}}


@pytest.fixture
def ops() -> Ops:
    return Ops()


@pytest.fixture
async def client(ops: Ops, aiohttp_client: Any) -> TestClient:
    made: TestClient = await aiohttp_client(ops.app)
    return made


async def test_metrics_are_the_whole_exposition(ops: Ops, client: TestClient) -> None:
    ops.metrics.readings.sources = lambda: {"billing": SourceRecord("billing", accepted=1)}
    answer = await client.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = await answer.text()
    assert 'hookpost_events_accepted_total{source="billing"} 1.0\n' in text
    assert text.endswith("\n")
    own = [line for line in text.splitlines() if line.startswith("hookpost_")]
    again = [line for line in ops.metrics.render().decode().splitlines() if line in set(own)]
    assert own == again


@pytest.mark.parametrize("page", PAGES)
async def test_every_page_answers_head_without_a_body(client: TestClient, page: str) -> None:
    answer = await client.head(page)
    assert answer.status == 200
    assert await answer.read() == b""
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_nothing_can_be_changed_here(client: TestClient, page: str, method: str) -> None:
    answer = await client.request(method, page)
    assert answer.status == 405
    assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD"}


async def test_another_page_is_not_found(client: TestClient) -> None:
    assert (await client.get("/endpoints")).status == 404


async def test_live_says_which_parts_are_stuck(ops: Ops, client: TestClient) -> None:
    answer = await client.get("/livez")
    assert (answer.status, await answer.json()) == (200, {"live": True, "reasons": []})
    ops.stuck = ["dispatcher"]
    answer = await client.get("/livez")
    assert (answer.status, await answer.json()) == (503, {"live": False, "reasons": ["dispatcher"]})


@pytest.mark.parametrize("flag", ["starting", "draining", "storage_low", "storage_failed"])
async def test_ready_says_why_new_events_are_refused(
    ops: Ops, client: TestClient, flag: str
) -> None:
    answer = await client.get("/readyz")
    assert (answer.status, await answer.json()) == (200, {"ready": True, "reasons": []})
    setattr(ops.health, flag, True)
    answer = await client.get("/readyz")
    assert (answer.status, await answer.json()) == (503, {"ready": False, "reasons": [flag]})
    assert (await client.get("/livez")).status == 200


async def test_status_is_json(client: TestClient) -> None:
    answer = await client.get("/status")
    assert answer.headers["Content-Type"].startswith("application/json")
    assert (await answer.json())["totalReceived"] == 3
