"""The road of an event at service level: what is stored, what is refused, what is counted."""

import asyncio
import json
import logging
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict
from tests.ingest_rig import (
    MemoryOutbox,
    a_rig,
    a_snapshot,
    a_source,
    concluded,
    duplicate,
    secret,
    stored,
)

from hookpost.config import values
from hookpost.core.errors import OutboxError, StorageFull, StorageUnavailable
from hookpost.core.forwarding import Peers
from hookpost.core.identity import derived_id
from hookpost.core.model import Duplicate, Format, Stored
from hookpost.core.ratelimit import RateLimit
from hookpost.core.refusals import REFUSALS, Refused
from hookpost.core.settings import Auth, Extractor, Subscription
from hookpost.metrics import REJECTIONS
from hookpost.services.ingest import Batch

PAID = b'{"eventType":"invoice.paid","data":{"n": 1.0}}'


def with_id(event_id: str, data: str = "1") -> bytes:
    return b'{"eventType":"invoice.paid","eventId":"%b","data":%b}' % (
        event_id.encode(),
        data.encode(),
    )


def refusal(answer: object) -> str:
    assert isinstance(answer, Refused), answer
    return answer.code


# -- an event is stored as it came --------------------------------------------------------------


async def test_an_envelope_becomes_an_event_with_its_deliveries() -> None:
    rig = a_rig(
        a_snapshot(
            subscriptions=[
                Subscription(name="a", events=("invoice.*",), endpoints=("audit", "crm")),
                Subscription(name="b", endpoints=("crm",)),
            ]
        )
    )

    answer = await rig.send(PAID)

    event, owed = rig.outbox.events[0]
    assert answer == stored(event.id, 2)
    assert owed == (2, 1)
    assert (event.source, event.type, event.body) == ("billing", "invoice.paid", b'{"n": 1.0}')
    assert (event.format, event.content_type) == (Format.ENVELOPE, "application/json")
    assert event.occurred_at == "2025-06-15T15:06:40.000Z"
    assert event.accepted_at == 1_750_000_000.0
    assert event.id.startswith("evt_")
    assert event.dedup_key is None


async def test_the_time_of_acceptance_told_to_receivers_is_the_wall_clocks() -> None:
    rig = a_rig()
    rig.clock.wall_offset = 3600.0

    await rig.send(PAID)

    assert rig.outbox.last.occurred_at == "2025-06-15T16:06:40.000Z"
    assert rig.outbox.last.accepted_at == 1_750_000_000.0


async def test_an_occurred_at_is_kept_as_it_was_given() -> None:
    rig = a_rig()

    await rig.send(b'{"eventType":"a","data":1,"occurredAt":"2026-01-31T12:00:00.5+02:00"}')

    assert rig.outbox.last.occurred_at == "2026-01-31T12:00:00.5+02:00"


async def test_an_event_that_nobody_wants_is_kept_and_counted_as_unrouted() -> None:
    rig = a_rig(a_snapshot(subscriptions=[]))

    answer = await rig.send(PAID)

    assert answer == stored(rig.outbox.last.id, 0)


# -- identity -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "pairs", "wanted"),
    [
        (with_id("in_1"), [], "in_1"),
        (with_id("in_1"), [("Idempotency-Key", "k"), ("webhook-id", "w")], "in_1"),
        (PAID, [("Idempotency-Key", "k"), ("webhook-id", "w")], "k"),
        (PAID, [("Webhook-Id", "w")], "w"),
    ],
)
async def test_an_id_is_taken_from_the_body_then_from_the_headers(
    body: bytes, pairs: list[tuple[str, str]], wanted: str
) -> None:
    rig = a_rig()

    answer = await rig.send(body, *pairs)

    assert answer == stored(wanted, 1)
    assert rig.outbox.last.dedup_key == wanted
    assert rig.outbox.last.dedup_window == 86400.0


