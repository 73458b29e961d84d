"""`deliveries`, `dead-letters` and `endpoints`: looking at records and changing them."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from hookpost.cli import exits, output
from hookpost.cli.client import AdminClient, Failure, path_of
from hookpost.core.model import DeadReason, State

DELIVERY_COLUMNS = (
    "id", "state", "reason", "endpoint", "eventType", "eventId", "attempts", "acceptedAt",
    "nextAt", "error.message",
)  # fmt: skip
BLOCKED_COLUMNS = (
    "id", "endpoint", "order.key", "order.behind", "order.since", "eventType", "eventId",
)  # fmt: skip
DEAD_COLUMNS = (
    "id", "endpoint", "reason", "originalEvent.eventType", "originalEvent.eventId", "attempts",
    "addedAt", "error.kind", "error.message",
)  # fmt: skip
ENDPOINT_COLUMNS = (
    "name", "state", "pausedBy", "heldBy", "breaker", "pending", "inFlight", "parked",
    "deadLetters", "delivered", "url",
)  # fmt: skip
PAGE = 100


class Verbs(Protocol):
    """Where the verbs go: a running daemon, or the database of a stopped one."""

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """Look."""
        ...

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Change."""
        ...


def add_selection(parser: argparse.ArgumentParser, *, states: bool) -> None:
    """The options that select deliveries."""
    parser.add_argument("--endpoint", metavar="NAME", help="owed to this endpoint")
    parser.add_argument("--source", metavar="NAME", help="accepted from this source")
    parser.add_argument("--event", metavar="ID", help="of this event id")
    parser.add_argument("--type", metavar="TYPE", help="of this event type")
    reasons = tuple(reason.value for reason in DeadReason)
    parser.add_argument(
        "--reason", choices=reasons, metavar="REASON", help=f"dead for: {', '.join(reasons)}"
    )
    parser.add_argument("--after", metavar="TIME", help="accepted at or after (RFC 3339)")
    parser.add_argument("--before", metavar="TIME", help="accepted before (RFC 3339)")
    if states:
        parser.add_argument(
            "--state", type=_states, metavar="STATE", help=f"any, by commas, of: {', '.join(State)}"
        )
        parser.add_argument(
            "--blocked", action="store_true", help="waiting behind another that goes first"
        )


def selection(args: argparse.Namespace) -> dict[str, Any]:
    """The options as the admin socket takes them; only those that were given."""
    given: dict[str, Any] = {
        "endpoint": args.endpoint,
        "source": args.source,
        "eventId": args.event,
        "eventType": args.type,
        "reason": args.reason,
        "acceptedAfter": _moment(args.after),
        "acceptedBefore": _moment(args.before),
    }
    states = getattr(args, "state", None)
    if states is not None:
        given["states"] = states
    if getattr(args, "blocked", False):
        given["blocked"] = True
    return {key: value for key, value in given.items() if value is not None}


