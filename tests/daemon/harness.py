"""A real daemon as a child process, a receiver that records, and a publisher: what tests/daemon
stands on. Waiting is for log lines, requests and answers, never for time to pass.
"""

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from standardwebhooks.webhooks import Webhook

PATIENCE = 20.0  # seconds that any one step may take
TOKEN = "canary-token-58f1c0"
KEY = "whsec_" + base64.b64encode(b"canary-signing-key-0123456789abc").decode()
OTHER_KEY = "whsec_" + base64.b64encode(b"canary-another-key-0123456789abc").decode()
READY = "daemon.ready"

Document = dict[str, Any]


# -- the receiver --------------------------------------------------------------------------------


@dataclass(slots=True)
class Received:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    number: int = 0
    answered: int | None = None

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Receiver:
    """Records every request and answers by `answer`; what hangs waits for `release`."""

    port: int = 0
    requests: list[Received] = field(default_factory=list)
    answer: Callable[[Received], int | Awaitable[int]] = lambda _: 204
    headers: dict[str, str] = field(default_factory=dict)
    in_flight: Counter[str] = field(default_factory=Counter)
    peak: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def hang(self) -> None:
        """Answer nobody until `release`."""
        self._released.clear()

        async def later(_: Received) -> int:
            await self._released.wait()
            return 204

        self.answer = later

    def release(self) -> None:
        self.answer = lambda _: 204
        self._released.set()

    def to(self, name: str) -> list[Received]:
        return [each for each in self.requests if each.path == f"/{name}"]

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until a request, or its end, has made `done` true."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(done)

    async def count(self, number: int, name: str | None = None) -> list[Received]:
        def found() -> list[Received]:
            return self.requests if name is None else self.to(name)

        await self.until(lambda: len(found()) >= number)
        return found()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        received = Received(request.path, dict(request.headers), body, len(self.requests) + 1)
        received.headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(received)
        self.in_flight[request.path] += 1
        now = self.in_flight[request.path]
        self.peak[request.path] = max(self.peak[request.path], now)
        await self._tell()
        try:
            answered = self.answer(received)
            status = answered if isinstance(answered, int) else await answered
            received.answered = status
            return web.Response(status=status, headers=self.headers)
        finally:
            self.in_flight[request.path] -= 1
            await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on a port of its own."""
    made = Receiver()
    server = web.Server(made.handle, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        made.release()
        await runner.cleanup()


def verified(received: Received, key: str = KEY) -> Any:
    """The payload, by the public package; raises if the signature does not fit."""
    return Webhook(key).verify(received.body, dict(received.headers))


# -- a configuration's home ----------------------------------------------------------------------


class Home:
    """A folder with a configuration that can be changed and written again."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.file = folder / "gateway.yaml"
        self.database = folder / "var" / "outbox.db"
        self.admin = folder / "run" / "admin.sock"
        self.secret("token", TOKEN)
        self.secret("key", KEY)
        self.config: Document = {
            "version": 1,
            "listen": {
                "ingest": {"address": "127.0.0.1:0"},
                "ops": {"address": "127.0.0.1:0"},
                "admin": {"address": "unix:run/admin.sock"},
            },
            "storage": {"sqlite": {"path": "var/outbox.db"}, "min_free": "32MiB"},
            "secrets": {"token": {"file": "secrets/token"}, "key": {"file": "secrets/key"}},
            "retry_policies": {
                "quick": {
                    "max_attempts": 3,
                    "backoff": {
                        "initial": "20ms",
                        "multiplier": 1,
                        "max": "20ms",
                        "jitter": "none",
                    },
                }
            },
            "egress_policies": {"here": {"allow": ["127.0.0.0/8"], "require_https": False}},
            "sources": {"billing": {"path": "/in/billing", "auth": {"bearer": ["token"]}}},
            "endpoint_defaults": {"egress": "here", "retry": "quick", "circuit_breaker": "none"},
            "endpoints": {},
            "subscriptions": {},
        }
        self.port = port
        self.endpoint("crm")

    def secret(self, name: str, value: str) -> None:
        path = self.folder / "secrets" / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(value)
        path.chmod(0o600)

    def endpoint(self, name: str, **settings: Any) -> None:
        """Add an endpoint at the receiver's path of its name, subscribed to everything."""
        self.config["endpoints"][name] = {
            "url": f"http://127.0.0.1:{self.port}/{name}",
            "signing": {"standard_webhooks": ["key"]},
            **settings,
        }
        self.config["subscriptions"][f"all-to-{name}"] = {"endpoints": [name]}

    def remove(self, name: str) -> Document:
        """Take an endpoint out; what it was."""
        del self.config["subscriptions"][f"all-to-{name}"]
        found: Document = self.config["endpoints"].pop(name)
        return found

    def write(self) -> None:
        """In one instant: a reload may read at any time."""
        fresh = self.file.with_name("gateway.yaml.new")
        fresh.write_text(yaml.safe_dump(self.config, sort_keys=False))
        fresh.replace(self.file)


