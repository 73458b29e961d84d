"""Signals, taken on the event loop: HUP reloads, TERM and INT drain, a second one ends at once."""

import asyncio
import signal
from collections.abc import Callable


class Signals:
    """`stop` is set by the first TERM or INT, `hurry` by the second."""

    def __init__(self, hangup: Callable[[], None]) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self._hangup = hangup

    def take_stops(self) -> None:
        """From now on TERM and INT end the daemon in order, while it starts, too."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)

    def take_hangups(self) -> None:
        """From now on HUP reloads; what came before is remembered by the program's first line."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hangup)

    def _asked_to_stop(self) -> None:
        if self.stop.is_set():
            self.hurry.set()
        self.stop.set()
