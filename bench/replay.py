"""`python -m bench.replay [FILE]`: real payloads through a real gateway, compared byte for byte.

FILE holds one JSON object a line, `{"event": …, "payload": …}`; without it, the demo's payloads
are taken. Each goes through a raw source to two endpoints, one of which fails the first attempt of
every event. Every body that arrives must be the one that was sent and must verify with the
third-party package `standardwebhooks`. Exit status 1 where one does not.
"""

import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from bench.machine import facts

ROOT = Path(__file__).resolve().parent.parent
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN = "replay-publisher-token-0123456789"
PATIENCE = 60.0
CONFIGURATION = """\
version: 1
listen: {{ingest: {{address: "127.0.0.1:0", max_body: 4MiB}}, ops: {{address: "127.0.0.1:0"}}}}
secrets: {{publisher: {{file: publisher}}, signing: {{file: signing}}}}
retry_policies: {{quick: {{max_attempts: 3, backoff: {{initial: 200ms, max: 1s, jitter: none}}}}}}
circuit_breakers: {{patient: {{consecutive_failures: 100000, min_attempts: 100000}}}}
egress_policies: {{here: {{allow: ["127.0.0.1/32"], require_https: false}}}}
sources:
  github:
    path: /in/github
    auth: {{bearer: [publisher]}}
    format: raw
    event_type: {{header: X-GitHub-Event}}
    event_id: {{header: X-GitHub-Delivery}}
    forward_headers: [X-GitHub-Event, X-GitHub-Delivery]
endpoint_defaults: {{egress: here, retry: quick, signing: {{standard_webhooks: [signing]}}}}
endpoints:
  steady: {{url: "http://127.0.0.1:{port}/steady"}}
  flaky: {{url: "http://127.0.0.1:{port}/flaky", circuit_breaker: patient}}
subscriptions: {{all: {{sources: [github], endpoints: [steady, flaky]}}}}
"""


@dataclass(slots=True)
class Arrivals:
    """What the receiver took, by endpoint and provider's delivery id; and what was wrong."""

    bodies: dict[tuple[str, str], bytes] = field(default_factory=dict)
    times: dict[tuple[str, str], float] = field(default_factory=dict)
    attempts: int = 0
    refused_once: set[str] = field(default_factory=set)
    mistakes: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Verify one request and say with which status to answer it."""
        number, endpoint = headers["X-GitHub-Delivery"], path.strip("/")
        with self.lock:
            self.attempts += 1
            try:
                Webhook(SECRET).verify(body, headers)
            except WebhookVerificationError as error:
                self.mistakes.append(f"{endpoint} {number}: {error}")
            if endpoint == "flaky" and number not in self.refused_once:
                self.refused_once.add(number)
                return 503
            self.bodies[endpoint, number] = body
            self.times[endpoint, number] = time.monotonic()
            return 204


def receiver(arrivals: Arrivals) -> ThreadingHTTPServer:
    """A plain threaded server of the standard library: nothing of ours reads the requests."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(arrivals.take(self.path, dict(self.headers), body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def payloads(path: Path | None) -> Iterator[tuple[str, bytes]]:
    """Event names and bodies."""
    if path is None:
        for file in sorted((ROOT / "demo" / "payloads").glob("*.json")):
            yield file.stem, file.read_bytes()
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            read = json.loads(line)
            yield read["event"], json.dumps(read["payload"], ensure_ascii=False).encode()


def start(folder: Path, port: int) -> tuple[subprocess.Popen[str], int]:
    """The daemon on a configuration of its own, and its ingest port."""
    for name, value in (("publisher", TOKEN), ("signing", SECRET)):
        (folder / name).write_text(value)
        (folder / name).chmod(0o600)
    (folder / "gateway.yaml").write_text(CONFIGURATION.format(port=port))
    command = [sys.executable, "-m", "hookpost", "run", "-c", str(folder / "gateway.yaml")]
    process = subprocess.Popen(
        [*command, "--log-format", "json"], stderr=subprocess.PIPE, text=True
    )
    lines: queue.Queue[str] = queue.Queue()
    stream = process.stderr
    assert stream is not None
    threading.Thread(target=lambda: [lines.put(line) for line in stream], daemon=True).start()
    while True:
        said = json.loads(lines.get(timeout=PATIENCE))
        if said["msg"] == "daemon.ready":
            return process, int(said["ingest"].rsplit(":", 1)[1])


def post(port: int, event: str, body: bytes) -> str:
    """One event as GitHub posts it; the delivery id that was made up for it."""
    number = str(uuid.uuid4())
    headers = {
        "Authorization": f"Bearer {TOKEN}",
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": number,
    }
    url = f"http://127.0.0.1:{port}/in/github"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
        if answer.status != 202:
            raise SystemExit(f"{event}: {answer.status} {answer.read()!r}")
    return number


def main() -> int:
    """Replay, compare, print the figures."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    arrivals = Arrivals()
    server = receiver(arrivals)
    with tempfile.TemporaryDirectory(prefix="hookpost-replay-") as folder:
        process, port = start(Path(folder), server.server_address[1])
        sent: dict[str, bytes] = {}
        accepted: dict[str, float] = {}
        try:
            for event, body in payloads(path):
                number = post(port, event, body)
                sent[number], accepted[number] = body, time.monotonic()
            end = time.monotonic() + PATIENCE
            while len(arrivals.bodies) < 2 * len(sent) and time.monotonic() < end:
                time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=PATIENCE)
            server.shutdown()
    return report(sent, accepted, arrivals, code)


def report(
    sent: dict[str, bytes], accepted: dict[str, float], arrivals: Arrivals, code: int
) -> int:
    """Print what was found; the exit status."""
    wanted = {(endpoint, number) for endpoint in ("steady", "flaky") for number in sent}
    missing = wanted - arrivals.bodies.keys()
    altered = [key for key, body in arrivals.bodies.items() if body != sent.get(key[1])]
    about = facts(ROOT)
    print(
        ", ".join(f"{name} {about[name]}" for name in ("cpus", "cpu", "kernel", "python", "sqlite"))
    )
    print(f"payloads            {len(sent)}, {sum(map(len, sent.values())):,} bytes")
    print(
        f"arrived             {len(arrivals.bodies)} of {len(wanted)}, {arrivals.attempts} attempts"
    )
    print(f"byte for byte       {len(arrivals.bodies) - len(altered)}, altered {len(altered)}")
    print(f"not verified        {len(arrivals.mistakes)}")
    for endpoint in ("steady", "flaky"):
        waits = [at - accepted[key[1]] for key, at in arrivals.times.items() if key[0] == endpoint]
        if waits:
            print(f"202 to {endpoint:<12} median {median(waits) * 1000:.1f} ms")
    print(f"gateway's exit code {code}")
    for line in [*arrivals.mistakes, *(f"missing: {key}" for key in sorted(missing))][:20]:
        print(line)
    return 1 if missing or altered or arrivals.mistakes or code else 0


if __name__ == "__main__":
    sys.exit(main())
