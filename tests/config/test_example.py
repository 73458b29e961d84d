"""The example is valid, strictly, and shows every key."""

import shutil
from pathlib import Path

import pytest

from hookpost.config import Loaded, load, schema
from hookpost.config.schema import resolved

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "gateway.example.yaml"
KEY = "whsec_" + "B" * 32


@pytest.fixture
def example(tmp_path: Path) -> Loaded:
    """The example with what it wants around it."""
    shutil.copy(EXAMPLE, tmp_path)
    shutil.copytree(ROOT / "conf.d", tmp_path / "conf.d")
    for folder, names in {
        "secrets": ("github", "legacy", "acme", "receiver", "archive", "crm-token"),
        "credentials": ("crm_new", "crm_old"),
    }.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_text(f"{KEY}\n")
            (tmp_path / folder / name).chmod(0o600)
    environ = {
        "BILLING_TOKEN": "a-token-of-billing",
        "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"),
    }
    return load(tmp_path / "gateway.example.yaml", environ=environ)


def test_the_example_has_no_mistake_and_no_warning(example: Loaded) -> None:
    assert example.render() == ""
    assert example.config is not None


def test_the_example_as_it_lies_there_is_valid_but_for_its_secrets() -> None:
    assert load(EXAMPLE, secrets="skip").render() == ""


def test_the_example_allows_its_own_receiver_on_loopback(example: Loaded) -> None:
    receiver = example.sound().endpoints["receiver"]
    assert receiver.url == "http://127.0.0.1:9000/hooks"
    assert receiver.egress.name == "lan"
    assert any(allowance.port == 9000 for allowance in receiver.egress.allow)


def test_the_example_shows_every_key_of_the_top_and_of_an_endpoint(example: Loaded) -> None:
    top = schema.schema()["properties"]
    assert set(top) <= set(example.merged)
    endpoint = resolved(top["endpoints"]["additionalProperties"])["properties"]
    shown = {*example.merged["endpoints"]["crm"], *example.merged["endpoints"]["receiver"]}
    left_to_defaults = {"circuit_breaker"}
    assert set(endpoint) - shown == left_to_defaults
    assert left_to_defaults <= set(example.merged["endpoint_defaults"])


def test_the_example_begins_with_the_schema_for_editors() -> None:
    first = EXAMPLE.read_text("utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=schema/gateway.schema.json"