@pytest.mark.parametrize(
    ("body", "pairs"),
    [
        (with_id("a.b"), []),
        (with_id(""), []),
        (with_id("\\ud800"), []),
        (with_id("x" * 129), []),
        (PAID, [("Idempotency-Key", "a b")]),
        (PAID, [("Idempotency-Key", "")]),
        (PAID, [("Idempotency-Key", "\udcff")]),
        (PAID, [("webhook-id", "a"), ("webhook-id", "b")]),
        (b'{"eventType":"a","data":1,"eventId":5}', []),
    ],
)
async def test_an_id_that_breaks_the_rule_is_refused(
    body: bytes, pairs: list[tuple[str, str]]
) -> None:
    rig = a_rig()

    assert refusal(await rig.send(body, *pairs)) == "id_invalid"
    assert rig.outbox.events == []


async def test_without_dedup_an_id_is_kept_and_not_compared() -> None:
    rig = a_rig(a_snapshot(a_source(dedup_window=None)))

    answers = [await rig.send(with_id("in_1")), await rig.send(with_id("in_1"))]

    assert answers == [stored("in_1", 1)] * 2
    assert rig.outbox.last.dedup_key is None


async def test_the_dedup_window_is_the_sources() -> None:
    rig = a_rig(a_snapshot(a_source(dedup_window=604800.0)))

    await rig.send(with_id("in_1"))

    assert rig.outbox.last.dedup_window == 604800.0


async def test_a_duplicate_is_answered_as_one_and_counted() -> None:
    rig = a_rig()

    first = await rig.send(with_id("in_1"))
    again = await rig.send(with_id("in_1"))

    assert first == stored("in_1", 1)
    assert again == duplicate("in_1", 1)
    assert len(rig.outbox.events) == 1


async def test_the_same_id_with_other_bytes_is_a_duplicate_that_is_counted_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = a_rig()

    await rig.send(with_id("in_1", '"first"'))
    answer = await rig.send(with_id("in_1", '"other"'))

    assert answer == duplicate("in_1", 1)
    assert rig.outbox.last.body == b'"first"'
    [record] = [one for one in caplog.records if one.getMessage() == "event.conflicting"]
    assert vars(record)["fields"] == {"source": "billing", "event": "in_1"}


async def test_the_same_id_from_two_sources_is_two_events() -> None:
    rig = a_rig(a_snapshot(a_source(), a_source("shop")))

    answers = [await rig.send(with_id("in_1"), path=f"/in/{name}") for name in ("billing", "shop")]

    assert answers == [stored("in_1", 1)] * 2


# -- headers that go on -------------------------------------------------------------------------

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_configured_headers_and_traceparent_go_on_under_their_configured_names() -> None:
    rig = a_rig(a_snapshot(a_source(forward_headers=("X-Kind", "X-Absent"))))

    await rig.send(
        PAID, ("x-kind", "ä"), ("X-KIND", "b"), ("TraceParent", TRACE), ("X-Other", "no")
    )

    assert rig.outbox.last.headers == (("X-Kind", "ä"), ("X-Kind", "b"), ("traceparent", TRACE))


async def test_a_traceparent_that_is_configured_too_goes_on_once() -> None:
    rig = a_rig(a_snapshot(a_source(forward_headers=("Traceparent",))))

    await rig.send(PAID, ("traceparent", TRACE))

    assert rig.outbox.last.headers == (("Traceparent", TRACE),)


async def test_a_traceparent_that_is_none_is_left_behind() -> None:
    rig = a_rig()

    await rig.send(PAID, ("traceparent", "evil"))

    assert rig.outbox.last.headers == ()


async def test_a_header_that_could_not_be_sent_on_is_refused() -> None:
    rig = a_rig(a_snapshot(a_source(forward_headers=("X-Kind",))))

    assert refusal(await rig.send(PAID, ("X-Kind", "\udcff"))) == "malformed"


# -- raw sources --------------------------------------------------------------------------------


def raw_source(**fields: Any) -> Any:
    fields = {"event_type": Extractor(header="X-Event")} | fields
    return a_source("github", path="/in/github", format=Format.RAW, **fields)


