"""`hookpost secrets generate`: a random secret or a pair of keys, on stdout or in a file."""

import argparse
import base64
import json
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
    generate.add_argument("--prefix", help="what it begins with (whsec_)")
    generate.add_argument(
        "--bytes", type=int, metavar="N", help=f"random bytes, {LEAST} to {MOST} (32)"
    )
    generate.add_argument(
        "--ed25519", action="store_true",
        help="a private key, whsk_…; its public key for receivers, whpk_…, goes to stderr",
    )  # fmt: skip
    generate.add_argument(
        "--out", type=Path, metavar="FILE",
        help="write it to a new file of mode 0600, never over an existing one",
    )  # fmt: skip
    generate.add_argument("-o", "--output", choices=("text", "json"), default="text")
    generate.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0; 64 for a length out of range, 73 when the file cannot be made, or exists."""
    try:
        secret, public = _pair(args) if args.ed25519 else (_shared(args), None)
    except ValueError as mistake:
        return _refused(str(mistake), exits.USAGE)
    if args.out is not None:
        code = _written(args.out, secret)
        if code != exits.OK:
            return code
    shown = {"file": str(args.out)} if args.out is not None else {"secret": secret}
    if args.output == "json":
        print(json.dumps(shown | ({} if public is None else {"public": public})))
        return exits.OK
    if args.out is None:
        print(secret)
    if public is not None:
        print(f"public key, for receivers: {public}", file=sys.stderr)
    return exits.OK


def _shared(args: argparse.Namespace) -> str:
    size = 32 if args.bytes is None else args.bytes
    prefix = "whsec_" if args.prefix is None else args.prefix
    if not LEAST <= size <= MOST:
        raise ValueError(f"--bytes {size}: {LEAST} to {MOST} are allowed")
    if not (prefix.isascii() and prefix.isprintable() and " " not in prefix):
        raise ValueError(f"--prefix {prefix!r}: printable ASCII without spaces is allowed")
    return str(prefix) + base64.b64encode(secrets.token_bytes(size)).decode("ascii")


def _pair(args: argparse.Namespace) -> tuple[str, str]:
    from hookpost.config.keys import new_ed25519

    if args.bytes is not None or args.prefix is not None:
        raise ValueError("--ed25519 makes keys of one form: leave out --bytes and --prefix")
    return new_ed25519()


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
