"""What a text in the file may be: `x-type` in the schema → the function that reads it.

The same function checks a value and builds it, so the two cannot disagree. Each raises ValueError
with one sentence: what is wrong and how to write it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path, PurePath
from urllib.parse import urlsplit

from hookpost.config.diagnostics import quoted
from hookpost.config.expressions import compile_expression
from hookpost.core import media_types, patterns, payload, units
from hookpost.core import template as templates
from hookpost.core.addresses import Allowance, url_mistake
from hookpost.core.forwarding import Peers
from hookpost.core.settings import Address, TcpAddress, UnixAddress
from hookpost.core.webhook_origin import is_origin

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
LONGEST_SOCKET = 107
"""Bytes of a UNIX socket's path that Linux takes."""
_MAPPED = 96
"""Bits before the IPv4 address in ::ffff:0:0/96."""

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)  # RFC 9110, 5.6.2: token
_ROUTE = re.compile(r"(/[A-Za-z0-9._~-]+)+", re.ASCII)
_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)
_CREDENTIAL = re.compile(r"[A-Za-z0-9._@:-]{1,255}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9_.-]{1,253}", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_CALLED = re.compile(r"https?://[A-Za-z0-9.:_\[\]-]+(/[!-\"$-\x3e@-~]*)?", re.ASCII)
_SCOPE = re.compile(r"[!#-\[\]-~]+( [!#-\[\]-~]+)*", re.ASCII)
_CLASS = re.compile(r"([1-9])xx", re.ASCII)
_STATUS = re.compile(r"[1-9][0-9]{2}", re.ASCII)


def name(text: str) -> str:
    """A name: lower-case letters, digits and hyphens, 1-63, the first no hyphen."""
    if NAME.fullmatch(text) is None:
        raise ValueError(
            "a name has 1 to 63 lower-case letters, digits and hyphens, and begins with no hyphen"
        )
    return text


def address(text: str) -> Address:
    """`host:port`, `[v6]:port` or `unix:PATH`; the path is as written."""
    if text.startswith("unix:"):
        return socket(text)
    host, colon, port = text.rpartition(":")
    if not colon or not port or port.endswith("]"):
        raise ValueError("write host:port, [v6]:port or unix:PATH, as in 127.0.0.1:8480")
    if _PORT.fullmatch(port) is None or int(port) > 65535:
        raise ValueError(
            f"the port {quoted(port)} is no number from 0 to 65535; write it as in 127.0.0.1:8480"
        )
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            network = ip_network(host)
        except ValueError:
            network = None
        if not isinstance(network, IPv6Network):
            raise ValueError(f"[{host}] is not an IPv6 address, as in [::1]:8480")
        return TcpAddress(host, int(port))
    if _HOST.fullmatch(host) is None:
        raise ValueError(
            "the part before the port is not a host; an IPv6 address stands in brackets, as in "
            "[::1]:8480, and 0.0.0.0 means every interface"
        )
    return TcpAddress(host, int(port))


def socket(text: str) -> UnixAddress:
    """`unix:PATH`; the path is as written."""
    path = text.removeprefix("unix:")
    if path == text or not path or "\0" in path:
        raise ValueError("write unix:PATH, as in unix:run/admin.sock")
    if path.startswith("@"):
        raise ValueError("an abstract socket (@) has no permissions; write a path")
    return UnixAddress(Path(path))


def mode(text: str) -> int:
    """Permissions in octal: `0660`."""
    if re.fullmatch(r"0?[0-7]{3}", text, re.ASCII) is None:
        raise ValueError('write the permissions in octal and in quotes, as in "0660"')
    return int(text, 8)


def path(text: str) -> PurePath:
    """A path as written; what it is relative to is decided when it is built."""
    if not text or "\0" in text:
        raise ValueError("a path is needed, as in secrets/github")
    return PurePath(text)


def network(text: str) -> IPv4Network | IPv6Network | None:
    """A network or a single address; None for `unix`. An IPv4-mapped one is the IPv4 network."""
    if text == "unix":
        return None
    found = _network(text)
    inner = found.network_address.ipv4_mapped if isinstance(found, IPv6Network) else None
    if inner is None or found.prefixlen < _MAPPED:
        return found
    return IPv4Network((inner, found.prefixlen - _MAPPED))


def peers(texts: Iterable[str]) -> Peers:
    """Networks, addresses and `unix`, as one."""
    found = [network(text) for text in texts]
    return Peers(tuple(each for each in found if each is not None), unix=None in found)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(_network_mistake(text)) from None


def _network_mistake(text: str) -> str:
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        return "write a network or an address, as in 10.20.0.0/16, ::1/128 or 192.0.2.7"
    return f"the address has bits beyond its prefix; write {meant}"


def allowance(text: str) -> Allowance:
    """A network with or without a port: `10.20.0.0/16`, `127.0.0.1/32:9000`, `[fd00::/8]:8443`."""
    inside, port = text, None
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("write an IPv6 network with a port as in [fd00::/8]:8443")
        port = rest[1:] if rest else None
    elif text.count(":") == 1:
        inside, _, port = text.partition(":")
    if inside == "unix":
        raise ValueError("write a network, as in 10.20.0.0/16; unix is not one to send to")
    return Allowance(network=_network(inside), port=None if port is None else _port(port))


def _port(text: str) -> int:
    if _PORT.fullmatch(text) is None or not 1 <= int(text) <= 65535:
        raise ValueError("the port after the network is a number from 1 to 65535")
    return int(text)


def url(text: str) -> str:
    """An http(s) URL that is spelled honestly."""
    mistake = url_mistake(text)
    if mistake is not None:
        raise ValueError(f"this URL is refused: {mistake}")
    return text


def base_url(text: str) -> str:
    """An http(s) URL that a path can follow: without a query and a slash at its end."""
    mistake = url_mistake(text)
    if mistake is not None:
        raise ValueError(f"this URL is refused: {mistake}")
    if "?" in text:
        raise ValueError("the paths of sources follow this URL; leave its query out")
    return text.removesuffix("/")


def proxy(text: str) -> TcpAddress | None:
    """`http://host:port`; None for `none`."""
    if text == "none":
        return None
    inside = text.removeprefix("http://").removesuffix("/")
    remedy = "write the proxy as http://host:port, as in http://proxy.example.com:3128, or none"
    if inside == text or "/" in inside or "@" in inside or url_mistake(f"http://{inside}"):
        raise ValueError(f"{remedy}; without user name, path and query")
    found = urlsplit(f"http://{inside}")
    if found.port is None or "?" in inside:
        raise ValueError(remedy)
    return TcpAddress(found.hostname or "", found.port)


def scope(text: str) -> str:
    """The scope of a token: words of printable ASCII, one space between them (RFC 6749, 3.3)."""
    if not _SCOPE.fullmatch(text):
        raise ValueError("a scope has words of printable ASCII, with one space between them")
    return text


def status(value: str | int) -> frozenset[int]:
    """A status (`204`) or a class of them (`2xx`), as the set of statuses meant."""
    text = str(value).lower()
    found = _CLASS.fullmatch(text)
    if found is not None and 2 <= int(found[1]) <= 5:
        first = int(found[1]) * 100
        return frozenset(range(first, first + 100))
    if _STATUS.fullmatch(text) is None or not 200 <= int(text) <= 599:
        raise ValueError("write a status from 200 to 599, or 2xx, 3xx, 4xx, 5xx")
    return frozenset({int(text)})


def instant(text: str) -> float:
    """UNIX seconds of an RFC 3339 time with an offset."""
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise ValueError("write a time with an offset, as in 2026-01-31T00:00:00Z")
    if not found[3]:
        raise ValueError(f"the time has no offset; write {text}Z for UTC, or one such as +01:00")
    try:
        return datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError):
        raise ValueError("there is no such day or time in the calendar") from None