@pytest.mark.parametrize("content_type", ["text/plain; charset=latin-1", "application/json", None])
@pytest.mark.parametrize("body", [b"", b"\xff\x00 any", b'{"a": 1.0}'])
async def test_a_raw_body_of_any_kind_is_kept_with_its_content_type(
    body: bytes, content_type: str | None
) -> None:
    rig = a_rig(a_snapshot(raw_source()))

    await rig.send(body, ("X-Event", "push"), path="/in/github", content_type=content_type)

    event = rig.outbox.last
    assert (event.type, event.body, event.content_type) == ("push", body, content_type)
    assert event.format is Format.RAW


async def test_a_type_can_be_a_value_or_come_from_an_expression() -> None:
    seen: list[Any] = []

    def expression(document: Any) -> Any:
        seen.append(document)
        return document["body"]["event"]

    fixed = replace(raw_source(event_type=Extractor(value="ping")), name="fixed", path="/fixed")
    read = raw_source(event_type=Extractor(expression=expression, text="body.event"))
    rig = a_rig(a_snapshot(fixed, read))

    await rig.send(b"x", path="/fixed")
    await rig.send(b'{"event":"push"}', ("X-A", "1"), ("x-a", "2"), path="/in/github")

    assert [event.type for event, _ in rig.outbox.events] == ["ping", "push"]
    assert seen[0]["source"] == "github"
    assert seen[0]["headers"]["x-a"] == "1, 2"


async def test_a_type_that_is_missing_because_the_body_is_no_json_says_so() -> None:
    extractor = Extractor(expression=lambda document: document["body"], text="body.event")
    rig = a_rig(a_snapshot(raw_source(event_type=extractor)))

    answer = await rig.send(b"plain", path="/in/github", content_type="text/plain")

    assert refusal(answer) == "type_missing"
    assert "the body is not JSON" in answer.detail


async def test_an_expression_sees_null_where_the_body_is_no_json() -> None:
    read = raw_source(
        event_type=Extractor(
            expression=lambda document: "none" if document["body"] is None else "some", text="t"
        )
    )
    rig = a_rig(a_snapshot(read))

    for body in (b"\xff", b"NaN", b"[" * 65 + b"]" * 65, b"{}"):
        await rig.send(body, path="/in/github")

    assert [event.type for event, _ in rig.outbox.events] == ["none"] * 3 + ["some"]


def failing(_: Any) -> Any:
    raise ValueError("no such function")


@pytest.mark.parametrize(
    ("extractor", "pairs", "code"),
    [
        (Extractor(header="X-Event"), [], "type_missing"),
        (None, [], "type_missing"),
        (Extractor(expression=lambda _: None, text="t"), [], "type_missing"),
        (Extractor(expression=lambda _: 7, text="t"), [], "type_invalid"),
        (Extractor(expression=failing, text="t"), [], "type_invalid"),
        (Extractor(header="X-Event"), [("X-Event", "a"), ("X-Event", "b")], "type_invalid"),
        (Extractor(header="X-Event"), [("X-Event", "\udcff")], "type_invalid"),
        (Extractor(header="X-Event"), [("X-Event", "x" * 129)], "type_invalid"),
        (Extractor(header="X-Event"), [("X-Event", "hookpost.endpoint.gone")], "type_reserved"),
    ],
)
async def test_a_raw_event_without_a_valid_type_is_refused(
    extractor: Extractor | None, pairs: list[tuple[str, str]], code: str
) -> None:
    rig = a_rig(a_snapshot(raw_source(event_type=extractor)))

    assert refusal(await rig.send(b"{}", *pairs, path="/in/github")) == code


async def test_a_providers_own_id_becomes_one_of_ours_and_is_compared() -> None:
    source = raw_source(event_id=Extractor(header="X-Delivery"), forward_headers=("X-Delivery",))
    rig = a_rig(a_snapshot(source))
    pairs = [("X-Event", "push"), ("X-Delivery", "72d3.162e 1")]

    first = await rig.send(b"{}", *pairs, path="/in/github")
    again = await rig.send(b"{}", *pairs, path="/in/github")

    assert isinstance(first, Stored)
    assert first.event_id.startswith("evt_")
    assert again == duplicate(first.event_id, 1)
    assert rig.outbox.last.headers == (("X-Delivery", "72d3.162e 1"),)


