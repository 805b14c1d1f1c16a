"""The todo service with its interceptor, on a database of its own."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from focusmesh.todo.v1 import task_pb2

from services.todo.main import build
from tests.contract.todo.todo_client import TaskBuilder, Todo
from tests.support.databases import ServiceUrl
from tests.support.serving import SignerKeys, serving, settings_for, without_broker
from tests.support.tokens import Signer


@pytest.fixture
def todo_url(service_url: ServiceUrl) -> str:
    """Connection string of the service's role."""
    return service_url("todo")


@pytest.fixture
async def channel(todo_url: str, valkey: str, signer: Signer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the service."""
    app = build(settings_for(database_url=todo_url, redis_url=valkey), SignerKeys(signer))
    async with serving(without_broker(app)) as channel:
        yield channel


@pytest.fixture
async def todo(channel: grpc.aio.Channel, signer: Signer) -> Todo:
    """A new user's view of the service."""
    return Todo(channel, signer)


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
