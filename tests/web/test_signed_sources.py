"""Sources that verify signatures, as a file has them: each key of the grammar counts.

Every row is a request that is taken with the row's settings, and refused without the key that the
row is named after. Keys, and what they make, come from the libraries that publishers use.
"""

import base64
import copy
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from tests.ingest_rig import Reply, Rig, WebRig, a_rig, served
from tests.ingest_rig import request as http

from hookpost.config import load
from hookpost.core.model import EndpointId
from hookpost.core.routing import Routes
from hookpost.core.settings import Config
from hookpost.services.snapshot import Snapshot

NOW = 1_750_000_000
BODY = b'{"n":1}'
Settings = dict[str, Any]
Sign = Callable[[bytes], bytes]

EDWARDS = ed25519.Ed25519PrivateKey.from_private_bytes(b"e" * 32)
PUBLIC = EDWARDS.public_key().public_bytes_raw().hex()
CURVE = ec.derive_private_key(7, ec.SECP256R1())
SPKI = CURVE.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)


def mac(signed: bytes, key: bytes = b"key", algorithm: str = "sha256") -> bytes:
    return hmac.new(key, signed, algorithm).digest()


def config_of(
    folder: Path,
    source: Settings,
    secrets: dict[str, str],
    *,
    public_url: str | None = None,
    **lives: dict[str, str],
) -> Config | None:
    """A configuration whose source `x` is at /in/x; None where the file is refused.

    `lives` are when secrets do so.
    """
    file = folder / "gateway.yaml"
    config = {
        "version": 1,
        "secrets": {name: {"env": name.upper(), **lives.get(name, {})} for name in secrets},
        "sources": {"x": {"path": "/in/x", **source}},
        "endpoints": {"crm": {"url": "https://crm.example.com/", "signing": "none"}},
        "subscriptions": {"all": {"endpoints": ["crm"]}},
    }
    if public_url is not None:
        config["listen"] = {"ingest": {"public_url": public_url}}
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    environ = {name.upper(): value for name, value in secrets.items()}
    return load(file, environ=environ, wall=NOW).config


def rig_of(config: Config) -> Rig:
    """A rig with this configuration, at NOW."""
    routes = Routes(config.subscriptions)
    rig = a_rig(Snapshot(config=config, endpoint_ids={"crm": EndpointId(1)}, routes=routes))
    rig.clock.advance(NOW - rig.clock.now())
    return rig


@asynccontextmanager
async def serving(
    folder: Path, source: Settings, secrets: dict[str, str], **options: Any
) -> AsyncIterator[WebRig]:
    """The same, behind a socket."""
    config = config_of(folder, source, secrets, **options)
    assert config is not None
    async with served(rig_of(config)) as web:
        yield web


async def post(web: WebRig, body: bytes, *pairs: tuple[str, str], query: str = "") -> Reply:
    return await web.once(http(body, *pairs, target=f"/in/x{query}", auth=False))


# -- each key of the grammar -----------------------------------------------------------------


