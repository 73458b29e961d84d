"""What people ask for: pages of deliveries, and verbs over many of them.

A verb goes in rounds of at most ROWS: read the candidates, keep those that nobody has claimed
from being claimed, change them in one step of a transaction, let go of them. Events are put in
between.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hookpost.core.errors import Conflict, NotFound
from hookpost.core.model import DeliveryId, EndpointId, State
from hookpost.storage.outbox import DeliveryDetail, DeliveryView, PendingAge, Selection
from hookpost.storage.refusals import ABSENT
from hookpost.storage.sqlite import sql
from hookpost.storage.sqlite.claims import Claims
from hookpost.storage.sqlite.reader import Reader
from hookpost.storage.sqlite.rows import attempt_of, event_of, view_of
from hookpost.storage.sqlite.verbs import Change, Changed

ROWS = 500  # deliveries that one transaction of a verb touches
_CONDITIONS = ("endpoint", "source", "event_id", "event_type", "accepted_after", "accepted_before")


Carry = Callable[
    [Change, Sequence[int], Callable[[Changed], None], Callable[[], None]], Awaitable[Changed]
]
"""Carry out a Change over ids in the writer's transaction; then call the first, or the second."""


@dataclass(frozen=True, slots=True)
class _Query:
    """What follows SELECT: static texts put together, values apart."""

    text: str
    parameters: dict[str, Any]


def selected(
    selection: Selection, in_flight: Iterable[int], *, attempts: bool = False, also: str = "any"
) -> _Query:
    """The FROM and WHERE of a selection; `also` names one more condition."""
    texts = sql.statements("reader")
    values: dict[str, Any] = {"in_flight": json.dumps(sorted(in_flight))}
    wheres = [texts[f"is_{also}"]]
    for name in _CONDITIONS:
        value = getattr(selection, name)
        if value is not None:
            wheres.append(texts[f"is_{name}"])
            values[name] = value
    if selection.reason is not None:
        wheres.append(texts["is_reason"])
        values["reason"] = selection.reason.value
    if selection.ids is not None:
        wheres.append(texts["is_ids"])
        values["ids"] = json.dumps(list(selection.ids))
    source = "from_any"
    if selection.states is not None:
        states = [texts[f"state_{state.value}"] for state in sorted(selection.states)]
        wheres.append(f"({' OR '.join(states) or 'FALSE'})")
        if selection.states == {State.DEAD} and selection.ids is None:
            source = "from_dead" if selection.endpoint is None else "from_dead_of_endpoint"
    if selection.blocked is not None:
        wheres.append(texts["is_blocked" if selection.blocked else "is_not_blocked"])
        if selection.blocked and selection.ids is None:
            source = "from_blocked"
    joined = f"\n{texts['with_attempt']}" if attempts else ""
    return _Query(f"{texts[source]}{joined}\nWHERE {' AND '.join(wheres)}", values)


