"""Every known answer of what is sent: by the letterhead, and over a socket by a whole worker.

And what other people's libraries, which receivers use, say of it.
"""

import base64
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gidgethub.sansio
import pytest
import stripe
import yaml
from multidict import CIMultiDict
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook, WebhookVerificationError
from tests import outbound
from tests.builders import FakeClock, an_event
from tests.dispatching import Bench, step
from tests.outbound import Vector, vectors
from tests.transport.receiver import NO_CONTENT, Receiver, answering

from hookpost.config import Loaded, load
from hookpost.config.keys import new_ed25519
from hookpost.core.model import Delivery, DeliveryId, EndpointId, Event, Format, State
from hookpost.core.payload import Letterhead
from hookpost.core.settings import Endpoint
from hookpost.storage.sqlite import SqliteOutbox
from hookpost.transport.client import AiohttpTransport

GOOD = [vector for vector in vectors() if vector["expect"] == "accept"]
BAD = [vector for vector in vectors() if vector["expect"] == "reject"]
Sent = tuple[CIMultiDict[str], bytes]


@pytest.fixture
async def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Bench]:
    bench = Bench(await SqliteOutbox.open(tmp_path / "outbox.db", clock=clock), clock)
    yield bench
    await bench.end()
    assert bench.failures == []


def crm(loaded: Loaded) -> Endpoint:
    return loaded.sound().endpoints["crm"]


def written(endpoint: Endpoint, event: Event, wall: float) -> Sent | None:
    """What the letterhead makes of an event; None: no key is live."""
    delivery = Delivery(id=DeliveryId(1), endpoint=EndpointId(1), sequence=1, event=event)
    request = Letterhead(endpoint, "0").request(delivery, wall)
    return None if request is None else (CIMultiDict(request.headers), request.body)


async def delivered(bench: Bench, endpoint: Endpoint, receiver: Receiver, event: Event) -> Sent:
    """What arrives at a receiver."""
    bench.clock.advance(event.accepted_at - bench.clock.now())
    transport = AiohttpTransport(endpoint, clock=bench.clock)
    worker = await bench.worker(endpoint, transport)
    await bench.outbox.put(event, [worker.id])
    await step(worker)
    assert await bench.state() is State.DELIVERED
    head, body = receiver.requests[-1]
    fields = [line.partition(": ") for line in head.decode().split("\r\n")[1:] if line]
    return CIMultiDict((name, value) for name, _, value in fields), body


def test_the_vectors_are_all_here() -> None:
    assert (len(GOOD), len(BAD)) == (50, 31)


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector["name"])
def test_what_is_written_is_what_is_known(vector: Vector, tmp_path: Path) -> None:
    endpoint = crm(outbound.loaded(vector, tmp_path))
    sent = written(endpoint, outbound.event(vector), float(vector["now"]))
    assert sent is not None
    assert sent[1] == outbound.body(vector)
    for name, value in vector["headers"]:
        assert sent[0].getall(name) == [value]


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector["name"])
async def test_what_arrives_is_what_is_known(vector: Vector, tmp_path: Path, bench: Bench) -> None:
    async with Receiver(answering(NO_CONTENT)) as receiver:
        endpoint = crm(outbound.loaded(vector, tmp_path, receiver.url()))
        headers, body = await delivered(bench, endpoint, receiver, outbound.event(vector))
    assert body == outbound.body(vector)
    for name, value in vector["headers"]:
        assert headers.getall(name) == [value]


@pytest.mark.parametrize("vector", BAD, ids=lambda vector: vector["name"])
def test_what_must_be_refused_is_refused(vector: Vector, tmp_path: Path) -> None:
    loaded = outbound.loaded(vector, tmp_path)
    if vector["reason"] not in ("bad_id", "bad_timestamp"):
        assert loaded.errors
        return
    with pytest.raises(ValueError, match=r"cannot be signed|before 1970"):
        written(crm(loaded), outbound.event(vector), float(vector["now"]))


# -- libraries that receivers use --------------------------------------------------------------

SECRETS = {
    "shared": "whsec_" + base64.b64encode(b"fake-shared-key-of-the-tests").decode(),
    "text": "fake-secret-text",
}
PRIVATE, PUBLIC = new_ed25519()
NOW = float(int(datetime.now(UTC).timestamp()))  # noqa: TID251 - the libraries' clock
EVENT = an_event(
    id="evt_libraries",
    accepted_at=NOW,
    format=Format.RAW,
    content_type="application/json",
    body=b'{"object":"event","name":"Zo\xc3\xab"}',
)


def signed(folder: Path, signing: Mapping[str, Any], url: str) -> Endpoint:
    """An endpoint that signs so."""
    config = {
        "version": 1,
        "secrets": {name: {"env": name} for name in ("shared", "text", "private")},
        "egress_policies": {"here": {"allow": ["127.0.0.0/8"], "require_https": False}},
        "endpoints": {"crm": {"url": url, "egress": "here", "signing": dict(signing)}},
    }
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(config))
    return crm(load(file, environ={**SECRETS, "private": PRIVATE}))


