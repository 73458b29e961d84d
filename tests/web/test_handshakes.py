"""Handshakes: what a provider asks before it sends, and what it is told."""

import base64
import copy
import hashlib
import hmac
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.ingest_rig import Reply, WebRig, served
from tests.ingest_rig import request as http
from tests.web.test_signed_sources import Settings, config_of, rig_of, serving, without

from hookpost.core.ratelimit import RateLimit

TOKEN = ("Authorization", "Bearer token")
SOURCE: Settings = {"format": "raw", "event_type": {"value": "x"}, "auth": {"bearer": ["a"]}}
SECRETS = {"a": "token", "b": "other"}


def source(*handshakes: Settings, **own: Any) -> Settings:
    return {**copy.deepcopy(SOURCE), "handshake": list(handshakes), **own}


async def ask(
    web: WebRig, *pairs: tuple[str, str], method: str = "GET", query: str = "", body: bytes = b""
) -> Reply:
    raw = http(body, *pairs, method=method, target=f"/in/x{query}", auth=False)
    return await web.once(raw)


ROWS: dict[str, tuple[Settings, dict[str, Any], bytes]] = {
    "when.method": ({"when": {"method": "GET"}, "respond": {"text": "hi"}}, {}, b"hi"),
    "when.query": (
        {"when": {"method": "GET", "query": {"mode": "a"}}, "respond": {"text": "a"}},
        {"query": "?mode=a"},
        b"a",
    ),
    "when.header": (
        {
            "when": {"method": "GET", "header": {"X-Ask": True}},
            "respond": {"text": "{header:X-Ask}"},
        },
        {"pairs": [("X-Ask", "me")]},
        b"me",
    ),
    "when.json": (
        {"when": {"json": {"type": "ping", "event": False}}, "respond": {"text": "{json:n}"}},
        {"method": "POST", "body": b'{"type":"ping","n":7}'},
        b"7",
    ),
    "respond.text": (
        {"when": {"method": "GET"}, "respond": {"text": "{query:c}"}},
        {"query": "?c=a%20b"},
        b"a b",
    ),
    "respond.json": (
        {
            "when": {"method": "GET"},
            "respond": {"json": {"a": ["{query:c}", 1], "b": {"c": True}}},
        },
        {"query": "?c=%22"},
        b'{"a": ["\\"", 1], "b": {"c": true}}',
    ),
    "respond.status": ({"when": {"method": "GET"}, "respond": {"status": 204}}, {}, b""),
}


@pytest.mark.parametrize("key", ROWS)
async def test_each_key_of_a_handshake_counts(tmp_path: Path, key: str) -> None:
    settings, asked, wanted = ROWS[key]
    method, query = asked.get("method", "GET"), asked.get("query", "")
    pairs, body = asked.get("pairs", []), asked.get("body", b"")

    async def answered(handshake: Settings, other: bool = False) -> Reply:
        async with serving(tmp_path, source(handshake), SECRETS) as web:
            if other:
                return await ask(web, TOKEN, method=method)
            return await ask(web, TOKEN, *pairs, method=method, query=query, body=body)

    reply = await answered(settings)
    assert (reply.status, reply.body) == (settings["respond"].get("status", 200), wanted)
    assert (await ask_without_proof(tmp_path, settings, asked)).status == 401
    if key.startswith("when.") and key != "when.method":  # only who asks so is answered so
        assert (await answered(settings, other=True)).status in (400, 202)
    less = await answered(without(settings, key))
    assert (less.status, less.body) != (reply.status, reply.body) or key in (
        "when.query",
        "when.header",
        "when.json",
    )


async def ask_without_proof(folder: Path, settings: Settings, asked: dict[str, Any]) -> Reply:
    async with serving(folder, source(settings), SECRETS) as web:
        return await ask(
            web,
            *asked.get("pairs", []),
            method=asked.get("method", "GET"),
            query=asked.get("query", ""),
            body=asked.get("body", b""),
        )


