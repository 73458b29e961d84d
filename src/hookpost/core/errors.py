"""What can go wrong and is not an ordinary answer: one small tree.

A message names the thing, its value and the remedy. Raise or log, never both.
"""


class GatewayError(Exception):
    """Anything Hookpost raises on purpose."""


class OutboxError(GatewayError):
    """The outbox did not do what was asked; nothing of it was stored."""


class StorageFull(OutboxError):
    """The disk, or the file's own limit, has no room; purging may help."""


class StorageUnavailable(OutboxError):
    """The outbox cannot answer now: closed, draining, too slow, or failed for good."""


class StorageCorrupt(OutboxError):
    """The file cannot be trusted: it is damaged, or newer than this program."""


class AlreadyLocked(OutboxError):
    """Another process holds the outbox: process `holder`, where it has left its number."""

    def __init__(self, text: str, holder: str = "") -> None:
        super().__init__(text)
        self.holder = holder


class NotFound(GatewayError):
    """No such delivery, endpoint or dead letter."""


class Conflict(GatewayError):
    """The thing exists, but not in a state that allows what was asked."""
