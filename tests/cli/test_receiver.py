"""Verification as a receiver does it, and failing on purpose."""

import base64
import hmac
from datetime import UTC, datetime

import pytest
from multidict import CIMultiDict
from nacl.signing import SigningKey
from standardwebhooks import Webhook

from hookpost.cli.receiver import Fail, key_of, refusal

KEY = bytes(range(24))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
NOW = 1_750_000_000
BODY = b'{"eventType":"invoice.paid"}'


def signature(body: bytes = BODY, key: bytes = KEY, stamp: int = NOW) -> str:
    digest = hmac.digest(key, b"evt_1.%d." % stamp + body, "sha256")
    return "v1," + base64.b64encode(digest).decode()


def headers(**overrides: str) -> CIMultiDict[str]:
    made = CIMultiDict(
        {
            "Webhook-Id": "evt_1",
            "Webhook-Timestamp": str(NOW),
            "Webhook-Signature": signature(),
        }
    )
    for name, value in overrides.items():
        made[name.replace("_", "-")] = value
    return made


def test_what_the_reference_library_signs_is_verified() -> None:
    at = datetime.fromtimestamp(NOW, UTC)
    signed = headers(webhook_signature=Webhook(SECRET).sign("evt_1", at, BODY.decode()))
    assert refusal(signed, BODY, [KEY], NOW) is None


def test_any_of_several_signatures_by_any_of_several_keys_will_do() -> None:
    other = bytes(24)
    several = headers(webhook_signature=f"v1a,xyz {signature(key=other)} {signature()}")
    assert refusal(several, BODY, [KEY], NOW) is None
    assert refusal(headers(), BODY, [other, KEY], NOW) is None


def test_a_public_key_verifies_what_its_private_key_has_signed() -> None:
    private = SigningKey(bytes(range(32)))
    public = key_of("whpk_" + base64.b64encode(bytes(private.verify_key)).decode())
    made = private.sign(b"evt_1.%d." % NOW + BODY).signature
    member = "v1a," + base64.b64encode(made).decode()
    assert refusal(headers(webhook_signature=member), BODY, [public], NOW) is None
    both = headers(webhook_signature=f"{signature()} {member}")
    assert refusal(both, BODY, [public], NOW) is None
    assert refusal(both, BODY, [KEY], NOW) is None
    assert refusal(both, BODY + b" ", [public, KEY], NOW) == "no signature matches"
    assert refusal(headers(), BODY, [public], NOW) == "no v1a signature"
    as_shared = headers(webhook_signature=member.replace("v1a,", "v1,"))
    assert refusal(as_shared, BODY, [public, KEY], NOW) == "no signature matches"
    loose = headers(webhook_signature=member.rstrip("="))
    assert refusal(loose, BODY, [public], NOW) == "no signature matches"


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    short = headers()
    del short[name]
    assert refusal(short, BODY, [KEY], NOW) == f"no {name} header"


@pytest.mark.parametrize(
    ("changed", "body", "reason"),
    [
        ({"webhook_id": "evt_2"}, BODY, "no signature matches"),
        ({}, BODY + b" ", "no signature matches"),
        ({"webhook_signature": signature(key=bytes(24))}, BODY, "no signature matches"),
        ({"webhook_signature": "v1,é"}, BODY, "no signature matches"),
        ({"webhook_signature": "v1,\udc80"}, BODY, "no signature matches"),
        ({"webhook_signature": signature().replace("v1,", "v2,")}, BODY, "no v1 signature"),
        ({"webhook_timestamp": "now"}, BODY, "webhook-timestamp is not a number of seconds"),
        ({"webhook_timestamp": "١٢"}, BODY, "webhook-timestamp is not a number of seconds"),
        ({"webhook_timestamp": "9" * 5000}, BODY, "webhook-timestamp is not a number of seconds"),
    ],
)
def test_what_does_not_verify_is_told_why(
    changed: dict[str, str], body: bytes, reason: str
) -> None:
    assert refusal(headers(**changed), body, [KEY], NOW) == reason


@pytest.mark.parametrize(
    ("clock", "words"),
    [
        (NOW + 300, None),
        (NOW - 300, None),
        (NOW + 301, "301 s old"),
        (NOW - 301, "301 s in the future"),
    ],
)
def test_a_timestamp_may_differ_by_five_minutes(clock: int, words: str | None) -> None:
    told = refusal(headers(), BODY, [KEY], clock)
    assert (told is None) if words is None else (words in str(told))


def test_a_key_is_read_with_its_line_feed() -> None:
    assert key_of(SECRET + "\n") == KEY


@pytest.mark.parametrize(
    ("text", "reason"),
    [("hunter2", "whsec_"), ("whsec_", "nothing"), ("whsec_!!", "base64"), ("whsec_QQ", "base64")],
)
def test_a_file_that_holds_no_key_is_told_of_without_its_content(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as told:
        key_of(text)
    assert "hunter2" not in str(told.value)


def answers(rule: str, *events: tuple[str, str], dice: float = 0.5) -> list[int | None]:
    fail = Fail.parse(rule)
    return [fail.answer(event_id, event_type, lambda: dice) for event_id, event_type in events]


A, B = ("evt_a", "invoice.paid"), ("evt_b", "invoice.refund")


def test_first_fails_the_first_attempts_of_each_event() -> None:
    assert answers("first:2", A, A, B, A, B, B) == [503, 503, 503, None, 503, None]


def test_always_fails_everything_and_a_status_can_be_chosen() -> None:
    assert answers("always", A, B) == [503, 503]
    assert answers("status:410", A) == [410]
    assert answers("first:1,status:429", A, A) == [429, None]


def test_a_type_fails_alone() -> None:
    assert answers("type=invoice.refund:always", A, B) == [None, 503]
    assert answers("type=invoice.*:first:1", A, A, B) == [503, None, 503]


@pytest.mark.parametrize(("dice", "status"), [(0.29, 503), (0.3, None), (0.99, None)])
def test_a_rate_asks_the_dice(dice: float, status: int | None) -> None:
    assert answers("rate:0.3", A, dice=dice) == [status]


@pytest.mark.parametrize(
    "rule",
    ["", "never", "first:0", "first:x", "first", "rate:2", "rate:nan", "rate:-1", "status:204",
     "status:700", "always:3", "type=a.b", "type=a.*b:always", "first:1;status:500"],
)  # fmt: skip
def test_a_rule_that_makes_no_sense_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match=r"use|write|segment|is no rule"):
        Fail.parse(rule)


def test_the_attempts_of_endless_events_are_not_all_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hookpost.cli.receiver.REMEMBERED", 10)
    fail = Fail.parse("first:1")
    for number in range(100):
        fail.answer(f"evt_{number}", "t", lambda: 0.0)
    assert len(fail._seen) == 10
