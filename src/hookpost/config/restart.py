"""What a reload cannot change."""

from hookpost.core.settings import Config


def restart_only_changes(old: Config, new: Config) -> list[str]:
    """The restart-only keys that differ: listeners' addresses and modes, and all of storage."""
    pairs = {
        "listen.ingest.address": (old.listen.ingest.address, new.listen.ingest.address),
        "listen.ingest.mode": (old.listen.ingest.mode, new.listen.ingest.mode),
        "listen.ops.address": (old.listen.ops.address, new.listen.ops.address),
        "listen.ops.mode": (old.listen.ops.mode, new.listen.ops.mode),
        "listen.admin.address": (old.listen.admin.address, new.listen.admin.address),
        "listen.admin.mode": (old.listen.admin.mode, new.listen.admin.mode),
        "storage.sqlite.path": (old.storage.path, new.storage.path),
        "storage.sqlite.synchronous": (old.storage.synchronous, new.storage.synchronous),
        "storage.min_free": (old.storage.min_free, new.storage.min_free),
    }
    return [key for key, (before, after) in pairs.items() if before != after]
