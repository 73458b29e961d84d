"""Listening sockets: what is refused, why, and with which exit code."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hookpost.core.settings import TcpAddress, UnixAddress
from hookpost.daemon.sockets import CannotListen, listening, remove


@contextmanager
def refused(code: int, words: str) -> Iterator[None]:
    with pytest.raises(CannotListen, match=words) as caught:
        yield
    assert caught.value.code == code


def test_a_tcp_address_is_bound_and_does_not_block() -> None:
    with listening("ingest", TcpAddress("127.0.0.1", 0), 0o660) as sock:
        assert sock.getsockname()[1] > 0
        assert sock.getblocking() is False


def test_a_taken_port_is_named_with_exit_code_69() -> None:
    with listening("ingest", TcpAddress("127.0.0.1", 0), 0o660) as sock:
        port = sock.getsockname()[1]
        with refused(69, rf"listen\.ops\.address: 127\.0\.0\.1:{port} is taken"):
            listening("ops", TcpAddress("127.0.0.1", port), 0o660)


def test_a_foreign_address_is_named_with_exit_code_69() -> None:
    with refused(69, "is no address of this machine"):
        listening("ingest", TcpAddress("192.0.2.1", 0), 0o660)


def test_a_name_that_does_not_resolve_is_named() -> None:
    with refused(69, r"listen\.ingest\.address: no-such-host\.invalid"):
        listening("ingest", TcpAddress("no-such-host.invalid", 8480), 0o660)


def test_a_unix_socket_has_its_mode_from_the_first_instant_in_a_private_directory(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run" / "admin.sock"
    before = os.umask(0)
    try:
        sock = listening("admin", UnixAddress(path), 0o660)
    finally:
        os.umask(before)
    with sock:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750


def test_a_socket_left_by_a_killed_daemon_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    listening("admin", UnixAddress(path), 0o600).close()
    with listening("admin", UnixAddress(path), 0o600), socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))


def test_a_socket_that_somebody_answers_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with listening("admin", UnixAddress(path), 0o600):
        with refused(69, "another process answers"):
            listening("admin", UnixAddress(path), 0o600)
        assert path.exists()


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    path.write_text("precious")
    with refused(73, "is not a socket"):
        listening("admin", UnixAddress(path), 0o600)
    assert path.read_text() == "precious"


def test_a_path_too_long_for_the_kernel_is_said(tmp_path: Path) -> None:
    with refused(73, "longer than the 107 bytes"):
        listening("admin", UnixAddress(tmp_path / ("x" * 120)), 0o600)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with refused(73, "Not a directory|File exists"):
        listening("admin", UnixAddress(tmp_path / "file" / "admin.sock"), 0o600)


def test_the_file_of_a_unix_socket_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    address = UnixAddress(path)
    listening("admin", address, 0o600).close()
    remove(address)
    remove(address)
    assert not path.exists()
