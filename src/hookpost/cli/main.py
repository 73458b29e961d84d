"""The command line: arguments, and which file does what. Imports what a command needs, no more."""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hookpost import __version__
from hookpost.cli import (
    check,
    config,
    exits,
    listen,
    live,
    output,
    records,
    secrets,
    send,
    verify,
)
from hookpost.cli.client import AdminClient, Failure
from hookpost.cli.records import Verbs

LONGEST = 86400.0  # seconds that an option may ask to wait
DEFAULT_CONFIG = "/etc/hookpost/gateway.yaml"


class _Parser(argparse.ArgumentParser):
    """argparse, but with the exit code of sysexits."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(exits.USAGE, f"{self.prog}: error: {message}\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """See ArgumentParser, which hides that help could not be written."""
        if file is sys.stdout:
            sys.stdout.write(message)
        elif message:
            output.say(message.removesuffix("\n"))

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """See ArgumentParser.exit; what was printed is written before."""
        if message:
            self._print_message(message)
        output.flush()
        sys.exit(status)


def main(arguments: Sequence[str], *, hangup_was_asked: Callable[[], bool]) -> int:
    """Run one command; the exit code."""
    writable = output.plug()
    try:
        with output.checked():
            args = _parser().parse_args(arguments)
            if not writable and args.command != "run":
                words = "standard output is closed; send it to /dev/null"
                raise Failure(words, exits.CANNOT_CREATE)
            return _run(args, hangup_was_asked)
    except Failure as failure:
        output.say(f"hookpost: {failure}")
        return failure.code
    except output.Unwritable as error:
        output.mute(sys.stdout)
        output.say(f"hookpost: standard output cannot be written: {error.strerror}")
        return exits.CANNOT_CREATE
    except KeyboardInterrupt:
        return 130


def _run(args: argparse.Namespace, hangup_was_asked: Callable[[], bool]) -> int:
    match args.command:
        case "run":
            from hookpost.daemon.signals import ignore_strays

            ignore_strays()
            from hookpost.daemon.options import Options
            from hookpost.daemon.run import run

            return run(
                Options(
                    path=args.config,
                    log_level=args.log_level,
                    log_format=args.log_format,
                    grace=args.grace,
                    hangup_was_asked=hangup_was_asked,
                )
            )
        case "reload":
            return live.reload(AdminClient(_socket(args), args.timeout), args)
        case "status":
            return live.status(AdminClient(_socket(args)), args)
        case "endpoints":
            return records.endpoints(AdminClient(_socket(args)), args)
        case "deliveries":
            return records.deliveries(_verbs(args), args)
        case "dead-letters":
            return records.dead_letters(_verbs(args), args)
        case _:
            command: Callable[[argparse.Namespace], int] = args.run
            return command(args)


def _socket(args: argparse.Namespace) -> Path:
    """The admin socket: the option, the environment, else a lenient read of the file."""
    if args.socket is not None:
        return Path(args.socket)
    if os.environ.get("HOOKPOST_SOCKET"):
        return Path(os.environ["HOOKPOST_SOCKET"])
    from hookpost.config import lenient_admin_socket, why_unread

    found = lenient_admin_socket(args.config)
    if found is None:
        why, code = why_unread(args.config)
        words = "; so the admin socket is unknown: give --config FILE or --socket PATH"
        raise Failure(why + words, code)
    return found


def _verbs(args: argparse.Namespace) -> Verbs:
    """A running daemon where there is one; else the database that the configuration names."""
    socket = _socket(args)
    client = AdminClient(socket)
    try:
        client.get("/status")
        return client
    except Failure as failure:
        if failure.code != exits.UNAVAILABLE:
            raise
        unreachable = failure
    from hookpost.cli.offline import Offline
    from hookpost.config import lenient_database

    database = lenient_database(args.config)
    if database is None:
        raise unreachable
    return Offline(database, socket)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "-c", "--config", type=Path, metavar="FILE",
        default=Path(os.environ.get("HOOKPOST_CONFIG") or DEFAULT_CONFIG),
        help=f"the configuration (HOOKPOST_CONFIG; {DEFAULT_CONFIG})",
    )  # fmt: skip
    common.add_argument("--socket", metavar="PATH", help="the admin socket (HOOKPOST_SOCKET)")
    common.add_argument(
        "-o", "--output", choices=output.FORMATS, default="table", help="how to print data"
    )
    parser = _Parser(prog="hookpost", description="A webhook gateway daemon.")
    parser.add_argument("--version", action="version", version=f"hookpost {__version__}")
    commands: Any = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands, common)
    reload = commands.add_parser("reload", parents=[common], help="reload and print the verdict")
    reload.add_argument(
        "--timeout", type=_some_seconds, default=60.0, metavar="SECONDS",
        help="how long to wait for the verdict",
    )  # fmt: skip
    commands.add_parser("status", parents=[common], help="what the daemon says of itself")
    records.add_parsers(commands, common)
    for module in (check, config, send, verify, listen, secrets):
        module.add_parser(commands, common)
    return parser


def _add_run(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("run", parents=[common], help="run the gateway")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    parser.add_argument("--log-format", choices=("auto", "text", "json"))
    parser.add_argument(
        "--grace", type=_seconds, default=20.0, metavar="SECONDS",
        help="how long attempts in flight may take at SIGTERM",
    )  # fmt: skip


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.0 <= seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and {LONGEST:.0f} seconds")
    return seconds


def _some_seconds(text: str) -> float:
    seconds = _seconds(text)
    if not seconds:
        raise argparse.ArgumentTypeError("0 seconds is no time to wait; give more")
    return seconds
