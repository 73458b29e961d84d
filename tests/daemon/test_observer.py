"""What the daemon says of its outbox, and how often."""

import logging
from pathlib import Path

import pytest
from tests.builders import Ear, FakeClock, an_event
from tests.storage.steps import NOW, endpoints

from hookpost.core.model import DeadReason
from hookpost.daemon.observer import StorageObserver
from hookpost.metrics import Metrics
from hookpost.services.sparse_log import PER_SECOND
from hookpost.storage.sqlite import SqliteOutbox


async def test_a_flood_of_overflows_and_refusals_is_counted_whole_and_logged_in_part(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, metrics, looked = FakeClock(NOW), Metrics(FakeClock(NOW)), []
    metrics.configure(sources=(), endpoints=("crm",), secrets={})
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock)
    try:
        (crm,) = await endpoints(outbox, "crm")
        observer = StorageObserver(outbox, metrics, clock, lambda: looked.append(True))
        with caplog.at_level(logging.WARNING, "hookpost.storage"):
            for _ in range(100):
                observer.put_dead(crm, DeadReason.OVERFLOW, 2, 0)
                observer.erred("commit")
        assert caplog.messages.count("deliveries.dead") == PER_SECOND
        assert caplog.messages.count("storage.refused") == PER_SECOND
        assert len(looked) == 100
        text = metrics.render().decode()
        assert 'hookpost_dead_letters_total{endpoint="crm",reason="overflow"} 200.0' in text
        assert 'hookpost_storage_errors_total{operation="commit"} 100.0' in text
    finally:
        await outbox.close()


async def test_overflows_are_told_of_without_those_of_our_own_events(tmp_path: Path) -> None:
    clock, ear = FakeClock(NOW), Ear()
    metrics = Metrics(clock)
    metrics.configure(sources=(), endpoints=("crm",), secrets={}, subscriptions=())
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock)
    try:
        (crm,) = await endpoints(outbox, "crm", max_pending=1)
        outbox.observer = StorageObserver(outbox, metrics, clock, lambda: None, ear)
        await outbox.put(an_event(id="e1"), [crm])
        await outbox.put(an_event(id="e2", source="hookpost", type="hookpost.x"), [crm])
        assert ear.heard == []
        both = [an_event(id="e3"), an_event(id="e4", source="hookpost", type="hookpost.x")]
        await outbox.put_many([(event, [crm]) for event in both])
        data = {"endpoint": "crm", "count": 1, "reason": "overflow"}
        assert ear.heard == [("hookpost.delivery.dead", data)]
        text = metrics.render().decode()
        assert 'hookpost_dead_letters_total{endpoint="crm",reason="overflow"} 3.0' in text
    finally:
        await outbox.close()