class People:
    """Lists, details and bulk verbs, over a reader of their own.

    `change` carries out one Change as a step of the writer's transaction.
    """

    def __init__(
        self,
        reader: Reader,
        claims: Claims,
        endpoint_of: Callable[[str], EndpointId | None],
        change: Carry,
    ) -> None:
        self._reader = reader
        self._claims = claims
        self._endpoint_of = endpoint_of
        self._change = change
        self._texts = sql.statements("reader")

    # -- looking -----------------------------------------------------------------------------

    async def deliveries(
        self, selection: Selection, before: DeliveryId | None, limit: int
    ) -> Sequence[DeliveryView]:
        """See Outbox.deliveries."""
        in_flight = self._claims.in_flight()
        also = "any" if before is None else "before"
        query = self._selected(selection, in_flight, attempts=True, also=also)
        if query is None:
            return []
        text = f"{self._texts['view']}\n{query.text}\n{self._texts['newest_first']}"
        values = {**query.parameters, "before": before, "limit": limit}
        return [view_of(row, in_flight) for row in await self._reader.rows(text, values)]

    async def delivery(self, delivery: DeliveryId) -> DeliveryDetail:
        """See Outbox.delivery."""
        view = await self._view(delivery)
        events = list(await self._reader.rows(self._texts["event"], (view.sequence,)))
        if not events:  # purged between the two readings
            raise NotFound(f"delivery {delivery}: {ABSENT}")
        attempts = await self._reader.rows(self._texts["attempts"], (delivery,))
        payloads = list(await self._reader.rows(self._texts["payload"], (delivery,)))
        return DeliveryDetail(
            view=view,
            event=event_of(events[0]),
            attempts=[attempt_of(row) for row in attempts],
            payload=payloads[0][0] if payloads else None,
        )

    async def count(self, selection: Selection) -> int:
        """See Outbox.count."""
        query = self._selected(selection, self._claims.in_flight())
        if query is None:
            return 0
        text = f"{self._texts['count']}\n{query.text}"
        rows = list(await self._reader.rows(text, query.parameters))
        found = int(rows[0][0])
        return found if selection.limit is None else min(found, selection.limit)

    async def blocked(self, endpoint: EndpointId) -> int:
        """See Outbox.blocked."""
        rows = list(await self._reader.rows(self._texts["blocked"], (endpoint,)))
        return int(rows[0][0])

    async def pending_ages(self) -> Mapping[EndpointId, PendingAge]:
        """See Outbox.pending_ages."""
        rows = await self._reader.rows(self._texts["pending_ages"])
        return {
            EndpointId(row["endpoint"]): PendingAge(row["accepted_at"], row["due_at"])
            for row in rows
        }

    def _selected(
        self,
        selection: Selection,
        in_flight: Iterable[int],
        *,
        attempts: bool = False,
        also: str = "any",
    ) -> _Query | None:
        """None: the selection names an endpoint that never was."""
        query = selected(selection, in_flight, attempts=attempts, also=also)
        if selection.endpoint is not None:
            endpoint = self._endpoint_of(selection.endpoint)
            if endpoint is None:
                return None
            query.parameters["endpoint"] = endpoint
        return query

    # -- changing ----------------------------------------------------------------------------

    async def change(self, selection: Selection, verb: Change, allowed: frozenset[State]) -> int:
        """Carry `verb` out over a selection, where deliveries are in an allowed state; how many.

        A selection of one id raises NotFound, or Conflict where its state forbids the verb.
        """
        single = selection.ids is not None and len(selection.ids) == 1
        view = await self._view(selection.ids[0]) if selection.ids and single else None
        states = allowed if selection.states is None else selection.states & allowed
        total, after = 0, 0
        while selection.limit is None or total < selection.limit:
            limit = ROWS if selection.limit is None else min(ROWS, selection.limit - total)
            found = await self._candidates(selection, states, after, limit)
            if not found:
                break
            after = found[-1][0]
            total += await self._carry_out(verb, found)
            if len(found) < limit:
                break
        if view is not None and not total:
            raise Conflict(f"delivery {view.id}: {verb.refusal(view)}")
        return total

    async def _candidates(
        self, selection: Selection, states: frozenset[State], after: int, limit: int
    ) -> list[tuple[int, int]]:
        narrowed = replace(selection, states=states)
        query = self._selected(narrowed, self._claims.in_flight(), also="after")
        if query is None:
            return []
        text = f"{self._texts['candidates']}\n{query.text}\n{self._texts['oldest_first']}"
        values = {**query.parameters, "after": after, "limit": limit}
        return [(row[0], row[1]) for row in await self._reader.rows(text, values)]

    async def _carry_out(self, verb: Change, found: Sequence[tuple[int, int]]) -> int:
        """One round. From the check of what is in flight to the reservation nothing is awaited."""
        in_flight = self._claims.in_flight()
        by_endpoint: dict[int, set[int]] = {}
        for number, endpoint in found:
            if number not in in_flight:
                by_endpoint.setdefault(endpoint, set()).add(number)
        numbers = sorted(number for group in by_endpoint.values() for number in group)
        if not numbers:
            return 0
        for endpoint, group in by_endpoint.items():
            self._claims.reserve(endpoint, group)

        def applied(changed: Changed) -> None:
            for endpoint, group in by_endpoint.items():
                self._claims.unreserve(endpoint, group, ())
            self._claims.spill(changed.pending)

        def undone() -> None:
            for endpoint, group in by_endpoint.items():
                self._claims.unreserve(endpoint, group, None)

        return (await self._change(verb.over(numbers), numbers, applied, undone)).count

    async def _view(self, delivery: DeliveryId) -> DeliveryView:
        views = await self.deliveries(Selection(ids=(delivery,)), None, 1)
        if not views:
            raise NotFound(f"delivery {delivery}: {ABSENT}")
        return views[0]
