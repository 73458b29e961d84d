"""Listening sockets: bound here, so that every refusal has a name, a remedy and an exit code."""

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

from hookpost.core.errors import GatewayError
from hookpost.core.settings import Address, TcpAddress, UnixAddress

BACKLOG = 1024
UNIX_PATH_MAX = 107  # bytes the kernel takes, without the final NUL
DIRECTORY_MODE = 0o750


class CannotListen(GatewayError):
    """A listener cannot be opened; `code` is the exit code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


TAKEN, CANNOT_CREATE, FORBIDDEN = 69, 73, 77


def listening(name: str, address: Address, mode: int) -> socket.socket:
    """A non-blocking listening socket; CannotListen says why not."""
    if isinstance(address, TcpAddress):
        return _tcp(name, address)
    return _unix(name, address, mode)


def _tcp(name: str, address: TcpAddress) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError) as error:
        raise CannotListen(
            f"listen.{name}.address: {address.host} is no address of this machine: {error}", TAKEN
        ) from None
    family, kind, protocol, _, where = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(0.0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _refused(name, str(address), error) from None
    return sock


def _refused(name: str, address: str, error: OSError) -> CannotListen:
    key = f"listen.{name}.address"
    match error.errno:
        case errno.EADDRINUSE:
            remedy = "another process listens there; stop it, or choose another address"
            return CannotListen(f"{key}: {address} is taken: {remedy}", TAKEN)
        case errno.EADDRNOTAVAIL:
            return CannotListen(f"{key}: {address} is no address of this machine", TAKEN)
        case errno.EACCES | errno.EPERM:
            remedy = "ports below 1024 need a socket unit or CAP_NET_BIND_SERVICE"
            return CannotListen(f"{key}: {address} is forbidden: {remedy}", FORBIDDEN)
        case _:
            return CannotListen(f"{key}: {address}: {error.strerror or error}", CANNOT_CREATE)


def _unix(name: str, address: UnixAddress, mode: int) -> socket.socket:
    path = address.path
    if len(os.fsencode(path)) > UNIX_PATH_MAX:
        raise CannotListen(
            f"listen.{name}.address: {path} is longer than the {UNIX_PATH_MAX} bytes "
            "that a UNIX socket's path may have",
            CANNOT_CREATE,
        )
    _make_directory(name, path)
    _clear_stale(name, path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        sock.settimeout(0.0)
        sock.bind(os.fspath(path))
        path.chmod(mode)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _refused_path(name, path, error) from None
    finally:
        os.umask(before)
    return sock


def _make_directory(name: str, path: Path) -> None:
    try:
        path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise _refused_path(name, path.parent, error) from None


def _clear_stale(name: str, path: Path) -> None:
    """Remove a socket that a killed daemon left; never one that somebody answers."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refused_path(name, path, error) from None
    if not stat.S_ISSOCK(kind):
        raise CannotListen(
            f"listen.{name}.address: {path} exists and is not a socket; remove it or choose "
            "another path",
            CANNOT_CREATE,
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            return
        except OSError as error:
            raise _refused_path(name, path, error) from None
    raise CannotListen(
        f"listen.{name}.address: another process answers at {path}; stop it first", TAKEN
    )


def _refused_path(name: str, path: Path, error: OSError) -> CannotListen:
    code = FORBIDDEN if error.errno in (errno.EACCES, errno.EPERM) else CANNOT_CREATE
    return CannotListen(f"listen.{name}.address: {path}: {error.strerror or error}", code)


def remove(address: Address) -> None:
    """Take a UNIX socket's file away at the end."""
    if isinstance(address, UnixAddress):
        with contextlib.suppress(OSError):
            address.path.unlink()
