"""Deliveries that a person names, by number or otherwise: which of them a verb leaves alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from hookpost.core.model import DeadReason, State
from hookpost.services.views import Shown
from hookpost.storage import refusals
from hookpost.storage.outbox import DeliveryView, Outbox, Selection

PAGE = 500


async def named_in_vain(
    outbox: Outbox,
    selection: Selection,
    states: frozenset[State],
    why: Callable[[DeliveryView], str],
    besides: Callable[[DeliveryView], bool] = lambda _: False,
) -> Sequence[Shown]:
    """`{"id", "why"}` of each number whose delivery is in none of `states`, or is not there.

    Those that `besides` names count, too. Empty for a selection without numbers.
    """
    numbers = selection.ids or ()
    found: dict[int, DeliveryView] = {}
    for start in range(0, len(numbers), PAGE):
        page = Selection(ids=numbers[start : start + PAGE])
        found.update({view.id: view for view in await outbox.deliveries(page, limit=PAGE)})
    refused = []
    for number in numbers:
        view = found.get(number)
        if view is None:
            refused.append({"id": number, "why": refusals.ABSENT})
        elif view.state not in states or besides(view):
            refused.append({"id": number, "why": why(view)})
    return refused


async def unsendable(outbox: Outbox, selection: Selection) -> int:
    """How many dead letters have nothing that could be sent, or are of removed endpoints."""
    removed = await _of_removed(outbox, selection)
    if selection.reason not in (None, DeadReason.TRANSFORM):
        return removed
    failed = replace(selection, reason=DeadReason.TRANSFORM)
    return removed + await outbox.count(failed) - await _of_removed(outbox, failed)


async def _of_removed(outbox: Outbox, selection: Selection) -> int:
    """How many of a selection belong to endpoints that have left the configuration."""
    if selection.endpoint is not None:
        return 0
    gone = [one for one in outbox.endpoints() if one.removed_at is not None]
    counts = [
        await outbox.count(replace(selection, endpoint=one.name))
        for one in gone
        if one.counts.dead_letters
    ]
    return sum(counts)
