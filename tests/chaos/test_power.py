"""What a power cut leaves, and that one which takes a promise with it is noticed."""

import random
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from chaos.rounds import play
from chaos.shim import Kind, Record

from chaos import Violation, power

CUTS = 6
PAGE = bytes(range(256)) * 4  # two sectors


def write(offset: int, data: bytes = PAGE, name: str = "-wal") -> Record:
    return Record(Kind.WRITE, name, 3, offset, len(data), data)


def does(kind: Kind, name: str = "-wal", size: int = 0) -> Record:
    return Record(kind, name, 3, 0, size, b"")


def after(
    done: Sequence[Record], share: float, monkeypatch: pytest.MonkeyPatch, log: bytes | None = None
) -> bytes | None:
    """The log after a power cut in which this share of the unsynced survives."""
    monkeypatch.setattr(power, "SHARES", (share,))
    image: power.Image = {
        "": bytearray(b"db"),
        "-wal": None if log is None else bytearray(log),
        "-journal": None,
    }
    power.survive(image, done, random.Random(1))
    found = image["-wal"]
    return None if found is None else bytes(found)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_what_was_synced_is_there(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    done = [write(0), write(1024), does(Kind.SYNC)]
    assert after(done, share, monkeypatch) == PAGE + PAGE


def test_what_was_not_synced_may_be_lost_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    assert after([write(0), does(Kind.SYNC, "")], 0.0, monkeypatch) is None
    assert after([write(0), does(Kind.SYNC), write(0, b"new")], 0.0, monkeypatch) == PAGE


def test_what_was_not_synced_may_be_torn(monkeypatch: pytest.MonkeyPatch) -> None:
    found = after([write(at * 1024) for at in range(20)], 0.5, monkeypatch)
    assert found is not None
    sectors = [found[at : at + 512] for at in range(0, len(found), 512)]
    assert set(sectors) == {PAGE[:512], bytes(512)}


def test_what_a_failed_sync_lost_the_next_does_not_bring_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = [write(0), does(Kind.SYNC_FAILED), write(1024), does(Kind.SYNC)]
    assert after(done, 0.0, monkeypatch) == bytes(1024) + PAGE


def test_truncations_and_removals_count_once_they_are_synced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cut_off = does(Kind.TRUNCATE, size=3)
    assert after([cut_off], 0.0, monkeypatch, PAGE) == PAGE
    assert after([cut_off, does(Kind.SYNC)], 0.0, monkeypatch, PAGE) == PAGE[:3]
    gone = does(Kind.UNLINK)
    assert after([gone], 0.0, monkeypatch, PAGE) == PAGE
    assert after([gone, does(Kind.SYNC, "/")], 0.0, monkeypatch, PAGE) is None


@pytest.mark.parametrize(("scenario", "found"), [("power", "owed"), ("trace", "before the log")])
@pytest.mark.parametrize("synchronous", [0, 1])
async def test_a_daemon_that_does_not_sync_is_caught(
    tmp_path: Path, scenario: str, found: str, synchronous: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's OFF and NORMAL: an acknowledged event is not on the disk when the power goes."""
    monkeypatch.setattr(power, "SHARES", (0.0,))
    command = [sys.executable, "-m", "chaos.broken", f"synchronous={synchronous}"]
    for number in range(CUTS):  # NORMAL syncs now and then: a cut just behind that loses nothing
        folder = tmp_path / str(number)
        folder.mkdir()
        if re.search(found, await broken_by(scenario, folder, command)):
            return
    pytest.fail(f"{CUTS} lives without a sync lost nothing")


async def broken_by(scenario: str, folder: Path, command: Sequence[str]) -> str:
    """What a round found broken; nothing: empty."""
    try:
        await play(scenario, random.randrange(1 << 31), folder, lives=1, command=command)
    except Violation as violation:
        return str(violation)
    return ""
