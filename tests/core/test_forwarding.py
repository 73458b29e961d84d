"""Whose address counts: what proxies say is believed of trusted ones alone, and read strictly."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from hookpost.core.forwarding import LONGEST, Client, Elsewhere, Peers, client

UNKNOWN, UNIX = Elsewhere.UNKNOWN, Elsewhere.UNIX
PROXIES = Peers((ip_network("10.0.0.0/8"), ip_network("fd00::/8")))
PROXY = "10.1.2.3"


def told(*pairs: tuple[str, str], peer: str | None = PROXY, proxies: Peers = PROXIES) -> Client:
    return client(peer, CIMultiDict(pairs), proxies)


def listed(*texts: str) -> Client:
    return told(*(("X-Forwarded-For", text) for text in texts))


def elements(*texts: str) -> Client:
    return told(*(("forwarded", text) for text in texts))


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded"])
def test_who_is_no_trusted_proxy_speaks_for_itself(name: str) -> None:
    value = "192.0.2.1" if name.startswith("X") else "for=192.0.2.1"
    stranger = ip_address("203.0.113.9")
    assert told((name, value), peer="203.0.113.9") == stranger
    assert told((name, value), peer="203.0.113.9", proxies=Peers()) == stranger
    assert told((name, value), peer="203.0.113.9", proxies=Peers(unix=True)) == stranger
    assert told((name, value), peer=None) is UNIX
    assert told((name, value), peer=PROXY) == ip_address("192.0.2.1")


def test_a_proxy_may_come_by_a_unix_socket_or_by_a_mapped_address() -> None:
    inside = ip_address("192.0.2.1")
    assert told(("X-Forwarded-For", "192.0.2.1"), peer=None, proxies=Peers(unix=True)) == inside
    assert told(("X-Forwarded-For", "192.0.2.1"), peer="::ffff:10.0.0.1") == inside
    assert told(("X-Forwarded-For", "192.0.2.1"), peer="fd00::1%eth0") == inside


def test_a_proxy_that_says_nothing_speaks_for_itself() -> None:
    assert told() == ip_address(PROXY)


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1, 198.51.100.7"], "198.51.100.7"),
        (["192.0.2.1", "198.51.100.7"], "198.51.100.7"),
        (["192.0.2.1 ,\t10.9.9.9, 10.1.2.3"], "192.0.2.1"),
        (["10.9.9.9, 10.8.8.8"], "10.9.9.9"),
        (["192.0.2.1:5678"], "192.0.2.1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["[2001:db8::1]:443"], "2001:db8::1"),
        (["::ffff:192.0.2.1"], "192.0.2.1"),
        (["[::ffff:192.0.2.1]:1"], "192.0.2.1"),
        (["junk, 192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1, [fd00::1]:80"], "192.0.2.1"),
    ],
)
def test_the_right_most_that_is_no_proxy_is_the_client(texts: list[str], found: str) -> None:
    assert listed(*texts) == ip_address(found)


@pytest.mark.parametrize(
    "text",
    [
        "not-an-ip",
        "",
        "192.0.2.1,",
        "192.0.2.1, unknown",
        "192.0.2.1, unknown, 10.1.2.3",
        "192.0.2.1, _hidden",
        "192.0.2.01",
        "192.0.2",
        "3221225985",
        "192.0.2.1:",
        "192.0.2.1:port",
        "192.0.2.1:123456",
        "192.0.2.1:1:2",
        "[2001:db8::1",
        "2001:db8::1]",
        "[2001:db8::1]443",
        "[]",
        "[[2001:db8::1]]",
        "fe80::1%eth0",
        "192.0.2.1%eth0",
        '"192.0.2.1"',
        "192.0.2.0/24",
        "192.0.2.1 192.0.2.2",
        "\udcff192.0.2.1",
        "١٩٢.0.2.1",
    ],
)
def test_an_entry_that_is_no_address_is_nobody(text: str) -> None:
    assert listed(text) is UNKNOWN


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["for=192.0.2.1"], "192.0.2.1"),
        (["For=192.0.2.1;proto=https;by=203.0.113.43"], "192.0.2.1"),
        (['proto=https;for="192.0.2.1:4711"'], "192.0.2.1"),
        (['for="[2001:db8::1]"'], "2001:db8::1"),
        (['for="[2001:db8::1]:4711"'], "2001:db8::1"),
        (['for="192.0.2.1:_obscured"'], "192.0.2.1"),
        (['for="\\1\\92.0.2.1"'], "192.0.2.1"),
        (["for=unknown, for=192.0.2.1"], "192.0.2.1"),
        (["for=198.51.100.7, for=192.0.2.1, for=10.9.9.9"], "192.0.2.1"),
        (["for=198.51.100.7", "for=192.0.2.1"], "192.0.2.1"),
        (['host="a,b;for=203.0.113.9";for=192.0.2.1'], "192.0.2.1"),
        (["for=10.9.9.9,for=10.8.8.8"], "10.9.9.9"),
    ],
)
def test_forwarded_is_read_like_it(texts: list[str], found: str) -> None:
    assert elements(*texts) == ip_address(found)


@pytest.mark.parametrize(
    "text",
    [
        "for=unknown",
        "for=192.0.2.1, for=unknown",
        "for=_gazonk",
        'for="_gazonk:80"',
        "proto=https",
        "for=192.0.2.1, proto=https",
        "for=192.0.2.1;for=192.0.2.2",
        "for=192.0.2.1;",
        "for=192.0.2.1,",
        "for=192.0.2.1:80",
        "for=[2001:db8::1]",
        'for="192.0.2.1',
        "for=192.0.2.1 proto=https",
        "for = 192.0.2.1",
        "for",
        "=192.0.2.1",
        "192.0.2.1",
        "",
        ",",
        'for="\udcff"',
    ],
)
def test_a_forwarded_that_names_no_address_is_nobody(text: str) -> None:
    assert elements(text) is UNKNOWN


def test_both_headers_must_agree() -> None:
    true, forged = "198.51.100.7", "192.0.2.1"
    appended = ("X-Forwarded-For", true)
    assert told(appended, ("Forwarded", f"for={true}")) == ip_address(true)
    assert told(appended, ("Forwarded", f"for={forged}")) is UNKNOWN, "of a proxy that writes one"
    assert told(("X-Forwarded-For", forged), ("Forwarded", f"for={true}")) is UNKNOWN
    assert told(appended, ("Forwarded", "nonsense")) is UNKNOWN


def test_a_chain_without_end_is_nobody() -> None:
    fits = "10.0.0.1," * ((LONGEST - 9) // 9) + "192.0.2.1"
    assert listed(fits) == ip_address("192.0.2.1")
    assert listed(fits + " " * LONGEST) is UNKNOWN
    assert elements("for=192.0.2.1;by=" + "x" * LONGEST) is UNKNOWN


def test_nobody_is_held_by_no_network() -> None:
    everybody = Peers((ip_network("0.0.0.0/0"), ip_network("::/0")), unix=True)
    assert not everybody.hold(UNKNOWN)
    assert everybody.hold(UNIX)
    assert not Peers(everybody.networks).hold(UNIX)


TEXTS = st.text(alphabet=st.sampled_from('for=;,"[]:\\. \t%_0129af\udcffé'), max_size=60)


@given(TEXTS, TEXTS)
def test_no_text_is_believed_over_the_entry_that_the_proxy_appended(left: str, chain: str) -> None:
    assert isinstance(told(("X-Forwarded-For", chain), ("Forwarded", left)), Client)
    assert listed(f"{left},192.0.2.1") == ip_address("192.0.2.1")
    assert elements(f"{left},for=192.0.2.1") in (ip_address("192.0.2.1"), UNKNOWN)
