"""What a command prints: data on stdout as a table, JSON or JSON lines; words on stderr."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

FORMATS = ("table", "json", "jsonl")

Row = Mapping[str, Any]


def printable(value: object) -> str:
    """One cell: control and bidi characters of strangers are escaped, None is a dash."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value) or "-"
    if isinstance(value, Mapping):
        value = json.dumps(value, ensure_ascii=False)
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in str(value)
    )


def table(rows: Sequence[Row], columns: Sequence[str], out: TextIO | None = None) -> None:
    """Rows under headings, columns as wide as they need to be; on stdout, or `out`."""
    out = out or sys.stdout
    cells = [[printable(_at(row, column)) for column in columns] for row in rows]
    heads = [column.rsplit(".", 1)[-1].upper() for column in columns]
    widths = [
        max(len(head), *(len(line[index]) for line in cells)) if cells else len(head)
        for index, head in enumerate(heads)
    ]
    for line in [heads, *cells]:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        out.write(text.rstrip() + "\n")


def _at(row: Row, path: str) -> object:
    value: object = row
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def rows(rows: Sequence[Row], columns: Sequence[str], style: str) -> None:
    """A list of records in the chosen style; dotted columns reach into members."""
    if style == "json":
        document(list(rows))
    elif style == "jsonl":
        for row in rows:
            sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
    else:
        table(rows, columns)


def document(value: object) -> None:
    """One value as indented JSON."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def record(row: Row, style: str) -> None:
    """One record: `key: value` lines, or JSON."""
    if style == "table":
        _tell(row, "")
    elif style == "jsonl":
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")
    else:
        document(row)


def _tell(row: Row, indent: str) -> None:
    width = max((len(key) for key in row), default=0)
    for key, value in row.items():
        if isinstance(value, Mapping) and value:
            sys.stdout.write(f"{indent}{key}:\n")
            _tell(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for number, item in enumerate(value, 1):
                sys.stdout.write(f"{indent}{key} {number}:\n")
                _tell(item, indent + "  ")
        else:
            sys.stdout.write(f"{indent}{(key + ':').ljust(width + 2)}{printable(value)}\n")


def say(text: str) -> None:
    """A word to the person, on stderr."""
    sys.stderr.write(text + "\n")


def colours(stream: TextIO) -> bool:
    """Whether to colour: a terminal, and NO_COLOR not set."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def confirmed(question: str, *, yes: bool) -> bool:
    """Ask before a destructive verb; off a terminal only `--yes` will do."""
    if yes:
        return True
    if not sys.stdin.isatty():
        say(f"{question} Not asked off a terminal: give --yes, or --dry-run to look first.")
        return False
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