def by_ed25519(headers: Mapping[str, str], body: bytes, public: str) -> None:
    """As the text of Standard Webhooks has it; PyNaCl does the mathematics."""
    key = VerifyKey(base64.b64decode(public.removeprefix("whpk_")))
    member = next(one for one in headers["webhook-signature"].split() if one.startswith("v1a,"))
    start = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode()
    key.verify(start + body, base64.b64decode(member[4:]))


GITHUB = {
    "secrets": ["text"],
    "signature": {"header": "X-Hub-Signature-256", "prefix": "sha256="},
}
STRIPE = {
    "secrets": ["text"],
    "signature": {"header": "Stripe-Signature", "format": "kv", "keys": ["v1"]},
    "timestamp": {"kv": "t"},
    "template": "{timestamp}.{body}",
}
SLACK = {
    "secrets": ["text"],
    "signature": {"header": "X-Slack-Signature", "prefix": "v0="},
    "timestamp": {"header": "X-Slack-Request-Timestamp"},
    "template": "v0:{timestamp}:{body}",
}


async def test_libraries_of_receivers_verify_what_arrives_and_refuse_another_body(
    tmp_path: Path, bench: Bench
) -> None:
    signing = {"standard_webhooks": ["shared"], "ed25519": ["private"], "hmac": STRIPE}
    async with Receiver(answering(NO_CONTENT)) as receiver:
        endpoint = signed(tmp_path, signing, receiver.url())
        headers, body = await delivered(bench, endpoint, receiver, EVENT)
    kinds = [one.partition(",")[0] for one in headers["webhook-signature"].split(" ")]
    assert kinds == ["v1", "v1a"]
    Webhook(SECRETS["shared"]).verify(body, dict(headers.items()))
    by_ed25519(headers, body, PUBLIC)
    stripe.WebhookSignature.verify_header(
        body.decode(), headers["Stripe-Signature"], SECRETS["text"], tolerance=300
    )
    other = body.replace(b"event", b"thing")
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRETS["shared"]).verify(other, dict(headers.items()))
    with pytest.raises(BadSignatureError):
        by_ed25519(headers, other, PUBLIC)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(
            other.decode(), headers["Stripe-Signature"], SECRETS["text"]
        )


async def test_a_receiver_of_githubs_hooks_takes_what_arrives(tmp_path: Path, bench: Bench) -> None:
    async with Receiver(answering(NO_CONTENT)) as receiver:
        endpoint = signed(tmp_path, {"hmac": GITHUB}, receiver.url())
        headers, body = await delivered(bench, endpoint, receiver, EVENT)
    signature = headers["X-Hub-Signature-256"]
    gidgethub.sansio.validate_event(body, signature=signature, secret=SECRETS["text"])
    with pytest.raises(gidgethub.ValidationFailure):
        gidgethub.sansio.validate_event(body + b" ", signature=signature, secret=SECRETS["text"])


async def test_a_receiver_of_slacks_hooks_takes_what_arrives(tmp_path: Path, bench: Bench) -> None:
    async with Receiver(answering(NO_CONTENT)) as receiver:
        endpoint = signed(tmp_path, {"hmac": SLACK}, receiver.url())
        headers, body = await delivered(bench, endpoint, receiver, EVENT)
    verifier = SignatureVerifier(SECRETS["text"])
    assert verifier.is_valid_request(body, dict(headers.items()))
    assert not verifier.is_valid_request(body + b" ", dict(headers.items()))


# -- what the grammar says -----------------------------------------------------------------------


def hmac_of(text: bytes, algorithm: str = "sha256", key: bytes = b"fake-secret-text") -> bytes:
    return hmac.digest(key, text, algorithm)


def sent(folder: Path, member: Mapping[str, Any], url: str = "http://127.0.0.1:9/x") -> Any:
    """The headers of an attempt that is signed so."""
    made = written(signed(folder, {"hmac": {"secrets": ["text"], **member}}, url), EVENT, NOW + 0.5)
    assert made is not None
    return made[0]


def test_each_key_of_the_scheme_counts(tmp_path: Path) -> None:
    body, stamp = EVENT.body, f"{NOW + 0.5:.3f}".replace(".", "")
    plain = sent(tmp_path, {"signature": {"header": ["X-One", "X-Two"]}})
    assert plain["X-One"] == plain["X-Two"] == hmac_of(body).hex()
    other = sent(tmp_path, {"algorithm": "sha512", "signature": {"header": "X", "prefix": "p="}})
    assert other["X"] == "p=" + hmac_of(body, "sha512").hex()
    stripped = {"encoding": "utf8", "strip_prefix": "fake-"}
    other = sent(tmp_path, {"key": stripped, "signature": {"header": "X"}})
    assert other["X"] == hmac_of(body, key=b"secret-text").hex()
    listed = {"header": "X", "format": "list", "header_prefix": "v9=", "encoding": "base64url"}
    url64 = base64.urlsafe_b64encode(hmac_of(body)).decode().rstrip("=")
    assert sent(tmp_path, {"signature": listed})["X"] == f"v9={url64}"
    pairs = {"header": "X", "format": "kv", "keys": ["s"], "separator": ";", "pair_separator": ":"}
    asked = {"signature": pairs, "timestamp": {"kv": "ms", "unit": "ms"}}
    other = sent(tmp_path, {**asked, "template": "{timestamp}/{body}"})
    assert other["X"] == f"ms:{stamp};s:{hmac_of(stamp.encode() + b'/' + body).hex()}"
    asked = {"signature": {"header": "X"}, "timestamp": {"header": ["X-T"]}, "id": {"header": "I"}}
    other = sent(tmp_path, {**asked, "template": "{id}{timestamp}{body}"})
    seconds = f"{NOW:.0f}"
    assert (other["X-T"], other["I"]) == (seconds, EVENT.id)
    assert other["X"] == hmac_of(f"{EVENT.id}{seconds}".encode() + body).hex()


