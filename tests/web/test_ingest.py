"""Every row of the answer table, over a real socket."""

import base64
import logging
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict
from tests.ingest_rig import (
    BEARER,
    MemoryOutbox,
    Reply,
    a_rig,
    a_snapshot,
    a_source,
    secret,
    served,
)
from tests.ingest_rig import request as http

from hookpost.core.errors import StorageFull
from hookpost.core.forwarding import Peers
from hookpost.core.model import Format
from hookpost.core.ratelimit import RateLimit
from hookpost.core.received import Received
from hookpost.core.settings import ApiKey, Auth, Basic, Extractor

PAID = b'{"eventType":"invoice.paid","data":{}}'
NDJSON = ("Content-Type", "application/x-ndjson")


async def ask(raw: bytes, rig: Any = None) -> Reply:
    async with served(rig or a_rig()) as web:
        return await web.once(raw)


def is_problem(reply: Reply, status: int, code: str) -> None:
    assert (reply.status, reply.json["code"], reply.json["status"]) == (status, code, status)
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert set(reply.json) >= {"title", "detail"}


async def test_an_accepted_event_is_answered_with_its_id_and_deliveries() -> None:
    rig = a_rig()

    reply = await ask(http(), rig)

    assert reply.status == 202
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Date"].endswith("GMT")
    assert reply.json == {"eventId": rig.outbox.last.id, "deliveries": 1, "duplicate": False}
    source = rig.source()
    assert (source.codes[202], source.request_seconds.count) == (1, 1)
    assert source.body_bytes.total == len(PAID)


async def test_a_duplicate_is_answered_with_200() -> None:
    raw = http(b'{"eventType":"a","data":1,"eventId":"\\"\\\\quoted\\""}')
    async with served(a_rig()) as web:
        await web.once(raw)
        reply = await web.once(raw)

    assert reply.status == 200
    assert reply.json == {"eventId": '"\\quoted"', "deliveries": 1, "duplicate": True}


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (http(b"{"), 400, "malformed"),
        (http(b'{"eventType":"a","data":NaN}'), 400, "malformed"),
        (http(b'{"eventType":"a","data":' + b"[" * 64 + b"]" * 64 + b"}"), 400, "malformed"),
        (http(PAID, NDJSON, ("webhook-id", "a")), 400, "batch_with_id"),
        (http(auth=False), 401, "unauthorized"),
        (http(PAID, ("Authorization", "Bearer wrong"), auth=False), 401, "unauthorized"),
        (http(PAID, ("Authorization", "Bearer \xff"), auth=False), 401, "unauthorized"),
        (http(PAID, ("Authorization", "x"), auth=True), 401, "unauthorized"),
        (http(target="/in/other"), 404, "not_found"),
        (http(target="/"), 404, "not_found"),
        (http(method="GET", body=b""), 405, "method_not_allowed"),
        (http(method="PUT"), 405, "method_not_allowed"),
        (http(method="OPTIONS", target="*", body=b""), 404, "not_found"),
        (http(PAID, ("Content-Type", "text/plain")), 415, "content_type"),
        (http(PAID, ("Content-Encoding", "gzip")), 415, "content_encoding"),
        (
            http(PAID, ("Content-Encoding", "identity"), ("Content-Encoding", "gzip")),
            415,
            "content_encoding",
        ),
        (http(b'{"eventType":"a","data":1,"x":1}'), 422, "envelope_invalid"),
        (http(b'{"eventType":"a\\u0000","data":1}'), 422, "type_invalid"),
        (http(b'{"eventType":"a","data":1,"eventId":"a b"}'), 422, "id_invalid"),
        (http(b'{"eventType":"hookpost.x","data":1}'), 422, "type_reserved"),
    ],
)
async def test_what_is_refused_is_a_problem_with_its_code(
    raw: bytes, status: int, code: str
) -> None:
    rig = a_rig()

    is_problem(await ask(raw, rig), status, code)

    assert rig.outbox.events == []
    counted = rig.metrics.unknown_source if status == 404 else rig.source()
    assert counted.codes[status] == 1