def origin(text: str) -> str:
    """The DNS name of a sender, in lower case, or `*`."""
    if text != "*" and not is_origin(text):
        raise ValueError(
            'write the DNS name that the sender gives, as in eventemitter.example.com, or "*"'
        )
    return text.lower()


def route(text: str) -> str:
    """The path of a source: `/in/billing`."""
    if len(text) > 256 or _ROUTE.fullmatch(text) is None:
        raise ValueError(
            "a path is / and words of letters, digits and . _ ~ -, without a / at its end, "
            "as in /in/billing"
        )
    if any(segment in (".", "..") for segment in text.split("/")):
        raise ValueError("the segments . and .. mean other paths; leave them out")
    return text


def header(text: str) -> str:
    """A header's name (RFC 9110, 5.6.2)."""
    if _HEADER.fullmatch(text) is None:
        raise ValueError("a header's name has letters, digits and hyphens, as in X-Legacy-Kind")
    return text


def sent_header(text: str) -> str:
    """The name of a header that an endpoint's requests may carry."""
    mistake = payload.header_mistake(header(text), "")
    if mistake is not None:
        raise ValueError(mistake)
    return text


def header_value(text: str) -> str:
    """A header's value: no control characters, Latin-1, no space at its ends."""
    if len(text) > 4096:
        raise ValueError("a header's value has at most 4096 characters")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("a header's value holds no control characters and no line breaks")
    if text != text.strip():
        raise ValueError("a header's value neither begins nor ends with a space")
    if not text.isascii():
        raise ValueError("a header's value is plain ASCII; percent-encode the rest")
    return text