def rows(sign: Sign) -> Iterator[tuple[str, Settings, bytes, list[tuple[str, str]]]]:
    """The key's name, settings, body, headers. `sign` makes a signature of what is signed."""
    ms = NOW * 1000

    def hexed(signed: bytes) -> str:
        return sign(signed).hex()

    def based(signed: bytes) -> str:
        return base64.b64encode(sign(signed)).decode()

    one = {"header": "X-Sig"}
    yield (
        "signature.header",
        {"signature": {"header": ["X-A", "X-B"]}},
        BODY,
        [("X-B", hexed(BODY))],
    )
    yield (
        "signature.encoding",
        {"signature": {**one, "encoding": "base64"}},
        BODY,
        [("X-Sig", based(BODY))],
    )
    yield (
        "signature.prefix",
        {"signature": {**one, "prefix": "v1="}},
        BODY,
        [("X-Sig", f"v1={hexed(BODY)}")],
    )
    yield (
        "signature.format",
        {"signature": {**one, "format": "list"}},
        BODY,
        [("X-Sig", f"00,{hexed(BODY)}")],
    )
    yield (
        "signature.separator",
        {"signature": {**one, "format": "list", "separator": "|"}},
        BODY,
        [("X-Sig", f"00|{hexed(BODY)}")],
    )
    listed = {**one, "format": "list", "header_prefix": "v0="}
    yield "signature.header_prefix", {"signature": listed}, BODY, [("X-Sig", f"v0={hexed(BODY)}")]
    pairs = {**one, "format": "kv", "keys": ["v1"]}
    yield "signature.keys", {"signature": pairs}, BODY, [("X-Sig", f"v0=00,v1={hexed(BODY)}")]
    colons = {**pairs, "pair_separator": ":"}
    yield "signature.pair_separator", {"signature": colons}, BODY, [("X-Sig", f"v1:{hexed(BODY)}")]
    inside = json.dumps({"sig": hexed(b"7")}).encode()
    in_body = {"signature": {"json": "sig"}, "template": "{header:X-N}", "covers_body": False}
    yield "signature.json", in_body, inside, [("X-N", "7")]
    yield "covers_body", {**in_body, "signature": one}, BODY, [("X-N", "7"), ("X-Sig", hexed(b"7"))]
    yield (
        "template",
        {"signature": one, "template": "{method} {header:X-N} {{{body}}}"},
        BODY,
        [
            ("X-N", "7"),
            ("X-Sig", hexed(b"POST 7 {" + BODY + b"}")),
        ],
    )
    yield (
        "id.header",
        {"signature": one, "id": {"header": "X-Id"}, "template": "{id}.{body}"},
        BODY,
        [
            ("X-Id", "a1"),
            ("X-Sig", hexed(b"a1." + BODY)),
        ],
    )
    timed = {"signature": one, "template": "{timestamp}.{body}"}
    now = [("X-At", str(NOW)), ("X-Sig", hexed(b"%d." % NOW + BODY))]
    yield "timestamp.header", {**timed, "timestamp": {"header": "X-At"}}, BODY, now
    kv = {"signature": pairs, "template": "{timestamp}.{body}", "timestamp": {"kv": "t"}}
    yield "timestamp.kv", kv, BODY, [("X-Sig", f"t={NOW},v1={hexed(b'%d.' % NOW + BODY)}")]
    yield (
        "timestamp.unit",
        {**timed, "timestamp": {"header": "X-At", "unit": "ms"}},
        BODY,
        [
            ("X-At", str(ms)),
            ("X-Sig", hexed(b"%d." % ms + BODY)),
        ],
    )
    then = NOW - 400
    yield (
        "timestamp.tolerance",
        {**timed, "timestamp": {"header": "X-At", "tolerance": "400s"}},
        BODY,
        [("X-At", str(then)), ("X-Sig", hexed(b"%d." % then + BODY))],
    )
    dated = b'{"at":%d}' % NOW
    yield (
        "timestamp.json",
        {"signature": one, "timestamp": {"json": "at"}},
        dated,
        [("X-Sig", hexed(dated))],
    )
    quoted = b'{"at":"%d"}' % NOW
    yield (
        "timestamp.text",
        {"signature": one, "timestamp": {"json": "at", "text": True}},
        quoted,
        [("X-Sig", hexed(quoted))],
    )


def without(settings: Settings, key: str) -> Settings:
    """The settings without one key."""
    found = copy.deepcopy(settings)
    *steps, last = key.split(".")
    inner = found
    for step in steps:
        inner = inner[step]
    del inner[last]
    return found


