"""How a daemon starts, and with which words and exit code it refuses to."""

import asyncio
import contextlib
import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.daemon.harness import Home, Nursery, Receiver, environment

# Runs as root, too: without these capabilities root is told by permissions what others are.
BOUND = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
for capability in (0, 1, 2):
    libc.prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
# What a service manager does: sockets from descriptor 3 on, and whose they are.
ACTIVATED = """
import fcntl, os, sys
given = [int(number) for number in sys.argv[1].split(",")]
aside = [fcntl.fcntl(number, fcntl.F_DUPFD, 100) for number in given]
for target, number in enumerate(aside, 3):
    os.dup2(number, target)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


async def test_a_second_daemon_on_the_same_database_is_exit_code_75(nursery: Nursery) -> None:
    first = await nursery.start()
    second = nursery.launch()
    assert await second.ended() == 75
    (refused,) = second.logged("start.refused")
    assert f"pid {first.process.pid}" in refused["error"]
    assert (await first.get("/livez"))[0] == 200
    assert (await first.cli("status")).code == 0, "the second took the first one's socket away"


async def test_a_taken_port_is_exit_code_69(nursery: Nursery, home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        home.config["listen"]["ops"]["address"] = f"127.0.0.1:{taken.getsockname()[1]}"
        daemon = nursery.launch()
        assert await daemon.ended() == 69
    (refused,) = daemon.logged("start.refused")
    assert "listen.ops.address" in refused["error"]
    assert "is taken" in refused["error"]
    assert not home.admin.exists()


async def test_no_file_is_exit_code_66(nursery: Nursery, home: Home) -> None:
    home.file = home.folder / "nowhere" / "gateway.yaml"
    home.write = lambda: None  # type: ignore[method-assign]
    daemon = nursery.launch()
    assert await daemon.ended() == 66
    assert str(home.file) in daemon.text


async def test_an_invalid_file_is_exit_code_78_with_every_mistake(
    nursery: Nursery, home: Home
) -> None:
    home.config["endpoints"]["crm"]["retry"] = "quik"
    home.config["loging"] = {}
    daemon = nursery.launch()
    assert await daemon.ended() == 78
    assert 'did you mean "quick"?' in daemon.text
    assert 'did you mean "logging"?' in daemon.text
    assert not home.database.exists()


async def test_warnings_of_a_valid_file_are_records_of_the_log(
    nursery: Nursery, home: Home
) -> None:
    home.config["sources"]["open"] = {"path": "/in/open"}
    daemon = await nursery.start()
    (told,) = daemon.logged("config.warning")
    assert "sources.open" in told["warning"]
    assert len(daemon.raw) == len(daemon.records), "a line of the log is not JSON"


async def test_a_folder_that_may_not_be_written_is_exit_code_77(
    nursery: Nursery, home: Home
) -> None:
    home.database.parent.mkdir(mode=0o500)
    daemon = nursery.launch(through=(sys.executable, "-c", BOUND))
    assert await daemon.ended() == 77
    (refused,) = daemon.logged("start.refused")
    assert str(home.database) in refused["error"]
    assert "storage.sqlite.path" in refused["error"]


async def test_a_file_in_the_place_of_the_folder_is_exit_code_73(
    nursery: Nursery, home: Home
) -> None:
    home.database.parent.write_text("")
    daemon = nursery.launch()
    assert await daemon.ended() == 73
    assert str(home.database) in daemon.logged("start.refused")[0]["error"]


async def test_a_configuration_that_may_not_be_read_is_exit_code_77(
    nursery: Nursery, home: Home
) -> None:
    home.write()
    home.file.chmod(0)
    home.write = lambda: None  # type: ignore[method-assign]
    daemon = nursery.launch(through=(sys.executable, "-c", BOUND))
    assert await daemon.ended() == 77
    assert str(home.file) in daemon.text


async def test_what_is_no_database_is_refused_by_name(nursery: Nursery, home: Home) -> None:
    home.database.parent.mkdir()
    home.database.write_bytes(b"precious text\n" * 1000)
    daemon = nursery.launch()
    assert await daemon.ended() == 78  # which no service manager answers with another start
    assert "no SQLite database" in daemon.logged("start.refused")[0]["error"]
    assert home.database.read_bytes().startswith(b"precious text")


async def test_files_and_sockets_are_private(nursery: Nursery, home: Home) -> None:
    daemon = await nursery.start(umask=0)
    await daemon.accept({"n": 1})
    assert mode(home.admin) == 0o660
    assert mode(home.admin.parent) == 0o750
    assert mode(home.database.parent) == 0o700
    assert {mode(path) for path in home.database.parent.iterdir()} == {0o600}


async def test_ops_is_only_to_read(nursery: Nursery) -> None:
    daemon = await nursery.start()
    assert daemon.http is not None
    for page in ("/metrics", "/livez", "/readyz", "/status"):
        url = f"http://{daemon.address('ops')}{page}"
        async with daemon.http.get(url) as answer:
            assert answer.status == 200
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            async with daemon.http.request(method, url) as answer:
                assert answer.status == 405
    for page in ("/reload", "/deliveries", "/dead-letters/replay", "/endpoints/crm/pause"):
        async with daemon.http.post(f"http://{daemon.address('ops')}{page}") as answer:
            assert answer.status == 404


async def test_the_service_manager_is_told_of_every_turn(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    with manager(home.folder / "notify") as heard:
        daemon = nursery.launch(
            env=environment(NOTIFY_SOCKET=str(home.folder / "notify"), WATCHDOG_USEC="200000")
        )
        first = await heard.next("READY=1")
        assert "STATUS=ready; 1 endpoints; 0 pending; 0 breakers open; configuration " in first
        await daemon.ready()
        assert (await heard.next("WATCHDOG=1")) == "WATCHDOG=1"
        await daemon.reload()
        assert "MONOTONIC_USEC=" in await heard.next("RELOADING=1")
        await heard.next("READY=1")
        home.config["nonsense"] = 1
        home.write()
        await daemon.reload()
        await heard.next("RELOADING=1")
        await heard.next("READY=1")
        await daemon.stop()
        await heard.next("STOPPING=1")


async def test_a_storm_of_reloads_ends_ready(nursery: Nursery, home: Home) -> None:
    with manager(home.folder / "notify") as heard:
        daemon = await nursery.start(env=environment(NOTIFY_SOCKET=str(home.folder / "notify")))
        ran = await asyncio.gather(*(daemon.cli("reload") for _ in range(4)))
        assert [each.code for each in ran] == [0, 0, 0, 0]
        await daemon.stop()
        await heard.next("STOPPING=1")
        turns = [text.splitlines()[0] for text in heard.all if text.startswith(("RE", "ST"))]
        turns = [turn for turn in turns if not turn.startswith("STATUS")]
        assert turns[0] == "READY=1"
        assert turns[-2:] == ["READY=1", "STOPPING=1"]
        reloads = turns[1:-1]
        assert reloads[::2] == ["RELOADING=1"] * (len(reloads) // 2)
        assert reloads[1::2] == ["READY=1"] * (len(reloads) // 2)


async def test_sockets_that_were_passed_are_used_instead_of_binding(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as ingest,
        socket.create_server(("127.0.0.1", 0)) as ops,
    ):
        given = f"{ingest.fileno()},{ops.fileno()}"
        daemon = await nursery.start(
            through=(sys.executable, "-c", ACTIVATED, given),
            pass_fds=(ingest.fileno(), ops.fileno()),
            env=environment(LISTEN_FDS="2", LISTEN_FDNAMES="ingest:ops"),
        )
        assert daemon.address("ingest") == f"127.0.0.1:{ingest.getsockname()[1]}"
        assert daemon.address("ops") == f"127.0.0.1:{ops.getsockname()[1]}"
        assert {each["listener"] for each in daemon.logged("socket.differs")} == {"ingest", "ops"}
        await daemon.accept({"n": 1})
        await crm.count(1)
        assert await daemon.stop() == 0


async def test_a_socket_nobody_asked_for_is_refused(nursery: Nursery) -> None:
    with socket.create_server(("127.0.0.1", 0)) as web:
        daemon = nursery.launch(
            through=(sys.executable, "-c", ACTIVATED, str(web.fileno())),
            pass_fds=(web.fileno(),),
            env=environment(LISTEN_FDS="1", LISTEN_FDNAMES="web"),
        )
        assert await daemon.ended() == 69
    assert "FileDescriptorName=" in daemon.logged("start.refused")[0]["error"]


async def test_too_little_free_disk_refuses_events_and_delivers_on(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    home.config["endpoints"]["crm"]["paused"] = True
    first = await nursery.start()
    await first.accept({"n": 1})
    await first.stop()
    home.config["storage"]["min_free"] = "1000000GiB"
    home.config["endpoints"]["crm"]["paused"] = False
    daemon = await nursery.start()
    assert daemon.logged("storage.low")
    status, answer, headers = await daemon.post({"n": 2})
    assert (status, answer["code"]) == (503, "storage_low")
    assert int(headers["Retry-After"]) > 0
    status, text = await daemon.get("/readyz")
    assert status == 503
    assert "storage_low" in text
    assert (await daemon.get("/livez"))[0] == 200
    await crm.count(1)
    metrics = await daemon.until(lambda m: m['hookpost_deliveries_pending{endpoint="crm"}'] == 0)
    assert metrics["hookpost_ready"] == 0
    assert metrics['hookpost_events_rejected_total{reason="storage",source="billing"}'] == 1
    await daemon.stop()
    home.config["storage"]["min_free"] = "32MiB"  # restart-only
    again = await nursery.start()
    assert (await again.post({"n": 3}))[0] == 202
    assert (await again.get("/readyz"))[0] == 200


# -- a service manager -----------------------------------------------------------------------------


class Heard:
    """What was said to a service manager, in order."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._at = 0
        self.all: list[str] = []

    async def next(self, beginning: str) -> str:
        """The next notification that begins so; others are passed over."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            while True:
                while self._at < len(self.all):
                    self._at += 1
                    if self.all[self._at - 1].startswith(beginning):
                        return self.all[self._at - 1]
                self.all.append((await loop.sock_recv(self._sock, 4096)).decode())


@contextlib.contextmanager
def manager(path: Path) -> Iterator[Heard]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(os.fspath(path))
        sock.setblocking(False)
        yield Heard(sock)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
