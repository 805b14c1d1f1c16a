"""Which event loops and which database these tests run on."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

from tests.support.databases import ServiceUrl


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop, as services do, and Python's own: they treat sockets that break differently."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
def todo_url(service_url: ServiceUrl) -> str:
    """Connection string of the role of the service that stands for any."""
    return service_url("todo")
