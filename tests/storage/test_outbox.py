"""The conformance suite: what every backend of the outbox promises."""

import asyncio

import pytest
from tests.builders import FakeClock, an_event
from tests.storage.conftest import Opener
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

from hookpost.core.errors import Conflict, NotFound, OutboxError, StorageUnavailable
from hookpost.core.model import (
    DeadReason,
    DeliveryId,
    Duplicate,
    EndpointId,
    OnRemove,
    SourceRecord,
    State,
    Stored,
)
from hookpost.storage.outbox import EndpointSpec, Outbox, RetentionLimits, Selection

ALL = Selection()


def keyed(key: str, **overrides: object) -> object:
    return an_event(**{"id": key, "dedup_key": key, "dedup_window": 60.0, **overrides})


# -- put -------------------------------------------------------------------------------------


async def test_an_event_is_stored_with_a_delivery_for_each_endpoint(outbox: Outbox) -> None:
    ids = await endpoints(outbox, "crm", "ci")
    event = an_event(headers=(("X-Kind", "a"), ("traceparent", "00-ü")), body=b"\x00\xff")
    answer = await outbox.put(event, ids)
    assert answer == Stored("evt_1", 1, 2)
    for endpoint in ids:
        (delivery,) = await outbox.claim(endpoint, 10, NOW)
        assert delivery.event == event
        assert (delivery.sequence, delivery.attempts, delivery.replayed) == (1, 0, False)


async def test_what_was_put_is_claimed_after_a_restart_byte_for_byte(reopen: Opener) -> None:
    outbox = await reopen()
    (crm,) = await endpoints(outbox, "crm")
    event = an_event(headers=(("X-Kind", "a"),), body=bytes(range(256)), content_type=None)
    await outbox.put(event, [crm])
    outbox = await reopen()
    (delivery,) = await claim_all(outbox, crm)
    assert delivery.event == event
    assert outbox.sources()["billing"].accepted == 1


async def test_an_event_without_endpoints_is_stored_and_purged_like_a_delivered_one(
    outbox: Outbox,
) -> None:
    assert await outbox.put(an_event(), []) == Stored("evt_1", 1, 0)
    limits = RetentionLimits(delivered=60, dead=1e9, cancelled=1e9, parked=1e9, max_size=1 << 40)
    assert (await outbox.purge(limits, NOW + 59)).events == {}
    assert (await outbox.purge(limits, NOW + 61)).events == {"age": 1}


async def test_a_delivery_beyond_max_pending_is_dead_overflow_and_others_are_not_touched(
    outbox: Outbox,
) -> None:
    crm, ci = await endpoints(outbox, "crm", "ci", max_pending=2)
    for number in range(3):
        await outbox.put(an_event(id=f"e{number}"), [crm])
    await outbox.put(an_event(id="other"), [ci])
    counts = outbox.endpoint(crm).counts
    assert (counts.created, counts.pending, counts.dead, counts.dead_letters) == (3, 2, 1, 1)
    assert outbox.endpoint(ci).counts.pending == 1
    (view,) = await outbox.deliveries(Selection(endpoint="crm", states=frozenset({State.DEAD})))
    assert (view.reason, view.event_id) == (DeadReason.OVERFLOW, "e2")


