"""The gateway's own events through a real process: an endpoint fails, another is told, signed."""

import json
from typing import Any

from tests.daemon.harness import Home, Nursery, Received, Receiver, verified


def watched_by_ops(home: Home) -> None:
    """crm gets the ordinary events, ops the gateway's own."""
    home.endpoint("ops", retry="once")
    home.config["retry_policies"]["once"] = {"max_attempts": 1}
    home.config["subscriptions"]["all-to-ops"]["events"] = ["hookpost.**"]
    home.config["alerts"] = {"consecutive_failures": 3, "failure_ratio": 0.7}


def told(receiver: Receiver) -> list[tuple[str, dict[str, Any]]]:
    payloads = [json.loads(one.body) for one in receiver.to("ops")]
    return [(payload["eventType"], payload["data"]) for payload in payloads]


def kinds(receiver: Receiver) -> list[str]:
    return [kind.removeprefix("hookpost.") for kind, _ in told(receiver)]


async def test_who_subscribes_is_sent_that_an_endpoint_fails_and_that_it_has_recovered(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    watched_by_ops(home)
    failing = True

    def answer(received: Received) -> int:
        return 500 if failing and received.path == "/crm" else 204

    crm.answer = answer
    daemon = await nursery.start()
    await daemon.accept({"secret": "canary-in-data"})
    await crm.until(lambda: "delivery.dead" in kinds(crm))
    failing = False
    await daemon.accept({}, {})
    await crm.until(lambda: "endpoint.recovered" in kinds(crm))
    assert kinds(crm) == ["endpoint.failing", "delivery.dead", "endpoint.recovered"]
    assert all(verified(one)["eventType"].startswith("hookpost.") for one in crm.to("ops"))
    first, dead, last = [data for _, data in told(crm)]
    assert (first["endpoint"], first["failures"]) == ("crm", 3)
    assert (last["endpoint"], last["failures"], last["attempts"]) == ("crm", 3, 5)
    assert (dead["reason"], dead["attempts"]) == ("exhausted", 3)
    assert b"canary" not in b"".join(one.body for one in crm.to("ops"))
    metrics = await daemon.metrics()
    assert metrics['hookpost_events_accepted_total{source="hookpost"}'] == 3
    assert await daemon.stop() == 0


async def test_a_dead_receiver_of_alerts_raises_none(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    watched_by_ops(home)
    crm.answer = lambda _: 500
    daemon = await nursery.start()
    await daemon.accept({})
    dead = 'hookpost_dead_letters_total{endpoint="ops",reason="exhausted"}'
    await daemon.until(lambda metrics: metrics[dead] == 2)
    await daemon.accept({})
    metrics = await daemon.until(lambda metrics: metrics[dead] == 3)
    assert kinds(crm) == ["endpoint.failing", "delivery.dead", "delivery.dead"]
    assert metrics['hookpost_events_accepted_total{source="hookpost"}'] == 3
    assert await daemon.stop() == 0


async def test_a_reload_and_a_refused_one_are_told_of(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    daemon = await nursery.start()
    watched_by_ops(home)
    home.write()
    await daemon.reload()
    await crm.count(1, "ops")
    home.config["endpoints"]["crm"]["timeout"] = "hunter2"
    home.write()
    await daemon.reload()
    await crm.count(2, "ops")
    (_, reloaded), (kind, rejected) = told(crm)
    assert kinds(crm)[0] == "config.reloaded"
    assert reloaded["changes"] >= 2
    assert (kind, rejected["result"]) == ("hookpost.config.rejected", "invalid")
    assert rejected["first"].endswith("endpoints.crm.timeout [bad-duration]")
    assert await daemon.stop() == 0
