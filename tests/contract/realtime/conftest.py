"""The realtime service on a real Redis, fed as its consumer feeds it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio import Redis

from mesh.runtime.ids import new_id
from services.realtime.cache.streams import Streams
from services.realtime.consumers import ChangePublisher
from services.realtime.main import build
from tests.support.realtime_clients import GRPC, WEBSOCKET, RealtimeClient, Target
from tests.support.realtime_replicas import Publish, Replica, an_event, settings_for
from tests.support.serving import SignerKeys, serving, without_broker
from tests.support.tokens import Signer


@pytest.fixture
async def replica(valkey: str, signer: Signer) -> AsyncIterator[Replica]:
    """Starts a replica with settings of its own."""
    async with AsyncExitStack() as running:

        async def start(**changes: Any) -> Target:
            settings = settings_for(valkey, **changes)
            app = without_broker(build(settings, SignerKeys(signer)))
            await running.enter_async_context(serving(app))
            return Target(settings.listen, settings.websocket_listen)

        yield start


@pytest.fixture
async def target(replica: Replica) -> Target:
    """A replica as it is by default."""
    return await replica()


@pytest.fixture(params=[GRPC, WEBSOCKET], ids=lambda client: client.name)
def client(request: pytest.FixtureRequest) -> RealtimeClient:
    """A client of each protocol."""
    found: RealtimeClient = request.param
    return found


@pytest.fixture
async def broadcast(valkey: str) -> AsyncIterator[ChangePublisher]:
    """Publishes changes as the consumer does."""
    redis = Redis.from_url(valkey)
    yield ChangePublisher(Streams(redis, retention_seconds=300))
    await redis.aclose()


@pytest.fixture
def user() -> str:
    """A new user."""
    return new_id()


@pytest.fixture
def token(signer: Signer, user: str) -> str:
    """An access token of the user."""
    return signer.token(sub=user)


@pytest.fixture
def publish(broadcast: ChangePublisher, user: str) -> Publish:
    """Publishes an event of the user, or of `user_id`; returns its id."""

    async def one(*, user_id: str = "", **fields: Any) -> str:
        event = an_event(user_id or user, **fields)
        await broadcast.apply([event])
        return event.id

    return one