async def test_a_wrong_method_is_told_the_right_one() -> None:
    assert (await ask(http(method="DELETE"))).headers["Allow"] == "POST"


async def test_the_answer_to_head_has_no_body() -> None:
    async with served(a_rig()) as web:
        client = await web.connect()
        await client.send(http(method="HEAD", body=b"") + http(method="GET", body=b""))
        head = await client.reader.readuntil(b"\r\n\r\n")
        second = await client.reply()
        await client.close()

    assert head.startswith(b"HTTP/1.1 405 ")
    assert second.status == 405


@pytest.mark.parametrize(
    ("auth", "challenge"),
    [
        (Auth(bearer=(secret("t"),)), 'Bearer realm="hookpost"'),
        (
            Auth(basic=Basic(username="u", passwords=(secret("p"),))),
            'Basic realm="hookpost", charset="UTF-8"',
        ),
        (Auth(api_key=ApiKey(header="X-Key", secrets=(secret("k"),))), 'ApiKey realm="hookpost"'),
    ],
)
async def test_a_401_says_what_is_asked_for_and_nothing_else(auth: Auth, challenge: str) -> None:
    async with served(a_rig(a_snapshot(a_source(auth=auth)))) as web:
        missing = await web.once(http(auth=False))
        wrong = await web.once(http(PAID, ("X-Key", "x")))
        garbled = await web.once(http(PAID, ("Authorization", "Basic \xff!"), auth=False))

    assert missing.headers["WWW-Authenticate"] == challenge
    assert missing.body == wrong.body == garbled.body


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        (Auth(), ("X-None", "x")),
        (Auth(bearer=(secret("t"), secret("u"))), ("Authorization", "bearer u")),
        (
            Auth(basic=Basic(username="u", passwords=(secret("p:q"),))),
            ("Authorization", "Basic " + base64.b64encode(b"u:p:q").decode()),
        ),
        (Auth(api_key=ApiKey(header="X-Key", secrets=(secret("k"),))), ("x-key", "k")),
    ],
)
async def test_each_kind_of_credential_lets_in(auth: Auth, header: tuple[str, str]) -> None:
    rig = a_rig(a_snapshot(a_source(auth=auth)))

    assert (await ask(http(PAID, header, auth=False), rig)).status == 202


async def test_an_address_that_is_not_allowed_is_a_403() -> None:
    rig = a_rig(a_snapshot(a_source(allow_from=Peers((ip_network("10.0.0.0/8"),)))))

    is_problem(await ask(http(), rig), 403, "address_not_allowed")

    assert rig.source().rejections["address"] == 1


async def test_a_unix_socket_is_an_address_of_its_own(tmp_path: Path) -> None:
    closed = a_source("closed", path="/closed", allow_from=Peers((ip_network("0.0.0.0/0"),)))
    opened = a_source("opened", path="/opened", allow_from=Peers(unix=True))
    async with served(a_rig(a_snapshot(closed, opened)), unix=tmp_path / "in.sock") as web:
        assert (await web.once(http(target="/closed"))).status == 403
        assert (await web.once(http(target="/opened"))).status == 202


