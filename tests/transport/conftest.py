"""Every test of the transport runs on asyncio's loop and on uvloop."""

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
import uvloop
from tests.builders import FakeClock
from tests.transport.receiver import LOOPBACK, Open

from hookpost.core.settings import Endpoint
from hookpost.transport.client import AiohttpTransport


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Each of the two loops has a resolver, transports and cancellation of its own."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def open_transport() -> AsyncIterator[Open]:
    """Makes transports for a URL; allows loopback and plain http unless told otherwise."""
    opened: list[AiohttpTransport] = []

    def make(
        url: str,
        *,
        lookup: Callable[[str], Any] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        clock: FakeClock | None = None,
        **overrides: Any,
    ) -> AiohttpTransport:
        fields: dict[str, Any] = {"name": "crm", "egress": LOOPBACK, "timeout": 5.0} | overrides
        known: dict[str, Any] = {} if lookup is None else {"lookup": lookup}
        transport = AiohttpTransport(
            Endpoint(url=url, **fields),
            clock=clock or FakeClock(),
            ssl_context=ssl_context,
            **known,
        )
        opened.append(transport)
        return transport

    yield make
    for transport in opened:
        await transport.close()
    gc.collect(1)  # what was left open is told now, in the test that left it