@pytest.mark.parametrize("value", [7, "7"])
async def test_a_number_serves_as_a_providers_id(value: object) -> None:
    source = raw_source(event_id=Extractor(expression=lambda _: value, text="body.id"))
    rig = a_rig(a_snapshot(source))

    await rig.send(b"{}", ("X-Event", "push"), path="/in/github")

    assert rig.outbox.last.id == derived_id("github", "7")
    assert rig.outbox.last.dedup_key == rig.outbox.last.id


@pytest.mark.parametrize("value", [True, [], {}, 1.5, ""])
async def test_what_cannot_be_an_id_is_refused(value: object) -> None:
    source = raw_source(event_id=Extractor(expression=lambda _: value, text="body.id"))
    rig = a_rig(a_snapshot(source))

    answer = await rig.send(b"{}", ("X-Event", "push"), path="/in/github")

    assert refusal(answer) == "id_invalid"


async def test_a_raw_event_whose_own_id_is_absent_falls_back_to_the_id_headers() -> None:
    rig = a_rig(a_snapshot(raw_source(event_id=Extractor(header="X-Delivery"))))

    await rig.send(b"{}", ("X-Event", "push"), ("webhook-id", "w"), path="/in/github")
    await rig.send(b"{}", ("X-Event", "push"), path="/in/github")

    assert rig.outbox.events[0][0].id == "w"
    assert rig.outbox.events[1][0].dedup_key is None


async def test_an_id_expression_that_fails_is_refused() -> None:
    source = raw_source(event_id=Extractor(expression=failing, text="body.id"))
    rig = a_rig(a_snapshot(source))

    assert refusal(await rig.send(b"{}", ("X-Event", "a"), path="/in/github")) == "id_invalid"


# -- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"{", "application/json", "malformed"),
        (PAID, "text/plain", "content_type"),
        (PAID, None, "content_type"),
        (b'{"eventType":"a","data":1,"x":1}', "application/json", "envelope_invalid"),
        (b'{"eventType":"a"}', "application/json", "envelope_invalid"),
        (b'{"eventType":"","data":1}', "application/json", "type_invalid"),
        (b'{"data":1}', "application/json", "type_invalid"),
        (b'{"eventType":"\\ud800","data":1}', "application/json", "type_invalid"),
        (b'{"eventType":"hookpost.a","data":1}', "application/json", "type_reserved"),
    ],
)
async def test_what_is_no_event_is_refused_by_its_code(
    body: bytes, content_type: str | None, code: str
) -> None:
    rig = a_rig()

    assert refusal(await rig.send(body, content_type=content_type)) == code
    assert rig.outbox.events == []


@pytest.mark.parametrize(
    "content_type", ["application/vnd.x+json", "application/json;charset=utf-8"]
)
async def test_every_json_type_is_taken(content_type: str) -> None:
    assert isinstance(await a_rig().send(PAID, content_type=content_type), Stored)


async def test_wrong_credentials_are_refused_before_the_body_is_judged() -> None:
    assert refusal(await a_rig().send(b"{", auth=False)) == "unauthorized"


async def test_a_source_without_a_live_key_says_so() -> None:
    source = a_source(auth=Auth(bearer=(secret("x", not_after=1.0),)))

    assert refusal(await a_rig(a_snapshot(source)).send(PAID)) == "no_live_key"


async def test_keys_live_by_the_wall_clock() -> None:
    rig = a_rig(
        a_snapshot(a_source(auth=Auth(bearer=(secret("s3cret-token", not_after=1.75e9 + 10),))))
    )
    assert isinstance(await rig.send(PAID), Stored)

    rig.clock.wall_offset = 11.0

    assert refusal(await rig.send(PAID)) == "no_live_key"


