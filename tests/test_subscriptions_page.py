"""docs/subscriptions.md: every block is a configuration that loads, and says what the page says."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest

from hookpost.config import load
from hookpost.core.expression import Allowance, Mishap
from hookpost.core.settings import Subscription

PAGE = (Path(__file__).parents[1] / "docs" / "subscriptions.md").read_text("utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
REST = """\
version: 1
secrets: {token: {env: TOKEN}, key: {env: KEY}}
sources: {billing: {path: /in/billing, auth: {bearer: [token]}}}
endpoint_defaults: {signing: {standard_webhooks: [key]}}
endpoints:
  crm: {url: "https://crm.example.com/hooks"}
  archive: {url: "https://archive.example.com/hooks"}
"""


def loaded(block: str, folder: Path) -> dict[str, Subscription]:
    path = folder / "gateway.yaml"
    path.write_text(REST + block)
    key = "whsec_" + base64.b64encode(b"k" * 32).decode()
    found = load(path, environ={"TOKEN": "a-token-of-some-length", "KEY": key})
    assert [one.code for one in found.diagnostics] == [], found.render()
    return {one.name: one for one in found.sound().subscriptions}


@pytest.mark.parametrize("block", BLOCKS)
def test_each_block_loads_without_a_warning(block: str, tmp_path: Path) -> None:
    assert loaded(block, tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "value"),
    [
        ("paid", {}, False),
        ("paid", {"paid": True}, True),
        ("large", {}, False),
        ("large", {"amount": 11}, True),
        ("large", {"amount": 9}, False),
    ],
)
def test_a_missing_member_is_no_mistake_of_these_filters(
    name: str, data: Any, value: bool, tmp_path: Path
) -> None:
    formula = loaded(BLOCKS[1], tmp_path)[name].filter
    assert formula is not None
    assert formula.evaluate({"data": data}, Allowance()) is value


def test_every_kind_is_told() -> None:
    assert all(f"`{one.value}`" in PAGE for one in Mishap)
