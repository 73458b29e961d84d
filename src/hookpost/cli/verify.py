"""`hookpost verify`: would a saved request be taken, and if not, which step fails and why."""

import argparse
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from hookpost.cli import exits, output, sources
from hookpost.cli.client import Failure
from hookpost.cli.saved import Saved, Unreadable, parse
from hookpost.clock import SystemClock
from hookpost.core.diagnosis import Diagnosis, Result, diagnose
from hookpost.core.received import HeaderList, Received, called
from hookpost.core.settings import Config, Source

_SHOWN = {Result.OK: "ok", Result.FAILED: "FAILED", Result.NOTE: "-", Result.SKIPPED: "skipped"}


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """`hookpost verify SOURCE --headers FILE < body`."""
    parser = commands.add_parser(
        "verify",
        parents=[common],
        help="check a saved request against a source of the configuration",
        description="Judge a saved request as the gateway would, without a gateway: step by step, "
        "and where it fails, what would fit. Nothing is sent or stored, and no secret is shown. "
        "Exit codes: 0 it would be taken, 1 it would be refused, 64 no such source, 66 no such "
        "file, 78 invalid configuration.",
    )
    parser.add_argument("source", metavar="SOURCE", help="a name under `sources`")
    parser.add_argument(
        "--headers", required=True, metavar="FILE",
        help="the head: `Name: value` lines, a request line before them or not, or JSON",
    )  # fmt: skip
    parser.add_argument(
        "--body", metavar="FILE",
        help="the body's bytes; - is stdin (default, if none follows the headers in their file)",
    )  # fmt: skip
    parser.add_argument("--query", metavar="Q", help="what followed ? in the address")
    parser.add_argument("--method", metavar="M", help="default: as saved, else POST")
    parser.add_argument(
        "--at", type=_time, metavar="TIME",
        help="when it came: UNIX seconds, or 2026-01-31T12:00:00Z; default: now",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the steps, then what was found by trying.

    Exit code 0 where the request would be taken, 1 where it would be refused, 64 for a source or an
    option that does not fit, 66 without a file, 78 for an invalid configuration.
    """
    config = sources.configured(args.config, "verify")
    source = sources.named(config, args.source)
    saved = _saved(args.headers)
    body = saved.body if args.body is None else None
    if body is None:
        body = sources.content(args.body or "-", "--body")
    wall = SystemClock().wall() if args.at is None else args.at
    received = _received(config, source, args, saved, body)
    found = diagnose(config, source, received, wall)
    if args.output == "table":
        _tell(source, found)
    else:
        output.record(_record(source, found), args.output)
    return exits.OK if found.verified else exits.NEGATIVE


def _time(text: str) -> float:
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return float(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        message = (
            f"{text!r} is neither UNIX seconds nor a time with an offset (2026-01-31T12:00:00Z)"
        )
        raise argparse.ArgumentTypeError(message)
    return at.timestamp()


def _saved(file: str) -> Saved:
    content = Path(file.removeprefix("@"))
    try:
        return parse(sources.content(str(content), "--headers"))
    except Unreadable as mistake:
        raise Failure(f"--headers {content}: {mistake}", exits.USAGE) from None


def _received(
    config: Config, source: Source, args: argparse.Namespace, saved: Saved, body: bytes
) -> Received:
    query = (saved.query or "") if args.query is None else args.query.removeprefix("?")
    return Received(
        method=(args.method or saved.method or "POST").upper(),
        url=called(config.url_of(source), query),
        query=query,
        headers=HeaderList(saved.headers),
        body=body,
    )


def _tell(source: Source, found: Diagnosis) -> None:
    width = max(len(step.name) for step in found.steps)
    for step in found.steps:
        shown = output.printable(step.text)
        sys.stdout.write(f"{_SHOWN[step.result]:<8}{step.name.ljust(width)}  {shown}\n")
    for hint in found.hints:
        sys.stdout.write(f"hint    {output.printable(hint.text)} [{hint.code}]\n")
    if found.verified:
        output.say(f'source "{source.name}" would take this request')
    else:
        output.say(f'source "{source.name}" would refuse it: {found.status} {found.refusal}')


def _record(source: Source, found: Diagnosis) -> dict[str, Any]:
    steps = [
        {"step": one.name, "result": one.result.value, "text": _plain(one.text)}
        for one in found.steps
    ]
    hints = [{"code": hint.code, "text": _plain(hint.text)} for hint in found.hints]
    return {
        "source": source.name,
        "verified": found.verified,
        "status": found.status,
        "code": found.refusal,
        "failed": next((one.name for one in found.steps if one.result is Result.FAILED), None),
        "steps": steps,
        "hints": hints,
    }


def _plain(text: str) -> str:
    """Text that can be written as UTF-8, whatever bytes it was made of."""
    return text.encode("utf-8", "backslashreplace").decode()