async def test_a_handshake_is_proved_by_a_secret_of_its_own(tmp_path: Path) -> None:
    settings = {
        "when": {"method": "GET", "query": {"mode": "subscribe"}},
        "verify": "secret",
        "secret": "token",
        "respond": {"text": "{query:challenge}"},
    }
    asked = source(settings, handshake_secrets=["b"])
    async with serving(tmp_path, asked, SECRETS) as web:
        for given, status in (("other", 200), ("token", 403), ("", 403), ("other%20", 403)):
            reply = await ask(web, query=f"?mode=subscribe&challenge=c&token={given}")
            assert reply.status == status, given
        twice = "?mode=subscribe&challenge=c&token=other&token=other"
        assert (await ask(web, query=twice)).status == 403
        assert (await ask(web, query="?mode=subscribe&challenge=c")).status == 403
        # An event is proved as ever.
        assert (await ask(web, method="POST", query="?token=other", body=b"{}")).status == 401
        assert web.rig.source("x").rejections["auth"] == 6
        assert web.rig.outbox.events == []


async def test_a_handshake_without_proof_is_answered_and_nothing_else_is(tmp_path: Path) -> None:
    settings = {
        "when": {"query": {"validationToken": True}},
        "verify": "none",
        "respond": {"text": "{query:validationToken}"},
    }
    async with serving(tmp_path, source(settings), SECRETS) as web:
        reply = await ask(web, method="POST", query="?validationToken=%3Cb%3E", body=b'{"a":1}')
        assert (reply.status, reply.body) == (200, b"<b>")
        assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert (await ask(web, method="POST", body=b"{}")).status == 401
        assert (await ask(web)).headers["Allow"] == "POST"
        assert web.rig.outbox.events == []


async def test_an_answer_is_made_with_the_secret_that_proved_the_request(tmp_path: Path) -> None:
    asked = {
        "format": "raw",
        "event_type": {"value": "x"},
        "auth": {"hmac": {"signature": {"header": "X-Sig"}, "secrets": ["a", "b"]}},
        "handshake": [
            {
                "when": {"json": {"ask": True}},
                "respond": {
                    "json": {"said": "{hmac_hex:json:ask}", "b64": "{hmac_base64:json:ask}"}
                },
            }
        ],
    }
    body = b'{"ask":"me"}'
    async with serving(tmp_path, asked, SECRETS) as web:
        for key in (b"token", b"other"):
            signature = hmac.new(key, body, hashlib.sha256).hexdigest()
            reply = await ask(web, ("X-Sig", signature), method="POST", body=body)
            assert reply.json["said"] == hmac.new(key, b"me", hashlib.sha256).hexdigest()


async def test_a_handshake_takes_a_token_of_the_rate(tmp_path: Path) -> None:
    settings = {"when": {"method": "GET"}, "verify": "none", "respond": {"text": "x"}}
    config = config_of(tmp_path, source(settings), SECRETS)
    assert config is not None
    limited = replace(config.sources["x"], rate_limit=RateLimit(rate=1.0, burst=1))
    async with served(rig_of(replace(config, sources={"x": limited}))) as web:
        assert [(await ask(web)).status for _ in range(2)] == [200, 429]


async def test_what_is_signed_for_anybody_is_never_an_event(tmp_path: Path) -> None:
    """An answer made with the secret of events must not be a signature of one."""
    preset = {"preset": "twitter", "secrets": ["a"]}
    async with serving(tmp_path, preset, SECRETS) as web:

        async def signature(text: str) -> Reply:
            return await ask(web, query=f"?crc_token={quote(text)}")

        async def event(body: bytes, token: str) -> int:
            headers = ("x-twitter-webhooks-signature", token)
            return (await ask(web, headers, method="POST", body=body)).status

        for text in ('{"forged":true}', "[1]", ' \t\n{"a":1}', "\ufeff{}", "\x0b[", "x" * 513):
            assert (await signature(text)).status == 400, text
        for text in ("token", "\u00a0{}", '"{}"', "1"):
            told = (await signature(text)).json["response_token"]
            assert await event(text.encode(), told) == 401, text
        body = b'{"tweet_create_events":[]}'
        mac = base64.b64encode(hmac.new(b"token", body, hashlib.sha256).digest()).decode()
        assert await event(body, f"sha256={mac}") == 200
        assert [event.body for event, _ in web.rig.outbox.events] == [body]
