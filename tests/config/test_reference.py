"""The page about the configuration is made from the schema."""

from pathlib import Path

from hookpost.config import schema
from hookpost.config.reference import render

PAGE = Path(__file__).parents[2] / "docs/configuration.md"


def test_the_page_is_up_to_date() -> None:
    told = "make it anew: python -m hookpost.config.reference > docs/configuration.md"
    assert PAGE.read_text("utf-8") == render(), told


def test_every_top_key_and_every_option_is_on_the_page() -> None:
    page = render()
    for key in schema.schema()["properties"]:
        assert f"### `{key}`" in page
    for key in schema.schema()["properties"]["endpoint_defaults"]["properties"]:
        assert f"`endpoints.NAME.{key}`" in page
        assert f"`endpoint_defaults.{key}`" in page
