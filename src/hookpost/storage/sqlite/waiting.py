"""What waits for the writer, and the batch on its way with those who wait for its answer."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hookpost.core.errors import OutboxError
from hookpost.storage.outbox import Observed, Waiter
from hookpost.storage.sqlite.puts import Entry
from hookpost.storage.sqlite.settlements import Owned
from hookpost.storage.sqlite.transaction import Batch, Done, Step

BATCH_BYTES = 4 << 20
"""Bodies after which no more puts join a batch: the log of one must fit into the ballast."""

Group = tuple[Waiter, Sequence[Entry]]


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

    def fail(self, error: OutboxError) -> None:
        """It will never be carried out."""
        if self.undone is not None:
            self.undone()
        _drop(self.future, error)


@dataclass(slots=True)
class Sent:
    """The batch on its way, and who waits for it."""

    puts: Sequence[Waiter] = ()
    groups: Sequence[Waiter] = ()
    settlements: Sequence[Owned] = ()
    observers: Sequence[Observed] = ()
    commands: Sequence[Command] = ()

    def tell_commands(self, done: Done) -> None:
        """First what must follow from a command, then whoever waits for it."""
        for command, answer in zip(self.commands, done.steps, strict=True):
            if isinstance(answer, Exception):
                if command.undone is not None:
                    command.undone()
            elif command.applied is not None:
                command.applied(answer)
        _tell([command.future for command in self.commands], done.steps)

    def tell_puts(self, done: Done) -> None:
        """Answer the publishers."""
        _tell(self.puts, done.puts)
        _tell(self.groups, done.groups)

    def observe(self, answers: Sequence[bool | None]) -> None:
        """Tell what became of the settlements, unless they are kept for another try."""
        if not self.observers:
            return
        for observed, owned, answer in zip(self.observers, self.settlements, answers, strict=True):
            observed(owned[0], answer is True)


@dataclass(slots=True)
class Waiting:
    """What came since the last batch was sent. `bytes` are those of the bodies."""

    puts: list[Waiter] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)  # of the puts, in their order
    groups: list[Group] = field(default_factory=list)
    bytes: int = 0
    settlements: list[Owned] = field(default_factory=list)
    observers: list[Observed] = field(default_factory=list)  # of the settlements, in their order
    commands: list[Command] = field(default_factory=list)

    def any(self) -> bool:
        """Whether anything waits."""
        return bool(self.entries or self.groups or self.commands or self.settlements)

    def take(self, *, settle: bool) -> tuple[Sent, Batch]:
        """What goes now: all, but for puts beyond BATCH_BYTES, and settlements if `settle`."""
        puts, entries, groups = self._taken_puts()
        commands, self.commands = self.commands, []
        sent = Sent(puts, [waiter for waiter, _ in groups], commands=commands)
        if settle:
            sent.settlements, self.settlements = self.settlements, []
            sent.observers, self.observers = self.observers, []
        batch = Batch(
            entries=entries,
            groups=[group for _, group in groups],
            settlements=sent.settlements,
            steps=[command.step for command in commands],
        )
        return sent, batch

    def _taken_puts(self) -> tuple[list[Waiter], list[Entry], list[Group]]:
        if self.bytes <= BATCH_BYTES:
            taken = self.puts, self.entries, self.groups
            self.puts, self.entries, self.groups, self.bytes = [], [], [], 0
            return taken
        left, count, whole = BATCH_BYTES, 0, 0
        while left > 0 and count < len(self.entries):
            left -= self.entries[count][0].weight
            count += 1
        while left > 0 and whole < len(self.groups):
            left -= sum(event.weight for event, _ in self.groups[whole][1])
            whole += 1
        taken = self.puts[:count], self.entries[:count], self.groups[:whole]
        del self.puts[:count], self.entries[:count], self.groups[:whole]
        self.bytes -= BATCH_BYTES - left
        return taken

    def keep(self, sent: Sent) -> None:
        """The disk refused these settlements: they are first in line again."""
        self.settlements[:0] = sent.settlements
        self.observers[:0] = sent.observers
        sent.observers = ()

    def fail(self, error: OutboxError, sent: Sent, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing is written any more: tell everybody who waits here, and the sent settlements."""
        for put in self.puts:
            _drop(put, error)
        for waiter, _ in self.groups:
            _drop(waiter, error)
        unsettled = [
            *zip(sent.observers, sent.settlements, strict=bool(sent.observers)),
            *zip(self.observers, self.settlements, strict=True),
        ]
        for observed, (settlement, _) in unsettled:
            loop.call_soon(observed, settlement, error)
        for command in self.commands:
            command.fail(error)


def _drop(waiter: Waiter, error: Exception) -> None:
    if not waiter.done():
        waiter.set_exception(error)
        if isinstance(waiter, asyncio.Future):
            waiter.exception()  # nobody need be waiting


def _tell(waiters: Sequence[Waiter], answers: Sequence[Any]) -> None:
    for waiter, answer in zip(waiters, answers, strict=True):
        if not waiter.done():
            if isinstance(answer, Exception):
                waiter.set_exception(answer)
            else:
                waiter.set_result(answer)