HMAC = [
    *(("hmac", "key", *row) for row in rows(mac)),
    (
        "hmac",
        "key",
        "algorithm",
        {"signature": {"header": "X-Sig"}, "algorithm": "sha512"},
        BODY,
        [("X-Sig", mac(BODY, algorithm="sha512").hex())],
    ),
    (
        "hmac",
        b"key".hex(),
        "key.encoding",
        {"signature": {"header": "X-Sig"}, "key": {"encoding": "hex"}},
        BODY,
        [("X-Sig", mac(BODY).hex())],
    ),
    (
        "hmac",
        "sk_key",
        "key.strip_prefix",
        {"signature": {"header": "X-Sig"}, "key": {"strip_prefix": "sk_"}},
        BODY,
        [("X-Sig", mac(BODY).hex())],
    ),
]
SPKI_SIGNED = [("X-Sig", CURVE.sign(BODY, ec.ECDSA(hashes.SHA256())).hex())]
SPKI_SETTINGS = {
    "algorithm": "ecdsa-p256",
    "signature": {"header": "X-Sig"},
    "key": {"encoding": "spki"},
}
PUBLIC_KEY = [
    *(
        ("public_key", PUBLIC, name, {"algorithm": "ed25519", **settings}, body, headers)
        for name, settings, body, headers in rows(EDWARDS.sign)
    ),
    *(
        ("public_key", base64.b64encode(SPKI).decode(), key, SPKI_SETTINGS, BODY, SPKI_SIGNED)
        for key in ("algorithm", "key.encoding")
    ),
    (
        "public_key",
        f"pk_{PUBLIC}",
        "key.strip_prefix",
        {
            "algorithm": "ed25519",
            "signature": {"header": "X-Sig"},
            "key": {"strip_prefix": "pk_"},
        },
        BODY,
        [("X-Sig", EDWARDS.sign(BODY).hex())],
    ),
]


@pytest.mark.parametrize(
    ("member", "secret", "key", "settings", "body", "headers"),
    [*HMAC, *PUBLIC_KEY],
    ids=lambda value: value if isinstance(value, str) and len(value) < 30 else "",
)
async def test_each_key_of_a_scheme_counts(
    tmp_path: Path,
    member: str,
    secret: str,
    key: str,
    settings: Settings,
    body: bytes,
    headers: list[tuple[str, str]],
) -> None:
    raw = {"format": "raw", "event_type": {"value": "x"}}
    signed = {**raw, "auth": {member: {**settings, "secrets": ["a"]}}}
    async with serving(tmp_path, signed, {"a": secret}) as web:
        assert (await post(web, body, *headers)).status == 202
        changed = await post(web, body + b" ", *headers)
        assert changed.status == (202 if settings.get("covers_body") is False else 401)

    other = {**raw, "auth": {member: {**without(settings, key), "secrets": ["a"]}}}
    config = config_of(tmp_path, other, {"a": secret})
    if config is not None:
        async with served(rig_of(config)) as web:
            assert (await post(web, body, *headers)).status in (400, 401)


@pytest.mark.parametrize("member", ["hmac", "public_key"])
async def test_any_live_secret_verifies_and_no_other(tmp_path: Path, member: str) -> None:
    others = {"hmac": "another", "public_key": "00" * 31 + "01"}
    own, sign = ("key", mac) if member == "hmac" else (PUBLIC, EDWARDS.sign)
    settings = {"signature": {"header": "X-Sig"}, "secrets": ["a", "b"]}
    if member == "public_key":
        settings["algorithm"] = "ed25519"
    source = {"format": "raw", "event_type": {"value": "x"}, "auth": {member: settings}}
    signature = ("X-Sig", sign(BODY).hex())
    async with serving(tmp_path, source, {"a": others[member], "b": own}) as web:
        assert (await post(web, BODY, signature)).status == 202
    settings["secrets"] = ["a"]
    async with serving(tmp_path, source, {"a": others[member]}) as web:
        refused = await post(web, BODY, signature)
    assert (refused.status, refused.json["code"]) == (401, "unauthorized")
    assert refused.headers["WWW-Authenticate"] == 'Signature realm="hookpost"'


