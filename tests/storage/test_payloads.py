"""Deliveries that are sent what a transform made: stored, read back, replayed and purged."""

from collections.abc import Awaitable, Callable

import pytest
from tests.builders import FakeClock, an_event
from tests.storage.steps import NOW, claim_all, delivered, died, endpoints, purge_all, settle

from hookpost.core.errors import Conflict
from hookpost.core.model import DeadReason, DeliveryId, State
from hookpost.storage.outbox import Outbox, RetentionLimits, Selection

Opener = Callable[[], Awaitable[Outbox]]
DEAD = Selection(states=frozenset({State.DEAD}))
LIMITS = RetentionLimits(delivered=60, dead=60, cancelled=60, parked=1e9, max_size=1 << 40)


async def test_each_delivery_carries_its_own_bytes_from_memory_and_from_disk(
    reopen: Opener,
) -> None:
    outbox = await reopen()
    crm, ci, plain = await endpoints(outbox, "crm", "ci", "plain")
    event = an_event(content_type="text/plain", transformed={crm: b'{"a":1}', ci: b"2"})
    await outbox.put(event, [crm, ci, plain])
    for again in range(2):
        bodies = {}
        for endpoint in (crm, ci, plain):
            (delivery,) = await claim_all(outbox, endpoint)
            sent = delivery.event
            bodies[endpoint] = sent.body, sent.content_type, sent.id, sent.transformed
            outbox.release([delivery])
        assert bodies == {
            crm: (b'{"a":1}', "application/json", "evt_1", None),
            ci: (b"2", "application/json", "evt_1", None),
            plain: (event.body, "text/plain", "evt_1", None),
        }, again
        outbox = await reopen()


async def test_what_a_transform_made_is_shown_beside_the_event(outbox: Outbox) -> None:
    crm, plain = await endpoints(outbox, "crm", "plain")
    await outbox.put(an_event(transformed={crm: b"1"}), [crm, plain])
    first, second = [await outbox.delivery(DeliveryId(number)) for number in (1, 2)]
    assert (first.payload, second.payload) == (b"1", None)
    assert first.event.body == second.event.body == b'{"amount": 1200}'


async def test_a_failed_transform_is_a_dead_letter_that_cannot_be_replayed(
    outbox: Outbox, clock: FakeClock
) -> None:
    crm, ci = await endpoints(outbox, "crm", "ci", max_pending=1)
    await outbox.put_many(
        [
            (an_event(id="e1", transformed={crm: None}), [crm, ci]),
            (an_event(id="e2", transformed={crm: b"2"}), [crm]),
            (an_event(id="e3", transformed={crm: b"3"}), [crm]),
        ]
    )
    counts = outbox.endpoint(crm).counts
    assert (counts.created, counts.pending, counts.dead, counts.dead_letters) == (3, 1, 2, 2)
    views = await outbox.deliveries(DEAD)
    assert [(view.event_id, view.reason) for view in views] == [
        ("e3", DeadReason.OVERFLOW),
        ("e1", DeadReason.TRANSFORM),
    ]
    with pytest.raises(Conflict, match="its transform made nothing to send"):
        await outbox.replay(Selection(ids=(views[1].id,)), NOW)
    assert await outbox.replay(DEAD, NOW) == 1
    sent = [delivery.event.body for delivery in await claim_all(outbox, crm)]
    assert sorted(sent) == [b"2", b"3"], "a replay sends what was made at acceptance"
    assert await outbox.purge_dead(DEAD) == 1


async def test_a_replayed_dead_letter_has_the_same_bytes_after_a_restart(reopen: Opener) -> None:
    outbox = await reopen()
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(transformed={crm: b'"x"'}), [crm])
    (delivery,) = await claim_all(outbox, crm)
    assert await settle(outbox, died(delivery))
    outbox = await reopen()
    assert await outbox.replay(DEAD, NOW) == 1
    (again,) = await claim_all(outbox, crm)
    assert again.event.body == b'"x"'


async def test_payloads_go_with_the_last_delivery_of_their_event(reopen: Opener) -> None:
    outbox = await reopen()
    crm, ci = await endpoints(outbox, "crm", "ci")
    big = b'"' + b"x" * 100_000 + b'"'

    async def put(name: str) -> None:
        for number in range(20):
            event = an_event(id=f"{name}{number}", transformed={crm: big, ci: big})
            await outbox.put(event, [crm, ci])

    await put("first")
    outbox = await reopen()
    before = outbox.sizes().database
    assert 20 * 100_000 < before < 25 * 100_000, "two deliveries share what was made for both"
    for delivery in await claim_all(outbox, crm):
        assert await settle(outbox, delivered(delivery))
    await purge_all(outbox, LIMITS, NOW + 1e6)
    (kept, *_) = await claim_all(outbox, ci)
    assert kept.event.body == big
    outbox = await reopen()
    for delivery in await claim_all(outbox, ci):
        assert await settle(outbox, delivered(delivery))
    await purge_all(outbox, LIMITS, NOW + 1e6)
    await put("second")
    outbox = await reopen()
    assert outbox.sizes().database < before * 1.1, "the room of the first is used again"


async def test_many_payloads_are_read_in_bounded_pages(reopen: Opener) -> None:
    outbox = await reopen()
    (crm,) = await endpoints(outbox, "crm")
    for number in range(30):
        data = b'"%d%s"' % (number, b"x" * 300_000)
        await outbox.put(an_event(id=f"e{number}", transformed={crm: data}), [crm])
    outbox = await reopen()
    first = await outbox.claim(crm, 100, NOW)
    assert 1 <= len(first) < 20, "4 MiB are read at a time, counted by what is sent"
    assert len(first) + len(await claim_all(outbox, crm)) == 30
