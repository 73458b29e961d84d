"""What ingest's tests stand on: an outbox in memory, a configuration in code, raw connections."""

import asyncio
import contextlib
import json
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import ANY

from multidict import CIMultiDict
from tests.builders import FakeClock

from hookpost.core.model import Duplicate, EndpointId, Event, PutAnswer, Stored
from hookpost.core.refusals import Refused
from hookpost.core.routing import Routes
from hookpost.core.secrets import Secret
from hookpost.core.settings import (
    AdminListener,
    Auth,
    Config,
    Endpoint,
    IngestListener,
    Listen,
    Source,
    Storage,
    Subscription,
    UnixAddress,
)
from hookpost.metrics import Metrics, SourceMetrics
from hookpost.services.commit import Commitment
from hookpost.services.health import Health
from hookpost.services.ingest import Batch, IngestService
from hookpost.services.snapshot import Current, Snapshot
from hookpost.storage.outbox import Outbox, Waiter
from hookpost.web.ingest import IngestFace
from hookpost.web.server import Listener


def stored(event_id: str, deliveries: int) -> Stored:
    """Equal to an answer with this id and number, whatever the sequence."""
    return Stored(event_id, ANY, deliveries)


def duplicate(event_id: str, deliveries: int) -> Duplicate:
    """Equal to an answer with this id and number, conflicting or not."""
    return Duplicate(event_id, deliveries, ANY)


TOKEN = "s3cret-token"
BEARER = ("Authorization", f"Bearer {TOKEN}")
JSON = ("Content-Type", "application/json")


def secret(value: str, **fields: Any) -> Secret:
    return Secret(name="s", value=value.encode(), **fields)


def a_source(name: str = "billing", **fields: Any) -> Source:
    """A source at /in/NAME that asks for TOKEN as a bearer."""
    fields = {"auth": Auth(bearer=(secret(TOKEN),)), "path": f"/in/{name}"} | fields
    return Source(name=name, **fields)


def a_snapshot(
    *sources: Source,
    subscriptions: Sequence[Subscription] | None = None,
    **limits: Any,
) -> Snapshot:
    """A snapshot with endpoints crm and audit; by default crm gets everything."""
    if subscriptions is None:
        subscriptions = [Subscription(name="all", endpoints=("crm",))]
    config = Config(
        path=Path("gateway.yaml"),
        listen=Listen(
            ingest=IngestListener(**limits), admin=AdminListener(address=UnixAddress(Path("a")))
        ),
        storage=Storage(path=Path("outbox.db")),
        sources={source.name: source for source in sources or (a_source(),)},
        endpoints={name: Endpoint(name=name, url="https://x.test/") for name in ("crm", "audit")},
        subscriptions=tuple(subscriptions),
    )
    ids = {"crm": EndpointId(1), "audit": EndpointId(2)}
    return Snapshot(config=config, endpoint_ids=ids, routes=Routes(config.subscriptions))


@dataclass
class MemoryOutbox:
    """submit and submit_many as the contract has them, without a disk. `failing` is raised instead;
    while `held` is a future, puts wait for it.
    """

    failing: Exception | None = None
    held: "asyncio.Future[None] | None" = None
    events: list[tuple[Event, tuple[EndpointId, ...]]] = field(default_factory=list)
    transactions: int = 0

    def submit(self, event: Event, endpoints: Sequence[EndpointId], waiter: Waiter) -> None:
        self._commit([(event, endpoints)], lambda answers: answers[0], waiter)

    def submit_many(
        self, events: Sequence[tuple[Event, Sequence[EndpointId]]], waiter: Waiter
    ) -> None:
        self._commit(events, lambda answers: answers, waiter)

    def _commit(
        self,
        events: Sequence[tuple[Event, Sequence[EndpointId]]],
        shaped: Callable[[list[PutAnswer]], Any],
        waiter: Waiter,
    ) -> None:
        """A transaction: at the loop's next turn, or when `held` is done."""

        def carry_out(*_: object) -> None:
            if self.failing is not None:
                if not waiter.done():
                    waiter.set_exception(self.failing)
                return
            self.transactions += 1
            answers = [self._put(event, tuple(owed)) for event, owed in events]
            if not waiter.done():
                waiter.set_result(shaped(answers))

        if self.held is not None:
            self.held.add_done_callback(carry_out)
        else:
            asyncio.get_running_loop().call_soon(carry_out)

    def _put(self, event: Event, owed: tuple[EndpointId, ...]) -> PutAnswer:
        for known, its in self.events:
            if event.dedup_key is not None and (known.source, known.dedup_key) == (
                event.source,
                event.dedup_key,
            ):
                other = (known.body, known.type) != (event.body, event.type)
                return Duplicate(known.id, len(its), conflicting=other)
        self.events.append((event, owed))
        return Stored(event.id, len(self.events), len(owed))

    @property
    def last(self) -> Event:
        return self.events[-1][0]


