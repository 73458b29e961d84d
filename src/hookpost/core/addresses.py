"""May we POST to this IP address? The judgement behind every egress policy."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network


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
