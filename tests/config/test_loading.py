"""Any bytes give a Config or diagnostics, sorted, in bounded time, and without secrets."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from time import process_time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hookpost.config import ConfigError, Loaded, load
from hookpost.core.settings import TcpAddress

Write = Callable[..., Loaded]
Codes = Callable[[Loaded], list[str]]

GOOD = """\
version: 1
secrets:
  token: {env: TOKEN}
  key: {env: KEY}
sources:
  billing: {path: /in/billing, auth: {bearer: [token]}}
endpoints:
  crm: {url: "https://crm.example.com/hooks", signing: {standard_webhooks: [key]}}
subscriptions:
  all: {endpoints: [crm]}
"""


def test_a_sound_file_gives_a_config_and_no_findings(loading: Write) -> None:
    loaded = loading(GOOD)
    assert loaded.diagnostics == ()
    config = loaded.sound()
    assert list(config.sources) == ["billing"]
    assert config.endpoints["crm"].url == "https://crm.example.com/hooks"
    assert config.subscriptions[0].endpoints == ("crm",)
    assert config.listen.ingest.address == TcpAddress("127.0.0.1", 8480)
    assert loaded.exit_code == 0


def test_all_mistakes_are_found_in_one_run_sorted_by_place(loading: Write, codes: Codes) -> None:
    loaded = loading(
        GOOD.replace("billing: {path", "billing: {pth: x, path")
        .replace("endpoints: [crm]", 'endpoints: [nobody], events: ["a*b"]')
        .replace("crm: {", "crm: {concurrency: 0, timeout: 5, ")
        + "logging: {level: loud}\nlogging: {}\n"
    )
    places = [(item.line, item.column) for item in loaded.diagnostics]
    assert places == sorted(places)
    assert codes(loaded) == [
        "unknown-key",
        "unused-name",
        "out-of-range",
        "wrong-type",
        "unknown-name",
        "bad-pattern",
        "unknown-value",
        "duplicate-key",
    ]


def test_a_mistake_and_an_unused_name_are_both_reported(loading: Write, codes: Codes) -> None:
    loaded = loading(GOOD + "rate_limits: {partner: {rate: 5/s, burst: 5}}\nlogging: {x: 1}\n")
    assert codes(loaded) == ["unused-name", "unknown-key"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty-file"),
        (b"\n# nothing\n", "empty-file"),
        (b"---\n", "empty-file"),
        (b"~\n", "empty-file"),
        (b"version: 1\n\xff\n", "not-utf8"),
        ("version: 1\n".encode("utf-16"), "not-utf8"),
        (b"version: 1\n#" + b"x" * (1 << 20), "too-large"),
        (b"just text", "not-a-map"),
        (b"\x00\x01\x02", "yaml-syntax"),
        (b"version: 1\n...\n---\nversion: 1\n", "several-documents"),
        (b"%YAML 1.1\n---\nversion: 1\n", "yaml-version"),
    ],
)
def test_odd_content_is_named(loading: Write, codes: Codes, content: bytes, code: str) -> None:
    loaded = loading(content)
    assert codes(loaded) == [code]
    assert loaded.config is None
    assert loaded.exit_code == 78


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("version: 1\n".encode("utf-16"), "1:1"),
        (b"\xff", "1:1"),
        (b"\xef\xbb\xbf\xff", "1:1"),
        (b"version: 1\r\nx-a: \xff", "2:6"),
        (b"version: 1\rx-a: \xff", "2:6"),
        (b"version: 1\n# \xe2\x82\xac\nx-a: \xe2\x82", "3:6"),
        (b"\xef\xbb\xbfx-\xc3\xb6: \x07", "1:6"),
        (b"version: 1\r\n# \xc3\xb6\r\nx-a: \x01", "3:6"),
        (b"version: 1\n...\n\x07", "3:1"),
    ],
)
def test_a_byte_that_cannot_be_is_shown_where_it_stands(
    loading: Write, content: bytes, place: str
) -> None:
    (found,) = loading(content).diagnostics
    assert f"{found.line}:{found.column}" == place
    assert str(found).startswith(f"{found.file}:{place}: error: ")


def test_a_byte_order_mark_and_windows_line_ends_are_taken(loading: Write) -> None:
    loaded = loading(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert loaded.diagnostics == ()


def test_a_missing_file_exits_66(tmp_path: Path) -> None:
    loaded = load(tmp_path / "absent.yaml")
    assert [item.code for item in loaded.errors] == ["no-such-file"]
    assert str(loaded.errors[0]).startswith(f"{tmp_path}/absent.yaml: error: there is no file")
    assert loaded.exit_code == 66


def test_a_directory_a_pipe_and_a_looping_link_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, code in ((tmp_path, "not-a-file"), (tmp_path / "pipe", "not-a-file")):
        assert [item.code for item in load(path).errors] == [code]
        assert load(path).exit_code == 66
    assert [item.code for item in load(tmp_path / "loop").errors] == ["no-such-file"]
    assert [item.code for item in load(Path("a\0b")).errors] == ["unreadable-file"]


def test_a_refusal_to_open_is_a_permission_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hookpost.config.files.os.open", refuse)
    loaded = load(tmp_path / "gateway.yaml")
    assert [item.code for item in loaded.errors] == ["no-permission"]
    assert loaded.exit_code == 77


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_diagnosed_and_never_raise(loading: Write, content: bytes) -> None:
    loaded = loading(content)
    assert (loaded.config is None) == bool(loaded.errors)
    assert loaded.render("json")


_WORDS = (
    "version", "1", "endpoints", "crm", "url", "sources", "{", "}", "[", "]", "-", "&a", "*a", "?",
    "|", '"', "'", "#", "!x", "<<", "0", "~", "secrets", "env", "listen", "include", "x-", "none",
    "events", "subscriptions", "auth", "bearer", "\u2028", ": ", "\n", "  ", "- ", "\t",
)  # fmt: skip
_INNER = (
    "a", "url", "path", "auth", "bearer", "signing", "retry", "schedule", "backoff", "events",
    "endpoints", "sources", "headers", "standard_webhooks", "allow", "env",
)  # fmt: skip
_TOP = (
    "listen", "storage", "secrets", "retry_policies", "egress_policies", "sources", "endpoints",
    "endpoint_defaults", "subscriptions", "logging", "include", "version",
)  # fmt: skip
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_INNER), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200
)
@given(st.lists(st.sampled_from(_WORDS), max_size=40).map("".join))
def test_any_text_of_yaml_is_diagnosed_and_never_raises(loading: Write, text: str) -> None:
    loaded = loading("version: 1\n" + text)
    assert (loaded.config is None) == bool(loaded.errors)
    assert loaded.render("github") or not loaded.diagnostics


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200
)
@given(_VALUES, st.sampled_from(_TOP))
def test_any_value_in_any_place_is_diagnosed(loading: Write, value: object, key: str) -> None:
    document = {"version": 1, key: value, "x-names": value}
    loaded = loading(json.dumps(document))
    assert (loaded.config is None) == bool(loaded.errors)


@pytest.mark.parametrize(
    "text",
    [
        "- " * 300_000,
        "[" * 300_000,
        "? " * 300_000,
        "a: " * 100_000,
        "".join(f"x{n}: {{a: b}}\n" for n in range(40_000)),
        "endpoints: {" + ",".join(f"n{n}: {{concurrancy: 1}}" for n in range(20_000)) + "}",
        "x-a: &a [" + "1," * 1000 + "]\n" + "".join(f"x{n}: *a\n" for n in range(5000)),
    ],
)
def test_hostile_files_are_answered_in_bounded_time(loading: Write, text: str) -> None:
    began = process_time()
    loaded = loading("version: 1\n" + text)
    assert loaded.errors
    assert len(loaded.diagnostics) <= 201
    assert process_time() - began < 20


def test_no_value_of_a_secret_is_ever_in_a_finding(loading: Write) -> None:
    canary = "hunter2-canary-value"
    texts = [
        GOOD.replace("{env: TOKEN}", canary),
        GOOD.replace("{env: TOKEN}", f"{{value: {canary}}}"),
        GOOD.replace("{env: TOKEN}", f"{{env: {canary}}}"),
        GOOD.replace("{env: TOKEN}", f"[{canary}]"),
        GOOD.replace("[token]", f'["{canary} "]'),
        GOOD.replace("{bearer: [token]}", f'"{canary} "'),
        GOOD.replace('"https://crm.example.com/hooks"', "{secret: key}"),
    ]
    environ = {"TOKEN": f" {canary} ", "KEY": f"whsec_{canary}", canary: ""}
    for text in texts:
        loaded = loading(text, environ=environ)
        assert loaded.errors
        for form in ("text", "json", "github"):
            assert canary not in loaded.render(form)
        assert canary not in repr(loaded.config)
        assert canary not in str(ConfigError(loaded.errors))


def test_the_json_form_carries_every_field(loading: Write) -> None:
    document = json.loads(loading("version: 1\nloging: {}\n").render("json"))
    assert document["errors"] == 1
    assert document["warnings"] == 0
    found = document["diagnostics"][0]
    assert {key: found[key] for key in found if key not in ("file", "message")} == {
        "severity": "error",
        "code": "unknown-key",
        "line": 2,
        "column": 1,
        "path": "loging",
        "suggestion": "logging",
    }


def test_the_github_form_is_a_workflow_command(loading: Write, tmp_path: Path) -> None:
    text = loading("version: 1\nloging: {}\n").render("github")
    assert text == (
        f"::error file={tmp_path}/gateway.yaml,line=2,col=1,title=unknown-key::"
        'loging: unknown key; did you mean "logging"?\n'
    )


def test_the_text_form_shows_the_line_with_a_caret_on_a_terminal(loading: Write) -> None:
    lines = loading("version: 1\nlogging: {level: loud}\n").render(context=True).splitlines()
    assert lines[1] == "    logging: {level: loud}"
    assert lines[2] == "                     ^"


def test_a_control_character_in_a_key_cannot_forge_a_line(loading: Write) -> None:
    text = loading('version: 1\n"a\\nb\\e[31m": 1\n').render()
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text


def test_no_form_is_taken_for_another(loading: Write) -> None:
    with pytest.raises(ValueError, match="no such form"):
        loading(GOOD).render("xml")


def test_an_exception_carries_the_findings(loading: Write) -> None:
    loaded = loading("version: 2\n")
    with pytest.raises(ConfigError) as raised:
        loaded.sound()
    assert raised.value.diagnostics == loaded.errors
    assert "unknown-version" in str(raised.value)


# -- hash ------------------------------------------------------------------------------------


def test_the_hash_follows_values_and_not_layout(loading: Write) -> None:
    first = loading(GOOD).sound()
    assert len(first.hash) == 12
    assert int(first.hash, 16) >= 0
    commented = loading("# other layout\n" + GOOD.replace("{env: KEY}", "{ env: KEY }")).sound()
    assert (commented.hash, commented.fingerprint) == (first.hash, first.fingerprint)
    changed = loading(GOOD.replace("/in/billing", "/in/bills")).sound()
    assert changed.hash != first.hash
    assert changed.fingerprint != first.fingerprint


def test_a_rotated_secret_changes_the_fingerprint_but_not_the_published_hash(
    loading: Write,
) -> None:
    first = loading(GOOD).sound()
    rotated = loading(GOOD, environ={"TOKEN": "another-token", "KEY": "whsec_" + "A" * 32}).sound()
    assert rotated.hash == first.hash
    assert rotated.fingerprint != first.fingerprint
    assert rotated.fingerprint not in repr(rotated)


def test_the_hash_follows_the_order_of_subscriptions(loading: Write) -> None:
    one = GOOD + "  other: {endpoints: [crm]}\n"
    other = GOOD.replace("  all:", "  other: {endpoints: [crm]}\n  all:")
    assert loading(one).sound().hash != loading(other).sound().hash


def test_notes_of_ones_own_change_nothing(loading: Write) -> None:
    noted = loading(GOOD + "x-team: {anything: [1, 2]}\n")
    assert noted.sound().hash == loading(GOOD).sound().hash


# -- anchors ---------------------------------------------------------------------------------


def test_an_alias_repeats_its_value(loading: Write) -> None:
    loaded = loading(
        GOOD.replace("crm: {url", "crm: &crm {url").replace(
            "subscriptions:", "  copy: *crm\nsubscriptions:"
        )
        + "  more: {endpoints: [copy]}\n"
    )
    assert loaded.diagnostics == ()
    endpoints = loaded.sound().endpoints
    assert endpoints["copy"].url == endpoints["crm"].url
