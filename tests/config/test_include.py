"""Other files add names, in sorted order, and nothing else."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hookpost.config import Loaded

Write = Callable[..., Loaded]
Codes = Callable[[Loaded], list[str]]

MAIN = """\
version: 1
include: [conf.d/*.yaml]
secrets: {token: {env: TOKEN}, key: {env: KEY}}
sources: {billing: {path: /in/billing, auth: {bearer: [token]}}}
"""
ENDPOINT = (
    'endpoints: {%s: {url: "https://crm.example.com/%s", signing: {standard_webhooks: [key]}}}\n'
    "subscriptions: {to-%s: {endpoints: [%s]}}\n"
)


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """The directory of additions."""
    directory = tmp_path / "conf.d"
    directory.mkdir()
    return directory


def _endpoint(name: str) -> str:
    return ENDPOINT % (name, name, name, name)


def test_files_are_read_in_sorted_order(loading: Write, parts: Path) -> None:
    for name in ("b", "c", "a"):
        (parts / f"{name}.yaml").write_text(_endpoint(name))
    (parts / "ignored.txt").write_text("}")
    (parts / ".hidden.yaml").write_text("}")
    loaded = loading(MAIN)
    assert loaded.diagnostics == ()
    assert list(loaded.sound().endpoints) == ["a", "b", "c"]
    assert [path.name for path in loaded.files] == ["gateway.yaml", "a.yaml", "b.yaml", "c.yaml"]


def test_an_empty_directory_and_an_empty_file_are_no_mistakes(loading: Write, parts: Path) -> None:
    assert loading("version: 1\ninclude: [conf.d/*.yaml]\n").diagnostics == ()
    (parts / "empty.yaml").write_text("# nothing yet\n")
    assert loading("version: 1\ninclude: [conf.d/*.yaml]\n").diagnostics == ()


def test_a_file_that_two_patterns_name_is_read_once(loading: Write, parts: Path) -> None:
    (parts / "a.yaml").write_text(_endpoint("a"))
    loaded = loading(MAIN.replace("[conf.d/*.yaml]", '[conf.d/a.yaml, "conf.d/*.yaml"]'))
    assert loaded.diagnostics == ()


def test_a_link_to_a_file_that_is_included_is_read_once(loading: Write, parts: Path) -> None:
    (parts / "a.yaml").write_text(_endpoint("a"))
    (parts / "b.yaml").symlink_to(parts / "a.yaml")
    assert loading(MAIN).diagnostics == ()


def test_the_main_file_is_not_included_in_itself(loading: Write, parts: Path) -> None:
    (parts / "a.yaml").write_text(_endpoint("a"))
    (parts / "main.yaml").symlink_to(parts.parent / "gateway.yaml")
    assert loading(MAIN).diagnostics == ()


def test_a_link_that_leads_nowhere_is_named(loading: Write, parts: Path, codes: Codes) -> None:
    (parts / "a.yaml").symlink_to(parts / "gone.yaml")
    loaded = loading("version: 1\ninclude: [conf.d/*.yaml]\n")
    assert codes(loaded) == ["no-such-file"]
    assert "leads nowhere" in str(loaded.errors[0])


def test_a_directory_among_the_files_is_named(loading: Write, parts: Path, codes: Codes) -> None:
    (parts / "team.yaml").mkdir()
    assert codes(loading("version: 1\ninclude: [conf.d/*.yaml]\n")) == ["not-a-file"]


def test_a_name_given_in_two_files_names_both_places(loading: Write, parts: Path) -> None:
    (parts / "a.yaml").write_text(_endpoint("crm"))
    (parts / "b.yaml").write_text("\n" + _endpoint("crm"))
    found = [str(item).replace(f"{parts.parent}/", "") for item in loading(MAIN).errors]
    again = "this name is given already in conf.d/a.yaml"
    once = "names are given once over all files [duplicate-name]"
    assert found == [
        f"conf.d/b.yaml:2:13: error: endpoints.crm: {again}:1; {once}",
        f"conf.d/b.yaml:3:17: error: subscriptions.to-crm: {again}:2; {once}",
    ]


def test_mistakes_are_sorted_by_file_and_say_which(loading: Write, parts: Path) -> None:
    (parts / "a.yaml").write_text(_endpoint("a").replace("url:", "paused: 1, url:"))
    (parts / "b.yaml").write_text(_endpoint("b").replace("url:", "paused: 2, url:"))
    loaded = loading(MAIN.replace("billing: {", "billing: {format: 3, "))
    assert [os.path.basename(item.file) for item in loaded.errors] == [
        "gateway.yaml",
        "a.yaml",
        "b.yaml",
    ]


def test_a_broken_part_refuses_the_whole(loading: Write, parts: Path, codes: Codes) -> None:
    (parts / "a.yaml").write_text(_endpoint("a"))
    (parts / "b.yaml").write_text("sources: [\n")
    loaded = loading(MAIN)
    assert codes(loaded) == ["yaml-syntax"]
    assert loaded.config is None


def test_a_map_that_is_no_map_is_named_once(loading: Write, parts: Path, codes: Codes) -> None:
    (parts / "a.yaml").write_text("endpoints: [crm]\n")
    assert codes(loading("version: 1\ninclude: [conf.d/*.yaml]\n")) == ["wrong-type"]


def test_paths_are_relative_to_the_file_that_names_them(loading: Write, parts: Path) -> None:
    (parts / "token").write_text("from-the-part\n")
    (parts / "token").chmod(0o600)
    (parts / "a.yaml").write_text(
        "secrets: {part: {file: token}}\n"
        "sources: {part: {path: /in/part, auth: {bearer: [part]}}}\n" + _endpoint("a")
    )
    loaded = loading(MAIN)
    assert loaded.diagnostics == ()
    assert loaded.sound().secrets["part"].value == b"from-the-part"


def test_an_absolute_pattern_is_taken(loading: Write, parts: Path) -> None:
    (parts / "a.yaml").write_text(_endpoint("a"))
    assert loading(MAIN.replace("conf.d/*.yaml", f"{parts}/*.yaml")).diagnostics == ()