NETWORKS = (ip_network("127.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("networks", "unix", "peer", "let_in"),
    [
        (None, False, "203.0.113.9", True),
        (None, False, None, True),
        (NETWORKS, False, "127.9.9.9", True),
        (NETWORKS, False, "::ffff:127.0.0.1", True),
        (NETWORKS, False, "fd00::1%eth0", True),
        (NETWORKS, False, "128.0.0.1", False),
        (NETWORKS, False, "fe80::1", False),
        (NETWORKS, False, None, False),
        (NETWORKS, True, None, True),
        ((), True, None, True),
        ((), True, "127.0.0.1", False),
    ],
)
async def test_addresses_are_let_in_by_network(
    networks: Any, unix: bool, peer: str | None, let_in: bool
) -> None:
    allowed = None if networks is None else Peers(networks, unix=unix)
    rig = a_rig(a_snapshot(a_source(allow_from=allowed)))

    answer = await rig.send(PAID, peer=peer)

    assert isinstance(answer, Stored) is let_in
    if not let_in:
        assert refusal(answer) == "address_not_allowed"


async def test_the_address_is_judged_before_the_credentials() -> None:
    rig = a_rig(a_snapshot(a_source(allow_from=Peers(NETWORKS))))

    assert refusal(await rig.send(PAID, peer="8.8.8.8", auth=False)) == "address_not_allowed"


KNOWN_ANSWERS = json.loads((Path(__file__).parents[1] / "vectors/allow_from.json").read_text())


@pytest.mark.parametrize("known", KNOWN_ANSWERS, ids=lambda known: str(known["name"]))
async def test_the_clients_address_is_known_behind_a_trusted_proxy_alone(known: Any) -> None:
    source = a_source(allow_from=values.peers(known["allow_from"]))
    rig = a_rig(a_snapshot(source, trusted_proxies=values.peers(known["trusted_proxies"])))
    envelope = b'{"eventType":"invoice.paid","data":%b}' % known["body"].encode()

    answer = await rig.send(envelope, *map(tuple, known["headers"]), peer=known["peer"])

    assert (answer.status if isinstance(answer, Refused) else 202) == known["answer"]
    if known["answer"] == 403:
        assert refusal(answer) == "address_not_allowed"


async def test_who_asks_for_no_address_takes_what_nobody_is_known_to_have_sent() -> None:
    rig = a_rig(a_snapshot(trusted_proxies=Peers(NETWORKS)))

    answer = await rig.send(PAID, ("X-Forwarded-For", "not-an-ip"), peer="127.0.0.1")

    assert isinstance(answer, Stored)


# -- rate ---------------------------------------------------------------------------------------


def limited(rate: float = 1.0, burst: int = 2) -> Any:
    return a_snapshot(a_source(rate_limit=RateLimit(rate=rate, burst=burst)))


async def test_beyond_the_burst_the_rate_holds_and_the_wait_is_told() -> None:
    rig = a_rig(limited())

    codes = [type(await rig.send(PAID)) for _ in range(3)]
    answer = await rig.send(PAID)

    assert codes == [Stored, Stored, Refused]
    assert answer.code == "rate_limited"
    assert answer.retry_after == pytest.approx(1.0)
    rig.clock.advance(1.0)
    assert isinstance(await rig.send(PAID), Stored)
    assert refusal(await rig.send(PAID)) == "rate_limited"


async def test_the_rate_is_judged_before_the_body_and_after_the_credentials() -> None:
    rig = a_rig(limited(burst=1))

    assert refusal(await rig.send(PAID, auth=False)) == "unauthorized"
    assert refusal(await rig.send(b"{")) == "malformed"
    assert refusal(await rig.send(b"{")) == "rate_limited"


async def test_a_reload_gives_no_tokens_away_and_resizes_in_place() -> None:
    rig = a_rig(limited())
    await rig.send(PAID)
    await rig.send(PAID)

    rig.reload(limited(rate=10.0, burst=50))
    assert refusal(await rig.send(PAID)) == "rate_limited"
    rig.clock.advance(0.1)
    assert isinstance(await rig.send(PAID), Stored)

    rig.clock.advance(100.0)
    rig.reload(limited(rate=10.0, burst=1))
    assert isinstance(await rig.send(PAID), Stored)
    assert refusal(await rig.send(PAID)) == "rate_limited"


async def test_each_source_has_its_own_bucket() -> None:
    limit = RateLimit(rate=1.0, burst=1)
    rig = a_rig(a_snapshot(a_source(rate_limit=limit), a_source("shop", rate_limit=limit)))

    answers = [await rig.send(PAID, path=f"/in/{name}") for name in ("billing", "shop")]

    assert [type(answer) for answer in answers] == [Stored, Stored]


async def test_a_batch_takes_a_token_a_line_and_goes_into_debt_beyond_the_burst() -> None:
    rig = a_rig(limited(rate=1.0, burst=2))
    batch = b"\n".join([PAID] * 5)

    assert isinstance(await rig.send(batch, content_type="application/x-ndjson"), Batch)
    answer = await rig.send(PAID)

    assert answer.retry_after == pytest.approx(4.0)
    rig.clock.advance(4.0)
    assert isinstance(await rig.send(PAID), Stored)


# -- storage and life ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "code"),
    [
        ("starting", "starting"),
        ("draining", "draining"),
        ("storage_low", "storage_low"),
        ("storage_failed", "storage_failed"),
    ],
)
async def test_while_something_keeps_the_gateway_from_it_nothing_is_taken(
    flag: str, code: str
) -> None:
    rig = a_rig(limited(burst=1))
    setattr(rig.health, flag, True)

    answer = await rig.send(PAID)

    assert refusal(answer) == code
    assert answer.status == 503
    assert answer.retry_after > 0
    setattr(rig.health, flag, False)
    assert isinstance(await rig.send(PAID), Stored), "a 503 burns no token"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StorageFull("no room"), "storage_full"),
        (StorageUnavailable("closing"), "storage_unavailable"),
        (OutboxError("other"), "storage_unavailable"),
        (RuntimeError("a bug"), "storage_unavailable"),
    ],
)
async def test_a_put_that_fails_is_a_503_and_nothing_is_stored(
    error: Exception, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    rig = a_rig(outbox=MemoryOutbox(failing=error))

    answer = await rig.send(PAID)

    assert refusal(answer) == code
    assert (answer.status, answer.retry_after is not None) == (503, True)


async def test_a_put_that_raises_at_once_is_a_503_too() -> None:
    class Closed:
        def submit(self, *_: Any) -> Any:
            raise StorageUnavailable("closing")

    assert refusal(await a_rig(outbox=Closed()).send(PAID)) == "storage_unavailable"


async def test_a_slow_put_is_a_503_and_is_stored_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    outbox = MemoryOutbox(held=held)
    rig = a_rig(outbox=outbox, patience=0.0)

    answer = await rig.send(with_id("in_1"))

    assert refusal(answer) == "storage_slow"
    held.set_result(None)
    while not outbox.events:
        await _tick()
    assert caplog.records == [], "a late answer finds nobody waiting, and that is no error"


async def test_each_of_many_waits_for_its_own_time() -> None:
    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    rig = a_rig(outbox=MemoryOutbox(held=held), patience=0.01)

    answers = await asyncio.gather(*(rig.send(PAID) for _ in range(20)))

    assert {refusal(answer) for answer in answers} == {"storage_slow"}
    held.set_result(None)
    while len(rig.outbox.events) < 20:
        await _tick()


async def _tick() -> None:
    loop = asyncio.get_running_loop()
    turned = loop.create_future()
    loop.call_soon(turned.set_result, None)
    await turned


async def test_a_publisher_that_hangs_up_does_not_undo_the_put() -> None:
    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    rig = a_rig(outbox=MemoryOutbox(held=held))
    sending = asyncio.ensure_future(rig.send(PAID))
    await _tick()

    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    held.set_result(None)
    while not rig.outbox.events:
        await _tick()
    await _tick()


# -- batches ------------------------------------------------------------------------------------


async def batch(rig: Any, *lines: bytes, pairs: Any = ()) -> Any:
    return await rig.send(b"\n".join(lines), *pairs, content_type="application/x-ndjson")


async def test_refused_lines_of_a_batch_do_not_block_the_good_ones() -> None:
    rig = a_rig()

    answer = await batch(rig, b"{", with_id("a"), b'{"data":1}', with_id("b"), with_id("a."))

    assert isinstance(answer, Batch)
    assert [type(line) for line in answer.results] == [
        Refused,
        Stored,
        Refused,
        Stored,
        Refused,
    ]
    assert [refusal(line) for line in answer.results if isinstance(line, Refused)] == [
        "malformed",
        "type_invalid",
        "id_invalid",
    ]
    assert [event.id for event, _ in rig.outbox.events] == ["a", "b"]
    assert rig.outbox.transactions == 1


async def test_duplicates_inside_and_before_a_batch_are_told() -> None:
    rig = a_rig()
    await rig.send(with_id("a"))

    answer = await batch(rig, with_id("a"), with_id("b"), with_id("b"))

    assert [type(line) for line in answer.results] == [Duplicate, Stored, Duplicate]


async def test_a_batch_of_refused_lines_alone_puts_nothing() -> None:
    rig = a_rig()

    answer = await batch(rig, b"{", b"1")

    assert [refusal(line) for line in answer.results] == ["malformed", "envelope_invalid"]
    assert rig.outbox.transactions == 0


@pytest.mark.parametrize("name", ["Idempotency-Key", "webhook-id"])
async def test_an_id_header_on_a_batch_is_refused(name: str) -> None:
    assert refusal(await batch(a_rig(), PAID, pairs=[(name, "a")])) == "batch_with_id"


async def test_an_empty_batch_is_malformed() -> None:
    assert refusal(await batch(a_rig(), b"", b" ")) == "malformed"


async def test_a_batch_is_bounded_by_its_lines() -> None:
    rig = a_rig(a_snapshot(max_batch=3))

    assert isinstance(await batch(rig, *[PAID] * 3), Batch)
    assert refusal(await batch(rig, *[PAID] * 4)) == "batch_too_large"


async def test_a_batch_that_the_disk_refuses_is_refused_as_a_whole() -> None:
    rig = a_rig(outbox=MemoryOutbox(failing=StorageFull("no room")))

    assert refusal(await batch(rig, PAID, PAID)) == "storage_full"


async def test_headers_of_a_batch_go_on_with_each_event() -> None:
    rig = a_rig(a_snapshot(a_source(forward_headers=("X-Kind",))))

    await batch(rig, PAID, PAID, pairs=[("X-Kind", "k")])

    assert [event.headers for event, _ in rig.outbox.events] == [(("X-Kind", "k"),)] * 2


# -- reload -------------------------------------------------------------------------------------


async def test_a_request_sees_one_configuration_from_first_line_to_last() -> None:
    rig = a_rig()
    entrance = rig.service.entrance("/in/billing")
    assert entrance is not None

    rig.reload(a_snapshot(a_source(path="/elsewhere"), subscriptions=[]))
    answer = await concluded(
        rig.service.accept(entrance, CIMultiDict({"Content-Type": "application/json"}), PAID)
    )

    assert isinstance(answer, Stored)
    assert answer.deliveries == 1
    assert rig.service.entrance("/in/billing") is None
    assert rig.service.entrance("/elsewhere") is not None


# -- the table ----------------------------------------------------------------------------------


def test_every_refusal_has_a_status_of_the_contract_and_a_reason_of_the_closed_set() -> None:
    for code, row in REFUSALS.items():
        assert row.status in {
            400,
            401,
            403,
            404,
            405,
            408,
            410,
            413,
            415,
            422,
            429,
            431,
            500,
            503,
        }, code
        assert row.reason is None or row.reason in REJECTIONS, code


async def test_a_flood_of_conflicts_is_logged_ten_times_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    rig = a_rig()
    await rig.send(with_id("a", "0"))
    for n in range(50):
        await rig.send(with_id("a", str(n + 1)))
    rig.clock.advance(1.0)
    await rig.send(with_id("a", "99"))

    fields = [vars(one)["fields"] for one in caplog.records]
    assert len(fields) == 11
    assert fields[-1]["suppressed"] == 40
    assert json.dumps(fields[-1])
