"""Which step a request fails at, and what is told where none does."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests import tokens
from tests.core.diagnosis.cases import (
    ADDRESS,
    BODY,
    BOTH,
    CANARY,
    GITHUB,
    STRIPE,
    WHSEC,
    Sent,
    b64,
    diagnosed,
    github,
    mac,
    stripe,
)
from tests.web.test_signed_sources import NOW
from tests.web.test_tokens import config_of as token_config

from hookpost.core.diagnosis import Result, diagnose
from hookpost.core.diagnosis.findings import span
from hookpost.core.received import HeaderList, Received

STEPS: dict[str, tuple[Sent, str, str]] = {
    "no header": (github(headers=[]), "signature", "there is no header X-Hub-Signature-256"),
    "twice": (github(headers=github().headers[:1] * 2), "signature", "occurs 2 times"),
    "a wrong prefix": (
        github(headers=[("X-Hub-Signature-256", "v1=00")]), "signature", "no signature of a known"),
    "ahead": (stripe(NOW + 423), "freshness", "7 min 3 s ahead of this clock; at most 5 min"),
    "behind": (stripe(NOW - 90000), "freshness", "1 d 1 h behind this clock"),
    "no number": (
        Sent(STRIPE, [("Stripe-Signature", "t=x,v1=00")]), "timestamp", "plain decimal"),
    "no id": (
        Sent({"preset": "svix", "secrets": ["a"]},
             [("svix-timestamp", "1"), ("svix-signature", "v1,x")],
             secrets={"a": WHSEC}), "signed", "no header svix-id"),
    "no bearer": (Sent({"auth": {"bearer": ["a"]}}, []), "bearer", "Authorization is not there"),
    "two bearers": (
        Sent({"auth": {"bearer": ["a"]}}, [("Authorization", "Bearer x")] * 2), "bearer",
        "2 times"),
    "an empty key": (
        Sent({"auth": {"api_key": {"header": "X-Key", "secrets": ["a"]}}}, [("X-Key", "")]),
        "api_key", "is empty"),
    "another scheme": (
        Sent({"auth": {"bearer": ["a"]}}, [("Authorization", "Basic x")]), "bearer",
        "scheme Basic"),
    "another user": (
        Sent({"auth": {"basic": {"username": "me", "passwords": ["a"]}}},
             [("Authorization", f"Basic {b64(b'you:x')}")]), "basic", 'the user name is not "me"'),
    "no colon": (
        Sent({"auth": {"basic": {"username": "me", "passwords": ["a"]}}},
             [("Authorization", f"Basic {b64(b'you')}")]), "basic", "no colon"),
    "no base64": (
        Sent({"auth": {"basic": {"username": "me", "passwords": ["a"]}}},
             [("Authorization", "Basic ?")]), "basic", "not base64"),
    "no key lives": (
        Sent({"auth": {"bearer": ["a"]}}, [], lives={"a": {"not_after": "2025-01-01T00:00:00Z"}}),
        "bearer", "expired on 2025"),
    "a method": (github(method="PUT"), "method", "takes POST"),
    "too large": (github(body=b"x" * ((1 << 20) + 1)), "body", "at most 1048576"),
    "packed": (github(headers=[("Content-Encoding", "gzip")]), "body", "Content-Encoding"),
    "a content type": (
        github(source={**GITHUB, "content_types": ["application/json"]},
               headers=[*github().headers, ("Content-Type", "text/plain")]),
        "content_type", "application/json"),
    "no envelope": (
        Sent({"auth": {"bearer": ["a"]}},
             [("Authorization", f"Bearer {CANARY}"), ("Content-Type", "application/json")],
             body=b"[]"), "event", "object"),
    "no type": (
        github(source={**GITHUB, "event_type": {"header": "X-Kind"}}), "event",
        "the header X-Kind"),
    "a batch of nothing": (
        Sent({"auth": {"bearer": ["a"]}},
             [("Authorization", f"Bearer {CANARY}"), ("Content-Type", "application/x-ndjson")],
             body=b""), "event", "the batch is empty"),
    "a digest": (
        Sent({"preset": "twilio", "secrets": ["a"], "url": ADDRESS}, [("X-Twilio-Signature", "x")],
             query="bodySHA256=00"), "match", "bodySHA256 is not the SHA-256"),
    "no state": (
        Sent({"preset": "msgraph", "secrets": ["a"]}, [], body=b"{}"), "match",
        "secret in the body"),
    "a handshake without its secret": (
        Sent({"preset": "meta", "secrets": ["a"], "handshake_secrets": ["a"]}, [], method="GET",
             query="hub.mode=subscribe&hub.challenge=x&hub.verify_token=no"), "handshake", "wrong"),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_the_step_that_fails_is_named_with_its_reason(tmp_path: Path, name: str) -> None:
    sent, step, text = STEPS[name]
    found = diagnosed(tmp_path, sent)

    failed = [one for one in found.steps if one.result is Result.FAILED]
    assert step in [one.name for one in failed], found
    assert text in next(one.text for one in failed if one.name == step)


def test_what_fits_is_told_with_the_secrets_name_and_the_event(tmp_path: Path) -> None:
    sent = github(
        secrets=BOTH, source={**GITHUB, "secrets": ["b", "a"], "allow_from": ["10.0.0.0/8"]}
    )
    sent.headers.append(("X-GitHub-Delivery", "d1"))
    found = diagnosed(tmp_path, sent)

    told = {step.name: step.text for step in found.steps}
    assert found.verified
    assert found.hints == []
    assert found.steps[0].result is Result.SKIPPED
    assert "allow_from is not judged" in told["address"]
    assert told["secrets"] == 'compared with "b", "a"'
    assert told["match"] == 'the signature fits the secret "a"'
    assert (told["type"], told["id"][:4]) == ("push", "evt_")
    assert told["dedup"] == "by the id, for 604800 s"
    assert f"body ({len(BODY)} bytes)" in told["signed"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (423, "7 min 3 s"), (-3600, "1 h"), (90061, "1 d 1 h"),
     (86460, "1 d")],
)  # fmt: skip
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_a_handshake_is_told_without_what_the_secret_makes_of_it(tmp_path: Path) -> None:
    text = b'{"event":"endpoint.url_validation","payload":{"plainToken":"plain"}}'
    signature = mac(f"v0:{NOW}:".encode() + text).hex()
    pairs = [("x-zm-signature", f"v0={signature}"), ("x-zm-request-timestamp", str(NOW))]
    found = diagnosed(tmp_path, Sent({"preset": "zoom", "secrets": ["a"]}, pairs, body=text))
    assert found.verified
    told = "\n".join(step.text for step in found.steps)
    assert "this is a handshake" in told
    assert mac(b"plain").hex() not in told


def test_a_request_that_shows_a_secret_or_a_signature_is_told_without(tmp_path: Path) -> None:
    source = {
        "format": "raw",
        "auth": {"api_key": {"header": "X-Key", "secrets": ["a"]}},
        "event_type": {"header": "X-Key"},
    }
    found = diagnosed(tmp_path, Sent(source, [("X-Key", CANARY)]))
    assert found.verified
    assert "***" in [step.text for step in found.steps]
    sent = github(source={**GITHUB, "event_type": {"header": "X-Hub-Signature-256"}})
    found = diagnosed(tmp_path, sent)
    assert ("type", "sha256=***") in [(step.name, step.text) for step in found.steps]


@pytest.mark.parametrize("host", ["h:x", "[", "\udce9", "a b", "h:99999"])
def test_any_host_is_an_address_that_does_not_fit(tmp_path: Path, host: str) -> None:
    source = {"preset": "twilio", "secrets": ["a"], "url": ADDRESS}
    headers = [("Host", host), ("X-Twilio-Signature", "\udce9" * 20)]
    found = diagnosed(tmp_path, Sent(source, headers, body=b""))
    assert [hint.code for hint in found.hints] == ["nothing-fits"]


CLAIMED: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"iss": "https://x"}, "is of the issuer 'https://x', not"),
    "another audience": ({"aud": "x"}, "is for 'x', not for"),
    "over": ({"exp": tokens.NOW - 423}, "expired 7 min 3 s ago"),
    "to come": ({"nbf": tokens.NOW + 3600}, "counts in 1 h only (nbf)"),
    "endless": ({"exp": None}, "does not say, as a number"),
}


@pytest.mark.parametrize("name", CLAIMED)
def test_what_is_wrong_with_a_token_is_told(tmp_path: Path, name: str) -> None:
    claims, words = CLAIMED[name]
    told = token_step(tmp_path, ("Authorization", f"Bearer {signed({**tokens.CLAIMS, **claims})}"))
    assert words in told


def test_a_token_that_counts_or_is_none(tmp_path: Path) -> None:
    good = signed(tokens.CLAIMS)
    assert "counts now" in token_step(tmp_path, ("Authorization", f"Bearer {good}"))
    assert "no key of keys.json" in token_step(
        tmp_path, ("Authorization", f"Bearer {good[:-4]}AAAA")
    )
    assert "there is no token" in token_step(tmp_path)
    assert "behind the word Bearer" in token_step(tmp_path, ("Authorization", good))


def signed(claims: dict[str, Any]) -> str:
    return tokens.token(headers={"kid": "one"}, **claims)


def token_step(folder: Path, *headers: tuple[str, str]) -> str:
    config = token_config(folder)
    received = Received(method="POST", headers=HeaderList(headers), body=b"{}")
    found = diagnose(config, config.sources["x"], received, tokens.NOW)
    return next(step.text for step in found.steps if step.name == "jwt")


@pytest.mark.parametrize(
    ("event_type", "data", "words"),
    [
        ("a.b", {"n": 1}, None),
        ("a.c", {"n": 1}, "'a.c' is none of a.b"),
        ("a.b", {"n": "1"}, "the schema of 'a.b' is not met at $.data.n"),
    ],
)
@pytest.mark.parametrize("batch", [False, True])
def test_types_and_schemas_are_judged_as_the_gateway_judges_them(
    tmp_path: Path, event_type: str, data: Any, words: str | None, batch: bool
) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    source = {
        "auth": {"bearer": ["a"]},
        "event_types": {"a.b": {"schema": "schema.json"}},
    }
    kind = "application/x-ndjson" if batch else "application/json"
    headers = [("Authorization", f"Bearer {CANARY}"), ("Content-Type", kind)]
    body = json.dumps({"eventType": event_type, "data": data}).encode()
    found = diagnosed(tmp_path, Sent(source, headers, body=body))
    assert found.verified == (words is None)
    assert words is None or words in "".join(step.text for step in found.steps)
