"""docs/sources.md: a section for each provider, and every block is a configuration that loads."""

import hmac
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.web.test_presets import secret_of

from hookpost.cli.check import check
from hookpost.config import load, presets
from hookpost.core.diagnosis import diagnose
from hookpost.core.received import HeaderList, Received

PAGE = (Path(__file__).parents[1] / "docs" / "sources.md").read_text("utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SECTIONS = dict(re.findall(r"^### ([a-z0-9-]+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))

REST = {
    "version": 1,
    "endpoints": {
        "crm": {"url": "https://crm.example.com/", "signing": {"standard_webhooks": ["k"]}}
    },
    "subscriptions": {"all": {"endpoints": ["crm"]}},
}


def written(folder: Path, block: str) -> Path:
    """The block as a whole configuration, with a secret that fits in each file."""
    document: dict[str, Any] = yaml.safe_load(block)
    secrets = dict.fromkeys(document["secrets"], "placeholder-0123456789abcdef")
    for source in document["sources"].values():
        for name in source.get("secrets", ()):
            secrets[name] = secret_of(source["preset"])
    (folder / "secrets").mkdir(mode=0o700)
    for name, value in {**secrets, "k": "whsec_" + "A" * 40}.items():
        (folder / "secrets" / name).write_text(value)
        (folder / "secrets" / name).chmod(0o600)
    file = folder / "gateway.yaml"
    text = ("\n" + block).replace("\nsecrets: {", "\nsecrets: {k: {file: secrets/k}, ", 1)
    text = text.replace("\nsecrets:\n", "\nsecrets:\n  k: {file: secrets/k}\n", 1)
    file.write_text(text + yaml.safe_dump(REST))
    return file


@pytest.mark.parametrize(
    "block", BLOCKS, ids=lambda block: next(iter(yaml.safe_load(block)["sources"]))
)
def test_every_block_passes_the_strict_check(
    tmp_path: Path, block: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(written(tmp_path, block), strict=True) == 0, capsys.readouterr().out


def test_every_provider_has_its_section() -> None:
    assert list(SECTIONS) == list(dict.fromkeys(SECTIONS))
    assert SECTIONS.keys() == presets.rows().keys()
    for name, text in SECTIONS.items():
        assert f"preset: {name}" in text, name
        assert "*At " in text or name in ("zoom-body", "zoom-token"), name
        assert "*Signed*" in text, name
        status = presets.rows()[name].get("answer", {}).get("status")
        told = re.search(r"\*Answered\*\s+(\d+)|answer as `zoom`", text)
        if status is not None and name != "zoom-token":
            assert told is not None, name
            assert told[1] in (None, str(status)), name
        assert ("handshake" in presets.rows()[name]) == ("andshake*" in text), name


def test_every_link_inside_the_page_leads_somewhere() -> None:
    heads = re.findall(r"^##+ (.*)$", PAGE, re.MULTILINE)
    anchors = {head.lower().replace(" ", "-") for head in heads}
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= anchors
    for file in re.findall(r"\]\(([a-z]+\.md)\)", PAGE):
        assert (Path(__file__).parents[1] / "docs" / file).is_file()


def test_the_worked_example_takes_what_it_says(tmp_path: Path) -> None:
    block = next(block for block in BLOCKS if "  acme:" in block)
    config = load(written(tmp_path, block)).sound()
    body = b'{"event":"order.paid","order":{"id":7}}'
    signed = b"1760000000." + body
    made = hmac.new(b"placeholder-0123456789abcdef", signed, "sha256").hexdigest()
    received = Received(
        method="POST",
        headers=HeaderList([("Acme-Signature", f"t=1760000000,v1={made}")]),
        body=body,
    )
    found = diagnose(config, config.sources["acme"], received, 1760000100.0)
    assert found.verified, found
    assert ("type", "order.paid") in [(step.name, step.text) for step in found.steps]