# -- the daemon ----------------------------------------------------------------------------------


class Daemon:
    """One `hookpost run`, ended by its pid. Its log lines are records that can be waited for."""

    def __init__(
        self, home: Home, *arguments: str, through: Sequence[str] = (), **options: Any
    ) -> None:
        """`through` is a launcher's command: it executes the rest of its arguments by Python."""
        self.home = home
        self.records: list[Document] = []
        self.raw: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()
        command = ["-m", "hookpost", "run", "-c", str(home.file)]
        command = [*(through or (sys.executable,)), *command]
        self.process = subprocess.Popen(
            [*command, "--log-format", "json", *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            **options,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.http: aiohttp.ClientSession | None = None

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._loop.call_soon_threadsafe(self._line, line.decode("utf-8", "replace"))
        self.process.wait()
        self._loop.call_soon_threadsafe(self._over)

    def _line(self, line: str) -> None:
        self.raw.append(line)
        if line.startswith("{"):
            self.records.append(json.loads(line))
        self._changed.set()

    def _over(self) -> None:
        self._ended.set()
        self._changed.set()

    # -- its log -------------------------------------------------------------------------------

    def logged(self, message: str, **fields: Any) -> list[Document]:
        """The records with this name and these fields, so far."""
        return [
            record
            for record in self.records
            if record["msg"] == message
            and all(record.get(name) == value for name, value in fields.items())
        ]

    async def log(self, message: str, count: int = 1, **fields: Any) -> Document:
        """Wait for the `count`th record with this name and these fields."""
        try:
            async with asyncio.timeout(PATIENCE):
                while len(found := self.logged(message, **fields)) < count:
                    if self._ended.is_set():
                        raise AssertionError(f"ended without {message} {fields}: {self.text}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"no {message} {fields} in: {self.text}") from None
        return found[count - 1]

    @property
    def text(self) -> str:
        return "".join(self.raw)

    # -- its life ------------------------------------------------------------------------------

    async def ready(self) -> "Daemon":
        await self.log(READY)
        self.http = aiohttp.ClientSession()
        return self

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the end; the exit code (negative: by a signal)."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._ended.wait()
        except TimeoutError:
            raise AssertionError(f"does not end: {self.text}") from None
        return self.process.returncode

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """A signal, then the exit code."""
        self.send(number)
        return await self.ended()

    async def close(self) -> None:
        """Whatever happened: no child, no thread, no connection is left."""
        if self.http is not None:
            await self.http.close()
        if self.process.poll() is None:
            self.process.kill()
        await asyncio.to_thread(self._reader.join)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def arguments(self) -> str:
        """What `ps` shows of it."""
        return Path(f"/proc/{self.process.pid}/cmdline").read_text()

    # -- talking to it -------------------------------------------------------------------------

    def address(self, listener: str) -> str:
        found: str = self.logged(READY)[0][listener]
        return found

    async def get(self, page: str) -> tuple[int, str]:
        """A page of the ops listener."""
        assert self.http is not None
        async with self.http.get(f"http://{self.address('ops')}{page}") as answer:
            return answer.status, await answer.text()

    async def status(self) -> Document:
        found: Document = json.loads((await self.get("/status"))[1])
        return found

    async def metrics(self) -> dict[str, float]:
        """Every sample, by `name{labels}` as printed."""
        return samples((await self.get("/metrics"))[1])

    async def until(self, done: Callable[[dict[str, float]], bool]) -> dict[str, float]:
        """Ask for the metrics until they satisfy `done`; each question gives the daemon time."""
        found: dict[str, float] = {}
        try:
            async with asyncio.timeout(PATIENCE):
                while not done(found := await self.metrics()):
                    pass
        except TimeoutError:
            raise AssertionError(f"metrics stay at {found}; log: {self.text}") from None
        return found

    async def post(
        self,
        data: object,
        *,
        id: str | None = None,
        type: str = "invoice.paid",
        token: str = TOKEN,
        path: str = "/in/billing",
    ) -> tuple[int, Document, Mapping[str, str]]:
        """One event; status, answer, headers."""
        assert self.http is not None
        envelope: Document = {"eventType": type, "data": data}
        if id is not None:
            envelope["eventId"] = id
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        url = f"http://{self.address('ingest')}{path}"
        async with self.http.post(url, json=envelope, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None), dict(answer.headers)

    async def accept(self, *data: object) -> list[str]:
        """Post events that must be accepted; their ids."""
        ids = []
        for each in data:
            status, answer, _ = await self.post(each)
            assert status == 202, answer
            ids.append(answer["eventId"])
        return ids

    async def reload(self, count: int | None = None) -> Document:
        """SIGHUP, and the line that tells of its end."""
        ends = ("config.reloaded", "config.rejected")
        before = [record for record in self.records if record["msg"] in ends]
        self.send(signal.SIGHUP)
        while True:
            after = [record for record in self.records if record["msg"] in ends]
            if len(after) > len(before):
                return after[-1]
            self._changed.clear()
            async with asyncio.timeout(PATIENCE):
                await self._changed.wait()

    async def cli(self, *arguments: str) -> "Ran":
        return await cli(self.home, *arguments)


def samples(text: str) -> dict[str, float]:
    """The samples of a text exposition."""
    lines = re.findall(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in lines}


@dataclass(frozen=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


async def cli(home: Home, *arguments: str) -> Ran:
    """One command of the command line, as a process."""
    command = [sys.executable, "-m", "hookpost", *arguments, "-c", str(home.file)]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return Ran(done.returncode, done.stdout, done.stderr)


class Nursery:
    """Starts daemons in one home and closes them all at the end."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._all: list[Daemon] = []

    def launch(self, *arguments: str, **options: Any) -> Daemon:
        """Start one, as the configuration now is; do not wait."""
        self.home.write()
        daemon = Daemon(self.home, *arguments, **options)
        self._all.append(daemon)
        return daemon

    async def start(self, *arguments: str, **options: Any) -> Daemon:
        return await self.launch(*arguments, **options).ready()

    async def close(self) -> None:
        for daemon in self._all:
            await daemon.close()


def environment(**extra: str) -> dict[str, str]:
    """This process's environment with more."""
    return {**os.environ, **extra}


def pages(home: Home) -> Iterator[tuple[Path, bytes]]:
    """Every file of the database."""
    for path in sorted(home.database.parent.iterdir()):
        yield path, path.read_bytes()


def conserved(counts: Mapping[str, Any] | Sequence[Any]) -> bool:
    """created + replayed = delivered + dead + cancelled + pending, of an endpoint as shown."""
    assert isinstance(counts, Mapping)
    waiting = counts["pending"] + counts["parked"] + counts["inFlight"]
    ended = counts["delivered"] + counts["dead"] + counts["cancelled"]
    return bool(counts["created"] + counts["replayed"] == ended + waiting)


def taken_over(pid: int, number: signal.Signals) -> None:
    """Wait until the program has taken a signal over from the interpreter's start."""
    while True:
        status = Path(f"/proc/{pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
        if int(caught.split()[1], 16) & 1 << (number - 1):
            return
        os.sched_yield()
