"""docs/endpoints.md: every block is a configuration that loads."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.config.conftest import ENVIRON

from hookpost.config import load

PAGE = (Path(__file__).parents[1] / "docs" / "endpoints.md").read_text("utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FITTING = {"crm-new": ENVIRON["KEY"], "crm-key": ENVIRON["PRIVATE"]}


@pytest.mark.parametrize(
    "block", BLOCKS, ids=lambda text: next(iter(yaml.safe_load(text)["endpoints"]))
)
def test_every_block_is_a_configuration(tmp_path: Path, block: str) -> None:
    document: dict[str, Any] = yaml.safe_load(block)
    (tmp_path / "secrets").mkdir(mode=0o700)
    for name in document.get("secrets", ()):
        file = tmp_path / "secrets" / name
        file.write_text(FITTING.get(name, "fake-secret-of-the-tests"))
        file.chmod(0o600)
    whole = tmp_path / "gateway.yaml"
    whole.write_text(block)
    loaded = load(whole)
    assert {item.code for item in loaded.diagnostics} <= {"unused-name", "unsigned-endpoint"}, (
        loaded.render()
    )
    assert loaded.config is not None
