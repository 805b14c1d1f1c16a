"""From CompleteTask over the real broker to the next instance: one, whoever is away in between."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import grpc
import psycopg
import pytest
from focusmesh.todo.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc
from focusmesh.type.v1 import recurrence_pb2

from harness.waiting import until
from mesh.app import App
from mesh.runtime.settings import ServiceSettings
from services.recurrence import main as recurrence
from services.todo import main as todo
from services.todo.settings import Settings as TodoSettings
from stack.keys import Keys
from stack.layout import State
from tests.support.databases import ServiceUrl
from tests.support.serving import SignerKeys, serving, settings_for
from tests.support.tokens import Signer
from tests.support.user_stub import UserStub

PENDING = task_pb2.TASK_STATE_PENDING


@pytest.fixture
def services(
    service_url: ServiceUrl, valkey: str, kafka: str, signer: Signer, tmp_path: Path
) -> tuple[Callable[[], App], Callable[[], App]]:
    """Make a process of todo, and one of recurrence: another replica each time, todo always at the same address."""
    keys = Keys(State(tmp_path))

    def settings(name: str, **changes: str) -> ServiceSettings:
        common = settings_for(
            database_url=service_url(name), redis_url=valkey, service_key_file=str(keys.service_key(name)), **changes
        )
        return replace(common, kafka_bootstrap=kafka)

    of_todo = settings(
        "todo",
        call_targets="auth=127.0.0.1:1",
        caller_keys=f"recurrence={keys.public_service_key('recurrence')}",
    )
    targets = f"auth=127.0.0.1:1;todo={of_todo.listen}"
    return (
        lambda: todo.build(TodoSettings(**vars(of_todo)), SignerKeys(signer)),
        lambda: recurrence.build(settings("recurrence", call_targets=targets), SignerKeys(signer)),
    )


def count(url: str, query: str) -> int:
    """The number that a query finds."""
    with psycopg.connect(url) as connection:
        [found] = connection.execute(query).fetchone() or (0,)
    return int(found)


async def test_one_next_instance_follows_although_todo_and_recurrence_stop_in_between(
    services: tuple[Callable[[], App], Callable[[], App]], service_url: ServiceUrl, signer: Signer
) -> None:
    start_todo, start_recurrence = services
    daily = recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_DAILY)

    def user(channel: grpc.aio.Channel, user_id: str = "") -> UserStub:
        return UserStub(task_service_pb2_grpc.TaskServiceStub(channel), task_service_pb2, signer, user_id)

    async with serving(start_todo()) as channel:
        owner = user(channel)
        task = (await owner.CreateTask(title="Water", recurrence=daily, time_zone="Europe/Berlin")).task
        await owner.CompleteTask(task_id=task.id)
        await until(lambda: count(service_url("todo"), "SELECT count(*) FROM outbox") == 0, "both events are published")
    async with serving(start_recurrence()):  # todo is away
        await until(lambda: count(service_url("recurrence"), "SELECT count(*) FROM plans") == 1, "the next is planned")
    async with AsyncExitStack() as running:
        channel = await running.enter_async_context(serving(start_todo()))
        for _ in range(2):
            await running.enter_async_context(serving(start_recurrence()))
        owner = user(channel, owner.user_id)

        async def pending() -> list[task_pb2.Task]:
            return list((await owner.ListTasks(states=[PENDING])).tasks)

        await until(lambda: count(service_url("recurrence"), "SELECT count(*) FROM plans") == 0, "the plan is done")
        [following] = await pending()
        assert (following.series_id, following.title) == (task.series_id, "Water")
        assert following.slot > task.slot
        await owner.ReopenTask(task_id=task.id)

        async def only_the_first_is_open() -> bool:
            return [each.id for each in await pending()] == [task.id]

        await until(only_the_first_is_open, "the next instance is withdrawn")
        await owner.CompleteTask(task_id=task.id)

        async def the_same_is_back() -> bool:
            return [each.id for each in await pending()] == [following.id]

        await until(the_same_is_back, "the next instance is back")
        assert len((await owner.ListTasks(show_deleted=True)).tasks) == 2