def test_all_of_the_request_can_be_signed(tmp_path: Path) -> None:
    template = "{method} {url} {header:hookpost-event-type} {json:name} {id} {timestamp} {body}"
    url = "http://127.0.0.1:9/x?y=z"
    headers = sent(tmp_path, {"signature": {"header": "X"}, "template": template}, url)
    start = f"POST {url} invoice.paid Zoë {EVENT.id} {NOW:.0f} ".encode()
    assert headers["X"] == hmac_of(start + EVENT.body).hex()


def test_what_the_template_misses_is_told_and_never_sent_unsigned(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="json:missing} is not in the request"):
        sent(tmp_path, {"signature": {"header": "X"}, "template": "{json:missing}{body}"})


def test_a_forwarded_header_is_never_a_second_signature(tmp_path: Path) -> None:
    forged = an_event(headers=(("x-hub-signature-256", "sha256=forged"),))
    made = written(signed(tmp_path, {"hmac": GITHUB}, "http://127.0.0.1:9/"), forged, NOW)
    assert made is not None
    assert made[0].getall("X-Hub-Signature-256") != ["sha256=forged"]
    assert len(made[0].getall("X-Hub-Signature-256")) == 1


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"format": "list"}, ["new", "old"]),
        ({"format": "kv", "keys": ["v1"], "pair_separator": "="}, ["v1=new", "v1=old"]),
        ({}, ["new"]),
    ],
)
def test_every_live_key_signs_where_there_is_room_and_the_first_one_elsewhere(
    tmp_path: Path, form: dict[str, Any], expected: list[str]
) -> None:
    file = tmp_path / "gateway.yaml"
    member = {"secrets": ["gone", "new", "old"], "signature": {"header": "X", **form}}
    file.write_text(
        json.dumps(
            {
                "version": 1,
                "secrets": {
                    "gone": {"env": "gone", "not_after": "2001-01-01T00:00:00Z"},
                    "new": {"env": "new"},
                    "old": {"env": "old"},
                },
                "endpoints": {"crm": {"url": "https://x.example/", "signing": {"hmac": member}}},
            }
        )
    )
    endpoint = crm(load(file, environ={"gone": "g", "new": "n", "old": "o"}))
    made = written(endpoint, EVENT, NOW)
    assert made is not None
    shown = made[0]["X"]
    for name, key in (("gone", b"g"), ("new", b"n"), ("old", b"o")):
        shown = shown.replace(hmac_of(EVENT.body, key=key).hex(), name)
    assert shown.split(",") == expected


@pytest.mark.parametrize("member", ["ed25519", "hmac"])
async def test_without_a_live_key_of_any_member_an_endpoint_is_held(
    tmp_path: Path, bench: Bench, member: str
) -> None:
    dead = {"env": "dead", "not_after": "2001-01-01T00:00:00Z"}
    value: Any = ["dead"] if member == "ed25519" else {**GITHUB, "secrets": ["dead"]}
    config = {
        "version": 1,
        "secrets": {"dead": dead, "live": {"env": "live"}},
        "endpoints": {"crm": {"url": "https://x.example/", "signing": {member: value}}},
    }
    file, environ = tmp_path / "gateway.yaml", {"dead": PRIVATE, "live": SECRETS["shared"]}
    file.write_text(yaml.safe_dump(config))
    endpoint = crm(load(file, environ=environ))
    assert written(endpoint, EVENT, NOW) is None
    async with Receiver(answering(NO_CONTENT)) as receiver:
        worker = await bench.worker(endpoint, AiohttpTransport(endpoint, clock=bench.clock))
        bench.clock.advance(NOW - bench.clock.now())
        await bench.outbox.put(EVENT, [worker.id])
        await step(worker)
        assert bench.metrics.of["crm"].throttles == {"no_live_key": 1}
        assert receiver.connections == 0
    config["endpoints"]["crm"]["signing"]["standard_webhooks"] = ["live"]  # type: ignore[index]
    file.write_text(yaml.safe_dump(config))
    made = written(crm(load(file, environ=environ)), EVENT, NOW)
    assert made is not None
    assert made[0]["webhook-signature"].startswith("v1,")
    assert " " not in made[0]["webhook-signature"]
