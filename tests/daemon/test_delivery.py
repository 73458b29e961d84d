"""The main job through a real process: accepted, committed, delivered, verified."""

from tests.daemon.harness import Nursery, Receiver, verified


async def test_an_accepted_event_arrives_signed_and_as_it_was(
    nursery: Nursery, crm: Receiver
) -> None:
    daemon = await nursery.start()
    status, answer, _ = await daemon.post({"total": 12.50, "text": "ü\n"}, id="in_1")
    assert (status, answer) == (202, {"eventId": "in_1", "deliveries": 1, "duplicate": False})
    (got,) = await crm.count(1)
    assert got.id == "in_1"
    payload = verified(got)
    assert payload["data"] == {"total": 12.50, "text": "ü\n"}
    assert (payload["eventType"], payload["eventId"]) == ("invoice.paid", "in_1")
    await daemon.log("attempt.finished", result="success")
    assert await daemon.stop() == 0
