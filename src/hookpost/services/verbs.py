"""The verbs by their paths: what the admin socket of a running daemon serves, and what the command
line performs on a stopped one's database. One table for both.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from hookpost.core.errors import GatewayError, NotFound
from hookpost.core.model import DeadReason, DeliveryId, State
from hookpost.services.operations import PAGE, Operations
from hookpost.services.views import Shown
from hookpost.storage.outbox import Selection

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
    return operations.endpoint(name)


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
    ids, states, reason = given.get("ids"), given.get("states"), given.get("reason")
    if isinstance(states, str):
        states = states.split(",")
    try:
        return Selection(
            ids=None if ids is None else tuple(DeliveryId(int(number)) for number in ids),
            endpoint=_text(given, "endpoint"),
            source=_text(given, "source"),
            event_id=_text(given, "eventId"),
            event_type=_text(given, "eventType"),
            states=None if states is None else frozenset(State(state) for state in states),
            reason=None if reason is None else DeadReason(reason),
            accepted_after=_number(given, "acceptedAfter"),
            accepted_before=_number(given, "acceptedBefore"),
        )
    except (TypeError, ValueError) as error:
        raise BadRequest(f"the selection does not fit: {error}") from None


def _page(given: Parameters) -> tuple[Selection, int | None, int]:
    before, limit = given.get("before"), given.get("limit", PAGE)
    try:
        return selection_of(given), None if before is None else int(before), int(limit)
    except (TypeError, ValueError):
        raise BadRequest(f"before {before!r} and limit {limit!r} must be whole numbers") from None


def _text(given: Parameters, key: str) -> str | None:
    value = given.get(key)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{key} is not text")
    return value


def _number(given: Parameters, key: str) -> float | None:
    value = given.get(key)
    return None if value is None else float(value)


def _dry(given: Parameters) -> bool:
    return given.get("dryRun") is True
