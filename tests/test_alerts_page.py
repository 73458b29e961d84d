"""docs/alerts.md: its configuration loads, and its table has every type."""

import re
from pathlib import Path

from hookpost.config import load
from hookpost.core.alerts import Operational

PAGE = (Path(__file__).parents[1] / "docs" / "alerts.md").read_text("utf-8")


def test_the_block_is_a_configuration(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "secrets").mkdir(mode=0o700)
    secret = tmp_path / "secrets" / "pager"
    secret.write_text("whsec_" + "A" * 32)
    secret.chmod(0o600)
    (tmp_path / "gateway.yaml").write_text(block)
    loaded = load(tmp_path / "gateway.yaml")
    assert loaded.render() == ""


def test_the_table_has_every_type_and_no_other() -> None:
    rows = re.findall(r"^\| (`[^|]*) \|", PAGE, re.MULTILINE)
    told = [kind for row in rows for kind in re.findall(r"`([a-z.]+)`", row)]
    assert sorted(f"hookpost.{kind}" for kind in told) == sorted(Operational)
