"""Configuration files: any bytes, sound files that were spoiled, documents made from the schema."""

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from hookpost.config.schema import property_schema, resolved, schema

ROOT = Path(__file__).parents[2]
SOUND = ROOT / "gateway.example.yaml"
MISTAKES = ROOT / "tests" / "config" / "mistakes"
CORPUS = [path.read_bytes() for path in [SOUND, SOUND, SOUND, *sorted(MISTAKES.glob("*.yaml"))]]

# -- spoiled files ---------------------------------------------------------------------------

_TOKENS = st.sampled_from(
    [
        b"&a ", b"*a", b"*b", b"<<: *a\n", b"!!python/object:os.system ", b"!!binary ", b"! ",
        b"? ",
        b"- ", b": ", b"{", b"}", b"[", b"]", b",", b"|\n", b">-\n", b'"', b"'", b"#",
        b"%YAML 1.1\n",
        b"---\n", b"...\n", b"\t", b"\r", b"\0", b"\x0b", b"\x85", b"\xe2\x80\xa8", b"\xef\xbb\xbf",
        b"\xff\xfe", b"\xed\xa0\x80", b"\xe2\x80\xae", b".inf", b"-.INF", b".nan", b"010", b"0o17",
        b"0x1F", b"1_000", b"12:30:45", b"1e999", b"9" * 30, b"~", b"null", b"yes", b"2024-01-01",
        b'"\\ud800"', b'"\\x00"', b'"\\u202e"', b"x" * 70_000, b"[" * 40, b"{a: " * 35, b"- " * 200,
        b"[" * 11_000, b"\n" * 3000, b" " * 5000, b"x-a: &a [*a]\n", b"include: [/proc/self/mem]\n",
        b"include: [../../*.yaml, missing/x]\n", b"x-b: &b {c: &c [1, 2], d: [*c, *c, *c]}\n",
        b"hookpost", b"sub-x", b"none", b"standard", b"public", b"0", b"-1", b"1.5", b"true",
        b"version: 1\n", b"endpoints: {}\n", b"unix:", b"{env: TOKEN}", b"[crm, crm]", b"`a`",
    ]
)  # fmt: skip
"""Pieces that mean something in YAML, or in this file."""


@st.composite
def spoiled_files(draw: st.DrawFn) -> bytes:
    """A file of the corpus after one to four slips."""
    lines = draw(st.sampled_from(CORPUS)).split(b"\n")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        column = draw(st.integers(0, len(line)))
        match draw(st.sampled_from(["flip", "drop", "twice", "swap", "token", "value", "cut"])):
            case "flip" if column < len(line):
                flipped = bytes([line[column] ^ 1 << draw(st.integers(0, 7))])
                lines[at] = line[:column] + flipped + line[column + 1 :]
            case "drop" if len(lines) > 1:
                del lines[at]
            case "twice":
                lines.insert(draw(st.integers(0, len(lines))), line)
            case "swap":
                other = draw(st.integers(0, len(lines) - 1))
                lines[at], lines[other] = lines[other], line
            case "token":
                lines[at] = line[:column] + draw(_TOKENS) + line[column:]
            case "value":
                lines[at] = line.partition(b":")[0] + b": " + draw(_TOKENS)
            case _:
                lines[at] = line[:column]
    return b"\n".join(lines)


# -- documents by the schema -----------------------------------------------------------------

