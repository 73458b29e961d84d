"""`hookpost listen`: a receiver that verifies, prints, and fails on purpose where it is told to."""

import argparse
import asyncio
import errno
import hashlib
import json
import random
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from hookpost.cli import exits
from hookpost.cli.output import mute, printable, unread
from hookpost.cli.receiver import Fail, Key, key_of, refusal
from hookpost.clock import Clock, SystemClock

if TYPE_CHECKING:
    from aiohttp import web

MAX_BODY = 64 << 20
BODY_SHOWN = 120  # characters
OK_STATUS, UNVERIFIED_STATUS = 204, 401


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """`hookpost listen`; it needs no configuration, so it takes none of the common options."""
    del common
    parser = commands.add_parser(
        "listen",
        help="a receiver that verifies signatures and prints what it gets",
        description="Listen for webhooks, verify Standard Webhooks signatures (v1, v1a), print "
        "each delivery. Answers 204, or 401 where a signature does not verify.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=_port, default=9000, help="port (9000; 0: any that is free)")
    parser.add_argument(
        "--secret-file", action="append", default=[], type=Path, metavar="FILE",
        help="a file with a whsec_ secret or a whpk_ public key; repeat it while keys rotate",
    )  # fmt: skip
    parser.add_argument(
        "--fail", action="append", default=[], metavar="RULE",
        help="fail on purpose: always | first:N | rate:R, each with ,status:CODE (503), for some "
        "event types with type=PATTERN: before it; the first rule that applies wins",
    )  # fmt: skip
    parser.add_argument("--count", type=int, metavar="N", help="end after N requests")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.set_defaults(run=run)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; write a number from 0 to 65535")
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request and what it was answered."""

    at: float
    event_id: str
    event_type: str
    attempt: str
    reason: str | None  # why it does not verify; None: it does
    answered: int
    body: bytes

    def text(self) -> str:
        """One line for people; what a stranger sent is escaped."""
        verified = "verified" if self.reason is None else f"NOT VERIFIED ({self.reason})"
        start = printable(self.body[:BODY_SHOWN].decode("utf-8", "replace"))
        more = "…" if len(self.body) > BODY_SHOWN else ""
        return (
            f"{printable(self.event_id)} {printable(self.event_type)} "
            f"attempt {printable(self.attempt)} {verified} -> {self.answered}  {start}{more}"
        )

    def json(self) -> str:
        """One line for scripts; `sha256` is that of the whole body."""
        shown = {
            "receivedAt": self.at,
            "eventId": self.event_id,
            "eventType": self.event_type,
            "attempt": int(self.attempt) if self.attempt.isdecimal() else None,
            "verified": self.reason is None,
            "reason": self.reason,
            "answered": self.answered,
            "bytes": len(self.body),
            "sha256": hashlib.sha256(self.body).hexdigest(),
            "body": self.body.decode("utf-8", "replace"),
        }
        return json.dumps(shown)


class Receiver:
    """Takes requests, one after another: verifies, decides the answer, hands it to `show`.

    `done` is set when `count` requests were taken; `unverified` counts those that did not verify.
    Without keys nothing can verify, and everything is answered as if it had.
    """

    def __init__(
        self,
        *,
        keys: Sequence[Key],
        fails: Sequence[Fail],
        show: Callable[[Received], None],
        clock: Clock,
        dice: Callable[[], float],
        count: int | None = None,
    ) -> None:
        self._keys = keys
        self._fails = fails
        self._show = show
        self._clock = clock
        self._dice = dice
        self._left = count
        self.done = asyncio.Event()
        self.unverified = 0

    def take(self, headers: Mapping[str, str], body: bytes) -> int:
        """The status to answer one request with."""
        wall = self._clock.wall()
        event_id = headers.get("webhook-id", "")
        event_type = unquote(headers.get("hookpost-event-type", ""))
        reason = refusal(headers, body, self._keys, wall) if self._keys else "no --secret-file"
        status = OK_STATUS
        if reason is not None and self._keys:
            status = UNVERIFIED_STATUS
            self.unverified += 1
        else:
            status = self._failed(event_id, event_type) or OK_STATUS
        received = Received(
            at=wall,
            event_id=event_id,
            event_type=event_type,
            attempt=headers.get("hookpost-attempt", "-"),
            reason=reason,
            answered=status,
            body=body,
        )
        self._show(received)
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self.done.set()
        return status

    def _failed(self, event_id: str, event_type: str) -> int | None:
        answers = (fail.answer(event_id, event_type, self._dice) for fail in self._fails)
        return next((status for status in answers if status is not None), None)


def receiver_app(receiver: Receiver) -> "web.Application":
    """POST to any path; everything else is 405."""
    from aiohttp import web

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        return web.Response(status=receiver.take(request.headers, body))

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_post("/{path:.*}", take)
    return app


def run(args: argparse.Namespace) -> int:
    """Listen until interrupted or `--count`.

    Exit code 0; 1 when something did not verify; 64 for a bad rule or secret, 66 for a missing
    secret file, 69 for an address that is taken, 73 where stdout takes no more.
    """
    try:
        fails = [Fail.parse(text) for text in args.fail]
    except ValueError as error:
        return _refused(f"--fail {error}", exits.USAGE)
    if args.count is not None and args.count < 1:
        return _refused(f"--count {args.count}: at least 1", exits.USAGE)
    keys: list[Key] = []
    for path in args.secret_file:
        try:
            keys.append(key_of(path.read_text(encoding="utf-8")))
        except OSError as error:
            return _refused(f"--secret-file {path}: {error.strerror}", exits.NO_INPUT)
        except ValueError as error:
            return _refused(f"--secret-file {path}: {error}", exits.USAGE)
    line = Received.json if args.output == "json" else Received.text
    return asyncio.run(_serve(args, keys, fails, line))


async def _serve(
    args: argparse.Namespace,
    keys: Sequence[Key],
    fails: Sequence[Fail],
    line: Callable[[Received], str],
) -> int:
    from aiohttp import web

    printed = _Printed()
    receiver = Receiver(
        keys=keys,
        fails=fails,
        show=lambda received: printed.write(line(received), receiver.done),
        clock=SystemClock(),
        dice=random.Random().random,  # noqa: S311 - which attempts fail is no secret
        count=args.count,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, receiver.done.set)
    runner = web.AppRunner(receiver_app(receiver), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, args.host, args.port)
        await site.start()
        host, port = runner.addresses[0][:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"listening on http://{shown}:{port}", file=sys.stderr, flush=True)
        await receiver.done.wait()
    except OSError as error:
        return _refused(f"{args.host}:{args.port}: {_why(error)}", exits.UNAVAILABLE)
    finally:
        await runner.cleanup()
    if printed.failed is not None:
        return _refused(f"standard output: {printed.failed}", exits.CANNOT_CREATE)
    return exits.NEGATIVE if receiver.unverified else exits.OK


class _Printed:
    """Lines on stdout. `failed` says why they cannot be written any more."""

    failed: str | None = None

    def write(self, text: str, done: asyncio.Event) -> None:
        """Print one line; when nobody reads any more, or it has no place, that is the end."""
        try:
            print(text, flush=True)
        except OSError as error:
            mute(sys.stdout)
            if not isinstance(error, BrokenPipeError):
                self.failed = error.strerror
            done.set()
        if unread():
            done.set()


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another process listens there; choose another --port (0: any that is free)"
    if error.errno == errno.EACCES:
        return "ports below 1024 need privileges; choose another --port"
    return str(error)


def _refused(text: str, code: int) -> int:
    print(f"hookpost listen: {text}", file=sys.stderr)
    return code
