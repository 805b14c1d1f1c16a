"""The recurrence service with todo beside it, each on a database of its own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from focusmesh.todo.v1.task_instance_service_pb2_grpc import TaskInstanceServiceStub

from mesh.database.pool import Database
from mesh.rpc.client import ServiceClient
from mesh.rpc.service_identity import ServiceSigner
from mesh.runtime.settings import ServiceSettings
from mesh.runtime.signing_keys import private_key
from services.recurrence.jobs import InstancePlanner
from services.recurrence.main import build
from services.todo import main as todo
from services.todo.settings import Settings as TodoSettings
from stack.keys import Keys
from stack.layout import State
from tests.contract.recurrence.world import Carrier, Person
from tests.support.databases import ServiceUrl, opened
from tests.support.ports import free_ports
from tests.support.serving import SignerKeys, serving, settings_for, without_broker
from tests.support.tokens import Signer


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Keys of the services that call one another."""
    return Keys(State(tmp_path))


@pytest.fixture
def todo_settings(service_url: ServiceUrl, valkey: str, keys: Keys) -> ServiceSettings:
    """Settings of todo, which recurrence calls; auth is away."""
    return settings_for(
        database_url=service_url("todo"),
        redis_url=valkey,
        service_key_file=str(keys.service_key("todo")),
        call_targets=f"auth=127.0.0.1:{free_ports(1)[0]}",
        caller_keys=f"recurrence={keys.public_service_key('recurrence')}",
    )


@pytest.fixture
def recurrence_settings(
    service_url: ServiceUrl, valkey: str, keys: Keys, todo_settings: ServiceSettings
) -> ServiceSettings:
    """Settings of the service."""
    return settings_for(
        database_url=service_url("recurrence"),
        redis_url=valkey,
        service_key_file=str(keys.service_key("recurrence")),
        call_targets=f"auth=127.0.0.1:1;todo={todo_settings.listen}",
    )


@pytest.fixture
async def todo_channel(todo_settings: ServiceSettings, signer: Signer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to todo."""
    async with serving(without_broker(todo.build(TodoSettings(**vars(todo_settings)), SignerKeys(signer)))) as channel:
        yield channel


@pytest.fixture
async def channel(recurrence_settings: ServiceSettings, signer: Signer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the service."""
    async with serving(without_broker(build(recurrence_settings, SignerKeys(signer)))) as channel:
        yield channel


@pytest.fixture
async def instances(keys: Keys, todo_settings: ServiceSettings) -> AsyncIterator[TaskInstanceServiceStub]:
    """Todo's instances, called as recurrence."""
    key = private_key(keys.service_key("recurrence").read_bytes())
    client = ServiceClient("todo", todo_settings.listen, ServiceSigner("recurrence", key), None)
    yield TaskInstanceServiceStub(client.channel)
    await client.close()


@pytest.fixture
async def idle(recurrence_settings: ServiceSettings, signer: Signer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the service, whose plans are carried out only when a test says so."""
    app = without_broker(build(recurrence_settings, SignerKeys(signer)))
    app.components = [each for each in app.components if not isinstance(each, InstancePlanner)]
    async with serving(app) as channel:
        yield channel


@pytest.fixture
async def db(service_url: ServiceUrl) -> AsyncIterator[Database]:
    """The database of the service."""
    async with opened(service_url("recurrence"), "recurrence") as db:
        yield db


@pytest.fixture
async def carrier(service_url: ServiceUrl, db: Database) -> AsyncIterator[Carrier]:
    """What carries events; `carrying` runs it."""
    async with opened(service_url("todo"), "todo") as todo_db:
        yield Carrier(todo_db, db)


@pytest.fixture
async def person(
    todo_channel: grpc.aio.Channel, channel: grpc.aio.Channel, signer: Signer, db: Database, carrier: Carrier
) -> AsyncIterator[Person]:
    """A new user, whose events are carried."""
    carrying = asyncio.create_task(carrier.run())
    yield Person(todo_channel, channel, signer, db)
    carrying.cancel()
    await asyncio.gather(carrying, return_exceptions=True)
