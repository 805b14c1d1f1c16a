"""Replicas that the broker feeds, on a Redis that can be taken away."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from services.realtime.main import build
from stack.stack import Stack
from tests.support.realtime_clients import Target
from tests.support.realtime_replicas import Replica, settings_for
from tests.support.serving import SignerKeys, serving
from tests.support.stacks import started
from tests.support.tokens import Signer


@pytest.fixture(scope="session")
def own_redis() -> Iterator[Stack]:
    """A Redis that only these tests use, and that is started again when it is killed."""
    with started("realtime-valkey", components=("valkey",)) as stack:
        yield stack


@pytest.fixture
async def replica(own_redis: Stack, kafka: str, signer: Signer) -> AsyncIterator[Replica]:
    """Starts a replica with settings of its own."""
    async with AsyncExitStack() as running:

        async def start(**changes: Any) -> Target:
            settings = replace(settings_for(own_redis.valkey_url, **changes), kafka_bootstrap=kafka)
            await running.enter_async_context(serving(build(settings, SignerKeys(signer))))
            return Target(settings.listen, settings.websocket_listen)

        yield start
