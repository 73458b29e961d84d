"""The key that links to payloads are signed with: a private file beside the database.

Beside it and not in it, since no secret may stand there in clear. It is made once, before the first
link, and never changed: without the file no link that was sent is known again.
"""

import contextlib
import os
import secrets
from pathlib import Path

from hookpost.core.errors import StorageUnavailable

SIZE = 32  # bytes


class LinkKey:
    """The key of one database at `path`. Blocks: for a start and for a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".links")
        self._key: bytes | None = None

    def get(self, *, make: bool) -> bytes | None:
        """The key; None where there is none and none is to be made. Raises StorageUnavailable."""
        if self._key is None:
            try:
                self._key = self._read()
                if self._key is None and make:
                    self._make()
                    self._key = self._read()
            except OSError as error:
                raise StorageUnavailable(
                    f"{self._path}: the key of links to payloads is out of reach: {error.strerror};"
                    " check the folder and its permissions"
                ) from error
        return self._key

    def _read(self) -> bytes | None:
        try:
            key = self._path.read_bytes()
        except FileNotFoundError:
            return None
        if len(key) != SIZE:
            raise StorageUnavailable(
                f"{self._path}: is no key of links to payloads ({len(key)} bytes, not {SIZE});"
                " restore it, or remove it to have another made: links that were sent end then"
            )
        return key

    def _make(self) -> None:
        """Whole or not at all, and on the disk before anybody is sent a link."""
        fresh = self._path.with_name(self._path.name + ".new")
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            os.write(descriptor, secrets.token_bytes(SIZE))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fresh.rename(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
