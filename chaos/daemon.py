"""The daemon under test: one `hookpost run`, its log, its signals, what /proc tells of it."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chaos import ROOT, ChaosError
from chaos.home import Document, Home
from chaos.wire import Connection, connected, until

SAMPLE = re.compile(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)
ENDPOINT = re.compile(r'hookpost_([a-z_]+)\{endpoint="([^"]+)"(?:,outcome="([a-z]+)")?\}')


def installed() -> list[str]:
    """The command as it was installed beside this interpreter."""
    script = Path(sys.executable).with_name("hookpost")
    return [str(script)] if script.exists() else [sys.executable, "-m", "hookpost"]


class Daemon:
    """One process, ended by its own pid. Its log is a file that can be searched.

    `command` replaces the installed one, for a daemon with a promise taken out.
    """

    def __init__(
        self,
        home: Home,
        log: Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        command: Sequence[str] = (),
    ) -> None:
        self.home = home
        self.log = log
        with log.open("wb") as lines:
            self.process = subprocess.Popen(
                [
                    *(command or installed()),
                    "run",
                    "-c",
                    str(home.file),
                    "--log-format",
                    "json",
                    *arguments,
                ],
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=lines,
            )
        self.born = time.monotonic()
        self._ready: Document | None = None

    # -- its log -------------------------------------------------------------------------------

    def logged(self, message: str, **fields: Any) -> list[Document]:
        """The records with this name and these fields, so far."""
        wanted = f'"{message}"'
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if wanted in line and line.startswith("{") and line.endswith("}"):
                record = json.loads(line)
                if record["msg"] == message and fields.items() <= record.items():
                    found.append(record)
        return found

    @property
    def text(self) -> str:
        """The last lines of its log."""
        return self.log.read_text(errors="replace")[-4000:]

    async def ready(self) -> "Daemon":
        """Wait until it serves."""

        def serves() -> bool:
            if self.process.poll() is not None:
                raise ChaosError(f"ended with {self.process.returncode} at once: {self.text}")
            self._ready = next(iter(self.logged("daemon.ready")), None)
            return self._ready is not None

        await until(serves, f"the daemon ready; log: {self.text}")
        return self

    def address(self, listener: str) -> str:
        """`host:port` of one of its listeners."""
        assert self._ready is not None
        found: str = self._ready[listener]
        return found

    # -- its life ------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """A signal to this process and no other."""
        self.process.send_signal(number)

    async def ended(self, limit: float = 30.0) -> int:
        """Wait for the end; the exit code (negative: by a signal)."""
        await until(lambda: not self.alive, f"the daemon's end; log: {self.text}", limit)
        code = self.process.returncode
        assert isinstance(code, int)
        return code

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """A signal, then the exit code."""
        self.send(number)
        return await self.ended()

    def close(self) -> None:
        """Whatever happened: no child is left."""
        if self.alive:
            self.process.kill()
        self.process.wait()

    # -- talking to it -------------------------------------------------------------------------

    async def get(self, page: str) -> tuple[int, str]:
        """A page of the ops listener."""
        async with connected(self.address("ops")) as connection:
            answer = await connection.ask("GET", page)
        return answer.status, answer.body.decode()

    async def metrics(self) -> dict[str, float]:
        """Every sample, by `name{labels}` as printed."""
        return {
            name: float(value) for name, value in SAMPLE.findall((await self.get("/metrics"))[1])
        }

    async def counters(self) -> dict[str, dict[str, int]]:
        """What /metrics says of each endpoint's deliveries."""
        found: dict[str, dict[str, int]] = {}
        for name, value in (await self.metrics()).items():
            match = ENDPOINT.fullmatch(name)
            if match is not None:
                kind, endpoint, outcome = match.groups()
                found.setdefault(endpoint, {})[outcome or kind] = int(value)
        return found

    async def administer(self, path: str) -> Document:
        """POST to the admin socket."""
        connection = await Connection.open(self.home.admin)
        try:
            headers = {"Content-Type": "application/json"}
            answer = await connection.ask("POST", path, headers, b"{}")
        finally:
            await connection.close()
        if answer.status != 200:
            raise ChaosError(f"POST {path} was answered {answer.status}: {answer.body!r}")
        return answer.json

    # -- what /proc tells ----------------------------------------------------------------------

    def resident(self) -> int:
        """Bytes of resident memory."""
        return int(self._status("VmRSS")) * 1024

    def threads(self) -> int:
        """Tasks of the kernel's: threads."""
        return int(self._status("Threads"))

    def descriptors(self) -> int:
        """Open file descriptors."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def cpu(self) -> float:
        """Seconds of processor time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _status(self, name: str) -> str:
        text = Path(f"/proc/{self.pid}/status").read_text()
        return re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)[1]  # type: ignore[index]


@contextlib.asynccontextmanager
async def watched(daemon: Daemon, most: float) -> Any:
    """Fail when the process uses more than `most` of a processor in this block."""
    clock = asyncio.get_running_loop().time
    began, used = clock(), daemon.cpu()
    yield
    share = (daemon.cpu() - used) / max(clock() - began, 1e-9)
    if share > most:
        raise ChaosError(f"the daemon used {share:.0%} of a processor, at most {most:.0%} is due")
