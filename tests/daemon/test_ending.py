"""How a daemon ends: in order, in a hurry, or not asked at all (P1, P2)."""

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from tests.daemon.harness import Daemon, Home, Nursery, Receiver, conserved, taken_over

KILLS = 20


async def test_sigterm_lets_attempts_in_flight_end_and_settles_them(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    crm.hang()
    daemon = await nursery.start()
    await daemon.accept({"n": 1}, {"n": 2})
    await crm.count(2)
    daemon.send(signal.SIGTERM)
    await daemon.log("daemon.stopping")
    assert (await daemon.get("/readyz"))[0] == 503
    crm.release()
    assert await daemon.ended() == 0
    assert daemon.logged("daemon.stopped")
    assert states(home) == {"delivered": 2}
    again = await nursery.start()
    assert await again.stop() == 0
    assert len(crm.requests) == 2
    assert not home.admin.exists()


async def test_sigterm_answers_503_to_connections_that_go_on(
    nursery: Nursery, crm: Receiver
) -> None:
    crm.hang()
    daemon = await nursery.start()
    await daemon.accept({"n": 1})
    await crm.count(1)
    reader, writer = await asyncio.open_connection(*daemon.address("ingest").split(":"))
    writer.write(b"POST /in/billing HTTP/1.1\r\nHost: x\r\nContent-")  # not idle
    await writer.drain()
    await daemon.get("/livez")
    daemon.send(signal.SIGTERM)
    await daemon.log("daemon.stopping")
    writer.write(b"Length: 0\r\nAuthorization: Bearer canary-token-58f1c0\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After:" in head
    writer.close()
    await writer.wait_closed()
    crm.release()
    assert await daemon.ended() == 0


async def test_when_the_grace_is_over_attempts_are_released_and_repeated_once_after_a_restart(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    crm.hang()
    daemon = await nursery.start("--grace", "0.05")
    (one,) = await daemon.accept({"n": 1})
    await crm.count(1)
    assert await daemon.stop() == 0
    assert daemon.logged("attempt.finished", result="interrupted")
    assert states(home) == {"pending": 1}
    crm.release()
    again = await nursery.start()
    await again.log("attempt.finished", result="success")
    assert [each.id for each in crm.requests] == [one, one]
    assert crm.requests[1].body == crm.requests[0].body
    ran = await again.cli("deliveries", "show", "1", "-o", "json")
    results = [each["result"] for each in ran.json["recordedAttempts"]]
    assert results == ["interrupted", "success"]


async def test_a_second_sigterm_ends_at_once(nursery: Nursery, home: Home, crm: Receiver) -> None:
    crm.hang()
    home.config["endpoints"]["crm"]["timeout"] = "60s"
    daemon = await nursery.start("--grace", "60")
    await daemon.accept({"n": 1})
    await crm.count(1)
    daemon.send(signal.SIGTERM)
    await daemon.log("daemon.stopping")
    daemon.send(signal.SIGTERM)
    assert await daemon.ended() == 0
    assert states(home) == {"pending": 1}


async def test_sigquit_drains_like_sigterm(nursery: Nursery, home: Home, crm: Receiver) -> None:
    crm.hang()
    daemon = await nursery.start()
    await daemon.accept({"n": 1})
    await crm.count(1)
    daemon.send(signal.SIGQUIT)
    await daemon.log("daemon.stopping")
    crm.release()
    assert await daemon.ended() == 0
    assert states(home) == {"delivered": 1}


async def test_signals_that_mean_nothing_here_are_logged_and_end_nothing(
    nursery: Nursery, crm: Receiver
) -> None:
    daemon = await nursery.start()
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
        daemon.send(number)
        line = await daemon.log("signal.ignored", signal=number.name)
        assert "HUP reloads, TERM drains" in line["instead"]
    await daemon.accept({"n": 1})
    await crm.count(1)
    assert await daemon.stop() == 0


async def test_a_stray_signal_while_it_starts_ends_nothing(nursery: Nursery) -> None:
    daemon = nursery.launch()
    harmless(daemon.process.pid, signal.SIGUSR1)
    daemon.send(signal.SIGUSR1)
    await daemon.log("daemon.ready")
    assert await daemon.stop() == 0


async def test_sigterm_while_it_starts_ends_in_order_too(nursery: Nursery, home: Home) -> None:
    daemon = nursery.launch()
    taken_over(daemon.process.pid, signal.SIGTERM)
    assert await daemon.stop() == 0
    assert daemon.logged("daemon.stopped")
    assert not home.admin.exists()


@pytest.mark.timeout(300)
async def test_kill_9_loses_no_acknowledged_event_and_repeats_only_what_was_in_flight(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    """P1, P2, P7: twenty kills under load on one database, then one orderly life."""
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    home.config["endpoints"]["crm"].update(concurrency=4, circuit_breaker="none")
    home.config["retry_policies"]["quick"] = {
        "schedule": ["20ms", "20ms", "20ms", "20ms", "20ms", "20ms"], "jitter": "none",
    }  # fmt: skip
    acknowledged: set[str] = set()
    may_repeat: set[str] = set()
    for life in range(KILLS):
        before = len(crm.requests)
        daemon = await nursery.start()
        publishers = [asyncio.create_task(publish(daemon, acknowledged, life, n)) for n in range(4)]
        await crm.count(before + dice.randrange(1, 60))
        daemon.process.kill()
        for publisher in publishers:
            await publisher
        assert await daemon.ended() == -signal.SIGKILL
        may_repeat |= unsettled(home, {each.id for each in crm.requests})
    last = await nursery.start()
    await last.until(lambda m: m['hookpost_deliveries_pending{endpoint="crm"}'] == 0)
    (shown,) = (await last.cli("endpoints", "list", "-o", "json")).json
    assert await last.stop() == 0

    received = {each.id for each in crm.requests}
    assert acknowledged, "nothing was acknowledged, so nothing was shown"
    assert not acknowledged - received, f"lost; seed {seed}"
    repeated = [each.id for each in crm.requests]
    twice = {id for id in received if repeated.count(id) > 1}
    assert twice <= may_repeat, f"repeated although settled; seed {seed}"
    bodies: dict[str, bytes] = {}
    for each in crm.requests:
        assert bodies.setdefault(each.id, each.body) == each.body
    assert conserved(shown)
    assert shown["delivered"] == shown["created"] == len(received)
    assert states(home) == {"delivered": len(received)}
    assert checked(home) == "ok"


async def publish(daemon: Daemon, acknowledged: set[str], life: int, publisher: int) -> None:
    """Post until the daemon dies; what was acknowledged is remembered."""
    number = 0
    while True:
        id = f"evt-{life}-{publisher}-{number}"
        try:
            status, _, _ = await daemon.post({"n": number, "pad": "x" * 300}, id=id)
        except OSError:
            return
        except Exception as error:
            if type(error).__name__ in ("ServerDisconnectedError", "ClientPayloadError"):
                return
            raise
        if status == 202:
            acknowledged.add(id)
        number += 1


def rows(home: Home, query: str) -> list[tuple[object, ...]]:
    """A question to a copy of the database: to recover the original is the daemon's work."""
    with tempfile.TemporaryDirectory(dir=home.folder) as copy:
        shutil.copytree(home.database.parent, copy, dirs_exist_ok=True)
        with closing(sqlite3.connect(Path(copy) / home.database.name)) as connection:
            return connection.execute(query).fetchall()


def harmless(pid: int, number: signal.Signals) -> None:
    """Wait until a signal is ignored or caught; before, it ends any program."""
    while True:
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        masks = [line.split()[1] for line in status if line.startswith(("SigIgn", "SigCgt"))]
        if any(int(mask, 16) & 1 << (number - 1) for mask in masks):
            return
        os.sched_yield()


STATES = {0: "pending", 1: "delivered", 2: "dead", 3: "cancelled"}


def states(home: Home) -> dict[str, int]:
    """How many deliveries are stored in which state."""
    found = rows(home, "SELECT state, count(*) FROM delivery GROUP BY state")
    return {STATES[int(str(state))]: int(str(number)) for state, number in found}


def unsettled(home: Home, received: set[str]) -> set[str]:
    """Of the events that were received, those whose settlement is not in the database."""
    query = "SELECT e.id FROM delivery d JOIN event e ON e.seq = d.event WHERE d.state = 0"
    return {str(row[0]) for row in rows(home, query)} & received


def checked(home: Home) -> str:
    return str(rows(home, "PRAGMA integrity_check")[0][0])
