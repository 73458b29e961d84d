"""The main job, shown: accept, deliver, retry, give up, replay. Everything is the real thing.

Starts `hookpost run` and `hookpost listen` on loopback, posts real GitHub payloads, prints what
happens, and takes everything down again. Needs no arguments; leaves nothing behind.
"""

import json
import os
import queue
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOOKPOST = Path(sys.executable).with_name("hookpost")
PATIENCE = 30.0  # seconds that any one step may take


def say(text: str = "") -> None:
    """A heading or a remark."""
    print(text, flush=True)


class Process:
    """A child whose lines can be waited for; ended by its own pid."""

    def __init__(self, *arguments: str | Path, cwd: Path, lines_of: str) -> None:
        pipes = {lines_of: subprocess.PIPE}
        self._process = subprocess.Popen(
            [HOOKPOST, *arguments], cwd=cwd, text=True, bufsize=1, **pipes
        )
        self._stream = getattr(self._process, lines_of)
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._stream:
            self._lines.put(line)
        self._lines.put("")

    def line(self) -> str:
        """The next line; SystemExit when there is none in time."""
        try:
            line = self._lines.get(timeout=PATIENCE)
        except queue.Empty:
            line = ""
        if not line:
            sys.exit(f"demo: {self._process.args[1]} said nothing more; see what it printed above")
        return line.rstrip("\n")

    def end(self) -> int:
        """SIGTERM, then the exit code."""
        self._process.terminate()
        code = self._process.wait(timeout=PATIENCE)
        self._stream.close()
        return code


@contextmanager
def running(name: str, process: Process) -> Iterator[Process]:
    """Ends the process however the block ends."""
    try:
        yield process
    finally:
        code = process.end()
        say(f"  {name} left with exit code {code}")


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def hookpost(*arguments: str, cwd: Path) -> str:
    """One command, shown and run; what it printed."""
    say(f"\n$ hookpost {' '.join(arguments)}")
    done = subprocess.run([HOOKPOST, *arguments], cwd=cwd, text=True, stdout=subprocess.PIPE)
    say("".join(f"  {line}\n" for line in done.stdout.splitlines()).rstrip("\n"))
    return done.stdout


def post(port: int, token: str, name: str) -> None:
    """One GitHub delivery, as GitHub would post it."""
    body = (HERE / "payloads" / f"{name}.json").read_bytes()
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "X-GitHub-Event": name,
        "X-GitHub-Delivery": str(uuid.uuid4()),
    }
    url = f"http://127.0.0.1:{port}/in/github"
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            say(f"  POST {name} ({len(body)} bytes) -> {answer.status} {answer.read().decode()}")
    except urllib.error.URLError as error:
        sys.exit(f"demo: the gateway refused {name}: {error}")


def until(done: Callable[[], bool]) -> None:
    """Look again and again, for a bounded time."""
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            sys.exit("demo: waited too long")
        time.sleep(0.1)


def prepare(folder: Path) -> tuple[int, int, str]:
    """Configuration and secrets; the two ports and the publisher's token."""
    ingest, receiver = free_port(), free_port()
    text = (HERE / "gateway.yaml").read_text()
    text = text.replace("@INGEST@", str(ingest)).replace("@RECEIVER@", str(receiver))
    (folder / "gateway.yaml").write_text(text)
    (folder / "secrets").mkdir(mode=0o700)
    token = secrets.token_hex(24)
    file = os.open(folder / "secrets" / "github-token", os.O_WRONLY | os.O_CREAT, 0o600)
    with open(file, "w") as out:
        out.write(token)
    return ingest, receiver, token


def show(folder: Path, ends: ExitStack) -> None:
    """The whole demo."""
    ingest, receiver, token = prepare(folder)
    os.environ["HOOKPOST_CONFIG"] = str(folder / "gateway.yaml")
    say("== A key for the receiver, and a look at the configuration")
    hookpost("secrets", "generate", "--out", "secrets/receiver-key", cwd=folder)
    hookpost("check", "--strict", cwd=folder)

    rules = ("--fail", "type=issues:first:1", "--fail", "type=release:first:2")
    port = ("--port", str(receiver), "--secret-file", "secrets/receiver-key")
    say("\n== A receiver that verifies; it will fail `issues` once and `release` twice")
    say(f"$ hookpost listen {' '.join((*port, *rules))} &")
    listen = Process("listen", *port, *rules, cwd=folder, lines_of="stdout")
    ends.enter_context(running("hookpost listen", listen))

    say("\n== The gateway, with its SQLite outbox\n$ hookpost run &")
    gateway = Process("run", "--log-format", "json", cwd=folder, lines_of="stderr")
    ends.enter_context(running("hookpost run", gateway))
    while json.loads(gateway.line())["msg"] != "daemon.ready":
        pass
    say("  ready")

    say("\n== Four events from GitHub; 202 means committed and fsynced")
    for name in ("ping", "push", "issues", "release"):
        post(ingest, token, name)
    say("\n== What the receiver got: two delivered, `issues` retried, `release` given up")
    for _ in range(6):
        say(f"  {listen.line()[:150]}")

    def dead() -> bool:
        command = [HOOKPOST, "dead-letters", "list", "-o", "json"]
        found = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True)
        return bool(json.loads(found.stdout))

    until(dead)
    hookpost("dead-letters", "list", cwd=folder)
    say("\n== The receiver is well again: replay")
    hookpost("dead-letters", "replay", "--endpoint", "receiver", "--yes", cwd=folder)
    say(f"  {listen.line()[:150]}")
    hookpost("deliveries", "list", cwd=folder)
    say("\n== Leaving")


def main() -> None:
    """Run the demo in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="hookpost-demo-") as folder, ExitStack() as ends:
        show(Path(folder), ends)
    say("\nThat was it. Next: hookpost config init, docs/configuration.md, gateway.example.yaml")


if __name__ == "__main__":
    main()
