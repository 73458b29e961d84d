"""One broken file a mistake: the whole message, and nothing but it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from hookpost.config import load

MISTAKES = Path(__file__).with_name("mistakes")
FILES = sorted(MISTAKES.glob("*.yaml"))
EXPECT = "# expect: "


def expectation(path: Path) -> str:
    """The first line of a file, which need not be text as a whole."""
    return path.read_bytes().split(b"\n", 1)[0].decode("utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_mistake_gives_its_one_message(path: Path, environ: Mapping[str, str]) -> None:
    first = expectation(path)
    loaded = load(path, environ=environ, wall=1_800_000_000.0)
    shown = loaded.render().replace(f"{MISTAKES}/", "").splitlines()
    assert shown == [first.removeprefix(EXPECT)]
    assert first.startswith(EXPECT)


def test_a_mistake_refuses_the_file_and_a_warning_does_not(environ: Mapping[str, str]) -> None:
    for path in FILES:
        loaded = load(path, environ=environ, wall=1_800_000_000.0)
        assert (loaded.config is None) == bool(loaded.errors), path
        assert loaded.exit_code == (78 if loaded.errors else 0), path


def test_there_are_at_least_sixty_mistakes_and_none_has_a_value_of_a_secret() -> None:
    texts = [expectation(path) for path in FILES]
    assert len(texts) >= 60
    assert not any("hunter2" in text or "Tr0ub4dor" in text for text in texts)
