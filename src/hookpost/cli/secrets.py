"""`hookpost secrets generate`: a random secret, on stdout or in a private file."""

import argparse
import base64
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from hookpost.cli import exits

LEAST, MOST = 24, 64  # bytes of a Standard Webhooks key


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """`hookpost secrets`; it needs no configuration, so it takes none of the common options."""
    del common
    parser = commands.add_parser("secrets", help="make secrets")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    generate = verbs.add_parser(
        "generate", help="a random secret", description="Make a random secret: PREFIX + base64."
    )
    generate.add_argument("--prefix", default="whsec_", help="what it begins with (whsec_)")
    generate.add_argument(
        "--bytes", type=int, default=32, metavar="N",
        help=f"random bytes, {LEAST} to {MOST} (32)",
    )  # fmt: skip
    generate.add_argument(
        "--out", type=Path, metavar="FILE",
        help="write it to a new file of mode 0600, never over an existing one",
    )  # fmt: skip
    generate.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0; 64 for a length out of range, 73 when the file cannot be made, or exists."""
    if not LEAST <= args.bytes <= MOST:
        return _refused(f"--bytes {args.bytes}: {LEAST} to {MOST} are allowed", exits.USAGE)
    if not (args.prefix.isascii() and args.prefix.isprintable() and " " not in args.prefix):
        return _refused(
            f"--prefix {args.prefix!r}: printable ASCII without spaces is allowed", exits.USAGE
        )
    secret = args.prefix + base64.b64encode(secrets.token_bytes(args.bytes)).decode("ascii")
    if args.out is None:
        print(secret)
        return exits.OK
    return _written(args.out, secret)


def _written(path: Path, secret: str) -> int:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _refused(
            f"{path} exists and is not overwritten; choose another name, or remove it first",
            exits.CANNOT_CREATE,
        )
    except OSError as error:
        return _refused(f"{path}: {error.strerror}", exits.CANNOT_CREATE)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask took away
            file.write(secret + "\n")
    except OSError as error:
        path.unlink()
        return _refused(f"{path}: {error.strerror}", exits.CANNOT_CREATE)
    print(f"wrote {path}", file=sys.stderr)
    return exits.OK


def _refused(text: str, code: int) -> int:
    print(f"hookpost secrets: {text}", file=sys.stderr)
    return code
