"""The realtime service on a real Redis, fed as its consumer feeds it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio import Redis

from mesh.runtime.ids import new_id
from services.realtime.cache.streams import Streams
from services.realtime.consumers import ChangePublisher
from services.realtime.main import build
from tests.support.realtime_clients import GRPC, WEBSOCKET, Door, Target
from tests.support.realtime_replicas import Replica, Tell, an_event, settings_for
from tests.support.serving import SignerKeys, serving
from tests.support.tokens import Signer


@pytest.fixture
async def replica(valkey: str, signer: Signer) -> AsyncIterator[Replica]:
    """Starts a replica with settings of its own."""
    async with AsyncExitStack() as running:

        async def start(**changes: Any) -> Target:
            settings = settings_for(valkey, **changes)
            await running.enter_async_context(serving(build(settings, SignerKeys(signer))))
            return Target(settings.listen, settings.websocket_listen)

        yield start


@pytest.fixture
async def target(replica: Replica) -> Target:
    """A replica as it is by default."""
    return await replica()


@pytest.fixture(params=[GRPC, WEBSOCKET], ids=lambda door: door.name)
def door(request: pytest.FixtureRequest) -> Door:
    """Each way in."""
    found: Door = request.param
    return found


@pytest.fixture
async def broadcast(valkey: str) -> AsyncIterator[ChangePublisher]:
    """What the consumer hands events to."""
    redis = Redis.from_url(valkey)
    yield ChangePublisher(Streams(redis, retention_seconds=300))
    await redis.aclose()


@pytest.fixture
def user() -> str:
    """A new user."""
    return new_id()


@pytest.fixture
def token(signer: Signer, user: str) -> str:
    """Of the user."""
    return signer.token(sub=user)


@pytest.fixture
def tell(broadcast: ChangePublisher, user: str) -> Tell:
    """Tells an event of the user, or of `user_id`; returns its id."""

    async def one(*, user_id: str = "", **fields: Any) -> str:
        event = an_event(user_id or user, **fields)
        await broadcast.apply([event])
        return event.id

    return one


@pytest.fixture
async def teller(tell: Tell) -> AsyncIterator[list[str]]:
    """Tells events of the user without end while the test runs; the list grows with their ids."""
    told: list[str] = []

    async def talk() -> None:
        while True:
            told.append(await tell())

    talking = asyncio.create_task(talk())
    yield told
    talking.cancel()
    await asyncio.gather(talking, return_exceptions=True)