NAMES = st.sampled_from(["crm", "billing", "token", "key", "short", "lan", "partner"])
_ODD_NAMES = st.sampled_from(
    ["", "CRM", "sub-1", "hookpost", "a b", "~", "x" * 64, "\u202e", "[0]"]
)
_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from([[], {}, [[]], [None], {"": ""}, "x" * 5000, "\0", "\x1b[31m", "a\nb"]),
    st.lists(st.one_of(NAMES, st.integers()), max_size=4),
    st.dictionaries(NAMES, st.one_of(st.none(), NAMES), max_size=3),
)
_BY_TYPE = {
    "address": ["127.0.0.1:0", "[::1]:1", "unix:run/x", ":1", "h:99999"],
    "allowance": ["10.0.0.0/8", "[fd00::/8]:8443", "0.0.0.0/0", "10.0.0.1/8"],
    "credential": ["crm_new", ".."],
    "duration": ["0s", "1ms", "5s", "1h", "3650d", "4000d", "1"],
    "event-type": ["invoice.paid", "hookpost.x", "", "é"],
    "expression": ["body.event", "body.", "length(@)", "`", "a[?b]" * 60],
    "header": ["X-Kind", "Authorization", "a b", ""],
    "header-value": ["prod", "\n", " x", "é"],
    "instant": ["2024-01-01T00:00:00Z", "2024-13-01T00:00:00Z", "2024-01-01"],
    "mode": ["0660", "660", "0990"],
    "name": ["crm-2024", "crm", "CRM"],
    "network": ["unix", "127.0.0.0/8", "::1", "10.1.1.1/8"],
    "path": ["secrets/github", "/etc/shadow", "\0", ".", "x" * 5000],
    "pattern": ["**", "*", "invoice.*", "a..b", "a*"],
    "rate": ["50/s", "0/s", "1/d", "9999999/s"],
    "route": ["/in/a", "/in/b", "/", "/in/../x"],
    "sent-header": ["X-Env", "Content-Length", "webhook-id"],
    "size": ["1KiB", "1MiB", "10GiB", "0B", "9999TiB"],
    "socket": ["unix:run/admin.sock", "unix:", "unix:" + "x" * 200],
    "status": ["2xx", "204", "9xx", "6"],
    "url": ["https://a.example/h", "http://127.0.0.1:9/", "https://u:p@x/", "https://a/?q=1"],
    "username": ["legacy", "a:b"],
    "variable": ["TOKEN", "KEY", "EMPTY", "MISSING", "1"],
}


@st.composite
def written_documents(draw: st.DrawFn) -> bytes:
    """A document of the schema's own keys, some values of which do not fit; written as YAML."""
    document = {"version": 1, **draw(_maps(schema(), 0))}
    match draw(st.sampled_from(["flow", "block", "json"])):
        case "json":
            text = json.dumps(document)
        case style:
            text = yaml.safe_dump(
                document,
                default_flow_style=style == "flow",
                allow_unicode=draw(st.booleans()),
                sort_keys=draw(st.booleans()),
                width=draw(st.sampled_from([20, 1000])),
            )
    return text.encode("utf-8", "surrogatepass")


@st.composite
def _values(draw: st.DrawFn, part: dict[str, Any], depth: int) -> Any:
    """A value for one place: mostly one that could be meant."""
    if draw(st.integers(0, 14)) == 0:
        return draw(_ODD)
    kinds = part.get("type", "object")
    options: list[Any] = [*part.get("enum", []), *part.get("x-words", [])]
    options += _BY_TYPE.get(part.get("x-type", ""), [])
    if "default" in part:
        options.append(part["default"])
    if part.get("x-ref"):
        return draw(st.one_of(NAMES, st.sampled_from(["none", "standard", "public"])))
    if options and ("object" not in kinds or draw(st.booleans())):
        return draw(st.sampled_from(options))
    match kinds if isinstance(kinds, str) else draw(st.sampled_from(kinds)):
        case "object":
            return draw(_maps(part, depth + 1))
        case "array":
            return draw(st.lists(_values(resolved(part.get("items", {})), depth + 1), max_size=3))
        case "integer" | "number":
            return draw(st.sampled_from([0, 1, 2, 0.5, 100, -1, 10**9]))
        case "boolean":
            return draw(st.booleans())
    return draw(st.one_of(NAMES, st.text(max_size=5)))


@st.composite
def _maps(draw: st.DrawFn, part: dict[str, Any], depth: int) -> dict[str, Any]:
    known = sorted(part.get("properties", {}))
    if known:
        keys = draw(st.lists(st.sampled_from(known), max_size=6 if depth else 9, unique=True))
        if draw(st.integers(0, 9)) == 0:
            keys.append(draw(st.sampled_from(["x-mine", "concurency", "<<", "", "urls"])))
    else:
        keys = draw(st.lists(st.one_of(NAMES, NAMES, NAMES, _ODD_NAMES), max_size=4, unique=True))
    inner = ((key, property_schema(part, key) or {"type": "string"}) for key in keys)
    return {key: draw(_values(schema_, depth)) for key, schema_ in inner}


