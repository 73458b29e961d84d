"""Other schemes and other requests: signatures written, placed, made or addressed otherwise."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from urllib.parse import unquote, urlsplit

from hookpost.core.expression import Expression
from hookpost.core.received import HeaderList, Received
from hookpost.core.scheme import Encoding, Form, SignaturePlace, SignatureScheme, TwilioScheme
from hookpost.core.template import Template, parse

_HASHES = ("sha256", "sha1", "sha512", "sha384", "md5")
_TEMPLATES = (
    "{body}",
    "{timestamp}.{body}",
    "{timestamp}{body}",
    "{timestamp}:{body}",
    "{body}{timestamp}",
    "{id}.{timestamp}.{body}",
    "{id}{timestamp}{body}",
    "v0:{timestamp}:{body}",
    "{url}{body}",
    "{method}{url}{body}{timestamp}",
)
_START = re.compile(r"([A-Za-z0-9_-]{1,16}[=,:])")
_NAMES = re.compile(r"(?:^|[,;\s])([A-Za-z0-9_-]{1,16})=")
_LONGEST = 1024  # characters of a header that may hold a signature
_NOT_SIGNATURES = ("authorization", "cookie", "proxy-authorization")

Changed = Iterator[tuple[str, str, SignatureScheme]]


def schemes(scheme: SignatureScheme, received: Received) -> Changed:
    """A code, what is otherwise about the signature, and the scheme that says so."""
    yield from _made(scheme)
    yield from _templates(scheme)
    yield from _placed(scheme, received)


def _made(scheme: SignatureScheme) -> Changed:
    for algorithm, encoding in _ways(scheme):
        place = replace(scheme.signature, encoding=encoding)
        changed = replace(scheme, algorithm=algorithm, signature=place)
        yield "form", f"made by {algorithm} and written in {encoding.value}", changed


def _ways(scheme: SignatureScheme) -> Iterator[tuple[str, Encoding]]:
    """Hashes and encodings; a public key has one algorithm."""
    shared = all(key.check is None for key in scheme.keys)
    hashes = dict.fromkeys((scheme.algorithm, *(_HASHES if shared else ())))
    encodings = dict.fromkeys((scheme.signature.encoding, *Encoding))
    yield from product(hashes, encodings)


def _templates(scheme: SignatureScheme) -> Changed:
    for text in _TEMPLATES:
        template = parse(text, _no_expression)
        if text != scheme.template.text and _has_parts(scheme, template):
            yield "template", f"of {text}", replace(scheme, template=template)


def _has_parts(scheme: SignatureScheme, template: Template) -> bool:
    lacks_time = scheme.timestamp is None and template.uses("timestamp")
    return not lacks_time and (bool(scheme.id_headers) or not template.uses("id"))


def _no_expression(text: str) -> Expression:
    raise ValueError(f"{text}: no expression stands in these templates")


def _placed(scheme: SignatureScheme, received: Received) -> Changed:
    """In another header, or in another form in the same one."""
    for name in dict.fromkeys(name for name, _ in received.headers.items()):
        value = received.headers.get(name) or ""
        if name.lower() in _NOT_SIGNATURES or not 16 <= len(value) <= _LONGEST:
            continue
        for what, place in _places(scheme.signature, name, value):
            for algorithm, encoding in _ways(scheme):
                found = replace(place, encoding=encoding)
                way = f"in the header {name}, {what}, by {algorithm} in {encoding.value}"
                yield "place", way, replace(scheme, algorithm=algorithm, signature=found)


def _places(known: SignaturePlace, name: str, value: str) -> Iterator[tuple[str, SignaturePlace]]:
    yield "as it is", SignaturePlace(headers=(name,))
    start = _START.match(value)
    if start is not None:
        yield f"behind {start[1]}", SignaturePlace(headers=(name,), prefix=start[1])
    keys = tuple(dict.fromkeys(_NAMES.findall(value)))
    for separator in (",", ";", " "):
        if separator not in value:
            continue
        if keys:
            yield (
                f"as pairs between {separator!r}",
                SignaturePlace(headers=(name,), form=Form.KV, separator=separator, keys=keys),
            )
        for prefix in dict.fromkeys((known.prefix, "")):
            listed = SignaturePlace(
                headers=(name,), form=Form.LIST, separator=separator, prefix=prefix
            )
            yield f"as a list between {separator!r}", listed


# -- requests --------------------------------------------------------------------------------


def requests(
    proof: SignatureScheme | TwilioScheme, received: Received
) -> Iterator[tuple[str, str, Received]]:
    """A code, what is otherwise about the request, and the request."""
    if isinstance(proof, TwilioScheme) or proof.template.uses("url"):
        for url in addresses(received):
            shown, query = url.partition("?")[::2]
            what = f"of the address {shown}{' and its query' if query else ''}"
            yield "url", what, _with(received, url=url)
    if isinstance(proof, SignatureScheme):
        for name in proof.signature.headers:
            for what, value in _rewritten(received.headers.get(name)):
                yield "signature-text", what, _with(received, header=(name, value))
        if proof.timestamp is not None:
            for name in proof.timestamp.headers:
                for what, value in _scaled(received.headers.get(name)):
                    yield "timestamp-unit", what, _with(received, header=(name, value))


def addresses(received: Received) -> Iterator[str]:
    """What the publisher may have been given instead of `received.url`."""
    seen = {received.url}
    for base in _bases(received):
        plain, query = base.partition("?")[::2]
        tails = {f"?{query}" if query else "", f"?{received.query}" if received.query else "", ""}
        for path in (plain, plain.rstrip("/"), plain.rstrip("/") + "/", unquote(plain)):
            for url in (*(path + tail for tail in sorted(tails)), unquote(base)):
                if url and url not in seen:
                    seen.add(url)
                    yield url


def _bases(received: Received) -> Iterator[str]:
    """The address with another scheme, port or host."""
    hosts = [received.headers.get(name) for name in ("Host", "X-Forwarded-Host")]
    try:
        parts = urlsplit(received.url)
        port = parts.port
    except ValueError:
        return
    bare = parts.netloc.removesuffix(f":{port}") if port else parts.netloc
    rest = received.url.partition("://")[2].removeprefix(parts.netloc)
    for host in dict.fromkeys(one for one in (parts.netloc, bare, *hosts) if one):
        for scheme, usual in (("https", 443), ("http", 80)):
            yield f"{scheme}://{host}{rest}"
            if ":" not in host:
                yield f"{scheme}://{host}:{usual}{rest}"


def _rewritten(value: str | None) -> Iterator[tuple[str, str]]:
    """A header's value as it should have been written."""
    if value is None:
        return
    yield "written in upper case, which counts as another text,", value.lower()
    yield "with space or quotation marks around it", value.strip(" \t\"'")
    yield "without its = at the end", value + "=" * (-len(value) % 4)
    yield "without its = at the end", value + "="
    yield "without its = at the end", value + "=="


def _scaled(value: str | None) -> Iterator[tuple[str, str]]:
    if value is None or not (value.isascii() and value.isdigit()):
        return
    if len(value) > 3:
        yield "over the timestamp in seconds, though the header has milliseconds,", value[:-3]
    yield "over the timestamp in milliseconds, though the header has seconds,", value + "000"


def _with(
    received: Received, *, url: str | None = None, header: tuple[str, str] | None = None
) -> Received:
    pairs = list(received.headers.items())
    if header is not None:
        name, value = header
        pairs = [(key, value if key.lower() == name.lower() else old) for key, old in pairs]
    return Received(
        method=received.method,
        url=received.url if url is None else url,
        query=received.query,
        headers=HeaderList(pairs),
        body=received.body,
    )


def with_body(received: Received, body: bytes) -> Received:
    """The same request with another body."""
    other = _with(received)
    other.body = body
    return other
