"""The verbs by their paths, and what their parameters may be."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.builders import FakeClock, an_event

from hookpost.core.errors import NotFound
from hookpost.core.model import DeadReason, DeliveryId, State
from hookpost.services.operations import Operations
from hookpost.services.verbs import BadRequest, perform, selection_of
from hookpost.storage.outbox import EndpointSpec, Selection
from hookpost.storage.sqlite import SqliteOutbox


@pytest.fixture
async def operations(tmp_path: Path) -> AsyncIterator[Operations]:
    clock = FakeClock()
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock)
    rows = await outbox.apply_endpoints([EndpointSpec(name="crm")], clock.now())
    for number in range(3):
        await outbox.put(an_event(id=f"evt_{number}"), [rows["crm"].id])
    yield Operations(outbox, clock)
    await outbox.close()


def test_a_selection_is_read_from_json_and_from_a_query() -> None:
    given = {
        "ids": [1, "2"], "endpoint": "crm", "source": "billing", "eventId": "e", "eventType": "t",
        "states": "dead,pending", "reason": "gone", "acceptedAfter": "1.5", "acceptedBefore": 2,
    }  # fmt: skip
    assert selection_of(given) == Selection(
        ids=(DeliveryId(1), DeliveryId(2)), endpoint="crm", source="billing", event_id="e",
        event_type="t", states=frozenset({State.DEAD, State.PENDING}), reason=DeadReason.GONE,
        accepted_after=1.5, accepted_before=2.0,
    )  # fmt: skip
    assert selection_of({}) == Selection()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"endpont": "crm"}, "endpont: unknown; the keys are"),
        ({"ids": "12"}, "ids '12' is not a list"),
        ({"ids": [1.5]}, "ids"),
        ({"ids": [True]}, "ids"),
        ({"ids": [1 << 63]}, "ids"),
        ({"ids": list(range(10_001))}, "ids"),
        ({"endpoint": 7}, "endpoint 7 is not text"),
        ({"states": ["stuck"]}, "states .* pending"),
        ({"states": [["dead"]]}, "states"),
        ({"reason": "bored"}, "reason 'bored' is not one of .*exhausted"),
        ({"acceptedAfter": "noon"}, "acceptedAfter 'noon' is not a time in UNIX seconds"),
        ({"acceptedBefore": "nan"}, "acceptedBefore"),
    ],
)
def test_what_does_not_fit_is_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        selection_of(given)


async def test_every_list_comes_in_pages(operations: Operations) -> None:
    page = await perform(operations, "GET", "/deliveries", {"limit": "2"})
    assert [each["id"] for each in page["deliveries"]] == [3, 2]
    rest = await perform(operations, "GET", "/deliveries", {"limit": 2, "before": page["next"]})
    assert [each["id"] for each in rest["deliveries"]] == [1]
    assert rest["next"] is None


@pytest.mark.parametrize("given", [{"limit": "many"}, {"limit": "-1"}, {"before": "x"}])
async def test_a_page_that_makes_no_sense_is_refused(
    operations: Operations, given: dict[str, Any]
) -> None:
    with pytest.raises(BadRequest):
        await perform(operations, "GET", "/deliveries", given)


async def test_a_dry_run_must_be_a_boolean_and_changes_nothing(operations: Operations) -> None:
    with pytest.raises(BadRequest, match="dryRun 'yes'"):
        await perform(operations, "POST", "/deliveries/cancel", {"dryRun": "yes"})
    told = await perform(operations, "POST", "/deliveries/cancel", {"dryRun": True})
    assert told == {"cancelled": 3, "dryRun": True, "refused": []}
    told = await perform(operations, "POST", "/deliveries/cancel", {"ids": [1]})
    assert told == {"cancelled": 1, "dryRun": False, "refused": []}
    told = await perform(operations, "POST", "/deliveries/cancel", {"dryRun": True})
    assert told["cancelled"] == 2


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/deliveries"), ("GET", "/deliveries/retry"), ("GET", "/"), ("GET", "/deliveries/x")],
)
async def test_what_is_not_there_is_not_found(
    operations: Operations, method: str, path: str
) -> None:
    with pytest.raises(NotFound, match=f"{method} {path}"):
        await perform(operations, method, path, {})
