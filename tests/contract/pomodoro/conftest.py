"""The pomodoro service behind its interceptor, one for the tests of a module; its clock goes on when a test says so."""

from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from mesh.runtime.ids import new_id
from services.pomodoro.jobs import GuestIntervalEnder, IntervalEnder
from services.pomodoro.main import build
from services.pomodoro.settings import Settings
from stack import database
from stack.keys import Keys
from stack.layout import State
from tests.contract.pomodoro.devices import Device, Time
from tests.support.serving import SignerKeys, serving, settings_for, without_broker
from tests.support.tokens import Signer


@pytest.fixture(scope="module")
def pomodoro_url(cluster: database.Cluster) -> Iterator[str]:
    """A database for the tests of a module: each takes users of its own."""
    name = f"test_{new_id().replace('-', '')}"
    database.clone(cluster, database.MAIN, name)
    yield cluster.runtime_url("pomodoro", name)
    database.drop(cluster, name)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Keys of the services that call one another."""
    return Keys(State(tmp_path_factory.mktemp("keys")))


@pytest.fixture(scope="module")
def pomodoro_settings(pomodoro_url: str, _valkey: str, keys: Keys) -> Settings:
    """Settings of the service; auth is away."""
    common = settings_for(
        database_url=pomodoro_url,
        redis_url=_valkey,
        service_key_file=str(keys.service_key("pomodoro")),
        caller_keys=f"calendar={keys.public_service_key('calendar')}",
        call_targets="auth=127.0.0.1:1;todo=127.0.0.1:1",
    )
    return Settings(**vars(common))


@pytest.fixture(scope="module")
def time() -> Time:
    """The clock of the service."""
    return Time()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(pomodoro_settings: Settings, signer: Signer, time: Time) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the service, in which intervals end only when somebody looks."""
    app = without_broker(build(pomodoro_settings, SignerKeys(signer), time.now))
    app.components = [each for each in app.components if not isinstance(each, IntervalEnder | GuestIntervalEnder)]
    async with serving(app) as channel:
        yield channel


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def redis(_valkey: str) -> AsyncIterator["Redis"]:
    """What the service's replicas share."""
    async with Redis.from_url(_valkey, decode_responses=True) as redis:
        yield redis


@pytest.fixture
def laptop(channel: grpc.aio.Channel, signer: Signer) -> Device:
    """A device of a new user."""
    return Device(channel, signer)
