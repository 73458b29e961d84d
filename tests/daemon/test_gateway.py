"""What a daemon opens before it serves."""

from pathlib import Path
from typing import Any

import pytest

from hookpost.config import load
from hookpost.daemon.faces import close_faces
from hookpost.daemon.gateway import Gateway
from hookpost.daemon.options import Options
from hookpost.storage.sqlite.store import Store

FILE = """\
version: 1
listen: {ingest: {address: "127.0.0.1:0"}, ops: {address: "127.0.0.1:0"}}
storage: {sqlite: {path: data/kept.db, synchronous: %s}}
"""


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("extra", 3)])
async def test_the_database_is_where_the_file_says_and_as_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synchronous: str, level: int
) -> None:
    levels: list[int] = []
    really = Store.open

    def watched(path: Path, **given: Any) -> Store:
        store = really(path, **given)
        levels.append(store.connection.execute("PRAGMA synchronous").fetchone()[0])
        return store

    monkeypatch.setattr(Store, "open", watched)
    file = tmp_path / "gateway.yaml"
    file.write_text(FILE % synchronous)
    gateway = await Gateway.open(Options(path=file), load(file).sound())
    close_faces(gateway._faces)
    await gateway._parts.outbox.close()
    assert levels == [level]
    assert (tmp_path / "data" / "kept.db").exists()
