"""Why a request is refused: each thing that goes wrong on the way has its own hint."""

import base64
import json
from pathlib import Path

import pytest
from tests.core.diagnosis.cases import (
    ADDRESS,
    BODY,
    BOTH,
    CANARY,
    GITHUB,
    HEX,
    OTHER,
    SHOP,
    STRANGER,
    WHSEC,
    Sent,
    b64,
    custom,
    diagnosed,
    discord,
    github,
    mac,
    square,
    standard,
    stripe,
)
from tests.web.test_signed_sources import NOW, PUBLIC

_PYTHON = json.dumps(json.loads(BODY)).encode()
_COMPACT = json.dumps(json.loads(BODY), separators=(",", ":"), ensure_ascii=False).encode()
_SORTED = json.dumps(json.loads(BODY), sort_keys=True, ensure_ascii=False).encode()
_GO = _COMPACT.replace(b"<", rb"\u003c").replace(b">", rb"\u003e") + b"\n"
_PHP = json.dumps(json.loads(BODY), separators=(",", ":")).replace("/", r"\/").encode()
_NODE = _COMPACT.replace(b"1.0", b"1")

ROWS: dict[str, tuple[Sent, str, str]] = {
    "a newline was added": (github(body=BODY + b"\n"), "body-newline", "without the newline"),
    "a newline was lost": (github(BODY + b"\r\n", body=BODY), "body-newline", "a CR LF added"),
    "space was lost": (github(BODY, body=b"  " + BODY), "body-newline", "without the space"),
    "a mark was added": (github(body=b"\xef\xbb\xbf" + BODY), "body-bom", "without the byte order"),
    "CR LF became LF": (
        github(b"a\r\nb\r\n", body=b"a\nb\n"), "body-line-ends", "end in CR LF"),
    "LF became CR LF": (github(b"a\nb", body=b"a\r\nb"), "body-line-ends", "end in LF"),
    "saved in base64": (github(body=base64.b64encode(BODY)), "body-base64", "from base64"),
    "python wrote it": (github(_PYTHON), "body-reserialised", "with \\u-escapes"),
    "compact was signed": (github(_COMPACT), "body-reserialised", "compact JSON"),
    "spaces were signed": (github(BODY, body=_COMPACT), "body-reserialised", "spaces behind"),
    "sorted was signed": (github(_SORTED), "body-reserialised", "keys sorted"),
    "go wrote it": (github(_GO), "body-reserialised", "<, > and & escaped"),
    "php wrote it": (github(_PHP), "body-reserialised", "/ escaped"),
    "node wrote it": (github(_NODE), "body-reserialised", "whole numbers without .0"),
    "numbers are kept": (
        github(b'{"n":1.50,"m":1e2}', body=b'{"n": 1.50, "m": 1e2}'), "body-reserialised",
        "compact JSON, with"),
    "indented was signed": (
        github(json.dumps(json.loads(BODY), indent=2).encode()), "body-reserialised",
        "indented by 2"),
    "a body cut off": (
        github(body=BODY[:-5], headers=[*github().headers, ("Content-Length", str(len(BODY)))]),
        "body-length", "what was saved is not what was sent"),
    "the secret of another source": (
        github(key=OTHER, secrets=BOTH, others=SHOP), "other-secret",
        'secret "b" of source "shop"'),
    "a secret that is over": (
        github(secrets=BOTH, source={**GITHUB, "secrets": ["a", "b"]},
               lives={"a": {"not_after": "2025-01-01T00:00:00Z"}}),
        "secret-not-live", 'the secret "a", which expired on 2025-01-01 00:00:00 UTC'),
    "a secret that is to come": (
        github(secrets=BOTH, source={**GITHUB, "secrets": ["a", "b"]},
               lives={"a": {"not_before": "2035-01-01T00:00:00Z"}}),
        "secret-not-live", 'lives from 2035-01-01 00:00:00 UTC on'),
    "no secret lives": (
        github(lives={"a": {"not_after": "2025-01-01T00:00:00Z"}}), "secret-not-live", '"a"'),
    "the secret in base64": (
        github(key=b"canary-key", secrets={"a": b64(b"canary-key")}),
        "secret-form", "decoded from base64"),
    "the secret in hex": (
        github(key=b"canary-key", secrets={"a": b"canary-key".hex()}),
        "secret-form", "decoded from hex"),
    "the secret with a newline": (github(key=CANARY + "\n"), "secret-form", "newline at its end"),
    "the secret with a space": (
        github(secrets={"a": CANARY + " "}), "secret-form", "without the space around"),
    "the secret in quotes": (
        github(secrets={"a": f'"{CANARY}"'}), "secret-form", "without the quotation marks"),
    "whsec was not decoded": (standard(WHSEC.encode()), "secret-form", "read as text"),
    "whsec was only cut": (
        standard(WHSEC.removeprefix("whsec_").encode()), "secret-form", "as text behind whsec_"),
    "whsec had to be decoded": (
        github(key=b"canary-signing-key-0123456789abc", secrets={"a": WHSEC}),
        "secret-form", "decoded from base64 behind whsec_"),
    "whsec was missing": (
        github(key="whsec_" + CANARY), "secret-form", "with whsec_ before it"),
    "another hash": (
        custom(HEX, ("X-Sig", mac(BODY, CANARY, "sha512").hex())), "form", "sha512"),
    "another encoding": (custom(HEX, ("X-Sig", b64(mac(BODY)))), "form", "base64"),
    "upper case": (
        custom(HEX, ("X-Sig", mac(BODY).hex().upper())), "signature-text", "upper case"),
    "base64 without its end": (
        custom({"signature": {"header": "X-Sig", "encoding": "base64"}},
               ("X-Sig", b64(mac(BODY)).rstrip("="))), "signature-text", "without its ="),
    "another template": (
        custom({**HEX, "timestamp": {"header": "X-T"}},
               ("X-Sig", mac(f"{NOW}.".encode() + BODY).hex()), ("X-T", str(NOW))),
        "template", "{timestamp}.{body}"),
    "another header": (
        github(headers=[("X-Hub-Signature", f"sha1={mac(BODY, CANARY, 'sha1').hex()}")]),
        "place", "in the header X-Hub-Signature, behind sha1=, by sha1 in hex"),
    "a prefix that is not there": (
        github(headers=[("X-Hub-Signature-256", mac(BODY).hex())]), "place", "as it is"),
    "pairs": (
        custom(HEX, ("X-Sig", f"a=1;v1={mac(BODY).hex()}")), "place", "pairs between ';'"),
    "milliseconds signed": (
        Sent({"preset": "slack", "secrets": ["a"]},
             [("X-Slack-Request-Timestamp", str(NOW)),
              ("X-Slack-Signature", f"v0={mac(f'v0:{NOW}000:'.encode() + BODY).hex()}")]),
        "timestamp-unit", "in milliseconds"),
    "milliseconds sent": (
        Sent({"preset": "slack", "secrets": ["a"]},
             [("X-Slack-Request-Timestamp", f"{NOW}000"),
              ("X-Slack-Signature", f"v0={mac(f'v0:{NOW}000:'.encode() + BODY).hex()}")]),
        "timestamp-unit", "milliseconds"),
    "a date": (
        Sent({"preset": "slack", "secrets": ["a"]},
             [("X-Slack-Request-Timestamp", "2025-01-01"), ("X-Slack-Signature", "v0=00")]),
        "timestamp-form", "digits only"),
    "ahead": (stripe(NOW + 423), "clock", "the signature is right"),
    "behind": (stripe(NOW - 90000), "clock", "the signature is right"),
    "plain http": (square(ADDRESS.replace("https", "http")), "url", "http://hooks.example.com/in/x"),
    "a port": (square(ADDRESS.replace(".com", ".com:443")), "url", "https://hooks.example.com:443/in/x"),
    "a slash": (square(ADDRESS + "/"), "url", "https://hooks.example.com/in/x/"),
    "no query": (square(ADDRESS, query="token=canary-query"), "url", "of the address"),
    "twilio over http": (
        Sent({"preset": "twilio", "secrets": ["a"], "url": ADDRESS},
             [("X-Twilio-Signature", b64(mac(b"http://hooks.example.com/in/xA1", CANARY, "sha1"))),
              ("Content-Type", "application/x-www-form-urlencoded")], body=b"A=1"),
        "url", "http://hooks.example.com/in/x"),
    "twilio with another secret": (
        Sent({"preset": "twilio", "secrets": ["a"], "url": ADDRESS},
             [("X-Twilio-Signature", b64(mac(f"{ADDRESS}A1".encode(), OTHER, "sha1"))),
              ("Content-Type", "application/x-www-form-urlencoded")], body=b"A=1",
             secrets=BOTH, others=SHOP), "other-secret", '"shop"'),
    "discord, a newline": (discord(BODY + b"\n"), "body-newline", "newline added"),
    "discord, another key": (
        Sent(discord(BODY).source, discord(BODY).headers, secrets={"a": STRANGER, "b": PUBLIC},
             others={"bot": {"path": "/in/bot", "preset": "discord", "secrets": ["b"]}}),
        "other-secret", '"bot"'),
    "the secret in the body": (
        Sent({"preset": "msgraph", "secrets": ["a"]}, [],
             body=json.dumps({"value": [{"clientState": OTHER}]}).encode(), secrets=BOTH,
             others=SHOP), "other-secret", '"shop"'),
    "a stranger": (github(key="nobody-has-it"), "nothing-fits", "a secret that is not here"),
    "bearer: another source's": (
        Sent({"auth": {"bearer": ["a"]}}, [("Authorization", f"Bearer {OTHER}")], secrets=BOTH,
             others=SHOP), "other-secret", '"shop"'),
    "bearer: over": (
        Sent({"auth": {"bearer": ["a", "b"]}}, [("Authorization", f"Bearer {CANARY}")],
             secrets=BOTH, lives={"a": {"not_after": "2025-01-01T00:00:00Z"}}),
        "secret-not-live", "expired"),
    "bearer: no Bearer": (
        Sent({"auth": {"bearer": ["a"]}}, [("Authorization", CANARY)]),
        "credential-form", "without Bearer before it"),
    "bearer: another word": (
        Sent({"auth": {"bearer": ["a"]}}, [("Authorization", f"Token {CANARY}")]),
        "credential-form", "another scheme"),
    "api key: a word too many": (
        Sent({"auth": {"api_key": {"header": "X-Key", "secrets": ["a"]}}},
             [("X-Key", f"Bearer {CANARY}")]), "credential-form", "with a scheme before it"),
    "api key: quotes": (
        Sent({"auth": {"api_key": {"header": "X-Key", "secrets": ["a"]}}},
             [("X-Key", f'"{CANARY}"')]), "credential-form", "quotation marks"),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_what_went_wrong_has_its_hint(tmp_path: Path, name: str) -> None:
    sent, code, text = ROWS[name]
    found = diagnosed(tmp_path, sent)

    assert not found.verified
    assert code in [hint.code for hint in found.hints], found
    assert text in next(hint.text for hint in found.hints if hint.code == code)
    assert found.refusal in (
        "unauthorized",
        "timestamp_stale",
        "timestamp_malformed",
        "no_live_key",
    )
