"""Links to payloads: what they look like, and that nothing but the whole of one is known again."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import an_event

from hookpost.core.model import Delivery, DeliveryId, EndpointId
from hookpost.core.payload_links import Link, Links

LINKS = Links(b"k" * 32, "https://hooks.example.com/gateway")
IDS = st.text(st.sampled_from([chr(c) for c in range(0x21, 0x7F) if c != 0x2E]), min_size=1)


def a_delivery(event_id: str = "evt_1", number: int = 812, endpoint: int = 3) -> Delivery:
    return Delivery(
        id=DeliveryId(number),
        endpoint=EndpointId(endpoint),
        sequence=1,
        event=an_event(id=event_id),
    )


def signature(url: str) -> str:
    return url.partition("?sig=")[2]


def test_a_link_is_the_public_url_the_event_and_a_signature() -> None:
    url = LINKS.url(a_delivery())
    base = r"https://hooks\.example\.com/gateway/payloads/evt_1"
    assert re.fullmatch(rf"{base}\?sig=3\.812\.[A-Za-z0-9_-]{{43}}", url)
    assert LINKS.link("evt_1", signature(url)) == Link("evt_1", DeliveryId(812), EndpointId(3))
    assert LINKS.url(a_delivery()) == url  # the same on every attempt


def test_an_event_id_is_one_segment_of_the_path() -> None:
    assert "/payloads/a%2Fb%3F%25?sig=" in LINKS.url(a_delivery("a/b?%"))


@given(IDS, st.integers(1, 10**17), st.integers(1, 10**6))
def test_every_link_is_known_again(event_id: str, number: int, endpoint: int) -> None:
    url = LINKS.url(a_delivery(event_id, number, endpoint))
    assert LINKS.link(event_id, signature(url)) == (event_id, number, endpoint)


def test_nothing_of_a_link_can_be_changed() -> None:
    whole = signature(LINKS.url(a_delivery()))
    endpoint, number, mac = whole.split(".")
    assert LINKS.link("evt_2", whole) is None
    assert LINKS.link("evt_1", f"4.{number}.{mac}") is None
    assert LINKS.link("evt_1", f"{endpoint}.813.{mac}") is None
    assert LINKS.link("evt_1", f"{endpoint}.{number}.{mac[::-1]}") is None
    assert Links(b"x" * 32, LINKS.base).link("evt_1", whole) is None


@pytest.mark.parametrize(
    "text",
    ["", "3", "3.812", "3.812.", "03.812.{mac}", "3.812.{mac}=", "3.812.{mac}\n", " 3.812.{mac}",
     "٣.812.{mac}", "3.99999999999999999999.{mac}", "3.812.{mac}.1"],
)  # fmt: skip
def test_what_is_no_signature_is_none(text: str) -> None:
    mac = signature(LINKS.url(a_delivery())).rpartition(".")[2]
    assert LINKS.link("evt_1", text.replace("{mac}", mac)) is None


@given(st.text(), st.text())
def test_no_text_is_more_than_unknown(event_id: str, text: str) -> None:
    assert LINKS.link(event_id, text) is None


def test_the_key_is_never_shown() -> None:
    assert "kkk" not in repr(LINKS)


def test_without_a_public_url_no_link_is_made() -> None:
    with pytest.raises(ValueError, match="public_url"):
        Links(b"k" * 32).url(a_delivery())
