"""A power cut: the database's files as a disk would have them, from the shim's journal.

What was synced is there. Of what was written after that, any part may be: each write is cut into
sectors, and each sector, truncation and removal is drawn for itself. A sync that failed makes
nothing durable, and what it should have written is not written by the next one either.
"""

import random
import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from chaos.outbox import FILES
from chaos.shim import Kind, Record, records

SECTOR = 512
SHARES = (0.0, 0.3, 0.7, 1.0)  # of the unsynced that survives, drawn for each cut

Image = dict[str, bytearray | None]
"""The files by their names' endings; None: there is none."""


def save(database: Path, folder: Path) -> None:
    """Copy the files at rest, as the beginning that a journal goes on from."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for ending in FILES:
        path = database.with_name(database.name + ending)
        if path.exists():
            shutil.copyfile(path, folder / path.name)


def cut(database: Path, before: Path, journal: Path, dice: random.Random) -> int:
    """Put the files back to what the disk had; how many writes it had not been told to keep."""
    image = load(before / database.name)
    unsynced = survive(image, records(journal), dice)
    database.with_name(database.name + "-shm").unlink(missing_ok=True)
    for ending, content in image.items():
        path = database.with_name(database.name + ending)
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(content)
    return unsynced


def load(database: Path) -> Image:
    """The files as they were saved."""
    image: Image = {}
    for ending in FILES:
        path = database.with_name(database.name + ending)
        image[ending] = bytearray(path.read_bytes()) if path.exists() else None
    return image


def survive(image: Image, done: Iterable[Record], dice: random.Random) -> int:
    """Change `image` to what is left of `done`; how many records were never synced."""
    share = dice.choice(SHARES)
    waiting: dict[str, list[Record]] = defaultdict(list)
    for record in done:
        if record.kind in (Kind.WRITE, Kind.TRUNCATE, Kind.UNLINK):
            waiting[record.name].append(record)
        elif record.kind in (Kind.SYNC, Kind.SYNC_FAILED):
            kept = 1.0 if record.kind is Kind.SYNC else share
            for name, part in _ended(record.name, waiting):
                for one in part:
                    _apply(image, name, one, kept, dice)
    left = sum(map(len, waiting.values()))
    for name, part in waiting.items():
        for one in part:
            _apply(image, name, one, share, dice)
    return left


def _ended(name: str, waiting: dict[str, list[Record]]) -> list[tuple[str, list[Record]]]:
    """What a sync of this file makes durable; the directory's: removals, with what led to them."""
    if name != "/":
        return [(name, waiting.pop(name, []))]
    gone = [each for each, part in waiting.items() if part and part[-1].kind is Kind.UNLINK]
    return [(each, waiting.pop(each)) for each in gone]


def _apply(image: Image, name: str, record: Record, share: float, dice: random.Random) -> None:
    if record.kind is Kind.WRITE:
        _write(image, name, record, share, dice)
    elif dice.random() < share:
        content = image[name]
        if record.kind is Kind.UNLINK:
            image[name] = None
        elif content is not None:
            del content[record.size :]
            content.extend(bytes(record.size - len(content)))


def _write(image: Image, name: str, record: Record, share: float, dice: random.Random) -> None:
    at, end = record.offset, record.offset + len(record.data)
    while at < end:
        until = min(end, (at // SECTOR + 1) * SECTOR)
        if dice.random() < share:
            content = image[name]
            if content is None:
                content = image[name] = bytearray()
            content.extend(bytes(max(0, until - len(content))))
            content[at:until] = record.data[at - record.offset : until - record.offset]
        at = until