# -- bombs -----------------------------------------------------------------------------------


def _repeated(frame: str) -> st.SearchStrategy[bytes]:
    """The frame over and over, each time with another number, up to the largest file there is."""
    sizes = st.sampled_from([10, 1000, 1_000_000])

    def made(size: int) -> bytes:
        times = max(1, size // len(frame))
        return "".join(frame.replace("{n}", str(n)) for n in range(times))[:size].encode()

    return sizes.map(made)


_AROUND = st.sampled_from(
    [(b"", b""), (b"version: 1\n", b""), (b"version: 1\nx-a: ", b""), (b"version: 1\nx-a: [", b"]"),
     (b"version: 1\nendpoints: ", b""), (b"version: 1\nendpoints:\n", b""),
     (b"version: 1\nsecrets:\n", b""), (b"version: 1\nendpoint_defaults: {headers: {", b"}}"),
     (b"version: 1\nsubscriptions: {all: {events: [", b"]}}"),
     (b"version: 1\nendpoints: {crm: {success: [", b"]}}"),
     (b"version: 1\nretry_policies: {p: {schedule: [", b"]}}"),
     (b"version: 1\nretry_policies: {p: {reject_on: [", b"]}}"),
     (b"version: 1\negress_policies: {p: {allow: [", b"]}}")]
)  # fmt: skip
_FRAMES = st.sampled_from(
    ["[", "{", "- ", "? ", "a: ", "&a{n} [*a{n}, ", "x{n}: &x{n} [1,2,3]\n", "{n}, ", "a{n}, ",
     "'{n}', ", "{k: {n}}, ", "  k{n}: {env: TOKEN}\n", "  k{n}: {url: https://h{n}.example/}\n",
     "x{n}: {}\n", "concurency{n}: 1, ", '"', "'", "|\n", "#", "\n", "!t ", "%", "\\", "\u2028",
     "x",
     "  e{n}: {retry: standrd{n}}\n", "k{n}: {}, ", "{n}s, ", "X-{n}: v, ", "10.0.0.{n}/33, ",
     "*a{n}, ", '"\\u0041', "2xx, {}, ", "x-{n}: &a\n"]
)  # fmt: skip
_SECTIONS = {
    "secrets": ["{env: TOKEN}", "{env: MISSING}", "{file: nowhere}", "{}", "1"],
    "retry_policies": ["{max_age: 1d}", "{schedule: [1s]}", "{max_age: 1x}", "{}"],
    "rate_limits": ["{rate: 1/s, burst: 1}", "{rate: 0/s, burst: 0}"],
    "egress_policies": ["{allow: [10.0.0.0/8]}", "{allow: [x]}"],
    "sources": ["{path: /in/{n}}", "{path: /in}", "{path: /in/{n}, auth: {bearer: [k{n}]}}"],
    "endpoints": ["{url: https://h{n}.example/}", "{url: https://h/, retry: k{n}}",
                  "{url: https://h/, egress: kk{n}}", "{renamed_from: k{n}}", "{concurency: {n}}"],
    "subscriptions": ["{endpoints: [k{n}]}", "{endpoints: [k{n}], sources: [k{n}x]}", "{}"],
}  # fmt: skip


@st.composite
def _crowds(draw: st.DrawFn) -> bytes:
    """Named maps with thousands of names, which refer to each other or nearly so."""
    text = "version: 1\n"
    sections = draw(
        st.lists(st.sampled_from(sorted(_SECTIONS)), min_size=1, max_size=4, unique=True)
    )
    for section in sections:
        value = draw(st.sampled_from(_SECTIONS[section]))
        start = draw(st.sampled_from([0, 7000]))
        numbers = range(start, start + draw(st.sampled_from([1, 300, 5000])))
        names = "".join(f"  k{n}: {value.replace('{n}', str(n))}\n" for n in numbers)
        text += f"{section}:\n{names}"
    return text.encode()[: 1 << 20]


bombs = st.one_of(
    _crowds(),
    st.builds(
        lambda around, body: around[0] + body[: (1 << 20) - 100] + around[1],
        _AROUND,
        _FRAMES.flatmap(_repeated),
    ),
)
"""Large files of little variety."""