@pytest.mark.parametrize(
    ("forwarded", "shown"),
    [("203.0.113.9, 192.0.2.7:99", "192.0.2.7"), ("me", "unknown"), (None, "127.0.0.1")],
)
async def test_the_log_names_the_client_behind_a_trusted_proxy(
    forwarded: str | None, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    rig = a_rig(a_snapshot(trusted_proxies=Peers((ip_network("127.0.0.1/32"),))))
    told = [] if forwarded is None else [("X-Forwarded-For", forwarded)]

    assert (await ask(http(PAID, *told, auth=False), rig)).status == 401

    record = next(one for one in caplog.records if one.getMessage() == "request.rejected")
    assert record.fields["peer"] == shown  # type: ignore[attr-defined]


async def test_too_many_events_are_a_429_that_says_when() -> None:
    rig = a_rig(a_snapshot(a_source(rate_limit=RateLimit(rate=0.5, burst=1))))
    async with served(rig) as web:
        await web.once(http())
        reply = await web.once(http())

    is_problem(reply, 429, "rate_limited")
    assert reply.headers["Retry-After"] == "2"
    assert rig.source().rejections["rate"] == 1


@pytest.mark.parametrize(
    ("flag", "code", "reason"),
    [
        ("draining", "draining", "draining"),
        ("storage_low", "storage_low", "storage"),
        ("storage_failed", "storage_failed", "storage"),
    ],
)
async def test_what_cannot_be_taken_now_is_a_503_that_says_when(
    flag: str, code: str, reason: str
) -> None:
    rig = a_rig()
    setattr(rig.health, flag, True)

    reply = await ask(http(), rig)

    is_problem(reply, 503, code)
    assert int(reply.headers["Retry-After"]) >= 1
    assert rig.source().rejections[reason] == 1


async def test_a_full_disk_is_a_503() -> None:
    rig = a_rig(outbox=MemoryOutbox(failing=StorageFull("no room")))

    is_problem(await ask(http(), rig), 503, "storage_full")


async def test_a_source_without_a_live_key_is_a_503() -> None:
    rig = a_rig(a_snapshot(a_source(auth=Auth(bearer=(secret("t", not_before=9e9),)))))

    reply = await ask(http(), rig)

    is_problem(reply, 503, "no_live_key")
    assert "Retry-After" in reply.headers
    assert rig.source().rejections["auth"] == 1


# -- bodies -------------------------------------------------------------------------------------


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read() -> None:
    async with served(a_rig(a_snapshot(max_body=100))) as web:
        client = await web.connect()
        reply = await client.ask(http(b"", length=101))
        await client.close()

    is_problem(reply, 413, "too_large")
    assert reply.headers["Connection"] == "close"


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    rig = a_rig(a_snapshot(max_body=len(PAID)))

    assert (await ask(http(PAID), rig)).status == 202
    is_problem(await ask(http(PAID + b" "), rig), 413, "too_large")


async def test_a_source_may_take_less_than_the_listener() -> None:
    small = a_source("small", max_body=len(PAID))
    async with served(a_rig(a_snapshot(small, a_source("large"), max_body=1024))) as web:
        for name, status in (("small", 413), ("large", 202)):
            assert (await web.once(http(PAID, target=f"/in/{name}"))).status == 202
            reply = await web.once(http(PAID + b" ", target=f"/in/{name}"))
            assert reply.status == status
        body = chunked(PAID + b" ")
        reply = await web.once(http(body, CHUNKED, target="/in/small"))
    is_problem(reply, 413, "too_large")
    assert f"at most {len(PAID)} bytes" in reply.json["detail"]


KINDS = ("application/json", "text/*")


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (["application/json"], True),
        (["Application/JSON; charset=latin-1"], True),
        (["application/json;"], True),
        (["text/plain"], True),
        (["text/x-anything ; a=b"], True),
        (["application/problem+json"], False),
        (["application/jsonx"], False),
        (["image/png"], False),
        (["texts/plain"], False),
        (["*/*"], False),
        (["text"], False),
        ([""], False),
        (["; text/plain"], False),
        (["image/png, text/plain"], False),
    ],
)
async def test_a_source_takes_the_content_types_that_it_lists(
    given: list[str], taken: bool
) -> None:
    kind = Extractor(value="thing.done")
    source = a_source(format=Format.RAW, event_type=kind, content_types=KINDS)
    rig = a_rig(a_snapshot(source))

    reply = await ask(http(PAID, *(("Content-Type", each) for each in given)), rig)

    assert reply.status == (202 if taken else 415)
    if not taken:
        is_problem(reply, 415, "content_type")
        assert "application/json, text/*" in reply.json["detail"]


