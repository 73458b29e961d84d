"""Every test of the listener's TLS runs on asyncio's loop and on uvloop."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Each of the two loops has a TLS protocol of its own."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
