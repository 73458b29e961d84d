"""Who is the client: the peer itself, or whom a trusted proxy speaks for.

`X-Forwarded-For` and `Forwarded` (RFC 7239) are what anybody may write, so they count only from a
peer that is a trusted proxy. Each proxy appends who spoke to it: read from the right, the first
address that is not itself a trusted proxy is the client's; what stands left of it is hearsay.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Protocol

LONGEST = 8192
"""Bytes of forwarding headers that are read; nobody is known by longer ones."""

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_NODE = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?", re.ASCII)
_PAIR = re.compile(
    rf'[ \t]*({_WORD})=(?:({_WORD})|"((?:[^"\\]|\\.)*)")[ \t]*(?:([;,])|\Z)', re.ASCII
)
_ESCAPED = re.compile(r"\\(.)")


class Elsewhere(Enum):
    """A client without an address; UNKNOWN: a trusted proxy does not say whom it speaks for."""

    UNIX = "unix"
    UNKNOWN = "unknown"


Client = IPv4Address | IPv6Address | Elsewhere


@dataclass(frozen=True, slots=True)
class Peers:
    """Networks, and whether peers on a UNIX socket belong to them."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    unix: bool = False

    def hold(self, client: Client) -> bool:
        """Whether this client is one of them; one that is unknown never is."""
        if isinstance(client, Elsewhere):
            return self.unix and client is Elsewhere.UNIX
        return any(client in network for network in self.networks)


class Headers(Protocol):
    """A request's headers, names compared without regard to case."""

    def getall(self, name: str, default: Sequence[str], /) -> Sequence[str]:
        """All values in the order they came, or `default`."""
        ...


def client(peer: str | None, headers: Headers, proxies: Peers) -> Client:
    """Who sends: `peer` is the connection's address, None on a UNIX socket.

    Where both headers are there they must agree: a proxy that writes one passes the other on.
    """
    spoken_for = Elsewhere.UNIX if peer is None else address(peer)
    if not proxies.hold(spoken_for):
        return spoken_for
    chains = []
    for name, read in (("X-Forwarded-For", _listed), ("Forwarded", _elements)):
        values = headers.getall(name, ())
        if values:
            text = ",".join(values)
            chains.append(_last(read(text) if len(text) <= LONGEST else (), proxies))
    if not chains:
        return spoken_for
    return chains[0] if len(set(chains)) == 1 else Elsewhere.UNKNOWN


@lru_cache(maxsize=1024)
def address(text: str) -> IPv4Address | IPv6Address:
    """The address to judge: without a scope, and the inner one of an IPv4-mapped form.

    Raises ValueError for what is no address.
    """
    found = ip_address(text.partition("%")[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def _last(chain: Sequence[str], proxies: Peers) -> Client:
    """The right-most that is no trusted proxy, else the left-most; UNKNOWN where it is unreadable.

    Empty is a chain that could not be read.
    """
    found: Client = Elsewhere.UNKNOWN
    for node in reversed(chain):
        found = _node(node)
        if not proxies.hold(found):
            break
    return found


def _node(text: str) -> Client:
    """An address with or without a port, an IPv6 one in brackets if it has a port."""
    parts = _NODE.fullmatch(text)
    if parts is not None:
        text = parts[1] or parts[2] or ""
    try:
        return Elsewhere.UNKNOWN if "%" in text else address(text)
    except ValueError:
        return Elsewhere.UNKNOWN


def _listed(text: str) -> Sequence[str]:
    """The entries of X-Forwarded-For. An empty one is a proxy's that did not know."""
    return [entry.strip(" \t") for entry in text.split(",")]


def _elements(text: str) -> Sequence[str]:
    """The `for` of each element of Forwarded, "" where it has none; nothing if one is malformed."""
    found: list[str] = []
    names: dict[str, str] = {}
    at = 0
    while True:
        pair = _PAIR.match(text, at)
        if pair is None or pair[1].lower() in names:
            return ()
        quoted = pair[3]
        names[pair[1].lower()] = pair[2] if quoted is None else _ESCAPED.sub(r"\1", quoted)
        at = pair.end()
        if pair[4] != ";":
            found.append(names.get("for", ""))
            names = {}
        if pair[4] is None:
            return found
