"""The verbs on the database of a stopped daemon: the same paths, performed here."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from hookpost.cli import exits, output
from hookpost.cli.client import Failure
from hookpost.clock import SystemClock
from hookpost.core.errors import AlreadyLocked, Conflict, NotFound, OutboxError
from hookpost.services.operations import Operations
from hookpost.services.verbs import BadRequest, perform
from hookpost.storage.sqlite import SqliteOutbox

Shown = dict[str, Any]


class Offline:
    """Opens the database for each verb, under its lock. Failure carries the exit code.

    `socket` is where no daemon answered. That none runs is said once the lock has proved it.
    """

    def __init__(self, path: Path, socket: Path) -> None:
        self._path = path
        self._socket = socket
        self._said = False

    def get(self, path: str, **query: object) -> Shown:
        """Look."""
        wanted = {key: value for key, value in query.items() if value is not None}
        return self._perform("GET", path, wanted)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Shown:
        """Change."""
        return self._perform("POST", path, body or {})

    def _perform(self, method: str, path: str, parameters: Mapping[str, Any]) -> Shown:
        if not self._path.exists():
            raise Failure(f"no daemon answers, and there is no {self._path}", exits.UNAVAILABLE)
        self._become_owner()
        logging.getLogger("hookpost").setLevel(logging.ERROR)
        return asyncio.run(
            self._judged(lambda operations: perform(operations, method, path, parameters))
        )

    async def _judged(self, verb: Callable[[Operations], Awaitable[Shown]]) -> Shown:
        clock = SystemClock()
        try:
            outbox = await SqliteOutbox.open(self._path, synchronous="full", clock=clock)
            try:
                self._say()
                return await verb(Operations(outbox, clock))
            finally:
                await outbox.close()
        except AlreadyLocked as error:
            raise Failure(self._locked(error.holder), exits.LOCKED) from None
        except (BadRequest, NotFound, Conflict) as error:
            raise Failure(str(error), exits.NEGATIVE) from None
        except OutboxError as error:
            raise Failure(str(error), exits.UNAVAILABLE) from None

    def _say(self) -> None:
        if not self._said:
            output.say(f"hookpost: no daemon is running; working on {self._path}")
            self._said = True

    def _locked(self, holder: str) -> str:
        who = f"process {holder}" if holder else "another process"
        state = "does not answer" if os.path.exists(self._socket) else "is not there"
        return (
            f"{who} holds {self._path}, so a daemon seems to run, but its admin socket "
            f"{self._socket} {state}; name its socket (--socket PATH or HOOKPOST_SOCKET), "
            "or restart the daemon"
        )

    def _become_owner(self) -> None:
        """As root, act as the file's owner, so that no file ends up belonging to root."""
        if os.geteuid() != 0:
            return
        owner = self._path.stat()
        if owner.st_uid != 0:
            os.setgroups([])
            os.setgid(owner.st_gid)
            os.setuid(owner.st_uid)
