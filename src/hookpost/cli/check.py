"""`hookpost check`: every mistake of a configuration in one run; nothing is bound or made."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any, Literal, TextIO

from hookpost.cli import exits

FORMATS = ("text", "json", "github")
SYSTEM = Path("/etc")  # where the configuration of a service is
SERVICE_USER = "hookpost"  # as whom the shipped unit runs


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """`hookpost check [FILE]`."""
    parser = commands.add_parser(
        "check",
        parents=[common],
        help="find every mistake in the configuration",
        description="Find every mistake in the configuration. Exit codes: 0 ok, 3 warnings with "
        "--strict, 66 no such file, 77 not readable, 78 mistakes. Root is warned of files below "
        "/etc that the user hookpost may not read; better still, check as that user.",
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="instead of --config")
    parser.add_argument("--strict", action="store_true", help="warnings fail, too")
    parser.add_argument(
        "--secrets", choices=("resolve", "skip"), default="resolve",
        help="skip: do not look the secrets' values up, as on a machine that has none",
    )  # fmt: skip
    parser.add_argument("--format", choices=FORMATS, default="text", help="of the findings")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """The command with its arguments; the exit code."""
    return check(
        args.file or args.config, strict=args.strict, secrets=args.secrets, format=args.format
    )


def check(
    path: Path,
    *,
    strict: bool = False,
    secrets: Literal["resolve", "skip"] = "resolve",
    format: str = "text",
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Findings on `out`, one line of summary on `err`; the exit code.

    On a terminal each finding shows its line with a caret.
    """
    from hookpost.config import load

    out, err = out or sys.stdout, err or sys.stderr
    loaded = load(path, secrets=secrets, reader=_reader(path))
    out.write(loaded.render(format, context=out.isatty()))
    errors, warnings = len(loaded.errors), len(loaded.warnings)
    if errors or warnings:
        counted = f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}"
        err.write(f"{path}: {counted}\n")
    else:
        err.write(f"{path}: ok{_unresolved(secrets)}\n")
    if errors:
        return loaded.exit_code
    return exits.WARNINGS if strict and warnings else exits.OK


def _reader(path: Path) -> str | None:
    """The user that will read the files, where root checks what a service will run with."""
    of_a_service = path.absolute().resolve().is_relative_to(SYSTEM)
    return SERVICE_USER if os.geteuid() == 0 and of_a_service else None


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _unresolved(secrets: str) -> str:
    return "" if secrets == "resolve" else " (secrets not looked up)"
