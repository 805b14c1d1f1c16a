"""From todo through the broker to the next instance, with the recurrence service killed again and again; erasure."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from focusmesh.recurrence.v1 import schedule_service_pb2, schedule_service_pb2_grpc
from focusmesh.todo.v1 import task_service_pb2 as pb
from focusmesh.todo.v1 import task_service_pb2_grpc as rpc
from focusmesh.type.v1 import recurrence_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from harness.waiting import until
from mesh.database.pool import Database
from mesh.events.producer import Producer
from mesh.runtime import clock
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from mesh.runtime.settings import ServiceSettings
from services.recurrence.main import build
from services.todo import main as todo
from services.todo.settings import Settings as TodoSettings
from stack.keys import Keys
from stack.layout import ROOT, State
from tests.support.databases import ServiceUrl, opened
from tests.support.ports import free_ports
from tests.support.recurrence_events import a_series_event, recurring
from tests.support.serving import SignerKeys, serving, settings_for
from tests.support.task_events import publish
from tests.support.tokens import Signer
from tests.support.user_events import TOPIC, a_user_event
from tests.support.user_stub import UserStub

TASKS = 40
KILLS = 6


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Keys of both services."""
    return Keys(State(tmp_path))


@pytest.fixture
def todo_settings(service_url: ServiceUrl, valkey: str, kafka: str, keys: Keys) -> ServiceSettings:
    """Settings of todo on the real broker."""
    settings = settings_for(
        database_url=service_url("todo"),
        redis_url=valkey,
        service_key_file=str(keys.service_key("todo")),
        call_targets="auth=127.0.0.1:1",
        caller_keys=f"recurrence={keys.public_service_key('recurrence')}",
    )
    return replace(settings, kafka_bootstrap=kafka)


@pytest.fixture
def settings(
    service_url: ServiceUrl, valkey: str, kafka: str, keys: Keys, todo_settings: ServiceSettings
) -> ServiceSettings:
    """Settings of the service on the real broker."""
    settings = settings_for(
        database_url=service_url("recurrence"),
        redis_url=valkey,
        service_key_file=str(keys.service_key("recurrence")),
        call_targets=f"auth=127.0.0.1:1;todo={todo_settings.listen}",
        # A killed process joins again as itself; otherwise its partitions would wait for a time-out.
        kafka_options="group.instance.id=recurrence",
    )
    return replace(settings, kafka_bootstrap=kafka)


@pytest.fixture
async def tasks(todo_settings: ServiceSettings, signer: Signer) -> AsyncIterator[UserStub]:
    """Todo as a new user calls it."""
    async with serving(todo.build(TodoSettings(**vars(todo_settings)), SignerKeys(signer))) as channel:
        yield UserStub(rpc.TaskServiceStub(channel), pb, signer)


@pytest.fixture
async def db(service_url: ServiceUrl) -> AsyncIterator[Database]:
    """The database of the service."""
    async with opened(service_url("recurrence"), "recurrence") as db:
        yield db


@contextmanager
def running(settings: ServiceSettings) -> Iterator[subprocess.Popen[bytes]]:
    """The service in a process of its own, which is killed at the end."""
    environment = {f"FOCUSMESH_{name.upper()}": str(value) for name, value in vars(settings).items()}
    environment["FOCUSMESH_LISTEN"] = f"127.0.0.1:{free_ports(1)[0]}"
    command = [sys.executable, "-m", "services.recurrence.main"]
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


async def count(db: Database, statement: str) -> int:
    """What a count of rows gives."""
    async with db.connection() as connection:
        cursor = await connection.execute(statement)  # type: ignore[call-overload]  # constants of this file
        [found] = await cursor.fetchone() or (0,)
    return int(found)


@pytest.mark.timeout(180)
async def test_each_completed_instance_has_one_next_however_often_the_service_is_killed(
    tasks: UserStub, settings: ServiceSettings, db: Database
) -> None:
    due = Timestamp(seconds=clock.now() // SECOND + 3600)
    daily = recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_DAILY)
    for _ in range(TASKS):
        task = (await tasks.CreateTask(title="Water", due_time=due, recurrence=daily, time_zone="UTC")).task
        await tasks.CompleteTask(task_id=task.id)
    rng = random.Random(11)  # noqa: S311 (not a secret)
    for kill in range(KILLS):
        with running(settings):
            # Some after it has consumed a little, some while it asks todo.
            goal = rng.randint(1, TASKS) if kill % 2 else 0
            planned = "SELECT count(*) FROM completions"
            carried_out = f"SELECT {TASKS + 1} - count(*) FROM plans WHERE attempts = 0"
            statement = planned if kill < KILLS // 2 else carried_out

            async def reached(statement: str = statement, goal: int = goal) -> bool:
                return await count(db, statement) >= goal

            await until(reached, f"{goal} are done", 60)
    with running(settings):

        async def settled() -> bool:
            found = (await tasks.ListTasks(page_size=200)).tasks
            return len(found) == 2 * TASKS and await count(db, "SELECT count(*) FROM plans") == 0

        await until(settled, "every series has its next instance", 60)
    found = (await tasks.ListTasks(page_size=200, show_deleted=True)).tasks
    of_series = Counter(task.series_id for task in found)
    assert len(of_series) == TASKS
    assert set(of_series.values()) == {2}
    assert await count(db, "SELECT count(*) FROM completions") == TASKS


async def test_what_a_deleted_user_had_is_erased_and_no_others(
    settings: ServiceSettings, producer: Producer, signer: Signer
) -> None:
    whole = replace(settings, kafka_options="")
    async with serving(build(whole, SignerKeys(signer))) as channel:
        stub = schedule_service_pb2_grpc.ScheduleServiceStub(channel)
        deleted = UserStub(stub, schedule_service_pb2, signer)
        other = deleted.another_user()
        for user in (deleted, other):
            series = new_id()
            event = a_series_event(user.user_id, series, **recurring(series, "2030-01-01T09:00:00"))
            await publish(producer, "task-events", [event])
        for user in (deleted, other):
            await until(lambda user=user: _schedules(user), "the schedule is there", 60)
        await publish(producer, TOPIC, [a_user_event(deleted.user_id)])

        async def erased() -> bool:
            return not await _schedules(deleted)

        await until(erased, "the schedules are erased")
        assert len(await _schedules(other)) == 1


async def _schedules(user: UserStub) -> list[object]:
    return list((await user.ListSchedules()).schedules)
