"""Signals, taken on the event loop: HUP reloads; TERM, INT, QUIT drain; a second ends at once.

USR1, USR2 and ALRM would end a process that does not know them. Here they do nothing, and the log
says what to send instead.
"""

import asyncio
import logging
import signal
from collections.abc import Callable

log = logging.getLogger("hookpost.daemon")

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
STRAYS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
INSTEAD = "HUP reloads, TERM drains and ends; logs go to stderr, no file is to be reopened"


def ignore_strays() -> None:
    """From now on a stray signal does no harm; before there is a loop, nobody is told of it."""
    for number in STRAYS:
        signal.signal(number, signal.SIG_IGN)


class Signals:
    """`stop` is set by the first TERM, INT or QUIT, `hurry` by the second."""

    def __init__(self, hangup: Callable[[], None]) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self._hangup = hangup

    def take_stops(self) -> None:
        """From now on TERM, INT and QUIT end the daemon in order, while it starts, too."""
        loop = asyncio.get_running_loop()
        for number in STOPS:
            loop.add_signal_handler(number, self._asked_to_stop)
        for number in STRAYS:
            loop.add_signal_handler(number, _ignored, number)

    def take_hangups(self) -> None:
        """From now on HUP reloads; what came before is remembered by the program's first line."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hangup)

    def _asked_to_stop(self) -> None:
        if self.stop.is_set():
            self.hurry.set()
        self.stop.set()


def _ignored(number: signal.Signals) -> None:
    fields = {"signal": number.name, "instead": INSTEAD}
    log.warning("signal.ignored", extra={"fields": fields})
