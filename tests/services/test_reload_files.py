"""A reload reads the included files, too."""

from pathlib import Path

from tests.builders import FakeClock

from hookpost.config import load
from hookpost.services.reload import Reloader, endpoint_specs, snapshot_of
from hookpost.services.snapshot import Current
from hookpost.storage.sqlite import SqliteOutbox

FILE = "version: 1\ninclude: [conf.d/*.yaml]\nsources: {billing: {path: /in/billing}}\n"
PART = """\
endpoints: {%s: {url: "https://%s.example.com/"}}
subscriptions: {%s: {endpoints: [%s]}}
"""


class Ear:
    """Hears of ended reloads."""

    def reloaded(self, result: str, config_hash: str, at: float) -> None:
        assert result == "applied"


async def test_what_an_included_file_adds_gets_events_from_the_reload_on(tmp_path: Path) -> None:
    parts = tmp_path / "conf.d"
    parts.mkdir()

    def add(name: str) -> None:
        (parts / f"{name}.yaml").write_text(PART % ((name,) * 4))

    file, clock = tmp_path / "gateway.yaml", FakeClock()
    file.write_text(FILE)
    add("crm")
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock)
    try:
        config = load(file).sound()
        records = await outbox.apply_endpoints(endpoint_specs(config), clock.now())
        current = Current(snapshot_of(config, records))
        assert len(current.snapshot.route("billing", "a")) == 1
        reloader = Reloader(current, lambda: load(file), outbox, (), Ear(), clock)
        add("audit")
        await reloader.reload()
        assert len(current.snapshot.route("billing", "a")) == 2
        (parts / "crm.yaml").unlink()
        await reloader.reload()
        audit = current.snapshot.endpoint_ids["audit"]
        assert tuple(current.snapshot.route("billing", "a")) == (audit,)
    finally:
        await outbox.close()
