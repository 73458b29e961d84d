"""What the command line decides beside the file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """None leaves a thing to the file. `grace` is seconds that attempts in flight get at SIGTERM.

    `hangup_was_asked` says whether a SIGHUP came before the event loop could take it.
    """

    path: Path
    log_level: str | None = None
    log_format: str | None = None
    grace: float = 20.0
    hangup_was_asked: Callable[[], bool] = lambda: False
