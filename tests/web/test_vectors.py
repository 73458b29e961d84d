"""Every known answer of a scheme that is built, by the whole road of a request."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from multidict import CIMultiDict
from tests.ingest_rig import Reply, a_rig, served
from tests.vectored import Vector, loaded, request, url, vectors

from hookpost.core.model import EndpointId
from hookpost.core.proof import prove
from hookpost.core.received import Received
from hookpost.core.routing import Routes
from hookpost.core.signature import Unproven
from hookpost.services.snapshot import Snapshot

NOT_TO_BE_SAID = {
    "basic-auth/valid-empty-password": "an empty secret is refused when the file is checked",
    "basic-auth/user-of-one-password-of-other": "a source has one user name",
    "basic-auth/rotated-second-credential": "a source has one user name",
}
"""Known answers for what a configuration cannot say, and why."""

POSTED = [one for one in vectors() if one.get("request", {}).get("method", "POST") == "POST"]
ASKED = [one for one in vectors() if one["kind"] == "challenge"]
EVENTS = [one for one in POSTED if one["kind"] == "verify" and one["name"] not in NOT_TO_BE_SAID]
FETCHED = [one for one in vectors() if one["kind"] == "verify" and one not in POSTED]


async def answered(vector: Vector, folder: Path) -> Reply | None:
    """What the gateway answers; None where the configuration is refused already."""
    found = loaded(vector, folder)
    if found.config is None:
        assert {item.code for item in found.errors} <= {"bad-key", "empty-secret"}, found.render()
        return None
    config = found.config
    ids = {"crm": EndpointId(1)}
    snapshot = Snapshot(config=config, endpoint_ids=ids, routes=Routes(config.subscriptions))
    rig = a_rig(snapshot)
    rig.clock.advance(vector["now"] - rig.clock.now())
    async with served(rig) as web:
        reply = await web.once(request(vector))
    assert len(rig.outbox.events) == (vector["kind"] == "verify" and reply.status < 300)
    return reply


@pytest.mark.parametrize("vector", EVENTS, ids=lambda one: one["name"])
async def test_an_event_is_taken_or_refused_as_is_known(vector: Vector, tmp_path: Path) -> None:
    reply = await answered(vector, tmp_path)

    if vector["expect"] == "accept":
        assert reply is not None
        assert 200 <= reply.status < 300, reply.body
    elif reply is not None:
        assert reply.status in (400, 401), reply.body
        if vector["reason"] in ("timestamp_too_old", "timestamp_too_new"):
            assert reply.json["code"].startswith("timestamp_")


@pytest.mark.parametrize("vector", FETCHED, ids=lambda one: one["name"])
async def test_a_signature_of_a_get_fits_though_events_are_posted(
    vector: Vector, tmp_path: Path
) -> None:
    config = loaded(vector, tmp_path).sound()
    source = config.sources["x"]
    query = urlsplit(url(vector)).query
    received = Received(
        method="GET",
        url=url(vector),
        query=query,
        headers=CIMultiDict((name, value) for name, value in vector["headers"]),
        body=b"",
    )

    if vector["expect"] == "accept":
        assert prove(source.auth.proofs, received, vector["now"]) is not None
    else:
        with pytest.raises(Unproven):
            prove(source.auth.proofs, received, vector["now"])
    reply = await answered(vector, tmp_path)
    assert reply is not None
    assert reply.status == 405


@pytest.mark.parametrize("vector", ASKED, ids=lambda one: one["name"])
async def test_a_handshake_is_answered_or_refused_as_is_known(
    vector: Vector, tmp_path: Path
) -> None:
    reply = await answered(vector, tmp_path)

    assert reply is not None
    wanted = vector.get("response", {})
    if vector["expect"] == "accept":
        assert reply.status == wanted["status"]
        assert any(_is(reply, one) for one in wanted.get("any_of", [wanted]))
        assert reply.headers.get("X-Content-Type-Options", "nosniff") == "nosniff"
    else:
        assert reply.status in ({wanted["status"]} if wanted else (400, 401, 403)), reply.body


def _is(reply: Reply, wanted: dict[str, Any]) -> bool:
    kind = reply.headers.get("Content-Type", "").partition(";")[0]
    if "json" in wanted:
        return kind == wanted["content_type"] and json.loads(reply.body) == wanted["json"]
    return kind == wanted.get("content_type", kind) and reply.body.decode() == wanted["body"]
