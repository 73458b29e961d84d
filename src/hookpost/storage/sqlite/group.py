"""Group commit: what waits on the loop becomes one batch whenever the writer is idle.

A batch goes once a turn of the loop has brought nothing new, so that requests which come together
meet in one transaction. The next goes only after the last is answered, and then waits for those
who were just answered to come back: else clients split into two cohorts, a full one and a small
one for which everybody waits as long. On a slow disk that takes a share of the commit's time, on a
fast one as many turns as bring something. Everything here runs on the loop.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from hookpost.core.errors import OutboxError, StorageUnavailable
from hookpost.storage.outbox import Observed, Waiter
from hookpost.storage.sqlite.puts import Entry
from hookpost.storage.sqlite.settlements import Owned
from hookpost.storage.sqlite.transaction import Batch, Done, Step
from hookpost.storage.sqlite.waiting import Command, Sent, Waiting

log = logging.getLogger("hookpost.storage")

MAX_PUTS = 10_000  # waiting; beyond it a put is refused at once
MAX_BYTES = 64 << 20  # of their bodies
SETTLE_WAIT = 0.005  # seconds a settlement waits for company
SETTLE_ROWS = 256  # settlements that need none
MAX_SETTLEMENTS = 5_000  # waiting; beyond it nothing is claimed
RETRY_WAIT = 1.0  # seconds until refused settlements are tried again
SLOW = 0.001  # seconds of a commit after which the next batch waits for those just answered
SHARE = 0.3  # of such a commit's time that it waits
LINGER = 0.005  # seconds that it waits at most
FEW = 8  # puts, answered and waiting, for whom it does not
TURNS = 8  # of the loop that a batch waits at most, where each has brought something


class GroupCommit:
    """What waits, and the batch on its way. `submit` hands a batch to the writer.

    `effects` is called with each answered batch before anybody waiting hears of it; `in_flight`
    says which deliveries are claimed.
    """

    def __init__(
        self,
        submit: Callable[[Batch], None],
        effects: Callable[[Done, Sequence[Owned]], None],
        in_flight: Callable[[], frozenset[int]],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._submit = submit
        self._effects = effects
        self._in_flight = in_flight
        self._waiting = Waiting()
        self._sent: Sent | None = None
        self._sent_at = 0.0
        self._scheduled = False
        self._lingering: asyncio.TimerHandle | None = None
        self._awaited = MAX_PUTS  # puts that end the waiting: as many as came together before
        self._seen = 0  # puts at the last turn
        self._turns = 0
        self._timer: asyncio.TimerHandle | None = None
        self._jammed = False
        self._urgent = False
        self._idle: asyncio.Event = asyncio.Event()
        self._idle.set()
        self.refusal: StorageUnavailable | None = None  # of puts and commands
        self.ended: StorageUnavailable | None = None  # of settlements too
        self.failed: asyncio.Future[OutboxError] = self._loop.create_future()

    @property
    def swamped(self) -> bool:
        """Whether so many settlements wait for the disk that nothing more should be claimed."""
        return len(self._waiting.settlements) > MAX_SETTLEMENTS

    @property
    def jammed(self) -> bool:
        """Whether the disk has refused settlements that are kept for another try."""
        return self._jammed

    @property
    def busy_for(self) -> float:
        """Seconds that the writer has had the batch it is at; 0 while it is idle."""
        return 0.0 if self._sent is None else self._loop.time() - self._sent_at

    # -- what comes in -----------------------------------------------------------------------

    def put(self, entry: Entry, waiter: Waiter) -> None:
        """One event; see Outbox.submit."""
        waiting, size = self._waiting, entry[0].weight
        crowded = len(waiting.puts) >= MAX_PUTS or waiting.bytes + size > MAX_BYTES
        if self.refusal is not None or crowded:
            waiter.set_exception(self._too_many())
            return
        waiting.bytes += size
        waiting.puts.append(waiter)
        waiting.entries.append(entry)
        if self._lingering is not None:
            if len(waiting.puts) >= self._awaited:
                self._linger_no_more()
        elif not self._scheduled and self._sent is None:
            self._schedule()

    def put_group(self, entries: Sequence[Entry], waiter: Waiter) -> None:
        """Several events, all or none; see Outbox.submit_many."""
        waiting = self._waiting
        size = sum(event.weight for event, _ in entries)
        count = len(waiting.puts) + sum(len(group) for _, group in waiting.groups)
        crowded = count + len(entries) > MAX_PUTS or waiting.bytes + size > MAX_BYTES
        if self.refusal is not None or (crowded and count):
            waiter.set_exception(self._too_many())
            return
        waiting.bytes += size
        waiting.groups.append((waiter, entries))
        self._wake()

    def settle(self, owned: Owned, observed: Observed, *, urgent: bool = False) -> None:
        """One settlement; see Outbox.settle. One that is `urgent` waits for no company."""
        if self.ended is not None:
            self._loop.call_soon(observed, owned[0], self.ended)
            return
        self._waiting.settlements.append(owned)
        self._waiting.observers.append(observed)
        self._urgent = self._urgent or urgent
        if not self._scheduled and self._sent is None and not self._jammed:
            self._await_company()

    def command(
        self,
        step: Step,
        applied: Callable[[Any], None] | None = None,
        undone: Callable[[], None] | None = None,
    ) -> "asyncio.Future[Any]":
        """One step of somebody's own; its exception reaches only the one who waits for it."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.refusal is not None:
            if undone is not None:
                undone()
            future.set_exception(self.refusal)
            return future
        self._waiting.commands.append(Command(step, future, applied, undone))
        self._wake()
        return future

    async def flush(self) -> None:
        """Wait until nothing waits; refused settlements are tried once more, then given up."""
        if self._jammed:
            self._jammed = False
            self._wake()
        while not self.failed.done():
            await self._idle.wait()
            if self._jammed or not self._waiting.any():
                break
            self._wake()
        if self._waiting.settlements:
            fields = {"settlements": len(self._waiting.settlements)}
            log.error("settlements.unsaved", extra={"fields": fields})

    def stop(self) -> None:
        """Let no timer fire."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- one batch ---------------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._scheduled and self._sent is None:
            self._schedule()

    def _schedule(self) -> None:
        """Send when a turn of the loop has brought nothing new, or all who are awaited."""
        self._scheduled = True
        self._idle.clear()
        self._seen, self._turns = -1, 0
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        count = len(self._waiting.puts)
        if count == self._seen or count >= self._awaited or self._turns >= TURNS:
            self._send()
            return
        self._seen = count
        self._turns += 1
        self._loop.call_soon(self._turn)

    def _await_company(self) -> None:
        if self._urgent or len(self._waiting.settlements) >= SETTLE_ROWS:
            self._schedule()
        elif self._timer is None:
            self._idle.clear()
            self._timer = self._loop.call_later(SETTLE_WAIT, self._waited)

    def _waited(self) -> None:
        self._timer = None
        self._jammed = False
        self._wake()

    def _linger(self, seconds: float) -> None:
        """Wait until all are there who are awaited: those just answered are about to come back."""
        self._scheduled = True
        self._lingering = self._loop.call_later(seconds, self._linger_no_more)

    def _linger_no_more(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._scheduled = False
        if self._sent is not None or self.failed.done():
            return
        if not self._jammed:  # settlements that wait for company have found it
            self.stop()
        if not self._waiting.any():
            self._idle.set()
            return
        sent, batch = self._waiting.take(settle=not self._jammed)
        if not (batch.entries or batch.groups or batch.settlements or batch.steps):
            self._idle.set()
            return
        self._urgent = False
        if sent.commands:
            batch = replace(batch, in_flight=self._in_flight())
        self._sent_at = self._loop.time()
        self._sent = sent
        self._submit(batch)

    def answered(self, done: Done) -> None:
        """The writer is done with the batch: tell memory, then everybody, then go on."""
        sent, self._sent = self._sent, None
        if sent is None:
            raise RuntimeError("an answer came for a batch that was never sent")
        if done.failed is not None:
            self._fail(done.failed, sent)
        elif any(answer is None for answer in done.settled):
            self._keep(sent)
        elif self._jammed:  # something was stored: there is room again
            self._jammed = False
            self.stop()
        try:
            self._effects(done, sent.settlements)
            sent.tell_commands(done)
        except Exception as error:  # memory no longer agrees with the disk: begin anew
            log.exception("effects.failed")
            self._fail(StorageUnavailable(f"the outbox lost track ({error!r}); restart"), sent)
        sent.tell_puts(done)
        if not self.failed.done():
            sent.observe(done.settled)
        self._go_on(done.seconds, len(sent.puts))

    def _go_on(self, seconds: float, answered: int) -> None:
        waiting, puts = self._waiting, len(self._waiting.puts)
        many = puts + answered > FEW
        self._awaited = puts + answered if many else MAX_PUTS
        if self.failed.done():
            self._idle.set()
        elif self._scheduled:
            return  # whoever was told has handed in the next
        elif seconds > SLOW and puts and many:
            self._linger(min(SHARE * seconds, LINGER))
        elif puts or waiting.groups or waiting.commands:
            self._schedule()
        elif waiting.settlements and not self._jammed:
            self._await_company()
        else:
            self._idle.set()

    def _keep(self, sent: Sent) -> None:
        """The disk refused settlements: they stay first in line, and are tried again soon."""
        self._waiting.keep(sent)
        self._jammed = True
        self.stop()
        self._timer = self._loop.call_later(RETRY_WAIT, self._waited)

    def broke(self, error: StorageUnavailable) -> None:
        """The disk failed while no batch was at the writer."""
        if self._sent is None:  # else that batch's answer says so
            self._fail(error, Sent())
            self._idle.set()

    def _fail(self, error: StorageUnavailable, sent: Sent) -> None:
        """Nothing can be committed any more: everybody hears it, now and from now on."""
        if self.failed.done():
            return
        self.refusal = self.ended = error
        self.failed.set_result(error)
        self.stop()
        log.critical("outbox.failed", extra={"fields": {"error": str(error)}})
        self._waiting.fail(error, sent, self._loop)

    def _too_many(self) -> StorageUnavailable:
        return self.refusal or StorageUnavailable(
            f"{len(self._waiting.puts)} events of {self._waiting.bytes} bytes wait to be stored"
            " already; send it again later"
        )
