"""May we POST to this IP address, and is this URL spelled honestly?

IPv4 is allowed minus every special-purpose block (RFC 6890 and its registry). IPv6 is allowed
only inside 2000::/3, minus the special blocks in there: a list of what is good cannot miss a new
bad encoding. An address that carries an IPv4 address (mapped, NAT64, 6to4, SIIT, compatible) is
judged by what it carries as well. `ipaddress.is_global` is not asked: its answers differ between
Python versions and are wrong for several of these forms.
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """A network, and a port (None: every port), that a policy allows on top of `public`."""

    network: IPv4Network | IPv6Network
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressPolicy:
    """Public addresses plus `allow`; plain http only where `require_https` is False."""

    name: str = "public"
    allow: tuple[Allowance, ...] = ()
    require_https: bool = True


_DENIED_V4 = tuple(
    (IPv4Network(network), name)
    for network, name in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by carriers"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud platform's own address"),
        ("169.254.0.0/16", "link-local, cloud metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "AS112"),
        ("192.52.193.0/24", "multicast tunnels"),
        ("192.88.99.0/24", "6to4 relays"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "AS112"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved, broadcast"),
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")
_DENIED_V6 = tuple(
    (IPv6Network(network), name)
    for network, name in (
        ("2001:db8::/32", "documentation"),
        ("2001::/23", "protocol assignments"),
        ("2002::/16", "6to4"),
        ("2620:4f:8000::/48", "AS112"),
        ("3fff::/20", "documentation"),
        # outside 2000::/3, and so denied anyway: listed for the reason's sake
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "local NAT64"),
        ("100::/64", "discard"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "unique local"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
_CARRIERS_LOW = tuple(  # the IPv4 address is the last 32 bits
    IPv6Network(network)
    for network in ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")
)
_SIX_TO_FOUR = IPv6Network("2002::/16")  # the IPv4 address follows the first 16 bits
_NOT_CARRYING = frozenset({IPv6Address("::"), IPv6Address("::1")})
_LOW_PORTS = frozenset({80, 443})


def literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that `host` spells, or None if it is a name or an odd spelling.

    IPv4 only as a canonical dotted quad (no leading zeros, hexadecimal or short forms), IPv6
    without brackets and without a scope (`%eth0`).
    """
    if ":" in host:
        try:
            address = IPv6Address(host)
        except AddressValueError:
            return None
        return None if address.scope_id is not None else address
    try:
        return IPv4Address(host)
    except AddressValueError:
        return None


def _carried(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address inside a translated one; mapped ones never come here."""
    if address in _NOT_CARRYING:
        return None
    if address in _SIX_TO_FOUR:
        return IPv4Address(address.packed[2:6])
    if any(address in network for network in _CARRIERS_LOW):
        return IPv4Address(address.packed[12:])
    return None


def _block(address: IPv4Address | IPv6Address) -> str | None:
    """The special block that holds the address, by network and name; None if it is public."""
    if isinstance(address, IPv4Address):
        for network, name in _DENIED_V4:
            if address in network:
                return f"{network} ({name})"
        return None
    for network6, name in _DENIED_V6:
        if address in network6:
            return f"{network6} ({name})"
    return None if address in _GLOBAL_V6 else f"no public block (IPv6 only inside {_GLOBAL_V6})"


def judge(address: str, port: int, policy: EgressPolicy) -> str | None:
    """Whether a socket may be opened to `address` and `port`: None = yes, else the reason.

    The reason names the address, its block and the policy. Ports below 1024 other than 80 and 443
    need an allowance too.
    """
    found = literal(address)
    if found is None:
        return f'"{address}" is not an IP address in its canonical, unscoped spelling'
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return judge(str(found.ipv4_mapped), port, policy)
        carried = _carried(found)
        if carried is not None:
            reason = judge(str(carried), port, policy)
            if reason is not None:
                return f"{found} carries {carried}: {reason}"
    for allowance in policy.allow:
        if allowance.port in (None, port) and found in allowance.network:
            return None
    block = _block(found)
    if block is not None:
        return f'{found} is in {block}, which egress policy "{policy.name}" does not allow'
    if port < 1024 and port not in _LOW_PORTS:
        return (
            f"port {port} of {found} is below 1024 and neither 80 nor 443, "
            f'and egress policy "{policy.name}" does not allow it'
        )
    return None


_URL = re.compile(r"(?P<scheme>[^:/?#]*)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.ASCII)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_NUMERIC_LABEL = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*", re.ASCII)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})", re.ASCII)
_UNSAFE = re.compile(r"[\"<>^`{|}]", re.ASCII)


def url_mistake(url: str) -> str | None:
    """What is wrong with an endpoint's URL, with the remedy; None: it is spelled honestly.

    Two parsers must not be able to read two hosts out of it (RFC 3986, only its plain forms): no
    userinfo, fragment, control character, backslash or non-ASCII letter, and the host is a name,
    a canonical dotted quad or a bracketed IPv6 address. The URL itself is never in the answer.
    """
    for position, character in enumerate(url, start=1):
        mistake = _character_mistake(character)
        if mistake is not None:
            return f"character {position} is {mistake}"
    parts = _URL.fullmatch(url)
    if parts is None or parts["scheme"] not in ("http", "https"):
        return "it must begin with https:// or http://, in lower case"
    if "#" in parts["rest"]:
        return "it has a fragment (#…), which is never sent: remove it"
    if "@" in parts["authority"]:
        return "it holds a user name or password before the host: remove them"
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if authority is None:
        return "its host cannot be read: write a name, 192.0.2.1 or [2001:db8::1]"
    return (
        _host_mistake(authority["host"])
        or _port_mistake(authority["port"])
        or _rest_mistake(parts["rest"])
    )


def _character_mistake(character: str) -> str | None:
    if character == " ":
        return "a space: percent-encode it as %20"
    if character == "\\":
        return "a backslash: use / or %5C"
    if character < " " or character == "\x7f":
        return f"the control character U+{ord(character):04X}: remove it"
    if character > "\x7f":
        return f"U+{ord(character):04X}: write names as xn--… and percent-encode the rest"
    return None


def _host_mistake(host: str) -> str | None:
    if not host:
        return "it has no host"
    if host.startswith("["):
        if ":" in host and literal(host[1:-1]) is not None:
            return None
        return (
            f"{host} is no IPv6 address: write it plainly and without a scope, like [2001:db8::1]"
        )
    if literal(host) is not None:
        return None
    labels = host.removesuffix(".").split(".")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        return f"{host[:80]} is an odd spelling of an address: write four decimal numbers"
    if len(host) > 253:
        return "its host name is longer than 253 characters"
    for label in labels:
        if not _LABEL.fullmatch(label):
            return f'the part "{label[:80]}" of its host name is not a valid label'
    return None


def _port_mistake(port: str | None) -> str | None:
    if port is None or (_PORT.fullmatch(port) and int(port) <= 65535):
        return None
    return f'its port "{port[:20]}" is not a number from 1 to 65535'


def _rest_mistake(rest: str) -> str | None:
    if _BAD_PERCENT.search(rest):
        return "a % in it is not followed by two hexadecimal digits: write %25"
    unsafe = _UNSAFE.search(rest)
    if unsafe is not None:
        return f"it has an unencoded {unsafe[0]}: write %{ord(unsafe[0]):02X}"
    return None
