"""Requests that are HTTP, nearly HTTP, or shaped to be read in two ways; and how they are sent."""

import json
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import strategies as st
from tests.fuzz.bodies import any_bodies, batches
from tests.ingest_rig import TOKEN

AUTH = b"Authorization: Bearer " + TOKEN.encode()


def good(event_id: str, target: bytes = b"/in/billing") -> bytes:
    """A request that is taken."""
    body = json.dumps({"eventType": "invoice.paid", "data": {}, "eventId": event_id}).encode()
    lines = [b"POST " + target + b" HTTP/1.1", b"Host: gateway", AUTH]
    lines += [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


SMUGGLED = good("smuggled")

_methods = st.sampled_from(
    [b"GET", b"HEAD", b"PUT", b"OPTIONS", b"TRACE", b"CONNECT", b"PRI", b"post", b"", b"P\0ST",
       b"PO ST", b"M-SEARCH", b"X" * 9000, b"\xc3\xa9", b"GET\t", b"(GET)", b"PATCH", b"SOURCE"]
)  # fmt: skip
_targets = st.sampled_from(
    [b"/", b"*", b"", b"http://gateway/in/billing", b"http://gateway:99999/in/billing", b"/in/raw",
       b"http://[::1", b"https://u:p@x/in/billing", b"gateway:443", b"//in/billing", b"/in/nobody",
       b"/in/../in/billing", b"/in/%62illing", b"/in/billing?x=1", b"/in/billing#f", b"/%zz",
       b"/%ff",
       b"/\0", b"/\xff", b"/in/\xc3\xa9", b"/" + b"x" * 9000, b"/in/billing;x", b"\\in\\billing",
       b"x",
       b"/in/billing/", b"http:///in/billing", b"http://x:port/", b"/a b", b"//[", b"http://[bad]/",
       b"/in/billing%00", b"//\xe2\x84\x80/in", b"/livez", b"/metrics", b"/status", b"/readyz"]
)  # fmt: skip
_versions = st.sampled_from(
    [b"HTTP/1.0", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/1.10", b"HTTP/11", b"",
       b"http/1.1", b"HTTP/1.1 ", b"HTTP/ 1.1", b"HTTP/1.1\t", b"ICE/1.0", b"HTTP/99999999999999.1"]
)  # fmt: skip
_framings = st.sampled_from(
    [
        b"Content-Length: {n}", b"Content-Length: {n}", b"Content-Length: {n}", b"",
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", b"Transfer-Encoding: Chunked",
        b"Content-Length: {n}\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: {n}",
        b"Content-Length: 0\r\nTransfer-Encoding: chunked",
        b"Content-Length: {n}\r\nContent-Length: {n}", b"Content-Length: {n}\r\nContent-Length: 0",
        b"Content-Length: {n}, {n}", b"Content-Length: +{n}", b"Content-Length: -{n}",
        b"Content-Length: 0x{n}", b"Content-Length: {n} 0", b"Content-Length: {n}.0",
        b"Content-Length:\t{n}\t", b"Content-Length : {n}", b"Content-Length: ", b"Content-Length",
        b"Content-Length: 00{n}", b"Content-Length: 9999999999", b"Content-Length: \xd9\xa3",
        b"Content-Length: 18446744073709551616", b"Content-Length: " + b"9" * 5000,
        b"Content-Length: " + b"0" * 5000 + b"{n}", b"Content-Length: 1_0", b" Content-Length: {n}",
        b"Transfer-Encoding: xchunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow", b"Transfer-Encoding:\x0bchunked",
        b"Transfer-Encoding: \"chunked\"", b"Transfer-Encoding:\r\n chunked", b"Transfer-Encoding:",
        b"Transfer-Encoding: chunked;x=1", b"Transfer_Encoding: chunked",
        b"Transfer-Encoding: ,chunked",
        b"X: y\nTransfer-Encoding: chunked", b"X: y\rContent-Length: {n}", b"Te: trailers, chunked",
        b"\0Transfer-Encoding: chunked", b"Transfer-Encoding: chunked\0", b"Upgrade: h2c",
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: {n}",
        b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==",
    ]
)  # fmt: skip
_fields = st.sampled_from(
    [
        b"Host: other", b"Host:", b"Host: a, b", b"X-Fold: a\r\n b", b"X-Fold: a\r\n\tb",
        b"Bad Name: 1",
        b": empty", b"NoColon", b"X:", b"X: \xff\xfe", b"X: \x01", b"X: \x7f", b"X: a\0b",
        b"X\xc3\xa9: 1",
        b"X-Long: " + b"x" * 9000, b"x" * 9000 + b": 1", b"\r\n".join([b"X-Many: 1"] * 130),
        b"Connection: close", b"Connection: keep-alive", b"Connection: Content-Length",
        b"Connection:",
        b"Expect: 100-continue", b"Expect: 200-maybe", b"Content-Encoding: gzip", b"Trailer: Host",
        b"Content-Encoding: identity", b"Content-Type: text/plain",
        b"Content-Type: \xff; charset=\xfe",
        b"Content-Type: application/x-ndjson", b"Authorization: Basic ====", AUTH,
        b"Authorization:",
        b"Idempotency-Key: a b", b"webhook-id: \xf0\x9f\x92\xa9", b"Idempotency-Key: k1",
        b"\t: tab",
        b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", b"traceparent: \xff",
        b"Cookie: a=b",
        b"X: " + "\u202e\u2028".encode(), b"Keep-Alive: timeout=99999",
        b"X-Forwarded-For: 10.0.0.1",
        b"Range: bytes=0-", b"If-None-Match: *", b"Accept-Encoding: gzip",
        b"Upgrade-Insecure-Requests: 1",
    ]
)  # fmt: skip
_ends = st.sampled_from([b"\r\n"] * 5 + [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\0\r\n", b" \r\n"])
_sizes = st.sampled_from(
    [b"{x}"] * 5
    + [b"{X}", b"0{x}", b"{x};a=b", b'{x};a="\r"', b"{x} ", b" {x}", b"-{x}", b"+{x}", b"0x{x}",
       b"{x}\n",
       b"FFFFFFFFFFFFFFFFF", b"ffffffffffffffff", b"7fffffffffffffff", b"", b"g",
       b"{x};" + b"x" * 9000,
       b"{x}\r", b"{x}\t;a", b"{x};\n"]
)  # fmt: skip
_lasts = st.sampled_from(
    [b"0\r\nX-Trailer: 1\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n", b"0\r\nHost: x\r\n\r\n",
     b"0\n\n",
       b"0\r\n", b"00000\r\n\r\n", b"0;x\r\n\r\n", b"0\r\nBad Trailer\r\n\r\n", b"0\r\n\r\n\r\n",
       b"-0\r\n\r\n",
       b"0\r\n" + b"T: 1\r\n" * 200 + b"\r\n", b"0\r\nT: " + b"x" * 9000 + b"\r\n\r\n", b"",
       b"0 \r\n\r\n"]
)  # fmt: skip


_SOUND = st.sampled_from([b"/in/billing", b"/in/billing", b"/in/open"])
_PARTS = ("method", "target", "version", "host", "auth", "type", "fields", "framing", "ends",
          "chunks", "last")  # fmt: skip
_LENGTH, _CHUNKS = b"Content-Length: {n}", b"Transfer-Encoding: chunked"


@st.composite
def one_request(draw: st.DrawFn) -> bytes:
    """One request after the grammar, in which at most two parts are not as they should be."""
    odd = draw(st.sets(st.sampled_from(_PARTS), max_size=2))

    def part(name: str, strange: st.SearchStrategy[bytes], sound: bytes) -> bytes:
        return draw(strange) if name in odd else sound

    def line(text: bytes) -> bytes:
        return text + part("ends", _ends, b"\r\n")

    framing = part("framing", _framings, draw(st.sampled_from([_LENGTH, _CHUNKS])))
    body = draw(st.one_of(any_bodies, batches, st.just(SMUGGLED), st.just(b"0\r\n\r\n" + SMUGGLED)))
    sent = body[:5000]
    if b"hunked" in framing and draw(st.integers(0, 4)):
        sent = draw(_chunked(sent, odd))
    first = [part("method", _methods, b"POST"), part("target", _targets, draw(_SOUND))]
    lines = [b" ".join([*first, part("version", _versions, b"HTTP/1.1")]).rstrip(b" ")]
    lines += [b"Host: gateway"] * (draw(st.sampled_from([0, 2])) if "host" in odd else 1)
    lines += [] if "auth" in odd else [AUTH]
    lines += [] if "type" in odd else [b"Content-Type: application/json"]
    lines += draw(st.lists(_fields, min_size=1, max_size=3)) if "fields" in odd else []
    lines.append(framing.replace(b"{n}", b"%d" % len(sent)))
    return b"".join(line(text) for text in lines if text) + line(b"") + sent


@st.composite
def _chunked(draw: st.DrawFn, body: bytes, odd: set[str]) -> bytes:
    parts, at = [], 0
    while at < len(body):
        size = min(len(body) - at, draw(st.integers(1, 60)) if len(parts) < 4 else len(body))
        text = f"{size:x}".encode()
        line = draw(_sizes).replace(b"{X}", text.upper()) if "chunks" in odd else b"{x}"
        ends = [draw(_ends) if "ends" in odd else b"\r\n" for _ in range(2)]
        parts.append(line.replace(b"{x}", text) + ends[0] + body[at : at + size] + ends[1])
        at += size
    return b"".join(parts) + (draw(_lasts) if "last" in odd else b"0\r\n\r\n")


@st.composite
def _mangled(draw: st.DrawFn) -> bytes:
    """A request with some of its bytes changed, taken out or written twice."""
    text = bytearray(draw(one_request()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        match draw(st.sampled_from(["flip", "drop", "insert", "repeat"])):
            case "flip" if at < len(text):
                text[at] ^= 1 << draw(st.integers(0, 7))
            case "drop":
                del text[at : at + draw(st.integers(1, 9))]
            case "insert":
                text[at:at] = draw(
                    st.sampled_from([b"\0", b"\r", b"\n", b" ", b"\r\n", b"\xff", b":"])
                )
            case "repeat":
                text[at:at] = text[at : at + 40]
    return bytes(text)


_garbage = st.one_of(
    st.binary(max_size=80),
    st.sampled_from(
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40, b"GET /\r\n",
            b"\r\n" * 50,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", b"\0" * 300,
            b"SSH-2.0-x\r\n", b"*1\r\n$4\r\nPING\r\n", b"\xff" * 9000, b"GET " + b"/" * 70_000,
            b"\n" * 9,
        ]
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Bytes to send, where to cut them into pieces, and how the client ends."""

    raw: bytes
    cuts: tuple[int, ...]
    ending: str  # probe: with a good request; half: half-closed; reset; wait: saying nothing

    def pieces(self, last: bytes) -> list[bytes]:
        """The bytes and the last ones, in the pieces in which they are sent."""
        whole = self.raw + last
        at = sorted({0, len(whole), *(cut for cut in self.cuts if cut < len(whole))})
        return [whole[start:end] for start, end in pairwise(at)]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One to three requests or worse, pipelined."""
    kinds = st.one_of(one_request(), one_request(), one_request(), _mangled(), _garbage,
                      st.just(SMUGGLED))  # fmt: skip
    raw = b"".join(draw(st.lists(kinds, min_size=1, max_size=3)))
    if draw(st.integers(0, 9)) == 0:
        raw = raw[: draw(st.integers(0, len(raw)))]
    cuts = draw(st.lists(st.integers(0, len(raw) + 200), max_size=4))
    ending = draw(st.sampled_from(["probe"] * 7 + ["half", "reset", "wait"]))
    return Case(raw, tuple(cuts), ending)
