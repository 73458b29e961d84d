"""Deliveries that a person names by number: what of them a verb does not apply to."""

from collections.abc import Callable, Collection, Sequence

from hookpost.core.model import State
from hookpost.services.views import Shown
from hookpost.storage import refusals
from hookpost.storage.outbox import DeliveryView, Outbox, Selection

PAGE = 500


async def named_in_vain(
    outbox: Outbox,
    selection: Selection,
    states: frozenset[State],
    why: Callable[[DeliveryView], str],
    removed: Collection[str] = (),
) -> Sequence[Shown]:
    """`{"id", "why"}` of each number whose delivery is in none of `states`, or is not there.

    Those of endpoints that are `removed` count, too. Empty for a selection without numbers.
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
        elif view.state not in states or view.endpoint in removed:
            refused.append({"id": number, "why": why(view)})
    return refused
