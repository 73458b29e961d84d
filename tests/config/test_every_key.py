"""A key that is accepted and ignored is a defect: each key of the schema has a test of its effect.

every_key.yaml names them. A test that stands there is one that fails when the gateway does not heed
the key: not one that finds the value in the settings, which is what test_arrival.py is for. Whether
a test is of that kind nobody can compute; try it by breaking the use of the key.
"""

import ast
from functools import cache
from pathlib import Path

import pytest
import yaml
from tests.config.schema_keys import leaves

ROOT = Path(__file__).parents[2]
TABLE: dict[str, list[str]] = yaml.safe_load(
    Path(__file__).with_name("every_key.yaml").read_text("utf-8")
)
IN_THE_FILE_ALONE = ("version", "endpoint_defaults.")
"""Beginnings of keys that are done with when a file is read: another version is refused, and a
default makes the same endpoint as the endpoint's own key."""


def test_every_key_of_the_schema_has_a_test_of_what_it_does() -> None:
    missing, strange = leaves() - TABLE.keys(), TABLE.keys() - leaves()
    assert not missing, "no test of what it does: name one in every_key.yaml"
    assert not strange, "no key of the schema any more: drop it from every_key.yaml"


@pytest.mark.parametrize("key", TABLE)
def test_the_defined_in_a_key_exist_and_are_of_what_it_does(key: str) -> None:
    assert TABLE[key]
    for test in TABLE[key]:
        path, _, name = test.partition("::")
        assert name in defined_in(path), f"{key}: there is no {test}"
    if not key.startswith(IN_THE_FILE_ALONE):
        assert any(not test.startswith("tests/config/") for test in TABLE[key]), (
            f"{key}: a test in tests/config cannot show that the gateway heeds it"
        )


@cache
def defined_in(path: str) -> frozenset[str]:
    """The test functions that a file defines."""
    if not (ROOT / path).is_file():
        return frozenset()
    return frozenset(
        node.name
        for node in ast.parse((ROOT / path).read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    )