async def test_overflow_counts_inside_one_transaction_too(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm", max_pending=3)
    await outbox.put_many([(an_event(id=f"e{n}"), [crm]) for n in range(10)])
    counts = outbox.endpoint(crm).counts
    assert (counts.pending, counts.dead) == (3, 7)


async def test_a_delivery_for_a_removed_endpoint_is_parked(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await endpoints(outbox, "ci")
    await outbox.put(an_event(), [crm])
    (view,) = await outbox.deliveries(ALL)
    assert view.state is State.PARKED
    assert await outbox.claim(crm, 10, NOW) == []
    assert outbox.next_due(crm) is None


async def test_an_unknown_endpoint_fails_that_put_alone(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    answers = await asyncio.gather(
        outbox.put(an_event(id="good"), [crm]),
        outbox.put(an_event(id="bad"), [EndpointId(99)]),
        return_exceptions=True,
    )
    assert isinstance(answers[0], Stored)
    assert isinstance(answers[1], OutboxError)
    assert "99" in str(answers[1])


@pytest.mark.parametrize(
    "bad",
    [{"id": "\ud800"}, {"body": "text\udfff"}, {"accepted_at": float("nan")}, {"type": 2**63}],
    ids=["lone surrogate", "surrogate body", "not a number", "huge integer"],
)
async def test_a_bad_row_sinks_only_itself(outbox: Outbox, bad: dict[str, object]) -> None:
    (crm,) = await endpoints(outbox, "crm")
    answers = await asyncio.gather(
        *(outbox.put(an_event(id=f"a{n}"), [crm]) for n in range(40)),
        outbox.put(an_event(**bad), [crm]),
        *(outbox.put(an_event(id=f"b{n}"), [crm]) for n in range(40)),
        return_exceptions=True,
    )
    assert isinstance(answers.pop(40), OutboxError)
    assert all(isinstance(answer, Stored) for answer in answers)
    assert len(await claim_all(outbox, crm)) == 80
    assert outbox.endpoint(crm).counts.created == 80


async def test_a_batch_is_stored_whole_or_not_at_all(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    good = [(an_event(id=f"e{n}"), [crm]) for n in range(5)]
    whole, broken = await asyncio.gather(
        outbox.put_many(good),
        outbox.put_many([*good, (an_event(id="\ud800"), [crm])]),
        return_exceptions=True,
    )
    assert [answer.event_id for answer in whole] == ["e0", "e1", "e2", "e3", "e4"]
    assert isinstance(broken, OutboxError)
    assert await outbox.count(ALL) == 5


async def test_a_cancelled_caller_does_not_undo_the_put(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    put = asyncio.ensure_future(outbox.put(an_event(id="left"), [crm]))
    put.cancel()
    await outbox.put(an_event(id="stayed"), [crm])
    assert {d.event.id for d in await claim_all(outbox, crm)} == {"left", "stayed"}


# -- duplicates (P3) -------------------------------------------------------------------------


async def test_duplicates_are_seen_in_one_batch_and_over_a_restart(reopen: Opener) -> None:
    outbox = await reopen()
    ids = await endpoints(outbox, "crm", "ci")
    answers = await asyncio.gather(*(outbox.put(keyed("k"), ids) for _ in range(3)))
    assert answers == [Stored("k", 1, 2), Duplicate("k", 2, False), Duplicate("k", 2, False)]
    outbox = await reopen()
    assert await outbox.put(keyed("k"), ids) == Duplicate("k", 2, False)
    source = outbox.sources()["billing"]
    assert (source.accepted, source.duplicates) == (1, 3)
    assert await outbox.count(ALL) == 2


@pytest.mark.parametrize("other", [{"body": b"other"}, {"type": "invoice.void"}])
async def test_the_same_identity_with_other_bytes_or_type_is_conflicting(
    outbox: Outbox, other: dict[str, object]
) -> None:
    assert await outbox.put(keyed("k"), []) == Stored("k", 1, 0)
    assert await outbox.put(keyed("k", **other), []) == Duplicate("k", 0, True)
    assert outbox.sources()["billing"] == SourceRecord("billing", 1, 1, 1, 1, last_event_at=NOW)


async def test_identities_are_compared_inside_their_source(outbox: Outbox) -> None:
    await outbox.put(keyed("k", source="a"), [])
    assert isinstance(await outbox.put(keyed("k", source="b"), []), Stored)


async def test_an_expired_identity_counts_as_absent_and_begins_a_new_window(
    outbox: Outbox,
) -> None:
    await outbox.put(keyed("k"), [])
    assert isinstance(await outbox.put(keyed("k", accepted_at=NOW + 59), []), Duplicate)
    assert isinstance(await outbox.put(keyed("k", accepted_at=NOW + 60), []), Stored)
    assert isinstance(await outbox.put(keyed("k", accepted_at=NOW + 119), []), Duplicate)


async def test_an_identity_outlives_its_purged_event(outbox: Outbox) -> None:
    await outbox.put(keyed("k"), [])
    limits = RetentionLimits(delivered=1, dead=1, cancelled=1, parked=1, max_size=1 << 40)
    assert (await outbox.purge(limits, NOW + 30)).events == {"age": 1}
    assert isinstance(await outbox.put(keyed("k", accepted_at=NOW + 30), []), Duplicate)
    await outbox.purge(limits, NOW + 61)
    assert isinstance(await outbox.put(keyed("k", accepted_at=NOW + 31), []), Stored)


async def test_a_refused_put_leaves_no_identity_behind(outbox: Outbox) -> None:
    with pytest.raises(OutboxError):
        await outbox.put(keyed("k"), [EndpointId(99)])
    assert isinstance(await outbox.put(keyed("k"), []), Stored)


async def test_events_without_identity_are_never_duplicates(outbox: Outbox) -> None:
    answers = [await outbox.put(an_event(), []) for _ in range(3)]
    assert [answer.sequence for answer in answers] == [1, 2, 3]  # type: ignore[union-attr]


# -- claim, release, settle ------------------------------------------------------------------


async def test_a_claimed_delivery_is_not_given_twice(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put_many([(an_event(id=f"e{n}"), [crm]) for n in range(5)])
    first = await outbox.claim(crm, 3, NOW)
    second = await outbox.claim(crm, 3, NOW)
    assert [d.event.id for d in (*first, *second)] == ["e0", "e1", "e2", "e3", "e4"]
    assert await outbox.claim(crm, 3, NOW) == []


async def test_nothing_is_claimed_before_it_is_due(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(accepted_at=NOW + 5), [crm])
    assert await outbox.claim(crm, 1, NOW + 4) == []
    assert outbox.next_due(crm) == NOW + 5
    assert len(await outbox.claim(crm, 1, NOW + 5)) == 1


async def test_a_released_delivery_is_due_again_in_its_old_place(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put_many([(an_event(id=f"e{n}"), [crm]) for n in range(4)])
    outbox.release(await outbox.claim(crm, 3, NOW))
    claimed = await outbox.claim(crm, 4, NOW)
    assert [d.event.id for d in claimed] == ["e0", "e1", "e2", "e3"]
    assert [d.attempts for d in claimed] == [0, 0, 0, 0]


async def test_what_is_ready_in_memory_is_claimed_at_once_and_once(reopen: Opener) -> None:
    outbox = await reopen()
    (crm,) = await endpoints(outbox, "crm")
    assert list(outbox.claim_ready(crm, 5, NOW)) == []
    await outbox.put_many([(an_event(id=f"e{n}"), [crm]) for n in range(3)])
    assert list(outbox.claim_ready(crm, 0, NOW)) == []
    ready = outbox.claim_ready(crm, 2, NOW)
    assert [delivery.event.id for delivery in ready] == ["e0", "e1"]
    assert [delivery.event.id for delivery in await outbox.claim(crm, 5, NOW)] == ["e2"]
    assert await settle(outbox, failed(ready[0], 30.0))
    assert list(outbox.claim_ready(crm, 5, NOW + 29)) == []
    outbox = await reopen()
    assert list(outbox.claim_ready(crm, 5, NOW + 31)) == []  # all of it is on disk only
    assert len(await claim_all(outbox, crm, NOW + 31)) == 3


async def test_releasing_twice_gives_nothing_twice(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(), [crm])
    claimed = await outbox.claim(crm, 1, NOW)
    outbox.release(claimed)
    outbox.release(claimed)
    assert len(await claim_all(outbox, crm)) == 1


async def test_a_delivered_delivery_is_over(reopen: Opener) -> None:
    outbox = await reopen()
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(), [crm])
    (delivery,) = await outbox.claim(crm, 1, NOW)
    assert await settle(outbox, delivered(delivery))
    assert await claim_all(outbox, crm, NOW + 1e6) == []
    outbox = await reopen()
    assert await claim_all(outbox, crm, NOW + 1e6) == []
    counts = outbox.endpoint(crm).counts
    assert (counts.delivered, counts.pending) == (1, 0)
    detail = await outbox.delivery(delivery.id)
    assert (detail.view.state, detail.view.attempts) == (State.DELIVERED, 1)
    assert [attempt.outcome.status for attempt in detail.attempts] == [204]


async def test_a_failed_delivery_is_due_after_its_delay(reopen: Opener) -> None:
    outbox = await reopen()
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(), [crm])
    (delivery,) = await outbox.claim(crm, 1, NOW)
    assert await settle(outbox, failed(delivery, 30.0))
    for _ in range(2):
        assert await claim_all(outbox, crm, NOW + 29) == []
        assert outbox.next_due(crm) == NOW + 30
        outbox = await reopen()
    (retried,) = await claim_all(outbox, crm, NOW + 30)
    assert (retried.attempts, retried.round_attempts) == (1, 1)
    assert retried.event == delivery.event


async def test_an_attempt_that_does_not_count_leaves_the_round_as_it_was(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(), [crm])
    (delivery,) = await outbox.claim(crm, 1, NOW)
    settlement = failed(delivery, 0.0)
    settlement.transition = type(settlement.transition)(
        state=State.PENDING, cause=settlement.transition.cause, counted=False
    )
    assert await settle(outbox, settlement)
    (again,) = await claim_all(outbox, crm)
    assert (again.attempts, again.round_attempts) == (1, 0)


async def test_settling_twice_is_refused_but_both_attempts_are_recorded(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(), [crm])
    (delivery,) = await outbox.claim(crm, 1, NOW)
    answers = await asyncio.gather(
        settle(outbox, delivered(delivery)), settle(outbox, died(delivery))
    )
    assert answers == [True, False]
    assert await settle(outbox, died(delivery)) is False
    detail = await outbox.delivery(delivery.id)
    assert detail.view.state is State.DELIVERED
    assert [attempt.number for attempt in detail.attempts] == [1, 2, 3]
    counts = outbox.endpoint(crm).counts
    assert (counts.delivered, counts.dead) == (1, 0)


async def test_a_dropped_settlement_is_committed_all_the_same(reopen: Opener) -> None:
    outbox = await reopen()
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(), [crm])
    (delivery,) = await outbox.claim(crm, 1, NOW)
    settle(outbox, delivered(delivery))
    outbox = await reopen()
    assert outbox.endpoint(crm).counts.delivered == 1


async def test_an_answer_that_cannot_be_written_does_not_lose_the_settlement(
    outbox: Outbox,
) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put_many([(an_event(id=f"e{n}"), [crm]) for n in range(3)])
    one, two, three = await outbox.claim(crm, 3, NOW)
    odd = failed(one, 1.0, error="bad \ud800 text")
    broken = delivered(two)
    broken.attempt = type(odd.attempt)(  # type: ignore[misc]
        number=1, started_at=float("nan"), duration=0.0, outcome=broken.attempt.outcome
    )
    answers = await asyncio.gather(
        settle(outbox, odd), settle(outbox, broken), settle(outbox, delivered(three))
    )
    assert answers == [True, True, True]
    detail = await outbox.delivery(one.id)
    assert detail.attempts[0].outcome.error == "bad \\ud800 text"
    assert (await outbox.delivery(two.id)).view.state is State.DELIVERED
    assert await claim_all(outbox, crm) == []


async def test_at_most_a_hundred_attempts_are_kept(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(), [crm])
    for _ in range(103):
        (delivery,) = await claim_all(outbox, crm)
        await settle(outbox, failed(delivery, 0.0))
    attempts = (await outbox.delivery(delivery.id)).attempts
    assert [attempt.number for attempt in attempts] == list(range(4, 104))
    assert attempts[-1].outcome.answer == b"oops"


async def test_an_answer_is_kept_to_its_first_kibibyte(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(), [crm])
    (delivery,) = await outbox.claim(crm, 1, NOW)
    settlement = died(delivery)
    outcome = type(settlement.attempt.outcome)(
        result=settlement.attempt.outcome.result, answer=b"x" * 5000
    )
    settlement.attempt = type(settlement.attempt)(
        number=1, started_at=NOW, duration=0.0, outcome=outcome
    )
    await settle(outbox, settlement)
    assert len((await outbox.delivery(delivery.id)).attempts[0].outcome.answer) == 1024


async def test_the_doorbell_rings_for_what_is_put_released_and_retried(outbox: Outbox) -> None:
    crm, ci = await endpoints(outbox, "crm", "ci")
    rung: list[str] = []
    outbox.watch(crm, lambda: rung.append("crm"))
    outbox.watch(ci, lambda: rung.append("ci"))
    await outbox.put(an_event(), [crm])
    assert rung == ["crm"]
    claimed = await outbox.claim(crm, 1, NOW)
    outbox.release(claimed)
    assert rung == ["crm"] * 2
    (delivery,) = await outbox.claim(crm, 1, NOW)
    await settle(outbox, failed(delivery, 60.0))
    assert rung == ["crm"] * 3
    await outbox.retry(ALL, NOW)
    assert rung[-1] == "crm"
    assert len(rung) > 3
    outbox.watch(crm, None)
    rung.clear()
    await outbox.put(an_event(), [crm])
    assert rung == []


# -- endpoints -------------------------------------------------------------------------------


async def test_rows_are_inserted_updated_removed_and_revived(outbox: Outbox) -> None:
    first = await outbox.apply_endpoints([EndpointSpec(name="crm")], NOW)
    assert first["crm"].fresh
    again = await outbox.apply_endpoints(
        [EndpointSpec(name="crm", paused=True, on_remove=OnRemove.DEAD)], NOW + 1
    )
    record = again["crm"]
    assert (record.id, record.fresh) == (first["crm"].id, False)
    assert (record.paused, record.on_remove) == (True, OnRemove.DEAD)
    assert await outbox.apply_endpoints([], NOW + 2) == {}
    assert outbox.endpoint(record.id).removed_at == NOW + 2
    assert outbox.endpoints() == []
    back = await outbox.apply_endpoints([EndpointSpec(name="crm")], NOW + 3)
    assert (back["crm"].id, back["crm"].removed_at, back["crm"].fresh) == (record.id, None, False)


async def test_time_paused_or_parked_does_not_count(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.update_endpoint(crm, NOW + 10, paused_by_operator=True)
    assert outbox.endpoint(crm).active_clock(NOW + 50) == NOW + 10
    await outbox.apply_endpoints([EndpointSpec(name="crm", paused=True)], NOW + 60)
    await outbox.update_endpoint(crm, NOW + 70, paused_by_operator=False)
    assert outbox.endpoint(crm).active_clock(NOW + 80) == NOW + 10
    await outbox.apply_endpoints([], NOW + 90)
    await outbox.apply_endpoints([EndpointSpec(name="crm")], NOW + 100)
    assert outbox.endpoint(crm).active_clock(NOW + 110) == NOW + 20


async def test_a_revived_endpoint_begins_new_rounds(reopen: Opener) -> None:
    outbox = await reopen()
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(), [crm])
    (delivery,) = await outbox.claim(crm, 1, NOW)
    await settle(outbox, failed(delivery, 10.0, NOW + 5))
    await outbox.apply_endpoints([], NOW + 20)
    assert await outbox.claim(crm, 1, NOW + 30) == []
    await outbox.apply_endpoints([EndpointSpec(name="crm")], NOW + 50)
    for _ in range(2):
        (revived,) = await claim_all(outbox, crm, NOW + 50)
        assert (revived.attempts, revived.round_attempts) == (1, 0)
        assert revived.round_started == outbox.endpoint(crm).active_clock(NOW + 50)
        outbox = await reopen()
    (revived,) = await claim_all(outbox, crm, NOW + 50)
    await settle(outbox, failed(revived, 1.0, NOW + 51))
    (later,) = await claim_all(outbox, crm, NOW + 60)
    assert (later.attempts, later.round_attempts) == (2, 1)


async def test_an_attempt_in_flight_ends_though_its_endpoint_was_removed(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put_many([(an_event(id=f"e{n}"), [crm]) for n in range(3)])
    one, two, three = await outbox.claim(crm, 3, NOW)
    await outbox.apply_endpoints([], NOW + 1)
    assert await settle(outbox, delivered(one))
    assert await settle(outbox, failed(two, 0.0))
    outbox.release([three])
    assert await outbox.claim(crm, 3, NOW + 2) == []
    await outbox.apply_endpoints([EndpointSpec(name="crm")], NOW + 3)
    assert {d.id for d in await claim_all(outbox, crm, NOW + 3)} == {two.id, three.id}


async def test_a_renamed_endpoint_keeps_its_row_once(outbox: Outbox) -> None:
    (old,) = await endpoints(outbox, "crm-2024")
    await outbox.put(an_event(), [old])
    spec = EndpointSpec(name="crm", renamed_from="crm-2024")
    for _ in range(2):
        record = (await outbox.apply_endpoints([spec], NOW))["crm"]
        assert (record.id, record.counts.pending) == (old, 1)
    assert [view.endpoint for view in await outbox.deliveries(Selection(endpoint="crm"))] == ["crm"]
    assert await outbox.deliveries(Selection(endpoint="crm-2024")) == []
    both = await outbox.apply_endpoints([spec, EndpointSpec(name="crm-2024")], NOW)
    assert both["crm-2024"].id != old


async def test_state_of_an_endpoint_survives_a_restart(reopen: Opener) -> None:
    outbox = await reopen()
    (crm,) = await endpoints(outbox, "crm")
    changes = {
        "gone": True,
        "hold_until": NOW + 9,
        "breaker": "open 1 2",
        "tokens": 2.5,
        "tokens_at": NOW,
    }
    before = await outbox.update_endpoint(crm, NOW, **changes)
    outbox = await reopen()
    assert outbox.endpoint(crm) == before
    assert {name: getattr(before, name) for name in changes} == changes
    assert before.suspended_since == NOW


async def test_two_changes_in_one_transaction_do_not_undo_each_other(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await asyncio.gather(
        outbox.update_endpoint(crm, NOW, breaker="open"),
        outbox.update_endpoint(crm, NOW, hold_until=NOW + 5),
    )
    record = outbox.endpoint(crm)
    assert (record.breaker, record.hold_until) == ("open", NOW + 5)


async def test_what_may_not_be_changed_is_refused_by_name(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    with pytest.raises(TypeError, match="max_pending"):
        await outbox.update_endpoint(crm, NOW, max_pending=3)
    with pytest.raises(NotFound, match="77"):
        await outbox.update_endpoint(EndpointId(77), NOW, gone=True)
    with pytest.raises(NotFound, match="77"):
        outbox.endpoint(EndpointId(77))


# -- people ----------------------------------------------------------------------------------


async def dead_letters(outbox: Outbox, endpoint: EndpointId, count: int) -> list[DeliveryId]:
    await outbox.put_many([(an_event(id=f"dead{n}"), [endpoint]) for n in range(count)])
    claimed = await claim_all(outbox, endpoint)
    await asyncio.gather(*(settle(outbox, died(delivery)) for delivery in claimed))
    return [delivery.id for delivery in claimed]


async def test_pages_of_deliveries_are_newest_first_and_states_are_derived(outbox: Outbox) -> None:
    crm, ci = await endpoints(outbox, "crm", "ci")
    await outbox.put_many([(an_event(id=f"e{n}"), [crm]) for n in range(4)])
    await outbox.put(an_event(id="parked", type="t.p", source="other"), [ci])
    (claimed,) = await outbox.claim(crm, 1, NOW)
    await outbox.apply_endpoints([EndpointSpec(name="crm")], NOW)
    page = await outbox.deliveries(ALL, limit=2)
    assert [(v.event_id, v.state) for v in page] == [
        ("parked", State.PARKED),
        ("e3", State.PENDING),
    ]
    page = await outbox.deliveries(ALL, before=page[-1].id)
    assert [v.event_id for v in page] == ["e2", "e1", "e0"]
    assert page[-1].state is State.IN_FLIGHT
    for states, expected in [
        ({State.IN_FLIGHT}, [claimed.id]),
        ({State.PARKED}, [5]),
        ({State.PENDING}, [4, 3, 2]),
        (set(), []),
    ]:
        found = await outbox.deliveries(Selection(states=frozenset(states)))
        assert [view.id for view in found] == expected
        assert await outbox.count(Selection(states=frozenset(states))) == len(expected)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(source="other"), ["b"]),
        (Selection(event_id="a"), ["a"]),
        (Selection(event_type="x.y"), ["c"]),
        (Selection(endpoint="ci"), ["c"]),
        (Selection(endpoint="nobody"), []),
        (Selection(accepted_after=NOW + 1), ["c"]),
        (Selection(accepted_before=NOW + 1), ["a"]),
        (Selection(ids=(DeliveryId(1), DeliveryId(3))), ["c", "a"]),
        (Selection(source="billing", endpoint="crm"), ["a"]),
        (Selection(reason=DeadReason.GONE), []),
    ],
)
async def test_every_condition_of_a_selection_counts(
    outbox: Outbox, selection: Selection, expected: list[str]
) -> None:
    crm, ci = await endpoints(outbox, "crm", "ci")
    await outbox.put(an_event(id="a"), [crm])
    await outbox.put(an_event(id="b", source="other", accepted_at=NOW + 1), [crm])
    await outbox.put(an_event(id="c", type="x.y", accepted_at=NOW + 2), [ci])
    found = await outbox.deliveries(selection)
    assert [view.event_id for view in found] == expected
    assert await outbox.count(selection) == len(expected)


async def test_a_dead_letter_tells_its_story_over_a_replay(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    (number,) = await dead_letters(outbox, crm, 1)
    view = (await outbox.delivery(number)).view
    assert (view.state, view.reason, view.finished_at) == (State.DEAD, DeadReason.EXHAUSTED, NOW)
    first = view.death
    assert first is not None
    assert (first.at, first.reason, first.kind) == (NOW, DeadReason.EXHAUSTED, "http_5xx")
    assert (view.last_kind, view.last_status, view.last_error) == ("http_5xx", 500, "500")
    assert (view.replayed_at, view.last_replay_attempt) == (None, None)
    assert await outbox.replay(Selection(ids=(number,)), NOW + 10) == 1
    view = (await outbox.delivery(number)).view
    assert (view.state, view.replayed_at, view.last_replay_attempt) == (
        State.PENDING,
        NOW + 10,
        None,
    )
    assert view.death == first
    (delivery,) = await claim_all(outbox, crm, NOW + 10)
    assert (delivery.replayed, delivery.attempts, delivery.round_attempts) == (True, 1, 0)
    assert delivery.round_started == NOW + 10
    await settle(outbox, died(delivery, NOW + 20))
    view = (await outbox.delivery(number)).view
    assert (view.last_replay_attempt, view.last_replay_error) == (NOW + 20, "500")
    assert view.attempts == 2
    assert view.death == first


async def test_a_replay_goes_to_the_tail(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    (number,) = await dead_letters(outbox, crm, 1)
    await outbox.put_many([(an_event(id=f"e{n}", accepted_at=NOW + 1), [crm]) for n in range(3)])
    await outbox.replay(Selection(ids=(number,)), NOW + 2)
    assert [d.event.id for d in await claim_all(outbox, crm, NOW + 2)] == [
        "e0",
        "e1",
        "e2",
        "dead0",
    ]


async def test_bulk_verbs_go_over_more_than_one_round(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await dead_letters(outbox, crm, 1203)
    assert await outbox.replay(Selection(limit=600), NOW) == 600
    assert outbox.endpoint(crm).counts.dead_letters == 603
    assert await outbox.purge_dead(Selection(endpoint="crm")) == 603
    assert await outbox.cancel(Selection(endpoint="crm"), NOW) == 600
    counts = outbox.endpoint(crm).counts
    assert (counts.pending, counts.dead_letters, counts.cancelled) == (0, 0, 600)
    assert counts.created + counts.replayed == counts.dead + counts.cancelled
    assert await claim_all(outbox, crm) == []


async def test_retry_makes_waiting_deliveries_due(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(), [crm])
    (delivery,) = await outbox.claim(crm, 1, NOW)
    await settle(outbox, failed(delivery, 3600.0))
    assert await outbox.retry(Selection(ids=(delivery.id,)), NOW + 1) == 1
    (again,) = await claim_all(outbox, crm, NOW + 1)
    assert again.round_attempts == 1


async def test_parked_deliveries_can_be_moved_to_another_endpoint(outbox: Outbox) -> None:
    crm, new = await endpoints(outbox, "crm", "new")
    await outbox.put_many([(an_event(id=f"e{n}"), [crm]) for n in range(3)])
    await outbox.apply_endpoints([EndpointSpec(name="new")], NOW + 1)
    assert await outbox.retry(Selection(endpoint="crm"), NOW + 2, to=new) == 3
    old, taken = outbox.endpoint(crm).counts, outbox.endpoint(new).counts
    assert (old.pending, old.cancelled) == (0, 3)
    assert (taken.pending, taken.replayed) == (3, 3)
    moved = await claim_all(outbox, new, NOW + 2)
    assert [d.event.id for d in moved] == ["e0", "e1", "e2"]
    await asyncio.gather(*(settle(outbox, delivered(d, NOW + 3)) for d in moved))
    limits = RetentionLimits(delivered=1, dead=1, cancelled=1, parked=1, max_size=1 << 40)
    assert (await outbox.purge(limits, NOW + 10)).events == {"age": 3}


async def test_what_is_in_flight_is_left_alone_by_every_verb(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put_many([(an_event(id=f"e{n}"), [crm]) for n in range(3)])
    (flying,) = await outbox.claim(crm, 1, NOW)
    assert await outbox.cancel(ALL, NOW) == 2
    for verb in (outbox.cancel, outbox.retry, outbox.replay):
        with pytest.raises(Conflict, match="in flight"):
            await verb(Selection(ids=(flying.id,)), NOW)
    assert await settle(outbox, delivered(flying))


async def test_a_single_delivery_answers_with_the_reason(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    (number,) = await dead_letters(outbox, crm, 1)
    one = Selection(ids=(number,))
    with pytest.raises(Conflict, match=f"delivery {number}: is dead; replay it"):
        await outbox.retry(one, NOW)
    await outbox.apply_endpoints([], NOW)
    with pytest.raises(Conflict, match="'crm' left the configuration"):
        await outbox.replay(one, NOW)
    assert await outbox.cancel(one, NOW) == 1
    with pytest.raises(Conflict, match="is cancelled already"):
        await outbox.cancel(one, NOW)
    missing = Selection(ids=(DeliveryId(4711),))
    for verb in (outbox.cancel, outbox.retry, outbox.replay):
        with pytest.raises(NotFound, match="4711"):
            await verb(missing, NOW)
    with pytest.raises(NotFound, match="4711"):
        await outbox.purge_dead(missing)
    with pytest.raises(NotFound, match="4711"):
        await outbox.delivery(DeliveryId(4711))


async def test_a_parked_delivery_is_not_retried_at_its_missing_endpoint(outbox: Outbox) -> None:
    crm, gone = await endpoints(outbox, "crm", "gone")
    await outbox.put(an_event(), [crm])
    await outbox.apply_endpoints([], NOW)
    with pytest.raises(Conflict, match="parked"):
        await outbox.retry(Selection(ids=(DeliveryId(1),)), NOW)
    with pytest.raises(Conflict, match="'gone'"):
        await outbox.retry(Selection(endpoint="crm"), NOW, to=gone)


# -- housekeeping ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_remove", "state", "reason"),
    [
        (OnRemove.DEAD, State.DEAD, DeadReason.REMOVED),
        (OnRemove.CANCEL, State.CANCELLED, None),
    ],
)
async def test_on_remove_is_carried_out_in_steps_sparing_what_is_in_flight(
    outbox: Outbox, on_remove: OnRemove, state: State, reason: DeadReason | None
) -> None:
    (crm,) = await endpoints(outbox, "crm", on_remove=on_remove)
    await outbox.put_many([(an_event(id=f"e{n}"), [crm]) for n in range(701)])
    (flying,) = await outbox.claim(crm, 1, NOW)
    await outbox.apply_endpoints([], NOW)
    first = await outbox.purge(FOREVER, NOW)
    done = first.expired if on_remove is OnRemove.DEAD else first.cancelled
    assert 0 < done["crm"] < 700
    assert first.more
    await purge_all(outbox, FOREVER, NOW)
    assert await outbox.count(Selection(states=frozenset({state}))) == 700
    assert await settle(outbox, delivered(flying))
    counts = outbox.endpoint(crm).counts
    assert (counts.pending, counts.dead + counts.cancelled, counts.delivered) == (0, 700, 1)
    (view,) = await outbox.deliveries(Selection(states=frozenset({state})), limit=1)
    assert view.reason is reason


async def test_parked_deliveries_die_when_their_time_is_over(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(), [crm])
    await outbox.apply_endpoints([], NOW)
    limits = RetentionLimits(delivered=1e9, dead=1e9, cancelled=1e9, parked=100, max_size=1 << 40)
    assert (await outbox.purge(limits, NOW + 99)).expired == {}
    assert (await outbox.purge(limits, NOW + 101)).expired == {"crm": 1}
    assert [record.name for record in outbox.endpoints()] == ["crm"]


async def test_retention_by_age_deletes_only_what_is_finished_and_old(outbox: Outbox) -> None:
    crm, ci = await endpoints(outbox, "crm", "ci")
    await outbox.put(an_event(id="both"), [crm, ci])
    await outbox.put(an_event(id="waits"), [ci])
    (delivery,) = await outbox.claim(crm, 1, NOW)
    await settle(outbox, delivered(delivery))
    limits = RetentionLimits(delivered=10, dead=20, cancelled=10, parked=1, max_size=1 << 40)
    purged = await outbox.purge(limits, NOW + 11)
    assert purged.deliveries == {(State.DELIVERED, "age"): 1}
    assert purged.events == {}  # ci is still owed it
    assert {d.event.id for d in await claim_all(outbox, ci, NOW)} == {"both", "waits"}
    for each in await outbox.deliveries(ALL):
        assert each.state is State.IN_FLIGHT


async def test_numbers_are_never_given_twice_though_all_rows_are_purged(reopen: Opener) -> None:
    outbox = await reopen()
    (crm,) = await endpoints(outbox, "crm")
    await dead_letters(outbox, crm, 3)
    assert await outbox.purge_dead(ALL) == 3
    outbox = await reopen()
    answer = await outbox.put(an_event(), [crm])
    assert isinstance(answer, Stored)
    assert answer.sequence == 4
    assert [d.id for d in await claim_all(outbox, crm)] == [4]


async def test_retention_by_size_takes_the_oldest_finished_and_shrinks_the_file(
    outbox: Outbox,
) -> None:
    (crm,) = await endpoints(outbox, "crm")
    for number in range(40):
        event = an_event(id=f"e{number}", body=bytes(100_000))
        await outbox.put(event, [crm])
        if number < 30:
            (delivery,) = await outbox.claim(crm, 1, NOW)
            await settle(outbox, delivered(delivery, NOW + number))
    limits = RetentionLimits(delivered=1e9, dead=1e9, cancelled=1e9, parked=1e9, max_size=3_000_000)
    purged = await outbox.purge(limits, NOW + 100)
    assert list(purged.deliveries) == [(State.DELIVERED, "size")]
    assert list(purged.events) == ["size"]
    await purge_all(outbox, limits, NOW + 100)
    left = [view.event_id for view in await outbox.deliveries(ALL)]
    assert left == [f"e{number}" for number in reversed(range(40 - len(left), 40))]
    assert 23 <= len(left) <= 27  # nine tenths of max_size
    await outbox.close()
    assert outbox.sizes().database < 3_000_000


async def test_purging_stops_where_all_that_is_left_is_owed(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(body=bytes(200_000)), [crm])
    limits = RetentionLimits(delivered=1e9, dead=1e9, cancelled=1e9, parked=1e9, max_size=100_000)
    assert not (await outbox.purge(limits, NOW)).more
    assert await outbox.count(ALL) == 1


async def test_a_closed_outbox_refuses_everything_with_a_reason(outbox: Outbox) -> None:
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put(an_event(), [crm])
    (delivery,) = await outbox.claim(crm, 1, NOW)
    await outbox.close()
    await outbox.close()
    with pytest.raises(StorageUnavailable, match="closed"):
        await outbox.put(an_event(), [crm])
    with pytest.raises(StorageUnavailable, match="closed"):
        await outbox.put_many([(an_event(), [crm])])
    with pytest.raises(StorageUnavailable, match="closed"):
        await settle(outbox, delivered(delivery))
    with pytest.raises(StorageUnavailable, match="closed"):
        await outbox.update_endpoint(crm, NOW, gone=True)
    with pytest.raises(StorageUnavailable):
        await outbox.deliveries(ALL)
    assert await outbox.claim(crm, 1, NOW) == []


async def test_a_clock_set_back_while_nobody_ran_does_not_hold_what_was_due(
    reopen: Opener, clock: FakeClock
) -> None:
    outbox = await reopen()
    (crm,) = await endpoints(outbox, "crm")
    await outbox.put_many([(an_event(id=f"e{n}"), [crm]) for n in range(2)])
    (delivery,) = await outbox.claim(crm, 1, NOW)
    await settle(outbox, failed(delivery, 30.0))
    clock.advance(-86400.0)
    outbox = await reopen()
    assert len(await claim_all(outbox, crm, clock.now())) == 1
    assert len(await claim_all(outbox, crm, clock.now() + 29)) == 0
    assert len(await claim_all(outbox, crm, clock.now() + 30)) == 1