async def test_why_is_for_the_operator_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path, {"preset": "github", "secrets": ["a"]}, {"a": "key"}) as web:
        replies = [
            await post(web, BODY),
            await post(web, BODY, ("X-Hub-Signature-256", "sha256=0")),
        ]
    assert [reply.status for reply in replies] == [401, 401]
    assert replies[0].body == replies[1].body
    told = [each.fields["why"] for each in caplog.records if each.msg == "request.rejected"]  # type: ignore[attr-defined]
    assert told == [
        "there is no header X-Hub-Signature-256 with the signature",
        "the signature does not fit",
    ]


async def test_without_a_live_secret_nobody_is_blamed(tmp_path: Path) -> None:
    source = {
        "format": "raw",
        "event_type": {"value": "x"},
        "auth": {"hmac": {"signature": {"header": "X-Sig"}, "secrets": ["a"]}},
    }
    ended = {"not_after": "2020-01-01T00:00:00Z"}
    async with serving(tmp_path, source, {"a": "key"}, a=ended) as web:
        reply = await post(web, BODY, ("X-Sig", mac(BODY).hex()))
    assert (reply.status, reply.json["code"]) == (503, "no_live_key")
    assert int(reply.headers["Retry-After"]) > 0


@pytest.mark.parametrize(("age", "status"), [(300, 202), (301, 400), (-300, 202), (-301, 400)])
async def test_a_timestamp_is_inside_the_tolerance_or_stale(
    tmp_path: Path, age: int, status: int
) -> None:
    at = b"%d" % (NOW - age)
    signature = ("Stripe-Signature", f"t={at.decode()},v1={mac(at + b'.' + BODY).hex()}")
    async with serving(tmp_path, {"preset": "stripe", "secrets": ["a"]}, {"a": "key"}) as web:
        reply = await post(web, BODY, signature)
        assert reply.status == status
        if status == 400:
            assert reply.json["code"] == "timestamp_stale"
            assert web.rig.source("x").rejections["stale"] == 1


async def test_an_expression_that_fails_proves_nothing(tmp_path: Path) -> None:
    scheme = {"signature": {"header": "X-Sig"}, "template": "{json:join('', a)}{body}"}
    source = {
        "format": "raw",
        "event_type": {"value": "x"},
        "auth": {"hmac": {**scheme, "secrets": ["a"]}},
    }
    for member in ({"signature": {"json": "join('', a)"}}, {"timestamp": {"json": "join('', a)"}}):
        other = {**source, "auth": {"hmac": {**scheme, **member, "secrets": ["a"]}}}
        async with serving(tmp_path, other, {"a": "key"}) as web:
            assert (await post(web, b'{"a":[1]}', ("X-Sig", "00"))).status == 401
    async with serving(tmp_path, source, {"a": "key"}) as web:
        body = b'{"a":["b"]}'
        assert (await post(web, b'{"a":[1]}', ("X-Sig", "00"))).status == 401
        assert (await post(web, body, ("X-Sig", mac(b"b" + body).hex()))).status == 202


async def test_more_signatures_than_anybody_sends_are_not_looked_at(tmp_path: Path) -> None:
    scheme = {"signature": {"header": "X-Sig", "format": "list"}, "secrets": ["a"]}
    source = {"format": "raw", "event_type": {"value": "x"}, "auth": {"hmac": scheme}}
    async with serving(tmp_path, source, {"a": "key"}) as web:
        for count, status in ((15, 202), (16, 401)):
            text = ",".join(["00"] * count + [mac(BODY).hex()])
            assert (await post(web, BODY, ("X-Sig", text))).status == status


