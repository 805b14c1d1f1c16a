"""Servers that messages are sent to, and clients that may call them."""

from collections.abc import AsyncIterator

import pytest

from harness.http_receiver import Receiver, receiving
from mesh.outgoing.client import OutgoingClient
from mesh.outgoing.guard import Guard, networks


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """An HTTP server of the test's."""
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def client() -> AsyncIterator[OutgoingClient]:
    """May call loopback, and waits one second."""
    client = OutgoingClient(Guard(networks("127.0.0.0/8")), seconds=1)
    yield client
    await client.close()
