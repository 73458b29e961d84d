"""Every block of the registries to its very edge, and every odd spelling of an address."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookpost.core.addresses import Allowance, EgressPolicy, judge, literal, url_mistake

PUBLIC = EgressPolicy()

# As in the IANA registries of special-purpose addresses.
V4_BLOCKS = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
]
V6_BLOCKS = ["2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"]


def allowing(*networks: str, port: int | None = None) -> EgressPolicy:
    return EgressPolicy(
        name="lan",
        allow=tuple(Allowance(network=ip_network(network), port=port) for network in networks),
    )


def in_any(address: IPv4Address, blocks: list[str]) -> bool:
    """An oracle by plain integers, independent of the code under test."""
    for block in blocks:
        base, _, size = block.partition("/")
        octets = [int(octet) for octet in base.split(".")]
        start = sum(octet << shift for octet, shift in zip(octets, (24, 16, 8, 0), strict=True))
        if start <= int(address) < start + (1 << (32 - int(size))):
            return True
    return False


@pytest.mark.parametrize("block", V4_BLOCKS)
def test_an_ipv4_block_is_denied_from_its_first_to_its_last_address_and_no_further(
    block: str,
) -> None:
    network = ip_network(block)
    first, last = network.network_address, network.broadcast_address
    for address in (first, last):
        reason = judge(str(address), 443, PUBLIC)
        assert reason is not None
        assert block in reason
        assert str(address) in reason
        assert '"public"' in reason
    for neighbour in (int(first) - 1, int(last) + 1):
        if 0 <= neighbour < 1 << 32:
            address = IPv4Address(neighbour)
            denied = judge(str(address), 443, PUBLIC) is not None
            assert denied == in_any(address, V4_BLOCKS), address


@pytest.mark.parametrize("block", V6_BLOCKS)
def test_an_ipv6_block_inside_the_public_space_is_denied_to_its_edges(block: str) -> None:
    network = ip_network(block)
    first, last = network.network_address, network.broadcast_address
    carried = "carries" if block == "2002::/16" else block
    assert carried in (judge(str(first), 443, PUBLIC) or "")
    assert carried in (judge(str(last), 443, PUBLIC) or "")
    for neighbour in (int(first) - 1, int(last) + 1):
        address = IPv6Address(neighbour)
        inside = any(address in ip_network(other) for other in V6_BLOCKS)
        assert (judge(str(address), 443, PUBLIC) is not None) == inside, address


@pytest.mark.parametrize(
    ("address", "denied"),
    [
        ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", True),
        ("2000::", False),
        ("3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", False),
        ("3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", True),
        ("3fff:1000::", False),
        ("3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", False),
        ("4000::", True),
        ("::", True),
        ("::1", True),
        ("::127.0.0.1", True),
        ("::8.8.8.8", True),
        ("64:ff9b::808:808", True),
        ("64:ff9b::7f00:1", True),
        ("64:ff9b:1::808:808", True),
        ("::ffff:0:8.8.8.8", True),
        ("100::1", True),
        ("5f00::1", True),
        ("fc00::", True),
        ("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", True),
        ("fd00:ec2::254", True),
        ("fe00::1", True),
        ("fe80::1", True),
        ("fec0::1", True),
        ("ff02::1", True),
        ("2606:4700:4700::1111", False),
        ("2a00:1450::1", False),
        ("::ffff:8.8.8.8", False),
        ("::ffff:127.0.0.1", True),
        ("::ffff:a9fe:a9fe", True),
        ("2002:808:808::", True),
    ],
)
def test_ipv6_is_public_only_inside_2000_3_and_outside_its_blocks(
    address: str, denied: bool
) -> None:
    assert (judge(address, 443, PUBLIC) is not None) == denied


@given(st.integers(min_value=0, max_value=(1 << 32) - 1))
def test_any_ipv4_is_judged_alike_plain_and_mapped(number: int) -> None:
    address = IPv4Address(number)
    denied = in_any(address, V4_BLOCKS)
    assert (judge(str(address), 443, PUBLIC) is not None) == denied
    assert (judge(f"::ffff:{address}", 443, PUBLIC) is not None) == denied
    mapped = IPv6Address((0xFFFF << 32) | number)
    assert (judge(str(mapped), 443, PUBLIC) is not None) == denied


@given(
    st.integers(min_value=0, max_value=(1 << 32) - 1),
    st.sampled_from(["64:ff9b::/96", "64:ff9b:1::/96", "::ffff:0:0:0/96", "::/96", "2002::/16"]),
)
def test_a_translated_address_is_judged_by_what_it_carries_even_where_its_form_is_allowed(
    number: int, form: str
) -> None:
    network = ip_network(form)
    shift = 80 if form == "2002::/16" else 0
    address = IPv6Address(int(network.network_address) | (number << shift))
    assert judge(str(address), 443, PUBLIC) is not None
    if address in (IPv6Address("::"), IPv6Address("::1")):
        return  # these are what they are, and carry nothing
    denied = in_any(IPv4Address(number), V4_BLOCKS)
    assert (judge(str(address), 443, allowing(form)) is not None) == denied


@given(st.integers(min_value=0, max_value=(1 << 128) - 1))
def test_no_ipv6_outside_the_public_space_passes(number: int) -> None:
    address = IPv6Address(number)
    if judge(str(address), 443, PUBLIC) is None:
        assert number >> 125 == 1 or number >> 32 == 0xFFFF


@pytest.mark.parametrize(
    ("address", "port", "policy", "allowed"),
    [
        ("10.20.1.2", 80, allowing("10.20.0.0/16"), True),
        ("10.21.0.0", 80, allowing("10.20.0.0/16"), False),
        ("10.19.255.255", 80, allowing("10.20.0.0/16"), False),
        ("127.0.0.1", 9000, allowing("127.0.0.1/32", port=9000), True),
        ("127.0.0.1", 9001, allowing("127.0.0.1/32", port=9000), False),
        ("127.0.0.2", 9000, allowing("127.0.0.1/32", port=9000), False),
        ("::ffff:127.0.0.1", 9000, allowing("127.0.0.1/32", port=9000), True),
        ("fd00::1", 8443, allowing("fd00::/8", port=8443), True),
        ("fc00::1", 8443, allowing("fd00::/8", port=8443), False),
        ("::1", 80, allowing("::1/128"), True),
        ("::1", 80, allowing("127.0.0.0/8"), False),
        ("127.0.0.1", 22, allowing("127.0.0.0/8"), True),
        ("8.8.8.8", 443, allowing("10.0.0.0/8"), True),
    ],
)
def test_allow_adds_networks_and_ports_to_what_is_public(
    address: str, port: int, policy: EgressPolicy, allowed: bool
) -> None:
    assert (judge(address, port, policy) is None) == allowed


@pytest.mark.parametrize(
    ("port", "allowed"),
    [(1, False), (25, False), (79, False), (80, True), (443, True), (1023, False), (1024, True)],
)
def test_low_ports_other_than_the_webs_need_an_allowance(port: int, allowed: bool) -> None:
    assert (judge("8.8.8.8", port, PUBLIC) is None) == allowed
    assert judge("8.8.8.8", port, allowing("8.8.8.8/32", port=port)) is None


ODD = [
    "",
    "127.1",
    "0177.0.0.1",
    "127.0.0.01",
    "0x7f000001",
    "0x7f.0.0.1",
    "2130706433",
    "127.0.0.1.",
    " 127.0.0.1",
    "127.0.0.1\n",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "\uff11\uff12\uff17.0.0.1",
    "fe80::1%eth0",
    "fe80::1%1",
    "[::1]",
    "::1 ",
    "::1/128",
    "1.2.3.4.5",
    "256.1.1.1",
    "localhost",
    "::ffff:127.1",
    "+1.2.3.4",
]


@pytest.mark.parametrize("text", ODD)
def test_an_odd_spelling_is_no_literal_and_never_judged_good(text: str) -> None:
    assert literal(text) is None
    assert judge(text, 443, allowing("0.0.0.0/0", "::/0")) is not None


@pytest.mark.parametrize("text", ["8.8.8.8", "255.255.255.255", "::1", "2001:DB8::1", "::1.2.3.4"])
def test_a_canonical_spelling_is_a_literal(text: str) -> None:
    found = literal(text)
    assert found is not None
    if isinstance(found, IPv4Address):
        assert str(found) == text


@given(st.text(max_size=20))
def test_any_text_gets_an_answer_and_never_an_exception(text: str) -> None:
    assert judge(text, 443, PUBLIC) is None or isinstance(judge(text, 443, PUBLIC), str)
    mistake = url_mistake(text)
    assert mistake is None or mistake


GOOD_URLS = [
    "https://crm.example.com/hooks",
    "https://crm.example.com",
    "https://crm.example.com?x=1",
    "https://crm.example.com./x",
    "http://localhost:8480/in/billing",
    "http://127.0.0.1:9000/hook",
    "https://[2001:db8::1]:8443/x",
    "https://[::ffff:127.0.0.1]/",
    "https://my_service.internal/x",
    "https://xn--bcher-kva.example/",
    "https://example.com:65535/",
    "https://CRM.Example.com/",
    "https://1password.com/",
    "https://4chan/",
    "https://h/a%20b?c[]=d;e&f=(g)'*!$,+:@~",
    "https://a-b.c-d.example/",
]


@pytest.mark.parametrize("url", GOOD_URLS)
def test_an_honest_url_has_no_mistake(url: str) -> None:
    assert url_mistake(url) is None


BAD_URLS = [
    ("", "begin with"),
    ("crm.example.com/hooks", "begin with"),
    ("ftp://crm.example.com/", "begin with"),
    ("HTTPS://crm.example.com/", "lower case"),
    ("https:/crm.example.com/", "begin with"),
    ("https:crm.example.com", "begin with"),
    ("//crm.example.com/", "begin with"),
    ("javascript:alert(1)", "begin with"),
    ("https://", "no host"),
    ("https:///x", "no host"),
    ("https://:443/", "no host"),
    ("https://user@crm.example.com/", "user name"),
    ("https://user:pass@crm.example.com/", "user name"),
    ("https://crm.example.com@evil.example/", "user name"),
    ("https://crm.example.com/#x", "fragment"),
    ("https://crm.example.com#@evil.example/", "fragment"),
    ("https://crm.example.com/a b", "space"),
    (" https://crm.example.com/", "space"),
    ("https://crm.example.com/\t", "U+0009"),
    ("https://crm.example.com/\r\nX: y", "U+000D"),
    ("https://crm.example.com/\x00", "U+0000"),
    ("https://crm.example.com/\x7f", "U+007F"),
    ("https:\\\\crm.example.com/", "backslash"),
    ("https://crm.example.com\\@evil.example/", "backslash"),
    ("https://①②⑦.⓪.⓪.①/", "U+2460"),
    ("https://127。0。0。1/", "U+3002"),
    ("https://ⓛocalhost/", "U+24DB"),
    ("https://bücher.example/", "xn--"),
    ("https://h/\u202e", "U+202E"),
    ("https://2130706433/", "odd spelling"),
    ("https://127.1/", "odd spelling"),
    ("https://0x7f000001/", "odd spelling"),
    ("https://0x7f.0.0.0x1/", "odd spelling"),
    ("https://0177.0.0.1/", "odd spelling"),
    ("https://1.2.3.4.5/", "odd spelling"),
    ("https://256.256.256.256/", "odd spelling"),
    ("https://127.0.0.1./", "odd spelling"),
    ("https://evil.example.0/", "odd spelling"),
    ("https://[::1%25eth0]/", "no IPv6 address"),
    ("https://[127.0.0.1]/", "no IPv6 address"),
    ("https://[v1.x]/", "no IPv6 address"),
    ("https://[]/", "no IPv6 address"),
    ("https://[::1/", "cannot be read"),
    ("https://::1/", "odd spelling|not a number|no host|cannot be read"),
    ("https://[::1]x/", "cannot be read"),
    ("https://a..b/", "valid label"),
    ("https://.example/", "valid label"),
    ("https://-a.example/", "valid label"),
    ("https://a-.example/", "valid label"),
    ("https://%31%32%37.0.0.1/", "valid label|odd spelling"),
    ("https://%6cocalhost/", "valid label"),
    ("https://a,b.example/", "valid label"),
    (f"https://{'a' * 64}.example/", "valid label"),
    (f"https://{'a.' * 130}example/", "longer than 253"),
    ("https://example.com:/", "not a number"),
    ("https://example.com:0/", "not a number"),
    ("https://example.com:65536/", "not a number"),
    ("https://example.com:080/", "not a number"),
    ("https://example.com:+80/", "not a number"),
    ("https://example.com:8O/", "not a number"),
    ("https://example.com/%zz", "%25"),
    ("https://example.com/%4", "%25"),
    ("https://example.com/<x>", "%3C"),
    ("https://example.com/{id}", "%7B"),
    ('https://example.com/"', "%22"),
]


@pytest.mark.parametrize(("url", "told"), BAD_URLS)
def test_a_dishonest_url_is_told_what_is_wrong(url: str, told: str) -> None:
    mistake = url_mistake(url)
    assert mistake is not None
    assert any(part in mistake for part in told.split("|")), mistake
    assert mistake.isprintable()


def test_a_mistake_does_not_show_the_rest_of_a_secret_url() -> None:
    for url in ("https://h/canary canary", "ftp://h/canary", "https://user:canary@h/canary#canary"):
        mistake = url_mistake(url)
        assert mistake is not None
        assert "canary" not in mistake
