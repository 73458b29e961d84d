"""The files beside the database: its folder, its lock, its ballast."""

import errno
import fcntl
import os
import re
from pathlib import Path

from hookpost.core.errors import AlreadyLocked, StorageUnavailable

BALLAST = 16 << 20  # bytes given up when the disk is full, so that purging can still write
_SPARE = 2 * BALLAST  # free bytes at which the ballast is laid down again

_NETWORK = re.compile(
    r"9p|afs|ceph|cifs|coda|gfs2|glusterfs|lustre|ncpfs|nfs4?|ocfs2|smb3|smbfs"
    r"|fuse\.(ceph|glusterfs|rclone|s3fs|sshfs)"
)


def prepare(path: Path, *, create: bool) -> None:
    """Make the private folder and the private, empty file where they are missing.

    Raises StorageUnavailable where the file is missing and must not be created, where it cannot
    be opened, or where it lies on a network file system.
    """
    try:
        if create:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_network(path)
        flags = os.O_RDWR | (os.O_CREAT if create else 0)
        existed = path.exists()
        descriptor = os.open(path, flags, 0o600)
        try:
            if not existed:
                os.fchmod(descriptor, 0o600)  # whatever the umask says
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageUnavailable(
            f"{path}: the database cannot be opened: {error.strerror};"
            " check storage.sqlite.path and its permissions"
        ) from error


def refuse_network(path: Path) -> None:
    """Raise StorageUnavailable where locks and the shared memory of WAL cannot be trusted."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return  # no such file outside Linux: nothing to go by
    kind = file_system(path.resolve(), mounts)
    if _NETWORK.fullmatch(kind):
        raise StorageUnavailable(
            f"{path}: lies on a network file system ({kind}), where SQLite may lose or damage"
            " data; put storage.sqlite.path on a local disk"
        )


def file_system(path: Path, mountinfo: str) -> str:
    """The type of the file system that holds `path`, by the text of /proc/self/mountinfo."""
    best, kind = "", ""
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        point = fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        if path.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, fields[fields.index("-") + 1]
    return kind


def free_bytes(folder: Path) -> int:
    """Bytes of its file system that this process may still fill."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class Lock:
    """An exclusive lock on `<path>.lock`, held as long as the process or until `release`."""

    def __init__(self, path: Path) -> None:
        lock = path.with_name(path.name + ".lock")
        try:
            self._descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageUnavailable(
                f"{lock}: {error.strerror}; the daemon's user must be able to write it"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 20).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise AlreadyLocked(
                f"{path}: in use by another process (pid {holder or 'unknown'});"
                " stop it first, or name another storage.sqlite.path",
                holder,
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process have it. The file stays: removing it would race."""
        os.close(self._descriptor)


class Ballast:
    """A preallocated file beside the database: on a full disk even a DELETE needs room."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".ballast")

    def lay(self) -> bool:
        """Make it where it is missing and the disk has room to spare; True: it is there."""
        if self._path.exists():
            return True
        if free_bytes(self._path.parent) < _SPARE:
            return False
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, BALLAST)
        except OSError:
            self.release()
            return False
        finally:
            os.close(descriptor)
        return True

    def release(self) -> bool:
        """Give the room back; False: there was none to give."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        return True
