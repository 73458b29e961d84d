"""`reload` and `status`: two words with a running daemon."""

import argparse
from typing import Any

from hookpost.cli import exits, output
from hookpost.cli.client import AdminClient

RELOADED = {
    "applied": exits.OK,
    "unchanged": exits.OK,
    "invalid": exits.INVALID_CONFIG,
    "restart_required": exits.WARNINGS,
    "error": exits.UNAVAILABLE,
}
COLUMNS = (
    "name", "state", "pending", "inFlight", "parked", "deadLetters", "delivered", "breaker",
    "heldBy",
)  # fmt: skip


def reload(client: AdminClient, args: argparse.Namespace) -> int:
    """Ask for a reload, wait, print the verdict; 0, 3 restart needed, 78 invalid."""
    report = client.post("/reload")
    if args.output != "table":
        output.record(report, args.output)
        return RELOADED[report["result"]]
    for warning in report["warnings"]:
        output.say(warning)
    for mistake in report["mistakes"]:
        output.say(mistake)
    for change in report["changes"]:
        print(change)
    print(_verdict(report))
    return RELOADED[report["result"]]


def _verdict(report: dict[str, Any]) -> str:
    old, new = report["oldHash"], report["newHash"]
    match report["result"]:
        case "applied":
            return f"reloaded: {old} -> {new}, {_counted(len(report['changes']), 'change')}"
        case "unchanged":
            return f"unchanged: {old}"
        case "restart_required":
            return f"refused: a restart is needed; {old} stays in force"
        case "invalid":
            return f"refused: {_counted(len(report['mistakes']), 'mistake')}; {old} stays in force"
        case _:
            return f"failed; {old} stays in force"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def status(client: AdminClient, args: argparse.Namespace) -> int:
    """What the daemon says of itself."""
    shown = client.get("/status")
    if args.output != "table":
        output.record(shown, args.output)
        return exits.OK
    endpoints = client.get("/endpoints")["endpoints"]
    output.record({key: value for key, value in shown.items() if key != "endpoints"}, "table")
    print()
    output.table(endpoints, COLUMNS)
    return exits.OK