def _states(text: str) -> list[str]:
    states = text.split(",")
    for state in states:
        if state not in list(State):
            raise argparse.ArgumentTypeError(
                f"{state!r} is no state; the states are {', '.join(State)}"
            )
    return states


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _moment(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
    except ValueError:
        raise Failure(
            f"{text!r} is no RFC 3339 time; write one like 2026-01-31T08:00:00Z", exits.USAGE
        ) from None
    if at.tzinfo is None:
        raise Failure(f"{text!r} has no offset: append Z or +00:00", exits.USAGE)
    return at.timestamp()


def list_pages(verbs: Verbs, path: str, key: str, args: argparse.Namespace) -> list[Any]:
    """Pages of a list up to `--limit` records, newest first; says so where there are more."""
    query = selection(args)
    if "states" in query:
        query["states"] = ",".join(query["states"])
    if "blocked" in query:
        query["blocked"] = "true"
    found: list[Any] = []
    before = None
    while len(found) < args.limit:
        page = verbs.get(path, before=before, limit=min(PAGE, args.limit - len(found)), **query)
        found += page[key]
        before = page["next"]
        if before is None:
            return found
    if verbs.get(path, before=before, limit=1, **query)[key]:
        output.say(f"{len(found)} shown; more with --limit N")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A verb over deliveries: where it goes, its words, and whether it cannot be undone."""

    path: str
    order: str
    done: str
    noun: tuple[str, str]
    final: bool = False


DELIVERIES, DEAD_LETTERS = ("delivery", "deliveries"), ("dead letter", "dead letters")
CHANGES = {
    ("deliveries", "retry"): Change(
        path="/deliveries/retry", order="Retry", done="retried", noun=DELIVERIES
    ),
    ("deliveries", "cancel"): Change(
        path="/deliveries/cancel", order="Cancel", done="cancelled", noun=DELIVERIES, final=True
    ),
    ("dead-letters", "replay"): Change(
        path="/dead-letters/replay", order="Replay", done="replayed", noun=DEAD_LETTERS
    ),
    ("dead-letters", "purge"): Change(
        path="/dead-letters/purge", order="Purge", done="purged", noun=DEAD_LETTERS, final=True
    ),
}


def change(verbs: Verbs, args: argparse.Namespace) -> int:
    """A verb over deliveries given by number or by options; asks if it is in bulk or final."""
    wanted = CHANGES[args.command, args.verb]
    body = _wanted(args)
    counted = verbs.post(wanted.path, {**body, "dryRun": True})
    number = counted[wanted.done]
    if counted.get("leftAlone"):
        why = "their endpoint was removed, or a transform made nothing to send"
        output.say(f"{counted['leftAlone']} are left alone: {why}")
    if args.dry_run:
        return _told(counted, wanted.done, f"would be {wanted.done}", args)
    if number and (wanted.final or not args.ids):
        noun = wanted.noun[number != 1]
        if not output.confirmed(f"{wanted.order} {number} {noun}?", yes=args.yes):
            return exits.NEGATIVE
    if not args.ids and not number:
        return _told(counted, wanted.done, wanted.done, args)
    return _told(verbs.post(wanted.path, body), wanted.done, wanted.done, args)


def _wanted(args: argparse.Namespace) -> dict[str, Any]:
    """What the numbers or the options say; Failure unless it is one of the two."""
    body = selection(args)
    if args.ids and (body or args.all):
        raise Failure("give numbers, or options such as --endpoint or --all, not both", exits.USAGE)
    if not (args.ids or body or args.all):
        raise Failure("which ones? Give numbers, options such as --endpoint, or --all", exits.USAGE)
    if args.ids:
        body["ids"] = args.ids
    to = getattr(args, "to", None)
    return body if to is None else {**body, "to": to}


def _told(answer: Mapping[str, Any], member: str, words: str, args: argparse.Namespace) -> int:
    """Print how many; of those named by number also which not, and why: that is a negative end."""
    number, refused = answer[member], answer.get("refused", ())
    if args.output == "table":
        print(f"{number} {words}")
    else:
        output.record({"count": number, "verb": words, "refused": refused}, args.output)
    for each in refused:
        output.say(f"delivery {each['id']}: {each['why']}")
    changed = len(set(args.ids)) - number - len(refused)
    if changed > 0:
        output.say(f"{changed} changed while they were looked at; try them again")
    return exits.OK if number and not refused and changed <= 0 else exits.NEGATIVE


def deliveries(verbs: Verbs, args: argparse.Namespace) -> int:
    """`deliveries list|show|retry|cancel`."""
    return _records(verbs, args, "deliveries", DELIVERY_COLUMNS)


def dead_letters(verbs: Verbs, args: argparse.Namespace) -> int:
    """`dead-letters list|show|replay|purge`."""
    return _records(verbs, args, "deadLetters", DEAD_COLUMNS)


def _records(verbs: Verbs, args: argparse.Namespace, member: str, columns: Sequence[str]) -> int:
    """One of the two kinds; its path is the command's name, `member` is where a list of it is."""
    match args.verb:
        case "list":
            found = list_pages(verbs, f"/{args.command}", member, args)
            blocked = getattr(args, "blocked", False)
            output.rows(found, BLOCKED_COLUMNS if blocked else columns, args.output)
            return exits.OK
        case "show":
            output.record(verbs.get(path_of(args.command, args.id)), args.output)
            return exits.OK
        case _:
            return change(verbs, args)


def endpoints(client: AdminClient, args: argparse.Namespace) -> int:
    """`endpoints list|show|pause|resume`."""
    match args.verb:
        case "list":
            output.rows(client.get("/endpoints")["endpoints"], ENDPOINT_COLUMNS, args.output)
            return exits.OK
        case "show":
            output.record(client.get(path_of("endpoints", args.name)), args.output)
            return exits.OK
        case verb:
            shown = client.post(path_of("endpoints", args.name, verb))
            overruled = verb == "resume" and shown["state"] == "paused"
            if args.output != "table":
                output.record(shown, args.output)
            elif overruled:
                print(f"{args.name} stays paused: the configuration says `paused: true`")
            else:
                print(f"{args.name} is {shown['state']}")
            return exits.NEGATIVE if overruled else exits.OK


Parser = argparse.ArgumentParser
Run = Callable[[Verbs, argparse.Namespace], int]


def add_parsers(subparsers: Any, common: Parser) -> None:
    """The three groups' arguments."""
    _add_deliveries(subparsers, common)
    _add_dead_letters(subparsers, common)
    group = subparsers.add_parser("endpoints", help="endpoints and what they owe")
    verbs = group.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("list", parents=[common], help="all endpoints")
    for verb, words in (
        ("show", "one endpoint"),
        ("pause", "hold its deliveries until it is resumed"),
        ("resume", "undo a pause, a 410 or the wait that a Retry-After asked for"),
    ):
        parser = verbs.add_parser(verb, parents=[common], help=words)
        parser.add_argument("name", metavar="NAME")


def _add_deliveries(subparsers: Any, common: Parser) -> None:
    group = subparsers.add_parser("deliveries", help="what is owed, and what became of it")
    verbs = group.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_list(verbs, common, "deliveries, newest first", states=True)
    show = verbs.add_parser("show", parents=[common], help="one, with its event and attempts")
    show.add_argument("id", type=_positive, metavar="NUMBER")
    retry = _add_change(verbs, common, "retry", "make pending deliveries due now", states=True)
    retry.add_argument("--to", metavar="ENDPOINT", help="move parked deliveries to this endpoint")
    _add_change(verbs, common, "cancel", "give deliveries up", states=True)


def _add_dead_letters(subparsers: Any, common: Parser) -> None:
    group = subparsers.add_parser("dead-letters", help="deliveries that were given up")
    verbs = group.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_list(verbs, common, "dead letters, newest first", states=False)
    show = verbs.add_parser("show", parents=[common], help="one, with its event and attempts")
    show.add_argument("id", type=_positive, metavar="NUMBER")
    _add_change(verbs, common, "replay", "deliver again, in a new round", states=False)
    _add_change(verbs, common, "purge", "delete for good", states=False)


def _add_list(verbs: Any, common: Parser, words: str, *, states: bool) -> None:
    parser = verbs.add_parser("list", parents=[common], help=words)
    add_selection(parser, states=states)
    parser.add_argument(
        "--limit", type=_positive, default=PAGE, metavar="N", help="at most N records"
    )


def _add_change(verbs: Any, common: Parser, verb: str, words: str, *, states: bool) -> Parser:
    parser: Parser = verbs.add_parser(verb, parents=[common], help=words)
    parser.add_argument("ids", nargs="*", type=_positive, metavar="NUMBER")
    add_selection(parser, states=states)
    parser.add_argument("--all", action="store_true", help="all that the verb applies to")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="only say how many")
    return parser
