"""Where secrets come from. No value is ever part of a message."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LARGEST = 64 << 10
"""Bytes of a secret."""


class SecretMistake(ValueError):
    """Why a secret cannot be had; `code` is the diagnostic's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Found:
    """A secret's bytes; `exposed` is the file that every user of the machine may read, if so."""

    value: bytes
    exposed: Path | None = None


def resolve(origin: Mapping[str, str], directory: Path, environ: Mapping[str, str]) -> Found:
    """The value of a secret that is given by exactly one of env, file and credential.

    One line break at the end of a file is not part of it. Raises SecretMistake for a missing, empty
    or unreadable one.
    """
    if "env" in origin:
        return Found(_from_environment(origin["env"], environ))
    if "file" in origin:
        path = directory / origin["file"]
        value, mode = _from_file(path)
        return Found(value, path if mode & stat.S_IROTH else None)
    place = environ.get("CREDENTIALS_DIRECTORY")
    if not place:
        raise SecretMistake(
            "no-credential",
            "CREDENTIALS_DIRECTORY is not set, so there are no credentials; run under systemd "
            f"with LoadCredential={origin['credential']}:…, or use file",
        )
    return Found(_from_file(Path(place) / origin["credential"])[0])


def _from_environment(name: str, environ: Mapping[str, str]) -> bytes:
    value = environ.get(name)
    if value is None:
        raise SecretMistake("missing-secret", f"the environment variable {name} is not set; set it")
    if not value:
        raise SecretMistake("empty-secret", f"the environment variable {name} is empty; set it")
    return os.fsencode(value)


def _from_file(path: Path) -> tuple[bytes, int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SecretMistake("missing-secret", f"there is no file {path}; make it") from None
    except PermissionError:
        message = f"{path} may not be read by this user; mend its owner or its permissions"
        raise SecretMistake("unreadable-secret", message) from None
    except OSError as mistake:
        message = f"{path} cannot be read: {mistake.strerror}"
        raise SecretMistake("unreadable-secret", message) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise SecretMistake("unreadable-secret", f"{path} is not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            raw = file.read(LARGEST + 1)
    except OSError as mistake:
        message = f"{path} cannot be read: {mistake.strerror}"
        raise SecretMistake("unreadable-secret", message) from None
    finally:
        os.close(descriptor)
    if len(raw) > LARGEST:
        raise SecretMistake("unreadable-secret", f"{path} is larger than 64 KiB")
    value = raw.removesuffix(b"\n").removesuffix(b"\r") if raw.endswith(b"\n") else raw
    if not value:
        raise SecretMistake("empty-secret", f"{path} is empty; write the secret into it")
    return value, mode