async def concluded(taken: Commitment | Batch | Refused) -> Any:
    """What is answered in the end."""
    if not isinstance(taken, Commitment):
        return taken
    told = asyncio.Event()
    taken.told = told.set
    await told.wait()
    return taken.answer


@dataclass
class Rig:
    """A service with everything it is given. `send` is one request at service level."""

    current: Current
    outbox: Any
    metrics: Metrics
    clock: FakeClock
    health: Health
    service: IngestService

    def reload(self, snapshot: Snapshot) -> None:
        self.current.snapshot = snapshot

    def source(self, name: str = "billing") -> SourceMetrics:
        return self.metrics.source(name)

    async def send(
        self,
        body: bytes = b'{"eventType":"invoice.paid","data":{}}',
        *pairs: tuple[str, str],
        path: str = "/in/billing",
        peer: str | None = "127.0.0.1",
        content_type: str | None = "application/json",
        auth: bool = True,
    ) -> Any:
        headers = CIMultiDict(pairs)
        if auth:
            headers.extend([BEARER])
        if content_type is not None:
            headers["Content-Type"] = content_type
        entrance = self.service.entrance(path)
        assert entrance is not None, path
        refused = self.service.admit(entrance, headers, peer)
        if refused is not None:
            return refused
        return await concluded(self.service.accept(entrance, headers, body))


def a_rig(
    snapshot: Snapshot | None = None, outbox: object | None = None, patience: float = 30.0
) -> Rig:
    clock = FakeClock()
    current = Current(snapshot or a_snapshot())
    metrics = Metrics(clock)
    health = Health(starting=False)
    kept = outbox if outbox is not None else MemoryOutbox()
    service = IngestService(
        current,
        cast(Outbox, kept),
        metrics,
        clock,
        health,
        random.Random(7).random,
        patience=patience,
    )
    return Rig(current, kept, metrics, clock, health, service)


@dataclass
class Reply:
    """One HTTP answer as it came over the wire."""

    status: int
    headers: "CIMultiDict[str]"
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A connection that sends the bytes it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def reply(self) -> Reply:
        """The next whole answer (100 Continue is one)."""
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = CIMultiDict(line.split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(headers.get("Content-Length", "0")))
        return Reply(int(head[0].split()[1]), headers, body)

    async def ask(self, raw: bytes) -> Reply:
        await self.send(raw)
        return await self.reply()

    async def closed(self) -> bool:
        """Wait for the end of the connection."""
        async with asyncio.timeout(10):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return

    def reset(self) -> None:
        """End the connection without a farewell: what comes is no end, but an error."""
        if self.writer.transport.is_closing():
            return  # the other side was first
        sock = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):  # the other end was faster, and it is closed
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def request(
    body: bytes = b'{"eventType":"invoice.paid","data":{}}',
    *pairs: tuple[str, str],
    method: str = "POST",
    target: str = "/in/billing",
    length: int | None = None,
    auth: bool = True,
    version: str = "1.1",
) -> bytes:
    """A whole request; `length` overrides the Content-Length."""
    lines = [f"{method} {target} HTTP/{version}", "Host: gateway"]
    lines += [f"{name}: {value}" for name, value in pairs]
    if auth:
        lines.append("{}: {}".format(*BEARER))
    if not any(name.lower() == "content-type" for name, _ in pairs):
        lines.append("{}: {}".format(*JSON))
    if not any(name.lower() == "transfer-encoding" for name, _ in pairs):
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class WebRig:
    """A rig behind a real socket."""

    rig: Rig
    listener: Listener
    connect: Callable[..., Awaitable[Client]]

    async def once(self, raw: bytes) -> Reply:
        client = await self.connect()
        try:
            return await client.ask(raw)
        finally:
            await client.close()

    def limit(self, **limits: Any) -> None:
        """Change limits as a reload does."""
        snapshot = self.rig.current.snapshot
        listen = replace(
            snapshot.config.listen, ingest=replace(snapshot.config.listen.ingest, **limits)
        )
        config = replace(snapshot.config, listen=listen)
        self.rig.reload(replace(snapshot, config=config, _remembered={}))


@asynccontextmanager
async def served(rig: Rig, unix: Path | None = None) -> AsyncIterator[WebRig]:
    """Serve the rig on loopback, or on a UNIX socket."""
    sock = socket.socket(socket.AF_INET if unix is None else socket.AF_UNIX)
    sock.bind(("127.0.0.1", 0) if unix is None else str(unix))
    sock.setblocking(False)
    sock.listen(64)
    address = sock.getsockname()
    face = IngestFace(rig.service, rig.metrics, rig.clock)
    listener = Listener(
        face.receive,
        lambda: rig.current.snapshot.config.listen.ingest,
        face.count_unseen,
        rig.clock,
    )
    await listener.start(sock)

    async def connect(**tls: Any) -> Client:
        if unix is None:
            return Client(*await asyncio.open_connection(*address, **tls))
        return Client(*await asyncio.open_unix_connection(unix, **tls))

    try:
        yield WebRig(rig, listener, connect)
    finally:
        await listener.stop(0.2)
