"""What people ask for: look, retry, replay, cancel, purge, pause, resume.

One set of verbs for the admin socket of a running daemon and for the database of a stopped one;
everything answered is JSON-ready. Errors are NotFound and Conflict, with words for people.
"""

import difflib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hookpost.clock import Clock
from hookpost.core.credentials import kind
from hookpost.core.errors import Conflict, NotFound
from hookpost.core.model import DeadReason, DeliveryId, EndpointId, EndpointRecord, State
from hookpost.core.settings import Endpoint
from hookpost.services import views
from hookpost.services.named import named_in_vain, unsendable
from hookpost.services.views import Shown
from hookpost.storage import refusals
from hookpost.storage.outbox import DeliveryView, Outbox, Selection

log = logging.getLogger("hookpost.admin")

PAGE = 100
PAGE_MAX = 500
OPEN = frozenset({State.PENDING, State.IN_FLIGHT, State.PARKED})
DEAD = frozenset({State.DEAD})
PARKED = frozenset({State.PARKED})
CANCELLED = frozenset({State.PENDING, State.PARKED, State.DEAD})

Live = Callable[[], Mapping[str, Mapping[str, Any]]]
"""Each endpoint's live state: inFlight, breaker, heldBy, by name."""


class Operations:
    """The verbs over one outbox. `endpoints` and `live` are empty for a stopped daemon.

    `changed` is told of an endpoint whose row a person has changed, after the commit.
    """

    def __init__(
        self,
        outbox: Outbox,
        clock: Clock,
        *,
        endpoints: Callable[[], Mapping[str, Endpoint]] = dict,
        live: Live = dict,
        changed: Callable[[EndpointId], None] = lambda _: None,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._endpoints = endpoints
        self._live = live
        self._changed = changed

    # -- looking ---------------------------------------------------------------------------

    async def deliveries(self, selection: Selection, before: int | None, limit: int) -> Shown:
        """A page of deliveries, newest first; `next` is the number to go on before."""
        page = await self._page(selection, before, limit)
        return _paged("deliveries", page, limit, views.shown_delivery)

    async def delivery(self, number: int) -> Shown:
        """One delivery with its event and attempts."""
        return views.shown_detail(await self._outbox.delivery(DeliveryId(number)))

    async def dead_letters(self, selection: Selection, before: int | None, limit: int) -> Shown:
        """A page of dead letters, newest first."""
        page = await self._page(replace(selection, states=DEAD), before, limit)
        return _paged("deadLetters", page, limit, views.shown_dead_letter_line)

    async def dead_letter(self, number: int) -> Shown:
        """One dead letter, or one that was and has been replayed."""
        detail = await self._outbox.delivery(DeliveryId(number))
        view = detail.view
        if view.state is not State.DEAD and view.replayed_at is None:
            raise NotFound(
                f"delivery {number} is no dead letter but {view.state}; "
                f"see: hookpost deliveries show {number}"
            )
        event = views.shown_event(detail.event, sequence=view.sequence, body=True)
        shown = views.shown_dead_letter(view, event)
        shown["recordedAttempts"] = [views.shown_attempt(attempt) for attempt in detail.attempts]
        return shown

    def endpoints(self) -> Shown:
        """Every endpoint, removed ones that still own deliveries included."""
        live, now = self._live(), self._clock.now()
        settings = self._endpoints()
        records = sorted(self._outbox.endpoints(), key=lambda record: record.name)
        shown = [
            views.shown_endpoint(
                record, settings.get(record.name), live.get(record.name, {}), now=now
            )
            for record in records
        ]
        return {"endpoints": shown}

    async def endpoint(self, name: str) -> Shown:
        """One endpoint with the settings that shape its traffic, and what waits in its lines."""
        record = self._record(name)
        settings = self._endpoints().get(name)
        live, now = self._live().get(name, {}), self._clock.now()
        shown = views.shown_endpoint(record, settings, live, now=now)
        shown["blocked"] = await self._outbox.blocked(record.id)
        if settings is not None:
            limit = settings.rate_limit
            shown["settings"] = {
                "payload": settings.payload.value,
                "ordering": settings.ordering.text if settings.ordering else "none",
                "concurrency": settings.concurrency,
                "timeout": settings.timeout,
                "rate": limit.rate if limit else None,
                "burst": limit.burst if limit else None,
                "maxPending": settings.max_pending,
                "egress": settings.egress.name,
                "auth": None if settings.auth is None else kind(settings.auth),
                "proxy": None if settings.proxy is None else str(settings.proxy),
                "signingKeys": [key.secret.name for key in settings.signing.keys]
                if settings.signing
                else [],
            }
        return shown

    # -- changing --------------------------------------------------------------------------

    async def retry(self, selection: Selection, *, to: str | None, dry_run: bool) -> Shown:
        """Pending deliveries become due now; with `to`, parked ones move to that endpoint."""
        target = None
        states = frozenset({State.PENDING})
        if to is not None:
            record = self._record(to)
            if record.removed_at is not None:
                raise Conflict(f"endpoint {to} is not in the configuration: nothing can move there")
            target = record.id
            states = PARKED
        elif selection.endpoint is not None and self._removed(selection.endpoint):
            raise Conflict(
                f"endpoint {selection.endpoint} is not in the configuration, its deliveries are "
                "parked: configure it again, or move them with --to ENDPOINT"
            )
        elif selection.states == PARKED:
            raise Conflict("parked deliveries are moved to another endpoint: say which, --to NAME")
        elif selection.blocked:
            raise Conflict(
                "blocked deliveries wait behind others: retry or cancel those; "
                "hookpost deliveries list --blocked names them"
            )
        selection = _narrowed(selection, states)
        if to is None:
            selection = replace(selection, blocked=False)
        why = refusals.unchanged if to is None else refusals.unmoved
        refused = await named_in_vain(
            self._outbox,
            selection,
            states,
            why,
            lambda view: to is None and view.behind is not None,
        )
        if dry_run:
            return await self._counted(selection, "retried", states, refused)
        number = await self._outbox.retry(selection, self._clock.now(), to=target)
        return _done("deliveries.retried", selection, "retried", number, refused)

    async def cancel(self, selection: Selection, *, dry_run: bool) -> Shown:
        """Pending, parked and dead deliveries become cancelled; those in flight do not."""
        selection = _narrowed(selection, CANCELLED)
        refused = await named_in_vain(self._outbox, selection, CANCELLED, refusals.unchanged)
        if dry_run:
            return await self._counted(selection, "cancelled", CANCELLED, refused)
        number = await self._outbox.cancel(selection, self._clock.now())
        return _done("deliveries.cancelled", selection, "cancelled", number, refused)

    async def replay(self, selection: Selection, *, dry_run: bool) -> Shown:
        """Dead letters become pending in a new round.

        Left alone are those of removed endpoints, and those whose transform made nothing to send.
        """
        if selection.endpoint is not None and self._removed(selection.endpoint):
            raise Conflict(
                f"endpoint {selection.endpoint} is not in the configuration: its dead letters can "
                "be replayed when it is configured again"
            )
        selection = _narrowed(selection, DEAD)
        left = await unsendable(self._outbox, replace(selection, states=DEAD))
        gone = {one.name for one in self._outbox.endpoints() if one.removed_at is not None}
        refused = await named_in_vain(
            self._outbox,
            selection,
            DEAD,
            refusals.not_replayed,
            lambda view: view.endpoint in gone or view.reason is DeadReason.TRANSFORM,
        )
        left_alone = 0 if selection.ids is not None else left  # told one by one
        if dry_run:
            counted = await self._counted(selection, "replayed", DEAD, refused)
            return {**counted, "replayed": counted["replayed"] - left, "leftAlone": left_alone}
        number = await self._outbox.replay(selection, self._clock.now())
        done = _done("dead_letters.replayed", selection, "replayed", number, refused)
        return {**done, "leftAlone": left_alone}

    async def purge(self, selection: Selection, *, dry_run: bool) -> Shown:
        """Delete dead letters for good."""
        selection = _narrowed(selection, DEAD)
        refused = await named_in_vain(self._outbox, selection, DEAD, refusals.unchanged)
        if dry_run:
            return await self._counted(selection, "purged", DEAD, refused)
        number = await self._outbox.purge_dead(selection)
        return _done("dead_letters.purged", selection, "purged", number, refused)

    async def pause(self, name: str) -> Shown:
        """Hold an endpoint's deliveries until a person resumes it."""
        record = self._active(name)
        await self._outbox.update_endpoint(record.id, self._clock.now(), paused_by_operator=True)
        self._changed(record.id)
        log.info("endpoint.paused", extra={"fields": {"endpoint": name, "by": "operator"}})
        return await self.endpoint(name)

    async def resume(self, name: str) -> Shown:
        """Undo a person's pause, a 410 and a hold; what the file pauses stays so, and is said."""
        record = self._active(name)
        await self._outbox.update_endpoint(
            record.id, self._clock.now(), paused_by_operator=False, gone=False, hold_until=None
        )
        self._changed(record.id)
        log.info("endpoint.resumed", extra={"fields": {"endpoint": name, "by": "operator"}})
        return await self.endpoint(name)

    # -- inside ----------------------------------------------------------------------------

    async def _page(
        self, selection: Selection, before: int | None, limit: int
    ) -> Sequence[DeliveryView]:
        if not 1 <= limit <= PAGE_MAX:
            raise Conflict(f"limit {limit} is not between 1 and {PAGE_MAX}")
        await self._known(selection)
        at = DeliveryId(before) if before is not None else None
        return await self._outbox.deliveries(selection, before=at, limit=limit)

    async def _counted(
        self, selection: Selection, verb: str, states: frozenset[State], refused: Sequence[Shown]
    ) -> Shown:
        await self._known(selection)
        if selection.ids is not None:
            selection = replace(selection, states=states)
        number = await self._outbox.count(selection)
        if selection.limit is not None:
            number = min(number, selection.limit)
        return {verb: number, "dryRun": True, "refused": refused}

    def _removed(self, name: str) -> bool:
        records = [record for record in self._outbox.endpoints() if record.name == name]
        return any(record.removed_at is not None for record in records)

    async def _known(self, selection: Selection) -> None:
        """NotFound for a name that is neither an endpoint's nor, once removed, a delivery's."""
        name = selection.endpoint
        if name is None or any(record.name == name for record in self._outbox.endpoints()):
            return
        if not await self._outbox.deliveries(Selection(endpoint=name), limit=1):
            self._record(name)

    def _record(self, name: str) -> EndpointRecord:
        records = {record.name: record for record in self._outbox.endpoints()}
        if name in records:
            return records[name]
        near = difflib.get_close_matches(name, records, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise NotFound(f"no endpoint named {name}{hint}")

    def _active(self, name: str) -> EndpointRecord:
        record = self._record(name)
        if record.removed_at is not None:
            raise Conflict(f"endpoint {name} is not in the configuration any more")
        return record


def _narrowed(selection: Selection, states: frozenset[State]) -> Selection:
    """Only the states that the verb applies to; named numbers are left to the outbox to judge."""
    if selection.ids is not None:
        return selection
    wanted = states & selection.states if selection.states is not None else states
    if not wanted:
        raise Conflict(f"this verb applies to {', '.join(sorted(states))} deliveries only")
    return replace(selection, states=wanted)


def _paged(
    key: str, page: Sequence[DeliveryView], limit: int, shown: Callable[[DeliveryView], Shown]
) -> Shown:
    return {
        key: [shown(view) for view in page],
        "next": page[-1].id if len(page) == limit else None,
    }


def _done(
    event: str, selection: Selection, verb: str, number: int, refused: Sequence[Shown]
) -> Shown:
    log.info(event, extra={"fields": {"count": number, "endpoint": selection.endpoint}})
    return {verb: number, "dryRun": False, "refused": refused}
