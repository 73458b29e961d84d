"""What a command prints: data on stdout as a table, JSON or JSON lines; words on stderr."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar, cast

FORMATS = ("table", "json", "jsonl")

Row = Mapping[str, Any]
T = TypeVar("T")


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
    """A word to the person, on stderr; where that cannot be written, the exit code must do."""
    try:
        sys.stderr.write(text + "\n")
    except OSError:
        mute(sys.stderr)


def plug() -> bool:
    """Open what was closed before the start, on nothing; whether stdout was there.

    Without it the next file or socket would be given the number of a standard stream, and what is
    printed would end up in it.
    """
    there = getattr(sys, "stdout", None) is not None
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name, None) is None:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
    return there


def flush() -> None:
    """Write what is still buffered."""
    try:
        sys.stderr.flush()
    except OSError:
        mute(sys.stderr)
    sys.stdout.flush()


class Unwritable(OSError):
    """Standard output does not take what is written to it."""


class _Stream:
    """A standard stream without surprises. What cannot be written any more leads nowhere.

    A reader that has left is no error: the command goes on, and its exit code is its own.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.unread = False  # whether its reader has left

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except BrokenPipeError:
            self.unread = True
            mute(self._stream)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        raise Unwritable(error.errno, error.strerror) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Words(_Stream):
    """Standard error: where it cannot be written, the exit code must do."""

    def _fail(self, error: OSError) -> None:
        mute(self._stream)


@contextmanager
def checked() -> Iterator[None]:
    """Errors of stdout are Unwritable, so that no other is taken for one; all is written."""
    plain = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = cast(TextIO, _Stream(plain[0])), cast(TextIO, _Words(plain[1]))
    try:
        yield
        flush()
    finally:
        sys.stdout, sys.stderr = plain


def unread() -> bool:
    """Whether nobody reads standard output any more."""
    return bool(getattr(sys.stdout, "unread", False))


def mute(stream: TextIO) -> None:
    """Let a stream that cannot be written lead nowhere: the interpreter flushes it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


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
