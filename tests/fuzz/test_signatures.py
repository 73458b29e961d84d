"""Signatures of any shape, length, alphabet and number: refused, or the ones that fit."""

import base64
import hashlib
import hmac
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from tests.fuzz.effort import count, fuzzed
from tests.ingest_rig import Client, a_rig, served

from hookpost.config import load, presets
from hookpost.core.model import EndpointId
from hookpost.core.proof import prove
from hookpost.core.received import Received
from hookpost.core.refusals import REFUSALS
from hookpost.core.routing import Routes
from hookpost.core.settings import Config, Source
from hookpost.core.signature import Unproven
from hookpost.services.snapshot import Snapshot

NOW = 1_750_000_000
KEYS = {
    "whsec": "whsec_" + base64.b64encode(b"k" * 24).decode(),
    "ed25519": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "spki": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEm7OVQrAxd9th6/0rvglthDSO8zDJ+beGpODcIdPI2uN99aC2"
    "G5n/23y/Z+VJ67bSxs9lKy89qksbN5iNE1K+EA==",
    "text": "secret",
}


def _key(preset: str) -> str:
    row = str(presets.rows()[preset])
    if "whpk_" in row:
        return "v1a"
    kinds = ("whsec", "ed25519", "spki")
    return next((kind for kind in kinds if kind in row), "text")


@cache
def config() -> Config:
    """One source for each preset, by its name."""
    keys = {**KEYS, "v1a": "whpk_" + base64.b64encode(bytes.fromhex(KEYS["ed25519"])).decode()}
    sources: dict[str, Any] = {}
    for preset in presets.rows():
        own = {"handshake_secrets": ["text"]} if preset in ("meta", "twitter") else {}
        if preset in ("square", "twilio", "hubspot"):
            own["url"] = f"https://hooks.example.com/in/{preset}"
        sources[preset] = {
            "path": f"/in/{preset}", "preset": preset, "secrets": [_key(preset)], **own
        }  # fmt: skip
    file = {
        "version": 1,
        "secrets": {name: {"env": name.upper()} for name in keys},
        "sources": sources,
        "endpoints": {"crm": {"url": "https://crm.example.com/", "signing": "none"}},
        "subscriptions": {"all": {"endpoints": ["crm"]}},
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / "gateway.yaml"
        path.write_text(yaml.safe_dump(file))
        environ = {name.upper(): value for name, value in keys.items()}
        return load(path, environ=environ, wall=NOW).sound()


def headers_of(source: Source) -> list[str]:
    """Every header that a source's proof looks at."""
    found = ["X-Twilio-Signature"]
    for proof in source.auth.proofs:
        for part in ("signature", "timestamp"):
            found += getattr(getattr(proof, part, None), "headers", ())
        found += getattr(proof, "id_headers", ())
    return found


_near = st.sampled_from(
    [
        b"", b" ", b",", b";", b"=", b"v1", b"v1,", b"v1=", b"v0=", b"sha256=", b"sha1=", b"t=",
        b"t=1750000000", b"1750000000", b"1750000000000", b"01750000000", b"+1750000000",
        b"1.75e9", b"-1", "१७५".encode(), b"9" * 400, b"0", b"ts=1750000000", b"h1=", b"v1a,",
        b"0" * 64, b"A" * 43 + b"=", b"A" * 86 + b"==", b"f" * 128, b"msg_1", b"a.b", b"\xff\xfe",
    ]
)  # fmt: skip
_values = st.one_of(
    _near,
    st.lists(st.one_of(_near, st.binary(max_size=12)), max_size=40).map(b",".join),
    st.lists(_near, max_size=6).map(b"".join),
    st.lists(_near, max_size=40).map(b" ".join),
    st.binary(max_size=80),
)
_bodies = st.one_of(
    st.sampled_from(
        [
            b"", b"{}", b"[]", b"null", b'{"signature":1}', b'{"webhookTimestamp":1750000000000}',
            b'{"webhookTimestamp":1e400}', b'{"webhookTimestamp":true}', b'{"value":[]}',
            b'{"value":[{"clientState":"secret"},{"clientState":1}]}', b"A=1&A=2&%ff=%00",
            b'{"signature":{"signature":"00","timestamp":"1750000000","token":"\\ud800"}}',
            b"[" * 200, b'"\\ud800"', b'{"type":"url_verification","challenge":["a"]}',
            b'{"event":"endpoint.url_validation","payload":{"plainToken":{}}}',
        ]
    ),
    st.binary(max_size=60),
)  # fmt: skip


@fuzzed(400)
@given(st.data())
def test_no_signature_that_was_not_made_with_the_key_fits(data: st.DataObject) -> None:
    count("signatures")
    source = config().sources[data.draw(st.sampled_from(sorted(presets.rows())))]
    names = st.sampled_from(headers_of(source))
    pairs = data.draw(st.lists(st.tuples(names, _values), max_size=5))
    body = data.draw(_bodies)
    received = Received(
        method="POST",
        url=source.url or "",
        query=data.draw(st.sampled_from(["", "bodySHA256=00", "a&a=%ff", "&" * 300])),
        headers=CIMultiDict((name, raw.decode("utf-8", "surrogateescape")) for name, raw in pairs),
        body=body,
    )
    if source.auth.proofs:
        with pytest.raises(Unproven) as refused:
            prove(source.auth.proofs, received, NOW)
        assert REFUSALS[refused.value.code].status in (400, 401)
        assert "secret" not in str(refused.value).replace("the secret in the body", "")


@fuzzed(60)
@given(st.data())
def test_over_the_wire_it_is_400_or_401_and_the_next_request_is_served(data: st.DataObject) -> None:
    import asyncio

    preset = data.draw(st.sampled_from(sorted(presets.rows())))
    source = config().sources[preset]
    names = st.sampled_from(headers_of(source))
    clean = _values.map(lambda raw: raw.translate(None, bytes(range(32)) + b"\x7f"))
    pairs = data.draw(st.lists(st.tuples(names, clean), max_size=4))
    body = data.draw(_bodies)

    async def ask() -> None:
        snapshot = Snapshot(
            config=config(),
            endpoint_ids={"crm": EndpointId(1)},
            routes=Routes(config().subscriptions),
        )
        rig = a_rig(snapshot)
        rig.clock.advance(NOW - rig.clock.now())
        async with served(rig) as web:
            client: Client = await web.connect()
            head = f"POST {source.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            lines = b"".join(name.encode() + b": " + raw + b"\r\n" for name, raw in pairs)
            reply = await client.ask(head.encode() + lines + b"\r\n" + body)
            assert reply.status in (400, 401), (preset, reply.body)
            good = b'{"n":1}'
            mac = hmac.new(b"secret", good, hashlib.sha256).hexdigest()
            signed = (
                f"POST /in/github HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: sha256={mac}\r\n"
                f"Content-Length: {len(good)}\r\n\r\n"
            )
            if reply.headers.get("Connection") != "close":
                assert (await client.ask(signed.encode() + good)).status == 202
            await client.close()
            assert (await web.once(signed.encode() + good)).status == 202

    count("requests")
    asyncio.run(ask())
