"""What an endpoint has learnt outlives the process (P4): breaker, hold, tokens."""

from tests.daemon.harness import Home, Nursery, Receiver


async def test_an_open_breaker_is_open_after_a_restart(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    crm.answer = lambda _: 500
    home.config["circuit_breakers"] = {"touchy": {"consecutive_failures": 2, "open_for": "10m"}}
    home.config["endpoints"]["crm"].update(circuit_breaker="touchy", concurrency=1)
    daemon = await nursery.start()
    await daemon.accept({"n": 1}, {"n": 2}, {"n": 3})
    await daemon.log("breaker.opened")
    await daemon.stop()
    tried = len(crm.requests)
    again = await nursery.start()
    metrics = await again.metrics()
    assert metrics['hookpost_circuit_breaker_state{endpoint="crm",state="open"}'] == 1
    await again.accept({"n": 4})
    status = await again.status()
    assert status["endpoints"]["crm"]["heldBy"] == "breaker"
    assert status["breaker"]["open"] == 1
    await again.stop()
    assert len(crm.requests) == tried == 2


async def test_a_hold_that_a_receiver_asked_for_is_kept_after_kill_9(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    crm.answer = lambda _: 429
    crm.headers["Retry-After"] = "600"
    daemon = await nursery.start()
    await daemon.accept({"n": 1})
    await daemon.log("endpoint.held", by="hold")
    (shown,) = (await daemon.cli("endpoints", "list", "-o", "json")).json
    assert shown["heldBy"] == "hold"
    daemon.process.kill()
    await daemon.ended()
    again = await nursery.start()
    await again.accept({"n": 2})
    (held,) = (await again.cli("endpoints", "list", "-o", "json")).json
    assert (held["heldBy"], held["holdUntil"]) == ("hold", shown["holdUntil"])
    await again.stop()
    assert len(crm.requests) == 1


async def test_a_bucket_is_no_fuller_after_a_restart(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    home.config["rate_limits"] = {"slow": {"rate": "1/h", "burst": 3}}
    home.config["endpoints"]["crm"]["rate_limit"] = "slow"
    daemon = await nursery.start()
    await daemon.accept({"n": 1})
    await crm.count(1)
    await daemon.stop()
    again = await nursery.start()
    await again.accept({"n": 2}, {"n": 3}, {"n": 4})
    await again.until(lambda m: m['hookpost_deliveries_pending{endpoint="crm"}'] == 1)
    again.process.kill()
    await again.ended()
    last = await nursery.start()
    assert (await last.status())["endpoints"]["crm"]["heldBy"] == "rate"
    await last.stop()
    assert len(crm.requests) == 3, "burst 3 was exceeded over restarts"


async def test_a_persons_pause_and_a_410_are_kept_after_a_restart(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    home.endpoint("audit")
    crm.answer = lambda received: 410 if received.path == "/audit" else 204
    daemon = await nursery.start()
    assert (await daemon.cli("endpoints", "pause", "crm")).code == 0
    await daemon.accept({"n": 1})
    await daemon.log("endpoint.paused", endpoint="audit", by="gone")
    await daemon.log("delivery.dead", endpoint="audit", reason="gone")
    await daemon.stop()
    again = await nursery.start()
    shown = {each["name"]: each for each in
             (await again.cli("endpoints", "list", "-o", "json")).json}  # fmt: skip
    assert shown["crm"]["pausedBy"] == ["operator"]
    assert shown["audit"]["pausedBy"] == ["gone"]
    assert (await again.cli("endpoints", "resume", "crm")).code == 0
    await crm.count(1, "crm")
