"""The todo service with its interceptor, on a database of its own; auth is away until a test starts it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from focusmesh.todo.v1 import task_pb2

from services.todo.main import build
from services.todo.settings import Settings
from stack.keys import Keys
from stack.layout import State
from tests.contract.todo.todo_client import Calendar, Scheduler, TaskBuilder, Todo
from tests.support.databases import ServiceUrl
from tests.support.ports import free_ports
from tests.support.serving import SignerKeys, serving, settings_for, without_broker
from tests.support.tokens import Signer


@pytest.fixture
def todo_url(service_url: ServiceUrl) -> str:
    """Connection string of the service's role."""
    return service_url("todo")


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Keys of the services that call one another."""
    return Keys(State(tmp_path))


@pytest.fixture
def auth_address() -> str:
    """Where auth would listen."""
    return f"127.0.0.1:{free_ports(1)[0]}"


@pytest.fixture
def most_tasks() -> int:
    """How many tasks a user may have."""
    return 100_000


@pytest.fixture
def todo_settings(todo_url: str, valkey: str, keys: Keys, auth_address: str, most_tasks: int) -> Settings:
    """Settings of the service, which calls auth and is called by others."""
    common = settings_for(
        database_url=todo_url,
        redis_url=valkey,
        service_key_file=str(keys.service_key("todo")),
        call_targets=f"auth={auth_address}",
        caller_keys=";".join(f"{name}={keys.public_service_key(name)}" for name in ("recurrence", "calendar")),
    )
    return Settings(**vars(common), most_tasks=most_tasks)


@pytest.fixture
async def channel(todo_settings: Settings, signer: Signer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the service."""
    async with serving(without_broker(build(todo_settings, SignerKeys(signer)))) as channel:
        yield channel


@pytest.fixture
async def todo(channel: grpc.aio.Channel, signer: Signer) -> Todo:
    """A new user's view of the service."""
    return Todo(channel, signer)


@pytest.fixture
async def scheduler(channel: grpc.aio.Channel, keys: Keys, todo: Todo) -> Scheduler:
    """What recurrence does for that user."""
    return Scheduler(channel, keys.service_key("recurrence"), todo.user_id)


@pytest.fixture
async def calendar(channel: grpc.aio.Channel, keys: Keys, todo: Todo) -> Calendar:
    """What calendar asks about that user."""
    return Calendar(channel, keys.service_key("calendar"), todo.user_id)


@pytest.fixture
def a_task(todo: Todo) -> TaskBuilder:
    """Makes a task of the user; `state` brings it there by its verbs."""

    async def build(*, state: int = task_pb2.TASK_STATE_PENDING, title: str = "x", **fields: Any) -> task_pb2.Task:
        task: task_pb2.Task = (await todo.CreateTask(title=title, **fields)).task
        if state == task_pb2.TASK_STATE_IN_PROGRESS:
            task = (await todo.StartTask(task_id=task.id)).task
        elif state == task_pb2.TASK_STATE_COMPLETE:
            task = (await todo.CompleteTask(task_id=task.id)).task
        return task

    return build
