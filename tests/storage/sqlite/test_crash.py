"""P1: a process killed while it writes loses nothing that it acknowledged."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.builders import FakeClock
from tests.storage.steps import NOW, claim_all

from hookpost.storage.outbox import Selection
from hookpost.storage.sqlite import SqliteOutbox

# Eight publishers put without pause; one worker claims and settles. Each answer is one line.
CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from hookpost.storage.sqlite import SqliteOutbox
from tests.builders import FakeClock, an_event
from tests.storage.steps import NOW, delivered, endpoints, settle

def say(line):
    sys.stdout.write(line + "\\n")
    sys.stdout.flush()

async def publish(outbox, crm, name):
    number = 0
    while True:
        number += 1
        event = an_event(id=f"{name}-{number}", dedup_key=f"{name}-{number}", dedup_window=60.0)
        await outbox.put(event, crm)
        say(f"put {event.id}")

async def work(outbox, crm):
    bell = asyncio.Event()
    outbox.watch(crm, bell.set)
    while True:
        await bell.wait()
        bell.clear()
        for delivery in await outbox.claim(crm, 5, NOW):
            await settle(outbox, delivered(delivery))
            say(f"settled {delivery.event.id}")

async def main():
    outbox = await SqliteOutbox.open(Path(sys.argv[1]), clock=FakeClock())
    crm, ci = await endpoints(outbox, "crm", "ci")
    publishers = (publish(outbox, [crm, ci], f"{sys.argv[3]}p{n}") for n in range(8))
    await asyncio.gather(work(outbox, crm), *publishers)

asyncio.run(main())
"""


def killed_writer(path: Path, name: str, lines: int) -> list[str]:
    """Run a writer until it has said so many lines, kill it, and return all it said."""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", CHILD, str(path), str(root), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    return [line.strip() for line in said if line.endswith("\n")]


async def test_no_acknowledged_put_or_settlement_is_lost_by_kill_9(
    tmp_path: Path, clock: FakeClock
) -> None:
    path = tmp_path / "outbox.db"
    said: list[str] = []
    for round_ in range(4):
        said += killed_writer(path, f"r{round_}", 150 + 61 * round_)
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
    put = {line.split()[1] for line in said if line.startswith("put ")}
    settled = {line.split()[1] for line in said if line.startswith("settled ")}
    assert len(put) > 200
    assert settled
    outbox = await SqliteOutbox.open(path, clock=clock)
    try:
        crm, ci = (record.id for record in outbox.endpoints())
        owed = [delivery.event.id for delivery in await claim_all(outbox, ci, NOW)]
        again = {delivery.event.id for delivery in await claim_all(outbox, crm, NOW)}
        assert put <= set(owed)
        assert len(owed) == len(set(owed)), "an event was stored twice"
        assert not settled & again
        assert put <= settled | again | (set(owed) - again)
        for endpoint, name in ((crm, "crm"), (ci, "ci")):
            counts = outbox.endpoint(endpoint).counts
            assert counts.created == len(owed) == await outbox.count(Selection(endpoint=name))
            assert counts.created == counts.delivered + counts.pending
    finally:
        await outbox.close()
