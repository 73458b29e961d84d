"""The limits: what a handler, an insert, an update and a POST cost when nothing else is done.

`handler`  an aiohttp `web.Application` that reads the body and stores nothing
`client`   an aiohttp session that posts the same body, nothing signed or recorded
`disk`     batched SQLite inserts and updates; single synced writes at a steady rate
"""

import asyncio
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

from bench import BATCH, BODY
from bench.child import serve

CHUNK = 32  # rows of one INSERT
SYNCED = 4096  # bytes of one synced write

SCHEMA = """
CREATE TABLE event (
    seq INTEGER PRIMARY KEY, id TEXT, source TEXT, type TEXT, accepted_at REAL, body BLOB);
CREATE TABLE delivery (
    id INTEGER PRIMARY KEY, event INTEGER, endpoint INTEGER, state INTEGER, next_at REAL,
    settled_at REAL);
CREATE INDEX due ON delivery (endpoint, next_at, id) WHERE state = 0;
"""


async def handler() -> None:
    """Serve POST on an ephemeral port: 202 with an answer as long as the gateway's."""
    answer = b'{"eventId":"evt_00000000000000000000000000","deliveries":1,"duplicate":false}'
    headers = {"Content-Type": "application/json"}

    async def accept(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=202, body=answer, headers=headers)

    app = web.Application()
    app.router.add_post("/in/bench", accept)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    try:
        await serve({}, port=runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def client() -> None:
    """POST to the receiver with `lanes` requests in flight; the receiver has the rate."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
    ) as session:

        async def post(port: int, count: int, lanes: int) -> dict[str, Any]:
            url = f"http://127.0.0.1:{port}/bare"
            body = b"x" * BODY
            headers = {"Content-Type": "application/json"}
            left = iter(range(count))

            async def lane() -> None:
                for _ in left:
                    answer = await session.post(url, data=body, headers=headers)
                    answer.release()

            before = time.process_time()
            await asyncio.gather(*(lane() for _ in range(lanes)))
            return {"cpu": (time.process_time() - before) / count * 1e6}

        await serve({"post": post})


async def disk() -> None:
    """What the storage under `directory` gives."""
    await serve({"sqlite": bare_sqlite, "probe": probe})


async def bare_sqlite(directory: str, rows: int) -> dict[str, Any]:
    """Rows a second: events with their delivery inserted, then deliveries updated, in batches."""
    path = Path(directory) / f"bare-{os.getpid()}.db"
    db = sqlite3.connect(path, isolation_level=None, cached_statements=512)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(SCHEMA)
        insert(db, 0, BATCH * 4)
        begin = time.monotonic()
        insert(db, BATCH * 4, rows)
        inserted = time.monotonic()
        update(db, BATCH * 4, rows)
        updated = time.monotonic()
    finally:
        db.close()
        for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            name.unlink(missing_ok=True)
    return {"insert": rows / (inserted - begin), "update": rows / (updated - inserted)}


def insert(db: sqlite3.Connection, first: int, rows: int) -> None:
    """Events first + 1 … first + rows, one delivery each, BATCH a transaction."""
    event = f"INSERT INTO event VALUES {','.join(['(?,?,?,?,?,?)'] * CHUNK)}"
    delivery = f"INSERT INTO delivery VALUES {','.join(['(?,?,?,?,?,?)'] * CHUNK)}"
    body = b"x" * BODY
    for start in range(first, first + rows, BATCH):
        db.execute("BEGIN IMMEDIATE")
        for at in range(start, start + BATCH, CHUNK):
            now = time.time()
            events: list[Any] = []
            deliveries: list[Any] = []
            for number in range(at + 1, at + CHUNK + 1):
                events += (number, f"evt_{number:026d}", "bench", "bench.order", now, body)
                deliveries += (number, number, 1, 0, now, None)
            db.execute(event, events)
            db.execute(delivery, deliveries)
        db.execute("COMMIT")


def update(db: sqlite3.Connection, first: int, rows: int) -> None:
    """The same deliveries settled, BATCH a transaction."""
    marks = ",".join("?" * BATCH)
    statement = f"UPDATE delivery SET state = 1, settled_at = ? WHERE id IN ({marks})"
    for start in range(first, first + rows, BATCH):
        db.execute("BEGIN IMMEDIATE")
        db.execute(statement, (time.time(), *range(start + 1, start + BATCH + 1)))
        db.execute("COMMIT")


async def probe(directory: str, count: int, rate: float) -> dict[str, Any]:
    """Milliseconds that each of `count` appended and synced blocks took, at `rate` a second."""
    path = Path(directory) / f"probe-{os.getpid()}"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    taken: list[float] = []
    try:
        begin = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            start = time.perf_counter()
            os.write(descriptor, b"x" * SYNCED)
            os.fdatasync(descriptor)
            taken.append((time.perf_counter() - start) * 1e3)
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)
    return {"taken": taken}


if __name__ == "__main__":
    uvloop.run({"handler": handler, "client": client, "disk": disk}[sys.argv[1]]())
