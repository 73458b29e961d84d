"""Group commit: what waits on the loop becomes one batch whenever the writer is idle.

Two ticks of patience let the requests of one turn of the loop meet in one transaction. The next
batch goes only after the last is answered: sending it earlier would split the clients into
cohorts with half the rows a commit. Everything here runs on the loop.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hookpost.core.errors import OutboxError, StorageUnavailable
from hookpost.core.model import PutAnswer
from hookpost.storage.outbox import Observed
from hookpost.storage.sqlite.puts import Entry
from hookpost.storage.sqlite.settlements import Owned
from hookpost.storage.sqlite.transaction import Batch, Done, Step

log = logging.getLogger("hookpost.storage")

MAX_PUTS = 10_000  # waiting; beyond it a put is refused at once
MAX_BYTES = 64 << 20  # of their bodies
SETTLE_WAIT = 0.005  # seconds a settlement waits for company
SETTLE_ROWS = 256  # settlements that need none
MAX_SETTLEMENTS = 5_000  # waiting; beyond it nothing is claimed
RETRY_WAIT = 1.0  # seconds until refused settlements are tried again


@dataclass(slots=True)
class Command:
    """One step of a transaction that somebody waits for.

    `applied` is called on the loop after the commit, before anybody is answered, even where the
    caller is gone; `undone` likewise where nothing was stored.
    """

    step: Step
    future: "asyncio.Future[Any]"
    applied: Callable[[Any], None] | None = None
    undone: Callable[[], None] | None = None


@dataclass(slots=True)
class Sent:
    """The batch on its way, and who waits for it."""

    puts: "Sequence[asyncio.Future[PutAnswer]]"
    groups: "Sequence[asyncio.Future[Sequence[PutAnswer]]]"
    settlements: Sequence[Owned]
    observers: Sequence[Observed]
    commands: Sequence[Command]


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
        self._puts: list[asyncio.Future[PutAnswer]] = []
        self._entries: list[Entry] = []
        self._bytes = 0
        self._groups: list[tuple[asyncio.Future[Sequence[PutAnswer]], Sequence[Entry]]] = []
        self._settlements: list[Owned] = []
        self._observers: list[Observed] = []  # of the settlements, in their order
        self._commands: list[Command] = []
        self._sent: Sent | None = None
        self._sent_at = 0.0
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._jammed = False
        self._idle: asyncio.Event = asyncio.Event()
        self._idle.set()
        self.refusal: StorageUnavailable | None = None  # of puts and commands
        self.ended: StorageUnavailable | None = None  # of settlements too
        self.failed: asyncio.Future[OutboxError] = self._loop.create_future()

    @property
    def swamped(self) -> bool:
        """Whether so many settlements wait for the disk that nothing more should be claimed."""
        return len(self._settlements) > MAX_SETTLEMENTS

    @property
    def jammed(self) -> bool:
        """Whether the disk has refused settlements that are kept for another try."""
        return self._jammed

    @property
    def busy_for(self) -> float:
        """Seconds that the writer has had the batch it is at; 0 while it is idle."""
        return 0.0 if self._sent is None else self._loop.time() - self._sent_at

    # -- what comes in -----------------------------------------------------------------------

    def put(self, entry: Entry) -> "asyncio.Future[PutAnswer]":
        """One event; see Outbox.put."""
        future: asyncio.Future[PutAnswer] = self._loop.create_future()
        self._bytes += len(entry[0].body)
        if self.refusal is not None or len(self._puts) >= MAX_PUTS or self._bytes > MAX_BYTES:
            self._bytes -= len(entry[0].body)
            future.set_exception(self._too_many())
            return future
        self._puts.append(future)
        self._entries.append(entry)
        if not self._scheduled and self._sent is None:
            self._schedule()
        return future

    def put_group(self, entries: Sequence[Entry]) -> "asyncio.Future[Sequence[PutAnswer]]":
        """Several events, all or none; see Outbox.put_many."""
        future: asyncio.Future[Sequence[PutAnswer]] = self._loop.create_future()
        size = sum(len(event.body) for event, _ in entries)
        waiting = len(self._puts) + sum(len(group) for _, group in self._groups)
        crowded = waiting + len(entries) > MAX_PUTS or self._bytes + size > MAX_BYTES
        if self.refusal is not None or (crowded and waiting):
            future.set_exception(self._too_many())
            return future
        self._bytes += size
        self._groups.append((future, entries))
        self._wake()
        return future

    def settle(self, owned: Owned, observed: Observed) -> None:
        """One settlement; see Outbox.settle."""
        if self.ended is not None:
            self._loop.call_soon(observed, owned[0], self.ended)
            return
        self._settlements.append(owned)
        self._observers.append(observed)
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
        self._commands.append(Command(step, future, applied, undone))
        self._wake()
        return future

    async def flush(self) -> None:
        """Wait until nothing waits; refused settlements are tried once more, then given up."""
        if self._jammed:
            self._jammed = False
            self._wake()
        while not self.failed.done():
            await self._idle.wait()
            if self._jammed or not self._waits():
                break
            self._wake()
        if self._settlements:
            fields = {"settlements": len(self._settlements)}
            log.error("settlements.unsaved", extra={"fields": fields})

    def stop(self) -> None:
        """Let no timer fire."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _waits(self) -> bool:
        return bool(self._entries or self._groups or self._commands or self._settlements)

    # -- one batch ---------------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._scheduled and self._sent is None:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        self._idle.clear()
        self._loop.call_soon(self._loop.call_soon, self._send)

    def _await_company(self) -> None:
        if len(self._settlements) >= SETTLE_ROWS:
            self._schedule()
        elif self._timer is None:
            self._idle.clear()
            self._timer = self._loop.call_later(SETTLE_WAIT, self._waited)

    def _waited(self) -> None:
        self._timer = None
        self._jammed = False
        self._wake()

    def _send(self) -> None:
        self._scheduled = False
        if self._sent is not None or self.failed.done():
            return
        if not self._jammed:  # settlements that wait for company have found it
            self.stop()
        puts, entries, self._puts, self._entries = self._puts, self._entries, [], []
        groups, self._groups, self._bytes = self._groups, [], 0
        commands, self._commands = self._commands, []
        settlements: list[Owned] = []
        observers: list[Observed] = []
        if not self._jammed:
            settlements, self._settlements = self._settlements, settlements
            observers, self._observers = self._observers, observers
        if not (entries or groups or settlements or commands):
            self._idle.set()
            return
        self._sent_at = self._loop.time()
        self._sent = Sent(puts, [future for future, _ in groups], settlements, observers, commands)
        self._submit(
            Batch(
                entries=entries,
                groups=[group for _, group in groups],
                settlements=settlements,
                steps=[command.step for command in commands],
                in_flight=self._in_flight() if commands else frozenset(),
            )
        )

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
            _tell_commands(sent.commands, done)
        except Exception as error:  # memory no longer agrees with the disk: begin anew
            log.exception("effects.failed")
            self._fail(StorageUnavailable(f"the outbox lost track ({error!r}); restart"), sent)
        _tell(sent.puts, done.puts)
        _tell(sent.groups, done.groups)
        if not self.failed.done():
            _observe(sent, done.settled)
        self._go_on()

    def _go_on(self) -> None:
        if self.failed.done():
            self._idle.set()
        elif self._entries or self._groups or self._commands:
            self._schedule()
        elif self._settlements and not self._jammed:
            self._await_company()
        else:
            self._idle.set()

    def _keep(self, sent: Sent) -> None:
        """The disk refused settlements: they stay first in line, and are tried again soon."""
        self._settlements[:0] = sent.settlements
        self._observers[:0] = sent.observers
        sent.observers = ()
        self._jammed = True
        self.stop()
        self._timer = self._loop.call_later(RETRY_WAIT, self._waited)

    def _fail(self, error: StorageUnavailable, sent: Sent) -> None:
        """Nothing can be committed any more: everybody hears it, now and from now on."""
        if self.failed.done():
            return
        self.refusal = self.ended = error
        self.failed.set_result(error)
        self.stop()
        log.critical("outbox.failed", extra={"fields": {"error": str(error)}})
        waiting: list[asyncio.Future[Any]] = [*self._puts, *(future for future, _ in self._groups)]
        for future in waiting:
            _drop(future, error)
        unsettled = [
            *zip(sent.observers, sent.settlements, strict=bool(sent.observers)),
            *zip(self._observers, self._settlements, strict=True),
        ]
        for observed, (settlement, _) in unsettled:
            self._loop.call_soon(observed, settlement, error)
        for command in self._commands:
            if command.undone is not None:
                command.undone()
            _drop(command.future, error)

    def _too_many(self) -> StorageUnavailable:
        return self.refusal or StorageUnavailable(
            f"{len(self._puts)} events of {self._bytes} bytes wait to be stored already;"
            " send it again later"
        )


def _drop(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # nobody need be waiting


def _observe(sent: Sent, answers: Sequence[bool | None]) -> None:
    """Tell what became of the settlements, unless they are kept for another try."""
    if not sent.observers:
        return
    for observed, owned, answer in zip(sent.observers, sent.settlements, answers, strict=True):
        observed(owned[0], answer is True)


def _tell(futures: "Sequence[asyncio.Future[Any]]", answers: Sequence[Any]) -> None:
    for future, answer in zip(futures, answers, strict=True):
        if not future.done():
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


def _tell_commands(commands: Sequence[Command], done: Done) -> None:
    for command, answer in zip(commands, done.steps, strict=True):
        if isinstance(answer, Exception):
            if command.undone is not None:
                command.undone()
        elif command.applied is not None:
            command.applied(answer)
    _tell([command.future for command in commands], done.steps)