async def test_the_address_that_is_signed_is_the_one_that_was_given(tmp_path: Path) -> None:
    source = {
        "format": "raw",
        "event_type": {"value": "x"},
        "url": "https://hooks.example.com/out/x",
        "auth": {
            "hmac": {"signature": {"header": "X-Sig"}, "template": "{url}{body}", "secrets": ["a"]}
        },
    }
    signed = mac(b"https://hooks.example.com/out/x?t=7" + BODY).hex()
    async with serving(tmp_path, source, {"a": "key"}) as web:
        lied = ("X-Forwarded-Host", "evil.example.com")
        assert (await post(web, BODY, ("X-Sig", signed), lied, query="?t=7")).status == 202
        assert (await post(web, BODY, ("X-Sig", signed), query="?t=8")).status == 401


@pytest.mark.parametrize("public", ["https://hooks.example.com/out", "http://gateway:8480/"])
async def test_the_address_that_is_signed_begins_with_the_public_one(
    tmp_path: Path, public: str
) -> None:
    source: Settings = {
        "format": "raw",
        "event_type": {"value": "x"},
        "auth": {
            "hmac": {"signature": {"header": "X-Sig"}, "template": "{url}{body}", "secrets": ["a"]}
        },
    }
    assert config_of(tmp_path, source, {"a": "key"}) is None, "nobody says what the address is"
    signed = mac(f"{public.removesuffix('/')}/in/x".encode() + BODY).hex()
    async with serving(tmp_path, source, {"a": "key"}, public_url=public) as web:
        assert (await post(web, BODY, ("X-Sig", signed))).status == 202
        assert (await post(web, BODY, ("X-Sig", signed), query="?t=8")).status == 401
    own = {**source, "url": "https://elsewhere.example.com/"}
    async with serving(tmp_path, own, {"a": "key"}, public_url=public) as web:
        assert (await post(web, BODY, ("X-Sig", signed))).status == 401


async def test_every_item_of_a_body_holds_its_secret(tmp_path: Path) -> None:
    source = {
        "format": "raw",
        "event_type": {"value": "x"},
        "auth": {"body_secret": {"json": "items[].key", "secrets": ["a", "b"]}},
    }
    async with serving(tmp_path, source, {"a": "k1", "b": "k2"}) as web:
        for keys, status in ((["k2"], 202), (["k1", "k1"], 202), (["k1", "x"], 401), ([], 401)):
            body = json.dumps({"items": [{"key": key} for key in keys]}).encode()
            assert (await post(web, body)).status == status
        for body in (b"", b"[]", b'{"items":[{"key":{"k1":1}}]}', b'{"items":"k1"}', b"\xff"):
            assert (await post(web, body)).status == 401


async def test_twilio_signs_address_and_form(tmp_path: Path) -> None:
    source = {"preset": "twilio", "secrets": ["a"], "url": "https://hooks.example.com/in/x"}
    signed = b"https://hooks.example.com/in/x?t=7" + b"AoneBtwo"
    signature = base64.b64encode(hmac.new(b"token", signed, hashlib.sha1).digest()).decode()
    form = ("Content-Type", "application/x-www-form-urlencoded")
    async with serving(tmp_path, source, {"a": "token"}) as web:
        headers = (form, ("X-Twilio-Signature", signature))
        reply = await post(web, b"B=two&A=one", *headers, query="?t=7")
        assert (reply.status, reply.body) == (204, b"")
        assert (await post(web, b"B=two&A=1", *headers, query="?t=7")).status == 401


@pytest.mark.parametrize("preset", ["standard-webhooks", "svix", "gitlab-signing"])
async def test_an_event_is_known_by_the_id_that_was_signed(tmp_path: Path, preset: str) -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 24).decode()
    start = "svix" if preset == "svix" else "webhook"
    signed = mac(b"msg_1.%d." % NOW + BODY, key=b"k" * 24)
    headers = [
        (f"{start}-id", "msg_1"),
        (f"{start}-timestamp", str(NOW)),
        (f"{start}-signature", f"v1,{base64.b64encode(signed).decode()}"),
    ]
    async with serving(tmp_path, {"preset": preset, "secrets": ["a"]}, {"a": secret}) as web:
        first = await post(web, BODY, *headers)
        for added in ("Idempotency-Key", "svix-id", "webhook-id"):
            if added != headers[0][0]:
                again = await post(web, BODY, *headers, (added, "attacker"))
                assert again.status in (200, 401), added
                assert again.status == 401 or again.json["duplicate"], added
        assert first.json["eventId"] == "msg_1"
        assert len(web.rig.outbox.events) == 1


