"""File systems small enough to be filled."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from chaos import Unavailable

PIECE = 1 << 16


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A memory file system of `size` bytes at `folder`; Unavailable where none can be mounted."""
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        raise Unavailable("there is no mount command here to make a small disk with")
    command = [mount, "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        raise Unavailable(f"a small disk cannot be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([umount, "--lazy", str(folder)], check=True)


def others_fill(disk: Path, leave: int) -> Path:
    """Another program takes all that is free but `leave` bytes; the file that it wrote."""
    path = disk / "others"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while (free := shutil.disk_usage(disk).free) > leave:
            file.write(bytes(min(PIECE, max(4096, free - leave))))
    return path