def header_piece(text: str) -> str:
    """A piece of a header's value: printable ASCII, a space may stand anywhere in it."""
    if not (text.isascii() and text.isprintable()):
        raise ValueError("a piece of a header is printable ASCII")
    return text


def event_type(text: str) -> str:
    """A type that a source may send."""
    mistake = patterns.check_type(text)
    if mistake is not None:
        raise ValueError(mistake)
    if patterns.reserved(text):
        raise ValueError("types that begin with hookpost. are the gateway's own; take another")
    return text


def pattern(text: str) -> str:
    """An event type pattern, as written."""
    patterns.Pattern.parse(text)
    return text


def template(text: str) -> str:
    """What is signed: a text with parts of a request in braces, as written."""
    templates.parse(text, compile_expression)
    return text


def answer_template(text: str) -> str:
    """What is answered: a text with parts of a request in braces, as written."""
    templates.parse(text, compile_expression, keyed=True)
    return text


def called_url(text: str) -> str:
    """The address that a publisher calls, byte for byte."""
    if not _CALLED.fullmatch(text):
        raise ValueError(
            "write the address that the publisher calls without its query, which is added, as in"
            " https://hooks.example.com/in/x"
        )
    return text


def username(text: str) -> str:
    """The user name of HTTP Basic: it ends at the first colon (RFC 7617)."""
    if ":" in text or not text.isprintable():
        raise ValueError("a user name holds no colon and no control characters")
    return text


def variable(text: str) -> str:
    """The name of an environment variable."""
    if _VARIABLE.fullmatch(text) is None:
        raise ValueError(
            "this is not the name of an environment variable; write the name, not the value"
        )
    return text


def credential(text: str) -> str:
    """The name of a systemd credential."""
    if _CREDENTIAL.fullmatch(text) is None or text in (".", ".."):
        raise ValueError("this is not the name of a systemd credential, as in crm_new")
    return text


READERS: Mapping[str, Callable[[str], object]] = {
    "address": address,
    "allowance": allowance,
    "base-url": base_url,
    "answer-template": answer_template,
    "called-url": called_url,
    "credential": credential,
    "duration": units.duration,
    "event-type": event_type,
    "header": header,
    "header-piece": header_piece,
    "header-value": header_value,
    "instant": instant,
    "media-type": media_types.pattern,
    "mode": mode,
    "name": name,
    "network": network,
    "path": path,
    "proxy": proxy,
    "scope": scope,
    "origin": origin,
    "pattern": pattern,
    "rate": units.rate,
    "route": route,
    "sent-header": sent_header,
    "size": units.size,
    "socket": socket,
    "status": status,
    "template": template,
    "url": url,
    "username": username,
    "variable": variable,
}
"""Every `x-type` of the schema but `expression`, which needs its place in the line."""
