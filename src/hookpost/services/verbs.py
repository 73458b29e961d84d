"""The verbs by their paths: what the admin socket of a running daemon serves, and what the command
line performs on a stopped one's database. One table for both.
"""

import math
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from hookpost.core.errors import GatewayError, NotFound
from hookpost.core.model import DeadReason, DeliveryId, State
from hookpost.services.operations import PAGE, Operations
from hookpost.services.views import Shown
from hookpost.storage.outbox import Selection

T = TypeVar("T")
IDS_MAX = 10_000  # numbers that one request may name
SECONDS = "a time in UNIX seconds"
KEYS = frozenset(
    {
        *("ids", "endpoint", "source", "eventId", "eventType", "states", "reason", "blocked"),
        *("acceptedAfter", "acceptedBefore", "before", "limit", "to", "dryRun"),
    }
)
Parameters = Mapping[str, Any]
Verb = Callable[[Operations, str, Parameters], Awaitable[Shown]]


class BadRequest(GatewayError):
    """The parameters do not fit; the text says which."""


async def perform(operations: Operations, method: str, path: str, parameters: Parameters) -> Shown:
    """Do what a method and a path ask for; `parameters` are the query or the JSON body.

    Raises BadRequest, NotFound, Conflict or OutboxError.
    """
    for wanted, pattern, verb in ROUTES:
        match = pattern.fullmatch(path)
        if match is not None and wanted == method:
            return await verb(operations, match["what"] if match.groups() else "", parameters)
    raise NotFound(f"there is nothing at {method} {path}")


async def _deliveries(operations: Operations, _: str, given: Parameters) -> Shown:
    return await operations.deliveries(*_page(given))


async def _delivery(operations: Operations, number: str, _: Parameters) -> Shown:
    return await operations.delivery(int(number))


async def _retry(operations: Operations, _: str, given: Parameters) -> Shown:
    to = _text(given, "to")
    return await operations.retry(selection_of(given), to=to, dry_run=_dry(given))


async def _cancel(operations: Operations, _: str, given: Parameters) -> Shown:
    return await operations.cancel(selection_of(given), dry_run=_dry(given))


async def _dead_letters(operations: Operations, _: str, given: Parameters) -> Shown:
    return await operations.dead_letters(*_page(given))


async def _dead_letter(operations: Operations, number: str, _: Parameters) -> Shown:
    return await operations.dead_letter(int(number))


async def _replay(operations: Operations, _: str, given: Parameters) -> Shown:
    return await operations.replay(selection_of(given), dry_run=_dry(given))


async def _purge(operations: Operations, _: str, given: Parameters) -> Shown:
    return await operations.purge(selection_of(given), dry_run=_dry(given))


async def _endpoints(operations: Operations, _: str, __: Parameters) -> Shown:
    return operations.endpoints()


async def _endpoint(operations: Operations, name: str, _: Parameters) -> Shown:
    return await operations.endpoint(name)


async def _pause(operations: Operations, name: str, _: Parameters) -> Shown:
    return await operations.pause(name)


async def _resume(operations: Operations, name: str, _: Parameters) -> Shown:
    return await operations.resume(name)


NUMBER = r"(?P<what>[0-9]{1,18})"
NAME = r"(?P<what>[a-z0-9-]{1,63})"
ROUTES: tuple[tuple[str, re.Pattern[str], Verb], ...] = (
    ("GET", re.compile("/deliveries"), _deliveries),
    ("GET", re.compile(f"/deliveries/{NUMBER}"), _delivery),
    ("POST", re.compile("/deliveries/retry"), _retry),
    ("POST", re.compile("/deliveries/cancel"), _cancel),
    ("GET", re.compile("/dead-letters"), _dead_letters),
    ("GET", re.compile(f"/dead-letters/{NUMBER}"), _dead_letter),
    ("POST", re.compile("/dead-letters/replay"), _replay),
    ("POST", re.compile("/dead-letters/purge"), _purge),
    ("GET", re.compile("/endpoints"), _endpoints),
    ("GET", re.compile(f"/endpoints/{NAME}"), _endpoint),
    ("POST", re.compile(f"/endpoints/{NAME}/pause"), _pause),
    ("POST", re.compile(f"/endpoints/{NAME}/resume"), _resume),
)


def selection_of(given: Parameters) -> Selection:
    """A selection from its JSON form; BadRequest names what does not fit."""
    unknown = sorted(given.keys() - KEYS)
    if unknown:  # ignoring a misspelled condition would widen what is purged
        raise BadRequest(f"{', '.join(unknown)}: unknown; the keys are {', '.join(sorted(KEYS))}")
    states = given.get("states")
    if isinstance(states, str):
        states = states.split(",")
    return Selection(
        ids=_read("ids", given.get("ids"), _numbers, "a list of delivery numbers"),
        endpoint=_text(given, "endpoint"),
        source=_text(given, "source"),
        event_id=_text(given, "eventId"),
        event_type=_text(given, "eventType"),
        states=_read("states", states, _states, f"a list out of {', '.join(State)}"),
        reason=_read("reason", given.get("reason"), DeadReason, f"one of {', '.join(DeadReason)}"),
        accepted_after=_read("acceptedAfter", given.get("acceptedAfter"), _seconds, SECONDS),
        accepted_before=_read("acceptedBefore", given.get("acceptedBefore"), _seconds, SECONDS),
        blocked=_read("blocked", given.get("blocked"), _truth, "true or false"),
    )


def _read(key: str, value: object, read: Callable[[Any], T], expected: str) -> T | None:
    """A value as it is read; None stays None, BadRequest says what was expected."""
    if value is None:
        return None
    try:
        return read(value)
    except (TypeError, ValueError, OverflowError):
        raise BadRequest(f"{key} {value!r} is not {expected}") from None


def _numbers(value: Any) -> tuple[DeliveryId, ...]:
    if not isinstance(value, list) or len(value) > IDS_MAX:
        raise ValueError(value)
    return tuple(dict.fromkeys(DeliveryId(_number(each)) for each in value))


def _states(value: Any) -> frozenset[State]:
    return frozenset(State(each) for each in value)


def _truth(value: Any) -> bool:
    """As JSON has it, or as a query does."""
    if not isinstance(value, bool) and value not in ("true", "false"):
        raise ValueError(value)
    return value in (True, "true")


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not math.isfinite(seconds):
        raise ValueError(value)
    return seconds


def _number(value: Any) -> int:
    """A whole number that a delivery can have."""
    number = int(value)
    if isinstance(value, bool | float) or not 0 <= number < 1 << 63:
        raise ValueError(value)
    return number


def _page(given: Parameters) -> tuple[Selection, int | None, int]:
    before = _read("before", given.get("before"), _number, "a delivery's number")
    limit = _read("limit", given.get("limit"), _number, "a whole number")
    return selection_of(given), before, PAGE if limit is None else limit


def _text(given: Parameters, key: str) -> str | None:
    value = given.get(key)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{key} {value!r} is not text")
    return value


def _dry(given: Parameters) -> bool:
    value = given.get("dryRun", False)
    if not isinstance(value, bool):  # a typing mistake must not turn a look into a deed
        raise BadRequest(f"dryRun {value!r} is neither true nor false")
    return value
