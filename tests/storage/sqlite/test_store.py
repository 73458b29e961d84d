"""The database file: who may open it, what is checked, how it is brought up to date."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest
from tests.builders import FakeClock, an_event
from tests.storage.steps import NOW, endpoints

from hookpost.core.errors import AlreadyLocked, StorageCorrupt, StorageFull, StorageUnavailable
from hookpost.core.model import Stored
from hookpost.storage.sqlite import SqliteOutbox, sql, store
from hookpost.storage.sqlite.files import Ballast, file_system, refuse_network
from hookpost.storage.sqlite.store import APPLICATION_ID, Store

NEWEST = sql.migrations()[-1][0]


async def open_and_close(path: Path, clock: FakeClock, **options: object) -> None:
    await (await SqliteOutbox.open(path, clock=clock, **options)).close()  # type: ignore[arg-type]


async def test_everything_on_disk_is_private_whatever_the_umask(
    tmp_path: Path, clock: FakeClock
) -> None:
    before = os.umask(0)
    try:
        outbox = await SqliteOutbox.open(tmp_path / "var" / "outbox.db", clock=clock)
        await outbox.put(an_event(), [])
        modes = {
            entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in (tmp_path / "var").iterdir()
        }
        await outbox.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(
        [f"outbox.db{end}" for end in ("", "-wal", "-shm", ".lock", ".ballast")], 0o600
    )
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700


async def test_a_second_opener_is_told_who_holds_it(tmp_path: Path, clock: FakeClock) -> None:
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock)
    with pytest.raises(AlreadyLocked, match=f"pid {os.getpid()}"):
        await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock)
    await outbox.close()
    await open_and_close(tmp_path / "outbox.db", clock)


async def test_a_lock_file_that_cannot_be_opened_is_named(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "outbox.db.lock").mkdir()
    with pytest.raises(StorageUnavailable, match=r"outbox\.db\.lock: Is a directory; the daemon"):
        await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock)


async def test_closing_leaves_one_whole_file(tmp_path: Path, clock: FakeClock) -> None:
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock)
    await outbox.put(an_event(), [])
    await outbox.close()
    assert not (tmp_path / "outbox.db-wal").exists()
    with sqlite3.connect(tmp_path / "outbox.db") as connection:
        assert connection.execute("SELECT count(*) FROM event").fetchone() == (1,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.parametrize("content", [b"no database at all, just words " * 99, b"SQLite format 3"])
async def test_a_file_that_is_no_database_is_refused(
    tmp_path: Path, clock: FakeClock, content: bytes
) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(content)
    with pytest.raises(StorageCorrupt, match="restore a backup"):
        await SqliteOutbox.open(path, clock=clock)
    assert path.read_bytes() == content
    path.unlink()
    await open_and_close(path, clock)  # the failure left no lock behind


async def test_another_programs_database_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    connection = sqlite3.connect(tmp_path / "outbox.db")
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(StorageCorrupt, match="another program"):
        await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock)


async def test_a_newer_schema_is_refused_with_both_numbers(
    tmp_path: Path, clock: FakeClock
) -> None:
    path = tmp_path / "outbox.db"
    await open_and_close(path, clock)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageCorrupt, match=f"has schema 99, this program knows {NEWEST}"):
        await SqliteOutbox.open(path, clock=clock)


async def test_a_missing_database_is_not_made_where_it_must_exist(
    tmp_path: Path, clock: FakeClock
) -> None:
    with pytest.raises(StorageUnavailable, match=r"storage\.sqlite\.path"):
        await SqliteOutbox.open(tmp_path / "none" / "outbox.db", clock=clock, create=False)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("extra", 3)])
def test_every_pragma_is_in_force(tmp_path: Path, synchronous: str, level: int) -> None:
    opened = Store.open(tmp_path / "outbox.db", synchronous=synchronous, now=NOW)

    def pragma(name: str) -> object:
        return opened.connection.execute(f"PRAGMA {name}").fetchone()[0]

    assert pragma("synchronous") == level
    assert pragma("journal_mode") == "wal"
    assert pragma("auto_vacuum") == 2
    assert pragma("wal_autocheckpoint") == 1000
    assert pragma("trusted_schema") == 0
    assert pragma("application_id") == APPLICATION_ID
    assert pragma("user_version") == sql.migrations()[-1][0]
    opened.close(checkpoint=True)


def test_a_pragma_that_does_not_take_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_PRAGMAS", {"page_count": 77})
    with pytest.raises(StorageCorrupt, match="page_count = 77"):
        Store.open(tmp_path / "outbox.db", synchronous="full", now=NOW)


def test_a_migration_that_fails_leaves_the_version_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "outbox.db"
    first = sql.migrations()
    broken = "ALTER TABLE meta ADD COLUMN more; CREATE TABLE meta (x);"
    monkeypatch.setattr(sql, "migrations", lambda: [*first, (NEWEST + 1, broken)])
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        Store.open(path, synchronous="full", now=NOW)
    monkeypatch.setattr(sql, "migrations", lambda: [*first, (NEWEST + 1, "CREATE TABLE more (x);")])
    opened = Store.open(path, synchronous="full", now=NOW)
    columns = [row[1] for row in opened.connection.execute("PRAGMA table_info(meta)")]
    assert columns == ["id", "sequence", "delivery", "seen_at"]
    assert opened.connection.execute("PRAGMA user_version").fetchone() == (NEWEST + 1,)
    opened.close(checkpoint=True)


def test_a_migration_without_room_is_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "outbox.db"
    Store.open(path, synchronous="full", now=NOW).close(checkpoint=True)
    disk = os.statvfs(tmp_path)
    size = path.stat().st_size
    free = os.statvfs_result((disk.f_bsize, 1, 0, 0, 2 * size - 1, *tuple(disk)[5:]))
    first = sql.migrations()
    monkeypatch.setattr(sql, "migrations", lambda: [*first, (NEWEST + 1, "CREATE TABLE more (x);")])
    monkeypatch.setattr(os, "statvfs", lambda _: free)
    with pytest.raises(StorageFull, match="make room"):
        Store.open(path, synchronous="full", now=NOW)


def test_the_file_system_is_told_by_the_longest_mount_point() -> None:
    mounts = (
        "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "35 21 0:42 / /srv/with\\040space rw shared:9 - nfs4 host:/export rw,vers=4.2\n"
        "36 35 0:43 / /srv/with\\040space/local rw - xfs /dev/sdb rw\n"
    )
    assert file_system(Path("/var/lib/outbox.db"), mounts) == "ext4"
    assert file_system(Path("/srv/with space/outbox.db"), mounts) == "nfs4"
    assert file_system(Path("/srv/with space/local/outbox.db"), mounts) == "xfs"
    assert file_system(Path("/srv/with space 2/outbox.db"), mounts) == "ext4"


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "fuse.sshfs", "9p"])
def test_a_network_file_system_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    line = f"21 1 0:4 / / rw - {kind} host:/export rw\n"
    monkeypatch.setattr(Path, "read_text", lambda *_: line)
    with pytest.raises(StorageUnavailable, match=f"network file system \\({kind}\\)"):
        refuse_network(tmp_path / "outbox.db")


def test_no_ballast_is_laid_where_the_disk_has_none_to_spare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = os.statvfs(tmp_path)
    nearly = os.statvfs_result((4096, 4096, 0, 0, 1000, *tuple(disk)[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _: nearly)
    ballast = Ballast(tmp_path / "outbox.db")
    assert not ballast.lay()
    assert list(tmp_path.iterdir()) == []
    assert not ballast.release()


async def test_a_damaged_page_is_told_when_it_is_met(tmp_path: Path, clock: FakeClock) -> None:
    """Damage deep inside is found by use, and ends the outbox instead of spreading."""
    path = tmp_path / "outbox.db"
    outbox = await SqliteOutbox.open(path, clock=clock)
    (crm,) = await endpoints(outbox, "crm")
    for number in range(50):
        assert isinstance(await outbox.put(an_event(id=f"e{number}"), [crm]), Stored)
    await outbox.close()
    connection = sqlite3.connect(path)
    (root,) = connection.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'delivery'"
    ).fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(StorageCorrupt, match="damaged"):
        await SqliteOutbox.open(path, clock=clock)