async def test_every_notification_holds_the_secret(tmp_path: Path) -> None:
    ok, bad = {"clientState": "s"}, {"changeType": "forged"}
    async with serving(tmp_path, {"preset": "msgraph", "secrets": ["a"]}, {"a": "s"}) as web:
        for value, status in (
            ([ok], 202),
            ([ok, ok], 202),
            ([ok, bad], 401),
            ([ok, {"clientState": None}], 401),
            ([[ok]], 401),
            ([], 401),
            (None, 401),
        ):
            assert (await post(web, json.dumps({"value": value}).encode())).status == status


async def test_a_part_of_a_presets_map_leaves_the_rest_as_it_is(tmp_path: Path) -> None:
    source = {
        "preset": "zoom-token",
        "secrets": ["a"],
        "dedup": {"window": "1h"},
        "answer": {"body": "ok"},
    }
    body = b'{"event":"meeting.ended","event_ts":1}'
    async with serving(tmp_path, source, {"a": "token"}) as web:
        replies = [await post(web, body, ("Authorization", "token")) for _ in range(2)]
    assert [(reply.status, reply.body) for reply in replies] == [(200, b"ok")] * 2
    assert [event.dedup_window for event, _ in web.rig.outbox.events] == [3600.0]


# -- what else a source says -----------------------------------------------------------------


async def test_a_success_is_answered_as_the_source_has_it(tmp_path: Path) -> None:
    source = {
        "format": "raw",
        "event_type": {"value": "x"},
        "auth": "none",
        "allow_from": ["127.0.0.0/8"],
        "answer": {"status": 201, "body": "[accepted]"},
        "event_id": {"header": "X-Id"},
    }
    async with serving(tmp_path, source, {}) as web:
        for _ in range(2):  # the second is a duplicate
            reply = await post(web, BODY, ("X-Id", "1"))
            assert (reply.status, reply.body) == (201, b"[accepted]")
            assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert len(web.rig.outbox.events) == 1
        source["answer"] = {"status": 200}
    async with serving(tmp_path, source, {}) as web:
        reply = await post(web, BODY)
    assert reply.status == 200
    assert reply.json["duplicate"] is False


async def test_events_are_told_apart_by_the_values_of_the_key(tmp_path: Path) -> None:
    source = {
        "format": "raw",
        "event_type": {"value": "x"},
        "auth": "none",
        "allow_from": ["127.0.0.0/8"],
        "dedup": {"key": ["body.event", "body.payload.id", 'headers."x-part"']},
    }

    async def duplicate(web: WebRig, body: Any, *headers: tuple[str, str]) -> bool:
        reply = await post(web, json.dumps(body).encode(), *headers)
        return bool(reply.json["duplicate"])

    async with serving(tmp_path, source, {}) as web:
        first = {"event": "a", "payload": {"id": 1}}
        assert not await duplicate(web, first)
        assert await duplicate(web, {"payload": {"id": 1}, "event": "a", "more": 1})
        assert not await duplicate(web, first, ("X-Part", "2"))
        assert not await duplicate(web, {"event": "a", "payload": {"id": "1"}})
        assert not await duplicate(web, {"event": "a"})
        assert await duplicate(web, {"event": "a", "payload": {}})
        assert not await duplicate(web, {"other": 1})  # nothing is known of it
        assert not await duplicate(web, {"other": 1})
