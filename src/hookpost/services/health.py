"""What keeps the gateway from taking new events: one place for ingest and /readyz to ask."""

from dataclasses import dataclass


@dataclass(slots=True)
class Health:
    """Flags set by those who find out; each is a reason to answer 503.

    `starting` until the listeners serve, `draining` from SIGTERM on, `storage_low` while the disk
    has less free than `storage.min_free` or the file is at `retention.max_size`, `storage_failed`
    once the outbox cannot commit.
    """

    starting: bool = True
    draining: bool = False
    storage_low: bool = False
    storage_failed: bool = False

    def refusals(self) -> list[str]:
        """The reasons in force, by name; empty means ready."""
        names = ("starting", "draining", "storage_low", "storage_failed")
        return [name for name in names if getattr(self, name)]
