"""What the machine is and what its kernel tells: facts, CPU time, memory, the slow-sync shim."""

import contextlib
import importlib.metadata
import os
import platform
import shutil
import socket
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

from bench import ROOT, BenchError

LIBRARIES = ("aiohttp", "uvloop", "aiosqlite", "hookpost")


def facts(directory: Path) -> dict[str, Any]:
    """The machine that the figures were taken on."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cpus": os.cpu_count(),
        "memory_kib": _field("/proc/meminfo", "MemTotal"),
        "load_before": os.getloadavg(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "commit": _commit(),
        "file_system": file_system(directory),
    }


def _field(path: str, name: str) -> str:
    with contextlib.suppress(OSError):
        for line in Path(path).read_text().splitlines():
            if line.startswith(name):
                return line.partition(":")[2].strip()
    return "unknown"


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"
    found = subprocess.run(
        [git, "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    )
    return found.stdout.strip() or "unknown"


def file_system(directory: Path) -> str:
    """The type of the file system that holds `directory`."""
    best, kind = "", "unknown"
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, at, name, *_ = line.split(" ")
            if directory.resolve().is_relative_to(at) and len(at) >= len(best):
                best, kind = at, name
    return kind


def cpu_seconds(pid: int) -> float:
    """CPU time of every living thread of a process, from the scheduler's own counters (ns)."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def resident_mb(pid: int, *, peak: bool = False) -> float:
    """Resident memory of a process in MB (10^6 bytes), now or at its peak."""
    name = "VmHWM" if peak else "VmRSS"
    return int(_field(f"/proc/{pid}/status", name).split()[0]) * 1024 / 1e6


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def build_slow_sync(directory: Path) -> Path | None:
    """Compile the shim; None when this machine has no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    built = directory / "slow_sync.so"
    source = ROOT / "bench" / "slow_sync.c"
    done = subprocess.run(
        [compiler, "-O2", "-shared", "-fPIC", "-o", str(built), str(source), "-ldl"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BenchError(f"{compiler} cannot build {source.name}: {done.stderr.strip()}")
    return built


def check_slow_sync(shim: Path, us: int, directory: Path) -> float:
    """Milliseconds that one fdatasync takes under the shim: proof that it is in force."""
    script = (
        "import os,sys,time\n"
        "d=os.open(sys.argv[1],os.O_CREAT|os.O_WRONLY,0o600)\n"
        "os.write(d,b'x');t=time.perf_counter();os.fdatasync(d)\n"
        "print((time.perf_counter()-t)*1e3)"
    )
    place = directory / "shim-check"
    python = shutil.which("python3") or "python3"
    done = subprocess.run(
        [python, "-c", script, str(place)],
        env={**os.environ, **slow_environment(shim, us)},
        capture_output=True,
        text=True,
        check=True,
    )
    place.unlink(missing_ok=True)
    return float(done.stdout)


def slow_environment(shim: Path, us: int) -> dict[str, str]:
    """What a child's environment needs so that each of its syncs takes `us` longer."""
    return {"LD_PRELOAD": str(shim), "SLOW_SYNC_US": str(us)}


def wait_until(limit: float, ready: Any, what: str, every: float = 0.005) -> float:
    """Poll until `ready()` is true; seconds it took."""
    begin = time.monotonic()
    while not ready():
        if time.monotonic() - begin > limit:
            raise BenchError(f"not within {limit:g} s: {what}")
        time.sleep(every)
    return time.monotonic() - begin
