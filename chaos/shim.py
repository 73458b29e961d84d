"""The preloaded shim: built from shim.c, told what to do while the daemon runs, and read back."""

import functools
import mmap
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from chaos import ROOT, ChaosError, Unavailable

SOURCE = ROOT / "chaos" / "shim.c"
MAGIC = 0x43484153
HEAD = struct.Struct("<IIqqq16s")
SIZE = 64
DELAY, FAIL_AFTER, OFFSET, SYNCS, FAILED = (8 * place for place in range(5))


class Kind(IntEnum):
    """What a record of the journal tells."""

    WRITE = 1
    SYNC = 2
    SYNC_FAILED = 3
    TRUNCATE = 4
    UNLINK = 5
    RECEIVED = 6
    SENT = 7


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that the daemon did. `name` is the file's ending; `size` that of a truncation."""

    kind: Kind
    name: str
    fd: int
    offset: int
    size: int
    data: bytes


class Shim:
    """The shim of one round: its control block, and the environment that puts it in force."""

    def __init__(self, folder: Path, database: Path) -> None:
        self._folder = folder
        self._database = database
        self._control: mmap.mmap | None = None
        self._journals = 0
        self.journal = folder / "journal-0"

    def environment(self, *, journal: bool = False, trace: bool = False) -> Mapping[str, str]:
        """For a daemon's process. With `journal`, a new one; `trace` adds what sockets carry."""
        control = self._folder / "control"
        if self._control is None:
            control.write_bytes(bytes(SIZE))
            with control.open("r+b") as file:
                self._control = mmap.mmap(file.fileno(), SIZE)
        found = {
            "LD_PRELOAD": str(built()),
            "CHAOS_CONTROL": str(control),
            "CHAOS_DATABASE": str(self._database.resolve()),
        }
        if journal:
            self._journals += 1
            self.journal = self._folder / f"journal-{self._journals}"
            found["CHAOS_JOURNAL"] = str(self.journal)
        return {**found, "CHAOS_TRACE": "1"} if trace else found

    def slow(self, seconds: float) -> None:
        """From now on each sync of the database takes so much longer."""
        self._write(DELAY, int(seconds * 1e6))

    def fail(self, after: int) -> None:
        """The sync after so many further ones fails with EIO; 0: none does."""
        self._write(FAIL_AFTER, after)

    def set_clock(self, offset: float) -> None:
        """The wall clock is so many seconds away from the real one."""
        self._write(OFFSET, int(offset * 1e9))

    @property
    def syncs(self) -> int:
        """How many syncs of the database there were."""
        return self._read(SYNCS)

    @property
    def failed(self) -> int:
        """How many of them were made to fail."""
        return self._read(FAILED)

    def close(self) -> None:
        """Let go of the control block."""
        if self._control is not None:
            self._control.close()

    def _write(self, place: int, value: int) -> None:
        assert self._control is not None, "environment() comes first"
        struct.pack_into("<q", self._control, place, value)

    def _read(self, place: int) -> int:
        assert self._control is not None, "environment() comes first"
        value: int = struct.unpack_from("<q", self._control, place)[0]
        return value


@functools.cache
def built() -> Path:
    """Compile the shim, once a process; raises Unavailable where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise Unavailable("no C compiler (cc, gcc or clang) was found to build the shim with")
    folder = tempfile.TemporaryDirectory(prefix="chaos-shim-")
    _FOLDERS.append(folder)
    path = Path(folder.name) / "shim.so"
    words = ["-O2", "-shared", "-fPIC", "-o", str(path), str(SOURCE), "-ldl", "-lpthread"]
    done = subprocess.run([compiler, *words], capture_output=True, text=True)
    if done.returncode:
        raise ChaosError(f"{compiler} cannot build {SOURCE.name}: {done.stderr.strip()}")
    return path


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []  # removed when the process ends


def records(journal: Path) -> Iterator[Record]:
    """What the daemon did, in order. A last record that `kill -9` cut off is left out."""
    with journal.open("rb") as file:
        while len(head := file.read(HEAD.size)) == HEAD.size:
            magic, kind, fd, offset, size, name = HEAD.unpack(head)
            if magic != MAGIC:
                raise ChaosError(f"{journal}: is no journal at byte {file.tell() - HEAD.size}")
            has_data = kind in (Kind.WRITE, Kind.RECEIVED, Kind.SENT)
            data = file.read(size) if has_data else b""
            if has_data and len(data) < size:
                return
            ending = name.rstrip(b"\0").decode()
            yield Record(Kind(kind), ending, fd, offset, size, data)
