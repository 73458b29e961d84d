"""The end of deliveries that are past `max_age`, also while the gate is closed.

Whatever is claimed is judged before its attempt. While the gate is closed nothing would be claimed,
so the head of the queue is claimed to be judged alone, a page at a time: what is too old is dead
`expired`, without an attempt; the rest is released as it was. The queue is in the order of due
times, which for what was never attempted is the order of age. A retry may have to wait until those
before it in the queue are too old as well: it ends late, by `max_age` at most.
"""

from collections.abc import Callable

from hookpost.clock import Clock
from hookpost.core.model import Delivery, EndpointId, Transition
from hookpost.core.retry import RetryPolicy
from hookpost.core.settle import expired
from hookpost.services.endpoint_row import EndpointRow
from hookpost.services.settling import Settling
from hookpost.storage.outbox import Outbox

PAGE = 100  # deliveries in one look: a moment's work
RECHECK = 0.25  # seconds; they are due but cannot be had yet
SOONEST = 1.0  # seconds between two looks at those that may stay, however many become too old
LATEST = 600.0  # the head may have been cancelled, and what follows be older


class Expiring:
    """One endpoint's. Time paused or parked does not count: it goes by the row's active clock."""

    def __init__(
        self,
        endpoint: EndpointId,
        outbox: Outbox,
        clock: Clock,
        row: EndpointRow,
        settling: Settling,
    ) -> None:
        self._id = endpoint
        self._outbox = outbox
        self._clock = clock
        self._row = row
        self._settling = settling
        self._look_at = 0.0

    def reconsider(self) -> None:
        """The policy may be another: look as soon as asked."""
        self._look_at = 0.0

    def verdict(self, delivery: Delivery, policy: RetryPolicy, now: float) -> Transition | None:
        """The end of a claimed delivery that is too old to be attempted; None: it is not."""
        return expired(delivery, policy, active_now=self._row.record.active_clock(now))

    def ended(self, delivery: Delivery, policy: RetryPolicy, now: float) -> bool:
        """Settle a claimed delivery if it is too old; False: it is not."""
        transition = self.verdict(delivery, policy, now)
        if transition is not None:
            self._settling.settle(delivery, transition, None, now)
        return transition is not None

    async def look(self, policy: RetryPolicy, may_end: Callable[[], bool]) -> float | None:
        """End what is too old at the head of the queue: one page, if it is time for it.

        Answers the seconds until there may be more to end; None: nothing will be that is known
        now. `may_end` is asked once the page is there. Raises OutboxError.
        """
        due, now = self._outbox.next_due(self._id), self._clock.now()
        if policy.max_age is None or due is None:
            return None
        look_at = max(due, self._look_at)
        if look_at > now:
            return look_at - now
        claimed = await self._outbox.claim(self._id, PAGE, now)
        if not may_end():
            self._outbox.release(claimed)
            return None
        if not claimed:
            return RECHECK
        now = self._clock.now()
        young = [delivery for delivery in claimed if not self.ended(delivery, policy, now)]
        if not young:
            return 0.0
        age = self._row.record.active_clock(now) - min(one.round_started for one in young)
        wait = min(max(policy.max_age - age, SOONEST), LATEST)
        self._look_at = now + wait  # before the release, which rings
        self._outbox.release(young)
        return wait
