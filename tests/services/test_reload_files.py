"""A reload reads the included files, too."""

from pathlib import Path

from tests.builders import FakeClock

from hookpost.config import load
from hookpost.services.reload import Reloader, endpoint_specs, snapshot_of
from hookpost.services.snapshot import Current, Snapshot
from hookpost.storage.sqlite import SqliteOutbox

FILE = "version: 1\ninclude: [conf.d/*.yaml]\nsources: {billing: {path: /in/billing}}\n"
PART = """\
endpoints: {%s: {url: "https://%s.example.com/"}}
subscriptions: {%s: {endpoints: [%s]}}
"""


class Ear:
    """Hears of ended reloads."""

    def __init__(self, expected: str = "applied") -> None:
        self.expected = expected

    def reloaded(self, result: str, config_hash: str, at: float) -> None:
        assert result == self.expected


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


async def test_a_changed_schema_judges_from_the_reload_on(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    schema, part = tmp_path / "schemas/order.json", tmp_path / "schemas/part.json"
    schema.write_text('{"properties": {"a": {"$ref": "part.json"}}}')
    part.write_text('{"type": "string"}')
    file, clock = tmp_path / "gateway.yaml", FakeClock()
    file.write_text(
        "version: 1\nsources: {billing: {path: /in/billing, "
        "event_types: {a: {schema: schemas/order.json}}}}\n"
        'endpoints: {crm: {url: "https://crm.example.com/"}}\n'
        "subscriptions: {all: {endpoints: [crm]}}\n"
    )
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock)
    try:
        config = load(file).sound()
        records = await outbox.apply_endpoints(endpoint_specs(config), clock.now())
        current = Current(snapshot_of(config, records))

        def wrong(snapshot: Snapshot) -> list[str]:
            types = snapshot.config.sources["billing"].event_types
            assert types is not None
            found = types.find("a")
            assert found is not None
            assert found.validate is not None
            return [one.path for one in found.validate(b'{"a": 1}', "$.data")]

        before = current.snapshot
        assert wrong(before) == ["$.data.a"]
        reloader = Reloader(current, lambda: load(file), outbox, (), Ear(), clock)
        part.write_text('{"type": "integer"}')
        report = await reloader.reload()
        assert (report.verdict, report.changes) == ("applied", ["sources.billing: changed"])
        assert wrong(current.snapshot) == []
        assert wrong(before) == ["$.data.a"], "a request keeps what it began with"
        part.write_text("{")
        ear = Reloader(current, lambda: load(file), outbox, (), Ear("invalid"), clock)
        report = await ear.reload()
        assert report.verdict == "invalid"
        assert "part.json:1:2 is not JSON" in report.mistakes[0]
        assert wrong(current.snapshot) == []
    finally:
        await outbox.close()
