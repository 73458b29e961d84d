"""Statements by name, from the `.sql` files beside this module.

A statement is introduced by `-- name: put_event`, a sentence and the text. `?...` and `(...)...`
repeat a placeholder or a row; one text for each size keeps SQLite's statement cache useful.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Any

CHUNK = 32  # rows in one statement: larger gains nothing

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_ROWS = re.compile(r"(\([?, ]+\))\.\.\.")


@cache
def statements(file: str) -> dict[str, str]:
    """{name: text} of `queries/<file>.sql`, comments left out."""
    text = (resources.files(__package__) / "queries" / f"{file}.sql").read_text("utf-8")
    names_and_texts = _NAME.split(text)[1:]
    lines = (block.splitlines() for block in names_and_texts[1::2])
    bodies = ("\n".join(s for s in block if not s.startswith("--")).strip() for block in lines)
    return dict(zip(names_and_texts[::2], bodies, strict=True))


@cache
def repeated(file: str, name: str, count: int) -> str:
    """The statement with its repeated part written `count` times."""
    text = statements(file)[name]
    text = _ROWS.sub(lambda match: ", ".join([match[1]] * count), text)
    return text.replace("?...", ", ".join("?" * count))


@cache
def migrations() -> list[tuple[int, str]]:
    """(number, script) of every migration, in order."""
    folder = resources.files(__package__) / "migrations"
    scripts = (entry for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return sorted((int(entry.name.split("_")[0]), entry.read_text("utf-8")) for entry in scripts)


def chunks(values: Sequence[Any], width: int = 1) -> Iterator[tuple[int, Sequence[Any]]]:
    """(rows, flat values) for statements of at most CHUNK rows of `width` values each."""
    step = CHUNK * width
    for start in range(0, len(values), step):
        part = values[start : start + step]
        yield len(part) // width, part
