"""Filters and transforms through a real process that is killed between attempts."""

import json
import signal

from tests.daemon.harness import Home, Nursery, Receiver, verified

TRANSFORM = "{total: data.amount, kind: type, 'ü': data.text, again: [data.items, data.items]}"


def configured(home: Home) -> None:
    home.config["retry_policies"] = {
        "quick": {
            "max_attempts": 9,
            "backoff": {"initial": "100ms", "max": "100ms", "jitter": "none"},
        }
    }
    home.endpoint("plain", retry="quick")
    home.config["endpoints"]["crm"]["retry"] = "quick"
    home.config["subscriptions"] = {
        "large": {
            "filter": "data.amount > `10`",
            "transform": TRANSFORM.replace("'ü'", '"ü"'),
            "endpoints": ["crm"],
        },
        "all": {"endpoints": ["plain", "crm"]},
    }


async def test_every_attempt_sends_the_bytes_that_were_made_at_acceptance(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    configured(home)
    crm.answer = lambda request: 500
    daemon = await nursery.start()
    data = {"amount": 11.5, "text": "ü", "items": [1, {"b": 2, "a": 1}]}
    status, answer, _ = await daemon.post(data, type="order.made")
    assert (status, answer["deliveries"]) == (202, 2)
    await crm.count(2, "crm")
    daemon.send(signal.SIGKILL)
    await daemon.ended()

    # the configuration has changed meanwhile: what was accepted has not
    home.config["subscriptions"]["large"]["transform"] = "'other'"
    daemon = await nursery.start()
    seen = len(crm.to("crm"))
    await crm.count(seen + 2, "crm")
    daemon.send(signal.SIGKILL)
    await daemon.ended()
    crm.answer = lambda request: 204
    daemon = await nursery.start()
    await daemon.until(
        lambda m: m['hookpost_deliveries_finished_total{endpoint="crm",outcome="delivered"}'] == 1
    )

    requests = crm.to("crm")
    assert len({request.headers["hookpost-attempt"] for request in requests}) >= 4
    assert len({request.body for request in requests}) == 1
    for request in requests:
        verified(request)
    sent = json.loads(requests[0].body)
    items = [1, {"b": 2, "a": 1}]
    assert sent["data"] == {
        "total": 11.5, "kind": "order.made", "ü": "ü", "again": [items, items]
    }  # fmt: skip
    assert b'"data":{"again":[[1,{"a":1,"b":2}],[1,{"a":1,"b":2}]],"kind"' in requests[0].body
    plain = crm.to("plain")[0]
    assert b'"data":{"amount": 11.5, "text": ' in plain.body, "the bytes as they came"
    shown = await daemon.cli("deliveries", "show", "1", "-o", "json")
    assert shown.json["transformed"]["total"] == 11.5
    assert await daemon.stop() == 0


async def test_a_transform_that_fails_is_a_dead_letter_with_its_reason(
    nursery: Nursery, home: Home, crm: Receiver
) -> None:
    configured(home)
    home.config["subscriptions"]["large"]["transform"] = "join(',', data.items)"
    daemon = await nursery.start()
    status, answer, _ = await daemon.post({"amount": 11, "items": [1]})
    assert (status, answer["deliveries"]) == (202, 2)
    await crm.count(1, "plain")
    metrics = await daemon.metrics()
    assert metrics['hookpost_dead_letters_total{endpoint="crm",reason="transform"}'] == 1
    assert metrics['hookpost_expression_errors_total{kind="failed",subscription="large"}'] == 1
    assert metrics['hookpost_expression_errors_total{kind="failed",subscription="all"}'] == 0
    line = await daemon.log("expression.failed")
    assert (line["subscription"], line["kind"]) == ("large", "failed")
    letters = (await daemon.cli("dead-letters", "list", "-o", "json")).json
    (letter,) = letters if isinstance(letters, list) else letters["items"]
    assert (letter["reason"], letter["error"]["kind"]) == ("transform", "transform")
    replayed = await daemon.cli("dead-letters", "replay", str(letter["id"]), "--yes")
    assert replayed.code != 0
    assert "its transform made nothing to send" in replayed.err
    counted = await daemon.cli("dead-letters", "replay", "--endpoint", "crm", "--dry-run")
    assert "1 are left alone" in counted.err
    assert not crm.to("crm")
    assert await daemon.stop() == 0
