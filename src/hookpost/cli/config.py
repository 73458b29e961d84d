"""`hookpost config init | show | schema`: a file to begin with, what is in force, the schema."""

import argparse
import base64
import os
import secrets
import sys
from importlib import resources
from pathlib import Path
from typing import Any, TextIO

from hookpost.cli import exits


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """`hookpost config` and its verbs."""
    parser = commands.add_parser("config", help="write, show and describe configurations")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    begin = verbs.add_parser(
        "init",
        parents=[common],
        help="write a file to begin with, and its secrets",
        description="Write a commented configuration and the two secrets that it names, beside "
        "it and private. Nothing is ever overwritten.",
    )
    begin.add_argument("file", nargs="?", type=Path, metavar="FILE", help="instead of --config")
    begin.set_defaults(run=lambda args: init(args.file or args.config))
    shown = verbs.add_parser(
        "show", parents=[common], help="print the configuration, all files together, redacted"
    )
    shown.add_argument("file", nargs="?", type=Path, metavar="FILE", help="instead of --config")
    shown.add_argument("--effective", action="store_true", help="with every default filled in")
    shown.set_defaults(run=lambda args: show(args.file or args.config, effective=args.effective))
    described = verbs.add_parser("schema", help="print the JSON Schema of gateway.yaml")
    described.set_defaults(run=lambda args: schema())


def init(path: Path, *, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Write a configuration and its secrets; the exit code, 73 if the file exists already.

    A secret's file that exists is kept: it may be in use.
    """
    out, err = out or sys.stdout, err or sys.stderr
    text = resources.files("hookpost.config").joinpath("starting.yaml").read_text("utf-8")
    values = {
        "app-token": secrets.token_urlsafe(32),
        "receiver": "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
    }
    directory = path.parent / "secrets"
    try:
        if path.exists() or path.is_symlink():
            raise FileExistsError
        directory.mkdir(mode=0o700, exist_ok=True)
        for name, value in values.items():
            made = _written(directory / name, value + "\n", 0o600)
            out.write(f"{directory / name}: {'made' if made else 'kept, it was there'}\n")
        if not _written(path, text, 0o640):
            raise FileExistsError
    except FileExistsError:
        err.write(f"{path} exists and is not overwritten; choose another name\n")
        return exits.CANNOT_CREATE
    except OSError as mistake:
        err.write(f"{mistake.filename or path} cannot be made: {mistake.strerror}\n")
        return exits.CANNOT_CREATE
    out.write(f"{path}: made; check it with: hookpost check {path}\n")
    return exits.OK


def _written(path: Path, text: str, mode: int) -> bool:
    """Make a new file; False where there is one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return True


def show(
    path: Path, *, effective: bool = False, out: TextIO | None = None, err: TextIO | None = None
) -> int:
    """Print the configuration as YAML, secrets neither looked up nor shown; the exit code."""
    from hookpost.config import load, shown

    out, err = out or sys.stdout, err or sys.stderr
    loaded = load(path, secrets="skip")
    if loaded.config is None:
        err.write(loaded.render(context=err.isatty()))
        return loaded.exit_code
    out.write(shown(loaded, effective=effective))
    return exits.OK


def schema(*, out: TextIO | None = None) -> int:
    """Print the schema; the exit code."""
    from hookpost.config import schema_text

    (out or sys.stdout).write(schema_text())
    return exits.OK
