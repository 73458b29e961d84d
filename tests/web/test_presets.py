"""Presets: what a provider sends, signed as it signs, becomes the event that one expects."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.ingest_rig import WebRig
from tests.web.test_signed_sources import BODY, NOW, PUBLIC, SPKI, config_of, post, serving

from hookpost.config import presets
from hookpost.core.publishing import Unsignable, signed_headers
from hookpost.core.received import Received
from hookpost.core.settings import Config

Pairs = list[tuple[str, str]]

SENT: dict[str, tuple[Any, Pairs, str, str]] = {
    "standard-webhooks": ({"type": "user.created"}, [], "user.created", "msg_1"),
    "svix": ({"type": "user.created"}, [], "user.created", "msg_1"),
    "github": ({"action": "opened"}, [("X-GitHub-Event", "issues"), ("X-GitHub-Delivery", "d-1")],
               "issues", "evt_"),
    "gitlab": ({"object_kind": "push"}, [("Idempotency-Key", "i-1")], "push", "evt_"),
    "gitlab-signing": ({}, [("X-Gitlab-Event", "Push Hook")], "Push Hook", "msg_1"),
    "bitbucket": ({}, [("X-Event-Key", "repo:push"), ("X-Request-UUID", "u")], "repo:push", "evt_"),
    "stripe": ({"id": "evt_1", "type": "charge.succeeded"}, [], "charge.succeeded", "evt_"),
    "shopify": ({}, [("X-Shopify-Topic", "orders/create"), ("X-Shopify-Webhook-Id", "w-1")],
                "orders/create", "evt_"),
    "shopify-events": ({}, [("Shopify-Topic", "t"), ("Shopify-Webhook-Id", "w-1")], "t", "evt_"),
    "slack": ({"type": "event_callback", "event": {"type": "message"}, "event_id": "Ev1"}, [],
              "message", "evt_"),
    "zoom": ({"event": "meeting.started", "payload": {"account_id": "a", "object": {"uuid": "u"}},
              "event_ts": 1}, [], "meeting.started", "key"),
    "zoom-body": ({"event": "meeting.ended", "payload": {"object": {"id": 7}}, "event_ts": 1}, [],
                  "meeting.ended", "key"),
    "zoom-token": ({"event": "meeting.ended", "event_ts": 1}, [], "meeting.ended", "key"),
    "linear": ({"type": "Issue", "action": "create", "webhookTimestamp": NOW * 1000},
               [("Linear-Delivery", "l-1")], "Issue.create", "evt_"),
    "square": ({"type": "payment.updated", "event_id": "e-1"}, [], "payment.updated", "evt_"),
    "twilio": ("MessageStatus=sent", [("I-Twilio-Idempotency-Token", "t-1"),
               ("Content-Type", "application/x-www-form-urlencoded")], "twilio.request", "evt_"),
    "meta": ({"object": "page", "entry": [{"id": "1"}]}, [], "page", "key"),
    "okta": ({"eventType": "com.okta.event_hook", "data": {"events": [{"uuid": "u", "eventType":
              "user.session.start"}]}}, [], "user.session.start", "key"),
    "msgraph": ({"value": [{"clientState": "secret", "changeType": "updated"}]}, [], "updated", ""),
    "twitter": ({"for_user_id": "1"}, [], "twitter.activity", "key"),
    "paddle": ({"event_type": "transaction.paid", "event_id": "e"}, [], "transaction.paid", "evt_"),
    "hubspot": ([{"eventId": 1, "subscriptionType": "contact.creation"}], [], "contact.creation",
                "key"),
    "intercom": ({"topic": "user.created", "id": "n-1"}, [], "user.created", "evt_"),
    "telegram": ({"update_id": 7}, [], "telegram.update", "evt_"),
}  # fmt: skip
"""Body, headers, then the event's type and what duplicates are told by: its id, ours, a key."""

NEEDS_A_BODY = {"linear", "msgraph", "twitter"}
"""Time or secret is a part of the body, or it has to be JSON."""

ALSO = {"standard-webhooks-v1a", "sendgrid", "discord", "mailgun"}
"""Presets whose requests only the provider can sign: the known answers have them."""


def test_no_preset_is_forgotten() -> None:
    assert SENT.keys() | ALSO == presets.rows().keys()


KEYS = {
    "discord": PUBLIC,
    "sendgrid": base64.b64encode(SPKI).decode(),
    "standard-webhooks-v1a": "whpk_" + base64.b64encode(bytes.fromhex(PUBLIC)).decode(),
}


def secret_of(preset: str) -> str:
    usual = "whsec_" + "A" * 32 if "whsec_" in str(presets.rows()[preset]) else "secret"
    return KEYS.get(preset, usual)


def source_of(preset: str) -> dict[str, Any]:
    called = {"url": "https://hooks.example.com/in/x"}
    own = called if preset in ("square", "twilio", "hubspot") else {}
    if preset in ("meta", "twitter"):
        own = {"handshake_secrets": ["a"]}
    return {"preset": preset, "secrets": ["a"], **own}


