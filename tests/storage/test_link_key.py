"""The key of links to payloads: made once, private, never replaced."""

import stat
from pathlib import Path

import pytest

from hookpost.core.errors import StorageUnavailable
from hookpost.storage.link_key import SIZE, LinkKey


def test_it_is_made_when_it_is_needed_and_found_again(tmp_path: Path) -> None:
    database = tmp_path / "outbox.db"
    assert LinkKey(database).get(make=False) is None
    assert list(tmp_path.iterdir()) == []
    key = LinkKey(database).get(make=True)
    assert key is not None
    assert len(key) == SIZE
    assert LinkKey(database).get(make=False) == LinkKey(database).get(make=True) == key


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    LinkKey(tmp_path / "outbox.db").get(make=True)
    (file,) = tmp_path.iterdir()
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == ("outbox.db.links", 0o600)


def test_two_databases_have_two(tmp_path: Path) -> None:
    one, other = LinkKey(tmp_path / "a.db"), LinkKey(tmp_path / "b.db")
    assert one.get(make=True) != other.get(make=True)


def test_what_a_death_left_half_made_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "outbox.db.links.new").write_bytes(b"half")
    assert LinkKey(tmp_path / "outbox.db").get(make=True) is not None
    assert [path.name for path in tmp_path.iterdir()] == ["outbox.db.links"]


def test_a_file_that_is_no_key_is_told_and_stays(tmp_path: Path) -> None:
    file = tmp_path / "outbox.db.links"
    file.write_bytes(b"short")
    with pytest.raises(StorageUnavailable, match=r"outbox\.db\.links: is no key .*restore it"):
        LinkKey(tmp_path / "outbox.db").get(make=True)
    assert file.read_bytes() == b"short"


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="out of reach: No such file"):
        LinkKey(tmp_path / "nowhere" / "outbox.db").get(make=True)
