"""The service manager's protocols, spoken with sockets of our own."""

import asyncio
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.builders import FakeClock

from hookpost.systemd import (
    Notifier,
    SystemdError,
    keep_watchdog,
    passed_sockets,
    watchdog_interval,
)

FIRST = 200  # descriptors that pytest does not use
NAMES = ("ingest", "ops", "admin")


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self.socket.settimeout(5)

    def heard(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = f"@hookpost-test-{os.getpid()}" if request.param == "abstract" else ""
    made = Manager(address or str(tmp_path / "notify"))
    with made.socket:
        yield made


def test_each_word_is_one_datagram_of_the_protocol(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "PATH": "/bin"}
    notifier = Notifier.from_environment(environ)
    assert environ == {"PATH": "/bin"}
    assert notifier.listening
    notifier.ready("12 endpoints")
    assert manager.heard() == ["READY=1", "STATUS=12 endpoints"]
    notifier.reloading(12.5)
    assert manager.heard() == ["RELOADING=1", "MONOTONIC_USEC=12500000", "STATUS=reloading"]
    notifier.stopping()
    assert manager.heard() == ["STOPPING=1", "STATUS=draining"]
    notifier.status("340 pending")
    assert manager.heard() == ["STATUS=340 pending"]
    notifier.watchdog()
    assert manager.heard() == ["WATCHDOG=1"]
    notifier.extend_timeout(2.5)
    assert manager.heard() == ["EXTEND_TIMEOUT_USEC=2500000"]


def test_a_status_cannot_add_a_word_of_its_own(manager: Manager) -> None:
    Notifier(manager.address).status("fine\nMAINPID=1\x00")
    assert manager.heard() == ["STATUS=fine MAINPID=1 "]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}])
def test_without_a_manager_nothing_is_said(environ: dict[str, str]) -> None:
    notifier = Notifier.from_environment(environ)
    notifier.ready("nobody listens")
    assert not notifier.listening


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(SystemdError, match="vsock:1:2"):
        Notifier.from_environment({"NOTIFY_SOCKET": "vsock:1:2"})


def test_a_manager_that_is_gone_is_complained_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier(str(tmp_path / "gone"))
    notifier.watchdog()
    notifier.watchdog()
    assert [record.message for record in caplog.records] == ["notify.failed"]


def test_a_manager_that_does_not_read_cannot_hold_the_loop(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    for _ in range(5000):  # far more than its queue takes
        notifier.watchdog()
    assert manager.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "77"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "78"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_for_the_process_it_names(
    environ: dict[str, str], interval: float | None
) -> None:
    assert watchdog_interval(environ, 77) == interval
    assert environ == {}


@pytest.mark.parametrize("text", ["soon", "-1", "1.5", "١٢", ""])
def test_a_watchdog_time_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(SystemdError, match="WATCHDOG_USEC"):
        watchdog_interval({"WATCHDOG_USEC": text}, 77)


async def test_the_watchdog_hears_twice_an_interval_and_only_while_all_is_well(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    clock, well = FakeClock(), True
    pinging = asyncio.create_task(
        keep_watchdog(Notifier(manager.address), 10.0, clock, lambda: well)
    )

    async def pings(seconds: float) -> int:
        clock.advance(seconds)
        await _until_asleep(clock)
        manager.socket.setblocking(False)
        heard = 0
        while True:
            try:
                assert manager.heard() == ["WATCHDOG=1"]
            except BlockingIOError:
                return heard
            heard += 1

    assert await pings(0.0) == 1
    assert await pings(4.9) == 0
    assert await pings(0.1) == 1
    well = False
    assert await pings(5.0) == 0
    assert await pings(5.0) == 0
    assert [record.message for record in caplog.records] == ["watchdog.withheld"]
    well = True
    assert await pings(5.0) == 1
    pinging.cancel()
    await asyncio.gather(pinging, return_exceptions=True)


async def _until_asleep(clock: FakeClock) -> None:
    async with asyncio.timeout(5):
        while not clock._sleepers:
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)


def passed(*sockets: socket.socket) -> None:
    """Put sockets where a manager would: at consecutive descriptors from FIRST on."""
    for offset, each in enumerate(sockets):
        number = fcntl.fcntl(each.fileno(), fcntl.F_DUPFD, FIRST + offset)
        each.close()
        assert number == FIRST + offset


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    yield
    for number in range(FIRST, FIRST + 4):
        try:
            os.close(number)
        except OSError:
            continue


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def environment(count: int, names: str | None, pid: int = 77) -> dict[str, str]:
    environ = {"LISTEN_PID": str(pid), "LISTEN_FDS": str(count)}
    if names is not None:
        environ["LISTEN_FDNAMES"] = names
    return environ


def test_sockets_are_found_by_their_names(tmp_path: Path) -> None:
    tcp = listening()
    port = tcp.getsockname()[1]
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "admin"))
    unix.listen()
    passed(tcp, unix)
    environ = environment(2, "ingest:admin")
    found = passed_sockets(environ, names=NAMES, pid=77, first=FIRST)
    assert environ == {}
    assert found["ingest"].getsockname() == ("127.0.0.1", port)
    assert found["admin"].family == socket.AF_UNIX
    for each in found.values():
        assert not each.getblocking()
        assert not each.get_inheritable()
        each.close()


def test_sockets_for_another_process_are_left_alone() -> None:
    environ = environment(1, "ingest", pid=78)
    assert passed_sockets(environ, names=NAMES, pid=77, first=FIRST) == {}
    assert environ == {}


def test_without_a_manager_no_socket_is_passed() -> None:
    assert passed_sockets({}, names=NAMES, pid=77) == {}


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ("web", "'web'.*admin, ingest, ops.*FileDescriptorName="),
        (None, "'unknown'.*FileDescriptorName="),
        ("ingest:ops", "LISTEN_FDS is 1, but LISTEN_FDNAMES names 2"),
    ],
)
def test_a_name_that_no_listener_has_is_refused(names: str | None, complaint: str) -> None:
    passed(listening())
    with pytest.raises(SystemdError, match=complaint):
        passed_sockets(environment(1, names), names=NAMES, pid=77, first=FIRST)


def test_one_name_twice_is_refused_and_nothing_stays_open() -> None:
    passed(listening(), listening())
    with pytest.raises(SystemdError, match="two sockets named 'ingest'"):
        passed_sockets(environment(2, "ingest:ingest"), names=NAMES, pid=77, first=FIRST)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(FIRST)


def test_a_descriptor_that_is_no_listening_stream_is_refused() -> None:
    passed(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with pytest.raises(SystemdError, match="not a listening stream socket"):
        passed_sockets(environment(1, "ingest"), names=NAMES, pid=77, first=FIRST)
    passed(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    with pytest.raises(SystemdError, match="Accept=no"):
        passed_sockets(environment(1, "ingest"), names=NAMES, pid=77, first=FIRST)


def test_a_descriptor_that_is_no_socket_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        fcntl.fcntl(file.fileno(), fcntl.F_DUPFD, FIRST)
    with pytest.raises(SystemdError, match="is not a socket"):
        passed_sockets(environment(1, "ingest"), names=NAMES, pid=77, first=FIRST)


@pytest.mark.parametrize("count", ["many", "-1", ""])
def test_a_count_that_is_no_number_is_refused(count: str) -> None:
    environ = {"LISTEN_PID": "77", "LISTEN_FDS": count}
    with pytest.raises(SystemdError, match="LISTEN_FDS"):
        passed_sockets(environ, names=NAMES, pid=77, first=FIRST)