def sent(web: WebRig, body: bytes, headers: Pairs) -> Pairs:
    """The headers of a request as its provider signs it."""
    source = web.rig.current.snapshot.config.sources["x"]
    signed = dict(headers)
    if source.auth.api_key is not None:
        signed[source.auth.api_key.header] = "secret"
    received = Received(method="POST", url=source.url or "", headers=_Plain(headers), body=body)
    for proof in source.auth.proofs:
        signed.update(signed_headers(proof, received, web.rig.clock.wall(), "msg_1"))
    return list(signed.items())


class _Plain(dict[str, str]):
    """Headers as core asks for them."""

    def getall(self, name: str, default: Any, /) -> Any:
        return [self[name]] if name in self else default


@pytest.mark.parametrize("preset", SENT)
async def test_a_preset_reads_what_its_provider_sends(tmp_path: Path, preset: str) -> None:
    document, headers, event_type, told_by = SENT[preset]
    body = document.encode() if isinstance(document, str) else json.dumps(document).encode()
    row = presets.rows()[preset]
    async with serving(tmp_path, source_of(preset), {"a": secret_of(preset)}) as web:
        replies = [await post(web, body, *sent(web, body, headers)) for _ in range(2)]
        events = [event for event, _ in web.rig.outbox.events]
        refused = await post(web, body + b" ", *sent(web, body, headers)[:-1])  # no proof

    wanted = row.get("answer", {}).get("status")
    again = bool(told_by)
    assert [one.status for one in replies] == [wanted or 202, wanted or (200 if again else 202)]
    assert len(events) == (1 if again else 2)
    assert (events[0].type, events[0].body) == (event_type, body)
    assert events[0].id.startswith("msg_1" if told_by == "msg_1" else "evt_")
    assert events[0].dedup_window == 7 * 86400.0 or not again
    assert refused.status in (400, 401) or preset == "msgraph"  # which has the secret in the body
    kept = {name.lower() for name, _ in events[0].headers}
    assert {name.lower() for name, _ in headers if name in row.get("forward_headers", ())} <= kept


@pytest.mark.parametrize("preset", sorted(SENT.keys() - NEEDS_A_BODY))
async def test_what_is_signed_and_has_no_type_is_taken_all_the_same(
    tmp_path: Path, preset: str
) -> None:
    async with serving(tmp_path, source_of(preset), {"a": secret_of(preset)}) as web:
        reply = await post(web, b"", *sent(web, b"", []))
        assert reply.status < 300
        assert web.rig.outbox.last.type.startswith(
            presets.rows()[preset]["event_type"]["value"].partition(".")[0]
        )


@pytest.mark.parametrize("preset", sorted(presets.rows()))
def test_a_preset_is_a_piece_of_a_source_that_anybody_could_write(
    tmp_path: Path, preset: str
) -> None:
    row, source = presets.rows()[preset], source_of(preset)
    auth = {member: {**settings, "secrets": ["a"]} for member, settings in row["auth"].items()}
    own = {key: value for key, value in source.items() if key not in ("preset", "secrets")}
    written = config_of(tmp_path, {**row, "auth": auth, **own}, {"a": secret_of(preset)})
    named = config_of(tmp_path, source, {"a": secret_of(preset)})
    assert written is not None
    assert named is not None
    assert _shown(written) == _shown(named)


def _shown(config: Config) -> str:
    """The source, without the places of its compiled expressions in memory."""
    return re.sub(r"0x[0-9a-f]+", "", str(config.sources["x"]))


async def test_the_sources_own_key_counts_before_the_presets(tmp_path: Path) -> None:
    source = {
        **source_of("github"),
        "event_type": {"value": "mine"},
        "dedup": "none",
        "answer": {"status": 204},
        "auth": {"bearer": ["b"]},
    }
    async with serving(tmp_path, source, {"a": "secret", "b": "token"}) as web:
        signed = sent(web, BODY, [("X-GitHub-Event", "push"), ("X-GitHub-Delivery", "d")])
        assert (await post(web, BODY, *signed)).status == 401  # the bearer is missing
        bearer = ("Authorization", "Bearer token")
        assert (await post(web, BODY, bearer)).status == 401  # and now the signature
        for _ in range(2):
            assert (await post(web, BODY, bearer, *signed)).status == 204
        assert [event.type for event, _ in web.rig.outbox.events] == ["mine", "mine"]


def test_what_only_the_publisher_can_sign_is_not_signed(tmp_path: Path) -> None:
    config = config_of(tmp_path, source_of("discord"), {"a": PUBLIC})
    assert config is not None
    (proof,) = config.sources["x"].auth.proofs
    with pytest.raises(Unsignable, match="private key"):
        signed_headers(proof, Received(method="POST", headers=_Plain(), body=b""), NOW, "m")
