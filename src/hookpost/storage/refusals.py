"""Why a verb does not apply to a delivery, and what to do: words for people, the same everywhere.

Each completes `delivery 7: …`.
"""

from hookpost.core.model import DeadReason, State
from hookpost.storage.outbox import DeliveryView

ABSENT = "there is none; it may have been purged"


def unchanged(view: DeliveryView) -> str:
    """The state says it."""
    match view.state:
        case State.IN_FLIGHT:
            return "is in flight; wait for the attempt to end"
        case State.PARKED:
            return (
                f"is parked: endpoint {view.endpoint!r} left the configuration;"
                " configure it again, or move it: hookpost deliveries retry --to ENDPOINT"
            )
        case State.DEAD:
            return "is dead; replay it"
        case State.PENDING if view.behind is not None:
            return (
                f"waits behind delivery {view.behind}, whose turn it is; retry or cancel that one:"
                f" hookpost deliveries retry {view.behind}"
            )
        case State.PENDING:
            return "is pending: nothing has ended it yet"
        case _:
            return f"is {view.state.value} already"


def unmoved(view: DeliveryView) -> str:
    """Only parked deliveries are moved."""
    if view.state is State.PENDING:
        return f"waits for endpoint {view.endpoint!r}, which is configured; cancel it, or wait"
    return unchanged(view)


def not_replayed(view: DeliveryView) -> str:
    """There is nothing to send, or its endpoint is the reason, where it is dead."""
    if view.reason is DeadReason.TRANSFORM:
        return (
            "cannot be replayed: its transform made nothing to send, and is not run again;"
            " mend the transform and send the event again"
        )
    if view.state is State.DEAD:
        return (
            f"cannot be replayed: endpoint {view.endpoint!r} left the configuration;"
            " configure it again first"
        )
    return unchanged(view)