async def test_the_type_is_judged_after_the_credentials_and_before_the_body() -> None:
    rig = a_rig(a_snapshot(a_source(content_types=("application/json",))))
    wrong = ("Content-Type", "text/plain")

    is_problem(await ask(http(b"", wrong, length=9, auth=False), rig), 401, "unauthorized")
    is_problem(await ask(http(b"", wrong, length=9), rig), 415, "content_type")


async def test_a_question_without_a_body_needs_no_type() -> None:
    rig = a_rig(a_snapshot(a_source(content_types=("application/json",))))
    entrance, headers = rig.service.entrance("/in/billing"), CIMultiDict([BEARER])
    assert entrance is not None
    for method, code in (("GET", None), ("POST", "content_type")):
        received = Received(method=method, headers=headers, body=b"")
        refused = rig.service.admit(entrance, headers, None, received)
        assert (refused and refused.code) == code


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


@pytest.mark.parametrize("coding", ["gzip", "identity", "!chunked"])
async def test_behind_an_unknown_transfer_encoding_nothing_is_read(coding: str) -> None:
    """Where such a body ends nobody knows: what follows is not taken for a request."""
    rig = a_rig()
    async with served(rig) as web:
        client = await web.connect()
        await client.send(http(http(PAID), ("Transfer-Encoding", coding)))
        is_problem(await client.reply(), 415, "content_encoding")
        assert await client.closed()
        await client.close()
    assert rig.outbox.events == []


CHUNKED = ("Transfer-Encoding", "chunked")


async def test_a_chunked_body_is_taken() -> None:
    rig = a_rig()

    assert (await ask(http(chunked(PAID[:10], PAID[10:]), CHUNKED), rig)).status == 202
    assert rig.outbox.last.body == b"{}"


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b""])
async def test_a_chunked_body_that_grows_too_large_is_refused_while_it_is_read(
    end: bytes,
) -> None:
    rig = a_rig(a_snapshot(max_body=100))

    reply = await ask(http(chunked(b" " * 60, b" " * 60, end=end), CHUNKED), rig)

    is_problem(reply, 413, "too_large")
    assert rig.source().rejections["too_large"] == 1


async def test_a_reload_changes_the_limit_of_the_next_request() -> None:
    async with served(a_rig()) as web:
        client = await web.connect()
        assert (await client.ask(http())).status == 202
        web.limit(max_body=5)
        reply = await client.ask(http())
        await client.close()

    is_problem(reply, 413, "too_large")


async def test_a_body_of_a_megabyte_arrives_whole() -> None:
    rig = a_rig()
    data = b'"' + b"x" * 1_000_000 + b'"'

    assert (await ask(http(b'{"eventType":"a","data":' + data + b"}"), rig)).status == 202
    assert rig.outbox.last.body == data


async def test_a_raw_body_keeps_its_bytes_and_its_headers() -> None:
    source = a_source(
        format=Format.RAW,
        event_type=Extractor(header="X-GitHub-Event"),
        event_id=Extractor(header="X-GitHub-Delivery"),
        forward_headers=("X-GitHub-Event",),
    )
    rig = a_rig(a_snapshot(source))
    pairs = [("x-github-event", "push"), ("X-GitHub-Delivery", "72d3162e")]
    body = b"\x00\xff payload=%7B%7D"

    reply = await ask(http(body, *pairs, ("Content-Type", "application/octet-stream")), rig)

    assert reply.status == 202
    assert reply.json["eventId"].startswith("evt_")
    event = rig.outbox.last
    assert (event.type, event.body, event.content_type) == (
        "push",
        body,
        "application/octet-stream",
    )
    assert event.headers == (("X-GitHub-Event", "push"),)


# -- batches ------------------------------------------------------------------------------------


