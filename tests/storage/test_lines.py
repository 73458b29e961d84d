"""Deliveries that share a key: one at a time, in the order in which they joined their line."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from tests.builders import an_event
from tests.storage.steps import (
    FOREVER,
    NOW,
    claim_all,
    delivered,
    died,
    endpoints,
    failed,
    purge_all,
    settle,
)

from hookpost.core.errors import Conflict
from hookpost.core.model import Delivery, DeliveryId, EndpointId, Event, OnRemove, State
from hookpost.storage.outbox import Outbox, RetentionLimits, Selection

Opener = Callable[[], Awaitable[Outbox]]
DEAD = Selection(states=frozenset({State.DEAD}))
BLOCKED = Selection(blocked=True)


def event(name: str, key: int | None, *ids: EndpointId) -> Event:
    keys = None if key is None else dict.fromkeys(ids, key)
    return an_event(id=name, keys=keys)


async def put(outbox: Outbox, endpoint: EndpointId, *names: str) -> None:
    """Events named like a1: the letter is their key, `-` is none."""
    for name in names:
        key = None if name[0] == "-" else ord(name[0])
        await outbox.put(event(name, key, endpoint), [endpoint])


def names(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.event.id for delivery in deliveries]


async def test_the_first_of_a_line_alone_is_given_away(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await put(outbox, crm, "a1", "a2", "b1", "-1", "a3", "-2", "b2")
    assert names(await claim_all(outbox, crm)) == ["a1", "b1", "-1", "-2"]
    assert outbox.next_due(crm) is None
    assert await outbox.blocked(crm) == 3


async def test_the_next_is_given_once_the_end_of_the_head_is_committed(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    rung: list[None] = []
    await put(outbox, crm, "a1", "a2", "a3")
    (head,) = await claim_all(outbox, crm)
    outbox.watch(crm, lambda: rung.append(None))
    settled = settle(outbox, delivered(head))
    assert await outbox.claim(crm, 10, NOW) == [], "not yet committed"
    assert await settled
    assert rung
    (following,) = await claim_all(outbox, crm)
    assert names([following]) == ["a2"]
    assert await settle(outbox, died(following))
    assert names(await claim_all(outbox, crm)) == ["a3"]


async def test_a_failing_head_blocks_its_own_line_only(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await put(outbox, crm, "a1", "a2", "b1", "b2")
    first, second = await claim_all(outbox, crm)
    assert await settle(outbox, failed(first, 60.0))
    assert await settle(outbox, delivered(second))
    assert names(await claim_all(outbox, crm)) == ["b2"]
    assert outbox.next_due(crm) == NOW + 60
    assert names(await claim_all(outbox, crm, NOW + 60)) == ["a1"]


async def test_a_released_head_stays_the_head(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await put(outbox, crm, "a1", "a2")
    outbox.release(await claim_all(outbox, crm))
    assert names(await claim_all(outbox, crm)) == ["a1"]


async def test_lines_are_those_of_one_endpoint(outbox: Outbox) -> None:
    crm, ci = await endpoints(outbox, "crm", "ci")
    await outbox.put(event("e1", 7, crm, ci), [crm, ci])
    await outbox.put(event("e2", 7, crm), [crm, ci])
    assert names(await claim_all(outbox, crm)) == ["e1"]
    assert names(await claim_all(outbox, ci)) == ["e1", "e2"], "e2 has no key there"


async def test_events_of_one_transaction_stand_in_their_order(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put_many([(event(f"e{n}", n % 2, crm), [crm]) for n in range(6)])
    seen = []
    while claimed := await claim_all(outbox, crm):
        seen.append(names(claimed))
        await asyncio.gather(*(settle(outbox, delivered(one)) for one in claimed))
    assert seen == [["e0", "e1"], ["e2", "e3"], ["e4", "e5"]]


async def test_one_that_joins_in_the_transaction_in_which_the_head_leaves_is_not_lost(
    outbox: Outbox,
) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await put(outbox, crm, "a1")
    (head,) = await claim_all(outbox, crm)
    joining = outbox.put(event("a2", ord("a"), crm), [crm])
    assert await settle(outbox, delivered(head))
    await joining
    assert names(await claim_all(outbox, crm)) == ["a2"]
    assert await outbox.blocked(crm) == 0


async def test_order_holds_over_a_restart(reopen: Opener) -> None:
    outbox = await reopen()
    (crm,) = await endpoints(outbox, "crm")
    await put(outbox, crm, "a1", "a2", "b1", "a3")
    claimed = await claim_all(outbox, crm)
    assert await settle(outbox, failed(claimed[0], 30.0))
    outbox = await reopen()
    assert names(await claim_all(outbox, crm)) == ["b1"]
    (head,) = await claim_all(outbox, crm, NOW + 30)
    assert names([head]) == ["a1"]
    await put(outbox, crm, "a4")
    assert await settle(outbox, delivered(head, NOW + 30))
    outbox = await reopen()
    assert sorted(names(await claim_all(outbox, crm, NOW + 30))) == ["a2", "b1"]


async def test_cancelling_the_head_lets_the_next_go(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await put(outbox, crm, "a1", "a2", "a3")
    (head,) = await claim_all(outbox, crm)
    assert await settle(outbox, failed(head, 1e6))
    assert await outbox.cancel(Selection(ids=(head.id,)), NOW) == 1
    assert names(await claim_all(outbox, crm)) == ["a2"]


async def test_cancelling_one_in_the_middle_closes_the_gap(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await put(outbox, crm, "a1", "a2", "a3")
    assert await outbox.cancel(Selection(ids=(DeliveryId(2),)), NOW) == 1
    (head,) = await claim_all(outbox, crm)
    assert await settle(outbox, delivered(head))
    assert names(await claim_all(outbox, crm)) == ["a3"]


async def test_cancelling_a_whole_line_leaves_the_others(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await put(outbox, crm, "a1", "a2", "b1", "b2")
    await outbox.cancel(Selection(ids=(DeliveryId(1), DeliveryId(2), DeliveryId(3))), NOW)
    assert names(await claim_all(outbox, crm)) == ["b2"]


async def test_a_replay_goes_to_the_tail(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await put(outbox, crm, "a1", "a2", "a3")
    (head,) = await claim_all(outbox, crm)
    assert await settle(outbox, died(head))
    assert await outbox.replay(DEAD, NOW) == 1
    await put(outbox, crm, "a4")
    seen = []
    while claimed := await claim_all(outbox, crm):
        seen += names(claimed)
        assert await settle(outbox, delivered(claimed[0]))
    assert seen == ["a2", "a3", "a1", "a4"]


async def test_a_replay_into_an_empty_line_is_due_and_others_wait_for_it(
    reopen: Opener,
) -> None:
    outbox = await reopen()
    (crm,) = await endpoints(outbox, "crm")
    await put(outbox, crm, "a1", "a2")
    for _ in range(2):
        (head,) = await claim_all(outbox, crm)
        assert await settle(outbox, died(head))
    assert await outbox.replay(DEAD, NOW) == 2
    outbox = await reopen()
    await put(outbox, crm, "a3")
    outbox = await reopen()
    seen = []
    while claimed := await claim_all(outbox, crm):
        seen += names(claimed)
        assert await settle(outbox, delivered(claimed[0]))
    assert seen == ["a1", "a2", "a3"]


async def test_an_overflowed_delivery_finds_its_line_when_it_is_replayed(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm", max_pending=1)
    await put(outbox, crm, "a1", "a2")
    assert await outbox.replay(DEAD, NOW) == 1
    assert names(await claim_all(outbox, crm)) == ["a1"]
    assert await outbox.blocked(crm) == 1


async def test_what_is_moved_to_another_endpoint_is_last_in_its_line_there(
    outbox: Outbox,
) -> None:
    crm, ci = await endpoints(outbox, "crm", "ci")
    await put(outbox, crm, "a1", "a2", "-1", "b1")
    await put(outbox, ci, "a3")
    await endpoints(outbox, "ci", now=NOW + 1)
    assert await outbox.retry(Selection(endpoint="crm"), NOW + 1, to=ci) == 4
    await put(outbox, ci, "a4")
    first = await claim_all(outbox, ci, NOW + 1)
    assert sorted(names(first)) == ["-1", "a3", "b1"]
    seen = []
    (head,) = [one for one in first if one.event.id == "a3"]
    while True:
        assert await settle(outbox, delivered(head, NOW + 1))
        claimed = await claim_all(outbox, ci, NOW + 1)
        if not claimed:
            break
        (head,) = claimed
        seen += names(claimed)
    assert seen == ["a1", "a2", "a4"]


async def test_a_blocked_delivery_is_not_hastened_its_head_is(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await put(outbox, crm, "a1", "a2", "a3")
    (head,) = await claim_all(outbox, crm)
    assert await settle(outbox, failed(head, 1e6))
    with pytest.raises(Conflict, match="waits behind delivery 1, whose turn it is"):
        await outbox.retry(Selection(ids=(DeliveryId(2),)), NOW)
    assert await outbox.retry(Selection(endpoint="crm"), NOW) == 1
    assert names(await claim_all(outbox, crm)) == ["a1"]


async def test_what_is_blocked_is_shown_with_its_head(outbox: Outbox) -> None:
    crm, ci = await endpoints(outbox, "crm", "ci")
    await put(outbox, crm, "a1", "a2", "b1", "-1", "a3")
    await put(outbox, ci, "a4", "a5")
    views = {view.event_id: view for view in await outbox.deliveries(Selection())}
    assert {name for name, view in views.items() if view.behind is not None} == {"a2", "a3", "a5"}
    assert (views["a3"].behind, views["a3"].key, views["a3"].next_at) == (1, ord("a"), None)
    assert (views["a1"].behind, views["a1"].key, views["a1"].next_at) == (None, ord("a"), NOW)
    assert views["-1"].key is None
    listed = [view.event_id for view in await outbox.deliveries(BLOCKED)]
    assert listed == ["a5", "a3", "a2"]
    of_crm = Selection(blocked=True, endpoint="crm")
    assert [view.event_id for view in await outbox.deliveries(of_crm)] == ["a3", "a2"]
    assert [one.event_id for one in await outbox.deliveries(BLOCKED, before=views["a3"].id)] == [
        "a2"
    ]
    assert (await outbox.count(of_crm), await outbox.count(Selection(blocked=False))) == (2, 4)
    assert [await outbox.blocked(one) for one in (crm, ci)] == [2, 1]
    assert await outbox.cancel(BLOCKED, NOW) == 3
    assert await outbox.deliveries(BLOCKED) == []


async def test_an_endpoint_that_leaves_and_returns_keeps_its_lines(reopen: Opener) -> None:
    outbox = await reopen()
    (crm,) = await endpoints(outbox, "crm")
    await put(outbox, crm, "a1", "a2", "b1")
    await outbox.apply_endpoints([], NOW + 1)
    assert await claim_all(outbox, crm, NOW + 1) == []
    outbox = await reopen()
    await endpoints(outbox, "crm", now=NOW + 2)
    first = await claim_all(outbox, crm, NOW + 2)
    assert names(first) == ["a1", "b1"]
    assert await settle(outbox, delivered(first[0], NOW + 2))
    assert names(await claim_all(outbox, crm, NOW + 2)) == ["a2"]


@pytest.mark.parametrize("on_remove", [OnRemove.CANCEL, OnRemove.DEAD])
async def test_an_endpoint_that_returns_while_it_is_swept_has_a_head_in_each_line(
    outbox: Outbox, on_remove: OnRemove
) -> None:
    (crm,) = await endpoints(outbox, "crm", on_remove=on_remove)
    for number in range(400):
        await outbox.put(event(f"e{number}", number % 3, crm), [crm])
    await outbox.apply_endpoints([], NOW)
    step = await outbox.purge(FOREVER, NOW)
    assert step.more
    (crm,) = await endpoints(outbox, "crm", now=NOW)
    left = outbox.endpoint(crm).counts.pending
    assert 0 < left < 400
    claimed = await claim_all(outbox, crm)
    assert sorted(one.sequence % 3 for one in claimed) == [0, 1, 2]
    assert await outbox.blocked(crm) == left - 3


async def test_a_line_is_as_long_as_it_is_without_what_was_purged(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await put(outbox, crm, "a1", "a2")
    (head,) = await claim_all(outbox, crm)
    assert await settle(outbox, died(head))
    limits = RetentionLimits(delivered=1, dead=1, cancelled=1, parked=1e9, max_size=1 << 40)
    await purge_all(outbox, limits, NOW + 9)
    await put(outbox, crm, "a3")
    (head,) = await claim_all(outbox, crm, NOW + 9)
    assert names([head]) == ["a2"]
    assert await settle(outbox, delivered(head, NOW + 9))
    assert names(await claim_all(outbox, crm, NOW + 9)) == ["a3"]
