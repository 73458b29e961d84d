"""The gateway under test: its generated configuration, its process, what it says of itself."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from bench import LANES, ROOT, BenchError
from bench.hooks import SECRET
from bench.machine import cpu_seconds, free_port, resident_mb, wait_until

PATH = "/in/bench"
BEARER = "bench-publisher-token-0123456789"
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # the Standard Webhooks example key
FINISHED = re.compile(
    r'^hookpost_deliveries_finished_total\{[^}]*outcome="delivered"[^}]*\} (\S+)$', re.MULTILINE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiving:
    """One endpoint of the generated configuration and the event type it gets."""

    name: str
    event_type: str
    path: str
    concurrency: int = LANES
    paused: bool = False
    breaker: str = "standard"
    ordering: str = "none"


@dataclass(slots=True, kw_only=True)
class Gateway:
    """One daemon on a directory of its own; `env` may preload the slow-sync shim.

    With `filters` each endpoint has so many subscriptions, of which the last one's filter is true.
    """

    directory: Path
    receiver_port: int
    endpoints: tuple[Receiving, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    filters: int = 0
    port: int = 0
    ready_after: float = 0.0
    _ops: int = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def database(self) -> Path:
        """Where the outbox is."""
        return self.directory / "var" / "outbox.db"

    def write(self) -> Path:
        """Write configuration and secrets; the configuration's path."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port, self._ops = free_port(), free_port()
        for name, value in (
            ("publisher", BEARER),
            ("signing", SIGNING),
            ("provider", SECRET.decode()),
        ):
            secret = self.directory / name
            secret.write_text(value + "\n")
            secret.chmod(0o600)
        path = self.directory / "gateway.yaml"
        path.write_text(self.configuration())
        return path

    def configuration(self) -> str:
        """The YAML: one bearer source, signed endpoints on loopback, logging as by default."""
        text = f"""\
version: 1
listen:
  ingest: {{address: "127.0.0.1:{self.port}"}}
  ops: {{address: "127.0.0.1:{self._ops}"}}
  admin: {{address: "unix:{self.directory}/admin.sock"}}
storage: {{sqlite: {{path: "{self.database}"}}}}
secrets:
  publisher: {{file: publisher}}
  signing: {{file: signing}}
  provider: {{file: provider}}
egress_policies:
  loopback: {{allow: ["127.0.0.0/8"], require_https: false}}
sources:
  bench: {{path: {PATH}, auth: {{bearer: [publisher]}}, format: envelope}}
  github: {{path: /in/github, preset: github, secrets: [provider]}}
  zoom: {{path: /in/zoom, preset: zoom, secrets: [provider]}}
endpoint_defaults: {{egress: loopback, signing: {{standard_webhooks: [signing]}}, timeout: 3s}}
endpoints:
"""
        for one in self.endpoints:
            url = f"http://127.0.0.1:{self.receiver_port}{one.path}"
            text += (
                f"  {one.name}: {{url: {url}, concurrency: {one.concurrency}, "
                f"max_pending: 5000000, circuit_breaker: {one.breaker}, ordering: {one.ordering}, "
                f"paused: {str(one.paused).lower()}}}\n"
            )
        text += "subscriptions:\n"
        for one in self.endpoints:
            wanted = f"events: [{one.event_type}], endpoints: [{one.name}]"
            for number in range(1, self.filters):
                condition = f"data.n > `0` && data.text == 'customer-{number}'"
                text += f'  to-{one.name}-{number}: {{{wanted}, filter: "{condition}"}}\n'
            last = ', filter: "data.n == `1`"' if self.filters else ""
            text += f"  to-{one.name}: {{{wanted}{last}}}\n"
        return text

    def start(self) -> Self:
        """Start the daemon and wait until it is ready; `ready_after` is the time that took."""
        path = self.write()
        begin = time.monotonic()
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hookpost", "run", "-c", str(path)],
                cwd=ROOT,
                env=_environment(self.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(30.0, self._ready, f"the gateway (log: {self.directory / 'log'}) ready")
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        self.ready_after = time.monotonic() - begin
        return self

    def _ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            text = (self.directory / "log").read_text(errors="replace")
            raise BenchError(f"the gateway ended with {self._process.returncode}: {text[-2000:]}")
        try:
            return self._get("/readyz")[0] == http.client.OK
        except OSError:
            return False

    def _get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._ops, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self._process is not None
        return self._process.pid

    def delivered(self) -> int:
        """Deliveries settled as delivered, over all endpoints."""
        return int(sum(float(value) for value in FINISHED.findall(self._get("/metrics")[1])))

    def settled(self, count: int, limit: float = 30.0) -> None:
        """Wait until `count` deliveries are settled as delivered."""
        wait_until(limit, lambda: self.delivered() >= count, f"{count} settled deliveries", 0.02)

    def pause(self, name: str) -> None:
        """Pause one endpoint through the admin socket."""
        self._admin(f"/endpoints/{name}/pause")

    def resume(self, name: str) -> None:
        """Let it go on."""
        self._admin(f"/endpoints/{name}/resume")

    def _admin(self, path: str) -> None:
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.closing(connection):
            connection.sock.settimeout(60)
            connection.sock.connect(str(self.directory / "admin.sock"))
            connection.request("POST", path, b"{}", {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read().decode(errors="replace")
        if answer.status != http.client.OK:
            raise BenchError(f"POST {path} was answered {answer.status}: {body}")

    def cpu(self) -> float:
        """CPU seconds used so far, all threads."""
        return cpu_seconds(self.pid)

    def peak_mb(self) -> float:
        """The most resident memory so far, MB."""
        return resident_mb(self.pid, peak=True)

    def stop(self) -> None:
        """SIGTERM, and after 30 s SIGKILL; anything but exit status 0 is an error."""
        if self._process is None:
            return
        process, self._process = self._process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(30.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise BenchError("the gateway did not stop within 30 s of SIGTERM") from None
        if status:
            raise BenchError(f"the gateway stopped with status {status}: {self.directory / 'log'}")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.stop()
        else:
            # The first failure is the one to tell of.
            with contextlib.suppress(BenchError):
                self.stop()


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HOOKPOST_")}
    return {**kept, **extra}
