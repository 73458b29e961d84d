"""Slopes, and a soak of a few seconds: its series are written whatever they say."""

import csv
import math
import random
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from chaos.chart import write_svg
from chaos.ledger import Ledger, Reception
from chaos.samples import BESIDE, COLUMNS, Sample, trend, write_csv
from chaos.soak import report, soak

MB = 1e6


def series(
    value: Callable[[float], float], *, name: str = "resident", hours: float = 1.5
) -> list[Sample]:
    """One sample every ten seconds."""
    count = int(hours * 360)
    return [{"seconds": 10.0 * at, name: value(10.0 * at)} for at in range(count)]


def test_a_slope_is_measured_after_the_warm_up() -> None:
    found = trend("resident", series(lambda at: 50 * MB if at > 600 else at / 12 * MB))
    assert (found.slope, found.mean) == (pytest.approx(0.0), pytest.approx(50 * MB))
    assert found.flat


def test_a_leak_of_two_megabytes_an_hour_is_not_flat() -> None:
    dice = random.Random(1)
    leak = series(lambda at: 50 * MB + at / 3600 * 2.2 * MB + dice.random(), hours=2.0)
    found = trend("resident", leak)
    assert found.slope * 3600 == pytest.approx(2.2 * MB, rel=0.01)
    assert not found.flat
    assert "NOT FLAT" in found.line()


def test_a_saw_is_flat() -> None:
    found = trend("wal", series(lambda at: MB * (at / 100 % 4), name="wal"))
    assert found.flat


@pytest.mark.parametrize(("more", "flat"), [(1, True), (30, False)])
def test_descriptors_may_grow_by_one_or_two(more: int, flat: bool) -> None:
    found = trend("descriptors", series(lambda at: 10 + more * at / 5400, name="descriptors"))
    assert found.flat is flat


def test_too_few_samples_tell_nothing() -> None:
    with pytest.raises(ValueError, match="three are needed"):
        trend("wal", series(lambda _: 1.0, name="wal", hours=0.01))


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    samples = [
        {"seconds": float(at), **dict.fromkeys((*COLUMNS, *BESIDE), 1 + math.sin(at))}
        for at in range(30)
    ]
    write_csv(tmp_path / "s.csv", samples)
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["resident"]) for row in rows] == pytest.approx(
        [each["resident"] for each in samples]
    )
    trends = [trend(name, samples) for name in COLUMNS]
    write_svg(tmp_path / "s.svg", "a & b", samples, trends)
    root = ElementTree.parse(tmp_path / "s.svg").getroot()
    assert len(root.findall("{*}polyline")) == len(COLUMNS)


def test_closed_accounts_still_notice_who_comes_back() -> None:
    ledger = Ledger(timeout=1.0, purged=True)
    ledger.answered(ledger.send("evt-1", b"1"), 202, "evt-1", 1)
    made = Reception("crm", "evt-1", 1, b"d", at=-100.0, status=204, answered=-100.0)
    ledger.receive(made, b'{"data":1}')
    ledger.close(age=60.0)
    assert (ledger.closed, ledger.sent) == (1, {})
    assert not ledger.reckon([])
    ledger.receive(made, b'{"data":1}')
    assert ledger.mistakes == ["evt-1: received, but never sent"]


async def test_a_soak_of_a_few_seconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    life, wrong = await soak(tmp_path / "work", random.randrange(1 << 31), 3.0, 60.0)
    assert wrong == ""
    trends = report(life, tmp_path / "soak", 1)
    assert {path.suffix for path in tmp_path.iterdir() if path.is_file()} == {".csv", ".svg"}
    told = capsys.readouterr().out
    assert all(each.line() in told for each in trends)