async def test_a_batch_is_answered_line_by_line() -> None:
    rig = a_rig()
    good = b'{"eventType":"a","data":1,"eventId":"e1"}'

    reply = await ask(http(b"\n".join([good, b"{", good, b""]), NDJSON), rig)

    assert reply.status == 202
    assert {key: reply.json[key] for key in ("accepted", "duplicates", "rejected")} == {
        "accepted": 1,
        "duplicates": 1,
        "rejected": 1,
    }
    first, second, third = reply.json["results"]
    assert first == {"eventId": "e1", "deliveries": 1, "duplicate": False}
    assert (second["code"], second["status"]) == ("malformed", 400)
    assert third == {"eventId": "e1", "deliveries": 1, "duplicate": True}
    assert rig.source().rejections["malformed"] == 1
    assert rig.source().codes[202] == 1


async def test_a_batch_of_duplicates_is_a_202() -> None:
    raw = http(b'{"eventType":"a","data":1,"eventId":"e1"}\n', NDJSON)
    async with served(a_rig()) as web:
        await web.once(raw)
        reply = await web.once(raw)

    assert (reply.status, reply.json["duplicates"]) == (202, 1)


async def test_a_batch_without_a_good_line_is_a_422_with_its_results() -> None:
    reply = await ask(http(b"{\n[]", NDJSON))

    is_problem(reply, 422, "batch_rejected")
    assert [line["code"] for line in reply.json["results"]] == ["malformed", "envelope_invalid"]
    assert reply.json["rejected"] == 2


async def test_a_batch_with_too_many_lines_is_a_413() -> None:
    rig = a_rig(a_snapshot(max_batch=2))

    is_problem(
        await ask(http(PAID + b"\n" + PAID + b"\n" + PAID, NDJSON), rig), 413, "batch_too_large"
    )


# -- paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/in/billing?a=1", "/in/%62illing", "http://x.test/in/billing"])
async def test_a_path_is_found_however_it_is_spelled(target: str) -> None:
    assert (await ask(http(target=target))).status == 202


@pytest.mark.parametrize(
    "target", ["/in/billing/", "/IN/billing", "//in/billing", "/in/../in/billing/"]
)
async def test_other_paths_are_other_paths(target: str) -> None:
    assert (await ask(http(target=target))).status == 404


# -- the log ------------------------------------------------------------------------------------


async def test_each_refusal_is_one_line_without_anything_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await ask(http(b'{"secret-body"', ("X-Note", "private"), target="/in/billing?token=hidden"))

    [record] = [one for one in caplog.records if one.name == "hookpost.ingest"]
    assert record.getMessage() == "request.rejected"
    assert vars(record)["fields"] == {
        "source": "billing",
        "reason": "malformed",
        "code": "malformed",
        "status": 400,
        "peer": "127.0.0.1",
    }


async def test_a_flood_of_refusals_is_ten_lines_a_second(caplog: pytest.LogCaptureFixture) -> None:
    rig = a_rig()
    async with served(rig) as web:
        client = await web.connect()
        for _ in range(30):
            assert (await client.ask(http(auth=False))).status == 401
        rig.clock.advance(1.0)
        await client.ask(http(auth=False))
        await client.close()

    lines = [vars(one)["fields"] for one in caplog.records if one.levelno == logging.WARNING]
    assert len(lines) == 11
    assert lines[-1]["suppressed"] == 20
    assert rig.source().rejections["auth"] == 31


async def test_a_mistake_of_our_own_is_a_500_that_tells_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = a_rig()

    def broken(*_: Any) -> Any:
        raise KeyError("internal detail")

    monkeypatch.setattr(rig.service, "accept", broken)
    reply = await ask(http(), rig)

    is_problem(reply, 500, "internal_error")
    assert b"internal detail" not in reply.body
    [record] = [one for one in caplog.records if one.getMessage() == "request.failed"]
    assert record.exc_info is not None
    assert BEARER[1] not in caplog.text
