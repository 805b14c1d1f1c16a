"""Which event loops these tests run on."""

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop, as services do, and Python's own: they treat sockets that break differently."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
