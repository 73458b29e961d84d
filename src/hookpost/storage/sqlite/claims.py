"""Who holds which delivery: windows, claims, doorbells and refills. Everything runs on the loop."""

import asyncio
import json
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from math import inf

from hookpost.core.errors import OutboxError
from hookpost.core.model import Delivery, Settlement, State
from hookpost.storage.sqlite import sql
from hookpost.storage.sqlite.books import Book, Tally
from hookpost.storage.sqlite.reader import Reader
from hookpost.storage.sqlite.rows import Item, delivery_of
from hookpost.storage.sqlite.settlements import Owned
from hookpost.storage.sqlite.windows import BYTES, LAST_ID, Budget, Entry, Window

log = logging.getLogger("hookpost.storage")

PAGE = 512  # deliveries read in one refill
OVERHEAD = 400  # bytes that a waiting delivery takes beside its body


class Claims:
    """The windows of all endpoints, and what is in flight.

    `observe` is called with an operation's name and its seconds.
    """

    def __init__(
        self,
        books: dict[int, Book],
        reader: Reader,
        monotonic: Callable[[], float],
        observe: Callable[[str, float], None],
    ) -> None:
        self._books = books
        self._reader = reader
        self._monotonic = monotonic
        self._observe = observe
        self._budget = Budget()
        self._windows: dict[int, Window[Item]] = {}
        self._doorbells: dict[int, Callable[[], None]] = {}
        self._refills: dict[int, asyncio.Task[bool]] = {}
        self._in_flight: dict[int, bool] = {}  # id → not yet handed in for settling
        for number, book in books.items():
            self.admit(number, book)

    # -- endpoints ---------------------------------------------------------------------------

    def admit(self, endpoint: int, book: Book) -> None:
        """A row is new, or known at the start."""
        window = self._windows[endpoint] = Window(self._budget)
        if book.record.removed_at is not None:
            window.close()
        else:
            window.open(pending=book.shown().counts.pending > 0)

    def follow(self, endpoint: int, book: Book) -> None:
        """A row was changed: its window closes when it leaves, and opens when it returns."""
        window = self._windows[endpoint]
        removed = book.record.removed_at is not None
        if removed and not window.closed:
            window.close()
        elif not removed and window.closed:
            window.open(pending=book.shown().counts.pending > 0)
            self.ring((endpoint,))

    def watch(self, endpoint: int, doorbell: Callable[[], None] | None) -> None:
        """See Outbox.watch."""
        if doorbell is None:
            self._doorbells.pop(endpoint, None)
        else:
            self._doorbells[endpoint] = doorbell

    def ring(self, endpoints: Iterable[int] | None = None) -> None:
        """Tell that `claim` may have more to give; None: everybody."""
        for endpoint in list(self._doorbells) if endpoints is None else endpoints:
            doorbell = self._doorbells.get(endpoint)
            if doorbell is not None:
                doorbell()

    # -- claims ------------------------------------------------------------------------------

    async def claim(self, endpoint: int, limit: int, now: float) -> Sequence[Delivery]:
        """See Outbox.claim."""
        window = self._windows.get(endpoint)
        if window is None or limit < 1:
            return []
        while not window.waiting and not window.closed and window.disk_next_at <= now:
            if not await self._refilled(endpoint, window, now):
                return []
        return self._taken(endpoint, window, limit, now)

    def claim_ready(self, endpoint: int, limit: int, now: float) -> Sequence[Delivery]:
        """See Outbox.claim_ready."""
        window = self._windows.get(endpoint)
        if window is None or not window.waiting or limit < 1:
            return ()
        return self._taken(endpoint, window, limit, now)

    def _taken(
        self, endpoint: int, window: Window[Item], limit: int, now: float
    ) -> Sequence[Delivery]:
        record = self._books[endpoint].record
        claimed = [delivery_of(entry[3], record) for entry in window.take(limit, now)]
        for delivery in claimed:
            self._in_flight[delivery.id] = True
        if window.disk_next_at <= now and window.lacks(now):
            self._start_refill(endpoint, window, now)
        return claimed

    def next_due(self, endpoint: int) -> float | None:
        """See Outbox.next_due."""
        window = self._windows.get(endpoint)
        if window is None:
            return None
        due = window.next_due()
        return None if due == inf else max(due, 0.0)

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """See Outbox.release."""
        for delivery in reversed(deliveries):
            if self._in_flight.get(delivery.id) is not True:
                continue
            del self._in_flight[delivery.id]
            size = len(delivery.event.body) + OVERHEAD
            self._windows[delivery.endpoint].give_back([(0.0, delivery.id, size, delivery)])
        self.ring({delivery.endpoint for delivery in deliveries})

    def hand_in(self, settlement: Settlement) -> bool:
        """Note that a claimed delivery is being settled; False: it was not ours to settle."""
        number = settlement.delivery.id
        if self._in_flight.get(number) is not True:
            return False
        self._in_flight[number] = False
        return True

    def starved_by(self, delivery: Delivery) -> bool:
        """Whether its endpoint may have nothing to do until this head of a line is settled."""
        return delivery.key is not None and not self._windows[delivery.endpoint].waiting

    def in_flight(self) -> frozenset[int]:
        """The ids that are claimed, until their settlement is committed."""
        return frozenset(self._in_flight)

    # -- what was committed ------------------------------------------------------------------

    def committed(self, tally: Tally, settled: Sequence[tuple[Owned, bool | None]]) -> None:
        """Put fresh deliveries into their windows, let go of settled ones; ring where it helps."""
        touched: set[int] = set()
        windows = self._windows
        for fresh in tally.fresh:
            endpoint, number, _, _, event, _ = fresh
            size = len(event.body) + OVERHEAD
            windows[endpoint].fresh((event.accepted_at, number, size, fresh))
            touched.add(endpoint)
        for (settlement, ours), answer in settled:
            if not ours or answer is None:
                continue
            delivery = settlement.delivery
            if answer and settlement.transition.state is not State.PENDING:  # over
                del self._in_flight[delivery.id]
                windows[delivery.endpoint].leave(delivery.id)
            else:
                self._let_go(settlement, touched, applied=answer)
        self.ring(touched)
        self.spill(tally.let_go)

    def _let_go(self, settlement: Settlement, touched: set[int], *, applied: bool) -> None:
        delivery, transition = settlement.delivery, settlement.transition
        window = self._windows[delivery.endpoint]
        del self._in_flight[delivery.id]
        window.leave(delivery.id)
        if not applied:  # not expected: someone else changed the row
            window.doubt()
        elif transition.state is State.PENDING:
            window.spill(settlement.settled_at + transition.delay, delivery.id)
            touched.add(delivery.endpoint)

    # -- a person's verbs --------------------------------------------------------------------

    def reserve(self, endpoint: int, numbers: Collection[int]) -> None:
        """Let nobody claim these until `unreserve`. None of them is in flight."""
        self._windows[endpoint].reserve(numbers)

    def unreserve(
        self,
        endpoint: int,
        numbers: Iterable[int],
        pending: Iterable[tuple[int, float, int]] | None,
    ) -> None:
        """The verb is over; `pending`: (endpoint, next_at, id) of those now pending, or unknown."""
        window = self._windows[endpoint]
        for number in numbers:
            window.leave(number)
        if pending is None:
            window.doubt()
        else:
            self.spill(pending)

    def spill(self, pending: Iterable[tuple[int, float, int]]) -> None:
        """Deliveries that nobody holds were committed pending: (endpoint, next_at, id)."""
        touched = set()
        for endpoint, next_at, number in pending:
            self._windows[endpoint].spill(next_at, number)
            touched.add(endpoint)
        self.ring(touched)

    # -- refills -----------------------------------------------------------------------------

    async def _refilled(self, endpoint: int, window: Window[Item], now: float) -> bool:
        """Wait for a refill, one that runs already or a new one; False: it failed."""
        task = self._refills.get(endpoint) or self._start_refill(endpoint, window, now)
        await asyncio.wait([task])  # a claim that is cancelled leaves the refill running
        return task.result()

    def _start_refill(self, endpoint: int, window: Window[Item], now: float) -> asyncio.Task[bool]:
        epoch = window.begin_refill()  # before anybody else can think of it
        task = asyncio.get_running_loop().create_task(self._refill(endpoint, window, epoch, now))
        self._refills[endpoint] = task
        return task

    async def _refill(self, endpoint: int, window: Window[Item], epoch: int, now: float) -> bool:
        started = self._monotonic()
        try:
            entries, reached, next_at = await self._read(endpoint, window.cursor, now)
            window.merge(epoch, entries, reached, next_at)
        except OutboxError as error:
            fields = {"endpoint": self._books[endpoint].record.name, "error": str(error)}
            log.error("refill.failed", extra={"fields": fields})
            return False
        finally:
            window.abandon_refill(epoch)
            if self._refills.get(endpoint) is asyncio.current_task():
                del self._refills[endpoint]
        self._observe("refill", self._monotonic() - started)
        self.ring((endpoint,))
        return True

    async def _read(
        self, endpoint: int, cursor: tuple[float, int], now: float
    ) -> tuple[list[Entry[Item]], tuple[float, int], float]:
        """What is due after the cursor, bounded; how far it was read; when the next is due."""
        queries = sql.statements("reader")
        scan = {"endpoint": endpoint, "next_at": cursor[0], "id": cursor[1], "now": now}
        found = list(await self._reader.rows(queries["due_sizes"], {**scan, "limit": PAGE}))
        count, total = 0, 0
        for _, _, size in found:
            total += size + OVERHEAD
            if total > BYTES and count:
                break
            count += 1
        entries: list[Entry[Item]] = []
        if count:
            numbers = json.dumps([number for _, number, _ in found[:count]])
            rows = await self._reader.rows(queries["due"], (numbers,))
            entries = [(row[0], row[1], row[2] + OVERHEAD, row) for row in rows]
        if count == PAGE or count < len(found):
            next_at, number, _ = found[count - 1]
            return entries, (next_at, number), next_at
        after = list(await self._reader.rows(queries["due_after"], (endpoint, now)))
        return entries, (now, LAST_ID), after[0][0] if after else inf

    async def close(self) -> None:
        """Wait for refills that run."""
        if self._refills:
            await asyncio.wait(list(self._refills.values()))
