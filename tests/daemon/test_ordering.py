"""Order through a real process that is killed, and a receiver that fails."""

import asyncio
import json
import signal
from collections import defaultdict
from typing import Any

from tests.daemon.harness import Daemon, Home, Nursery, Received, Receiver

QUICK = {"max_age": "1h", "backoff": {"initial": "50ms", "max": "50ms", "jitter": "none"}}


class Judge:
    """Receives for `crm`: what came in which order, and whether ever two of a line at once."""

    def __init__(self, crm: Receiver, key: str) -> None:
        self.key = key
        self.failing: set[tuple[str, int]] = set()
        self.firsts: dict[str, list[int]] = defaultdict(list)
        self.taken: dict[str, list[int]] = defaultdict(list)
        self.busy: dict[str, int] = defaultdict(int)
        self.mistakes: list[str] = []
        crm.answer = self.answer

    async def answer(self, request: Received) -> int:
        data = json.loads(request.body)["data"]
        line, number = str(data.get(self.key)), int(data["n"])
        if self.busy[line]:
            self.mistakes.append(f"{line}{number} came beside another")
        if number not in self.firsts[line]:
            self.firsts[line].append(number)
        elif self.firsts[line][-1] != number:
            self.mistakes.append(f"{line}{number} came again after {self.firsts[line][-1]}")
        self.busy[line] += 1
        try:
            await asyncio.to_thread(int)  # a moment in which another could come
            if (line, number) in self.failing:
                return 500
            self.taken[line].append(number)
            return 204
        finally:
            self.busy[line] -= 1

    def in_order(self) -> None:
        assert self.mistakes == []
        for line, numbers in self.firsts.items():
            assert numbers == sorted(numbers), line


async def killed(daemon: Daemon) -> None:
    daemon.send(signal.SIGKILL)
    await daemon.ended()


async def blocked(daemon: Daemon) -> list[dict[str, Any]]:
    shown = (await daemon.cli("deliveries", "list", "--blocked", "-o", "json")).json
    found: list[dict[str, Any]] = shown if isinstance(shown, list) else shown["items"]
    return found


async def test_a_failing_head_blocks_its_own_key_only_over_kills(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    home.config["retry_policies"]["quick"] = QUICK
    home.config["endpoints"]["crm"]["ordering"] = {"key": "data.customer"}
    judge = Judge(crm, "customer")
    judge.failing.add(("a", 1))
    daemon = await nursery.start()
    events = [{"customer": line, "n": number} for number in range(4) for line in "abc"]
    await daemon.accept(*events)
    await crm.until(lambda: judge.taken["b"] == judge.taken["c"] == [0, 1, 2, 3])
    await killed(daemon)

    daemon = await nursery.start()
    seen = len(crm.requests)
    await crm.until(lambda: len(crm.requests) >= seen + 2)
    assert judge.taken["a"] == [0]
    assert judge.firsts["a"] == [0, 1], "who waits behind the head has not been tried"
    waiting = await blocked(daemon)
    assert len({one["order"]["key"] for one in waiting}) == 1
    (head,) = {one["order"]["behind"] for one in waiting}
    assert [one["id"] for one in waiting] == [head + 6, head + 3]
    shown = (await daemon.cli("endpoints", "show", "crm", "-o", "json")).json
    assert (shown["blocked"], shown["settings"]["ordering"]) == (2, "by key data.customer")
    refused = await daemon.cli("deliveries", "retry", str(waiting[0]["id"]))
    assert refused.code == 1
    assert f"waits behind delivery {head}" in refused.err

    home.config["endpoints"]["crm"]["ordering"] = "none"
    home.write()
    assert (await daemon.reload())["msg"] == "config.reloaded"
    judge.failing.clear()
    await crm.until(lambda: judge.taken["a"] == [0, 1, 2, 3])
    metrics = await daemon.until(lambda m: m['hookpost_deliveries_pending{endpoint="crm"}'] == 0)
    assert metrics['hookpost_deliveries_throttled_total{by="order",endpoint="crm"}'] == 0
    assert await blocked(daemon) == []
    judge.in_order()
    assert await daemon.stop() == 0


async def test_a_head_that_is_cancelled_is_skipped(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    home.config["retry_policies"]["quick"] = {**QUICK, "backoff": {"initial": "1h", "max": "1h"}}
    home.config["retry_policies"]["quick"]["max_age"] = "3d"
    home.config["endpoints"]["crm"]["ordering"] = "fifo"
    judge = Judge(crm, "none")
    judge.failing.add(("None", 0))
    daemon = await nursery.start()
    await daemon.accept({"n": 0}, {"n": 1}, {"n": 2})
    metrics = await daemon.until(
        lambda m: m['hookpost_deliveries_throttled_total{by="order",endpoint="crm"}'] == 2
    )
    assert metrics['hookpost_deliveries_pending{endpoint="crm"}'] == 3
    await daemon.log("attempt.finished", result="http_5xx")
    (head,) = {one["order"]["behind"] for one in await blocked(daemon)}
    await daemon.until(lambda m: m['hookpost_deliveries_in_flight{endpoint="crm"}'] == 0)
    done = await daemon.cli("deliveries", "cancel", str(head), "--yes")
    assert done.code == 0, done.err
    await crm.until(lambda: judge.taken["None"] == [1, 2])
    judge.in_order()
    assert await daemon.stop() == 0


async def test_fifo_is_kept_over_kills_reloads_and_failures(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    home.config["retry_policies"]["quick"] = QUICK
    home.config["endpoints"]["crm"]["ordering"] = "fifo"
    judge = Judge(crm, "none")
    judge.failing = {("None", number) for number in range(0, 60, 7)}

    def heal() -> None:
        judge.failing -= {("None", n) for n in judge.firsts["None"][:-1]}
        if len(crm.requests) % 3 == 0:
            judge.failing.discard(("None", judge.firsts["None"][-1]))

    for life in range(3):
        daemon = await nursery.start()
        first = 20 * life
        await daemon.accept(*({"n": number} for number in range(first, first + 20)))
        home.config["endpoints"]["crm"]["concurrency"] = 2 + life
        home.write()
        assert (await daemon.reload())["msg"] == "config.reloaded"
        while len(judge.firsts["None"]) < first + 10:
            seen = len(crm.requests)
            await crm.until(lambda seen=seen: len(crm.requests) > seen)  # type: ignore[misc]
            heal()
        await killed(daemon)
    judge.failing.clear()
    daemon = await nursery.start()
    await daemon.until(lambda m: m['hookpost_deliveries_pending{endpoint="crm"}'] == 0)
    assert judge.firsts["None"] == list(range(60))
    judge.in_order()
    assert await daemon.stop() == 0
