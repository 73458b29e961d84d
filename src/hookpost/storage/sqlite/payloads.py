"""What links to payloads lead to, over a reader of its own: opened with the first that is asked."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from hookpost.core.errors import StorageUnavailable
from hookpost.core.fanout import carrying
from hookpost.core.model import DeliveryId, EndpointId, Event
from hookpost.storage.sqlite import sql
from hookpost.storage.sqlite.reader import Reader
from hookpost.storage.sqlite.rows import event_of


class Payloads:
    """Reads the events of deliveries. Neither dispatch nor people's lists wait for it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opening = asyncio.Lock()
        self._open = AsyncExitStack()
        self._reader: Reader | None = None
        self._closed = False

    async def event(self, delivery: DeliveryId, endpoint: EndpointId) -> Event | None:
        """See Outbox.payload."""
        async with self._opening:
            if self._closed:
                raise StorageUnavailable(f"{self._path}: the outbox is closed")
            if self._reader is None:
                self._reader = await self._open.enter_async_context(await Reader.open(self._path))
        statement = sql.statements("reader")["sent"]
        rows = list(await self._reader.rows(statement, (delivery, endpoint)))
        if not rows:
            return None
        event = event_of(rows[0])
        made = rows[0]["payload"]
        return event if made is None else carrying(event, made)

    async def close(self) -> None:
        """Read nothing more."""
        async with self._opening:
            self._closed = True
            await self._open.aclose()
