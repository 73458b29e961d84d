"""A configuration written into a temporary directory and loaded."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hookpost.config import Loaded, load

ENVIRON = {
    "TOKEN": "token-for-publishers",
    "KEY": "whsec_" + "A" * 32,
    "EMPTY": "",
    "WORD": "not-a-key-at-all",
    "TINY": "wowo",
    "PRIVATE": "whsk_RkFLRS1BLXNoYXJlZC1OT1QtQS1SRUFMLVNFRUQtMDDHTiLwHzLNBXT8wcZnO/xLbF7tKa1EgUFJYUQzeLQZYg==",  # noqa: E501
    "PUBLIC": "whpk_x04i8B8yzQV0/MHGZzv8S2xe7SmtRIFBSWFEM3i0GWI=",
    "MISFIT": "whsk_RkFLRS1BLXNoYXJlZC1OT1QtQS1SRUFMLVNFRUQtMDA5cgggcKo6+WLDUhwAz55rYbDomvG8NoIGqeO2zvqypg==",  # noqa: E501
    "SPACED": " spaced-out ",
    "BAD_URL": "https://user:hunter2@example.com/",
    "GOOD_URL": "https://hooks.example.com/T0/B0",
}
WALL = 1_800_000_000.0
"""When keys must be live: January 2027."""

Write = Callable[..., Loaded]


@pytest.fixture
def environ() -> Mapping[str, str]:
    """Where the secrets of the tests stand."""
    return ENVIRON


@pytest.fixture
def loading(tmp_path: Path) -> Write:
    """Write a text as gateway.yaml and load it."""

    def write(text: str | bytes, **options: Any) -> Loaded:
        path = tmp_path / "gateway.yaml"
        if isinstance(text, bytes):
            path.write_bytes(text)
        else:
            path.write_text(text, encoding="utf-8")
        return load(path, **{"environ": ENVIRON, "wall": WALL, **options})

    return write


@pytest.fixture
def codes() -> Callable[[Loaded], list[str]]:
    """The codes of what was found, in order."""
    return lambda loaded: [item.code for item in loaded.diagnostics]
