"""Session tasks that stand for todo tasks: todo says whose they are."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import grpc
import psycopg
import pytest
from focusmesh.pomodoro.v1 import focus_session_service_pb2 as pb
from focusmesh.todo.v1 import task_service_pb2, task_service_pb2_grpc

from mesh.runtime.ids import new_id
from services.pomodoro.main import build
from services.pomodoro.settings import Settings
from services.todo import main as todo
from services.todo.settings import Settings as TodoSettings
from stack.keys import Keys
from stack.layout import State
from tests.contract.pomodoro.devices import Device
from tests.support.databases import ServiceUrl
from tests.support.errors import refused
from tests.support.serving import SignerKeys, serving, settings_for, without_broker
from tests.support.tokens import Signer
from tests.support.user_stub import UserStub

pytestmark = pytest.mark.asyncio(loop_scope="function")


class World(NamedTuple):
    """A user who has a device and todo tasks; todo is away until a test starts it."""

    device: Device
    todo: todo.Settings
    database: str


@pytest.fixture
async def world(service_url: ServiceUrl, valkey: str, tmp_path: Path, signer: Signer) -> AsyncIterator[World]:
    keys = Keys(State(tmp_path))
    callee = settings_for(
        database_url=service_url("todo"),
        redis_url=valkey,
        caller_keys=f"pomodoro={keys.public_service_key('pomodoro')}",
        service_key_file=str(keys.service_key("todo")),
        call_targets="auth=127.0.0.1:1",
    )
    common = settings_for(
        database_url=service_url("pomodoro"),
        redis_url=valkey,
        service_key_file=str(keys.service_key("pomodoro")),
        call_targets=f"auth=127.0.0.1:1;todo={callee.listen}",
    )
    async with serving(without_broker(build(Settings(**vars(common)), SignerKeys(signer)))) as channel:
        yield World(Device(channel, signer), todo.Settings(**vars(callee)), service_url("pomodoro"))


@pytest.fixture
async def tasks(world: World, signer: Signer) -> AsyncIterator[UserStub]:
    """The user's view of todo, which serves as long as the test runs."""
    async with serving(without_broker(todo.build(TodoSettings(**vars(world.todo)), SignerKeys(signer)))) as channel:
        stub = task_service_pb2_grpc.TaskServiceStub(channel)
        yield UserStub(stub, task_service_pb2, signer, world.device.user_id)


async def task_of(tasks: UserStub) -> str:
    created: str = (await tasks.CreateTask(title="Write")).task.id
    return created


async def test_a_session_task_stands_for_a_todo_task(world: World, tasks: UserStub) -> None:
    one, other = await task_of(tasks), await task_of(tasks)
    session = await world.device.create(tasks=[
        pb.NewSessionTask(title="a", todo_task_id=one.upper()),
        pb.NewSessionTask(title="b"),
        pb.NewSessionTask(title="c", todo_task_id=one),
    ])  # fmt: skip
    added = await world.device.AddSessionTask(focus_session_id=session.id, title="d", todo_task_id=other)
    shown = (await world.device.GetFocusSession(focus_session_id=session.id)).focus_session
    assert [task.todo_task_id for task in shown.tasks] == [one, "", one, other]
    assert added.session_task.todo_task_id == other


async def test_a_session_task_comes_to_stand_for_another_todo_task_and_for_none(world: World, tasks: UserStub) -> None:
    one, other = await task_of(tasks), await task_of(tasks)
    session = await world.device.create(tasks=[pb.NewSessionTask(title="a", todo_task_id=one)])
    update = {"session_task_id": session.tasks[0].id, "update_mask": {"paths": ["todo_task_id"]}}
    changed = (await world.device.UpdateSessionTask(**update, todo_task_id=other.upper())).focus_session
    same = (await world.device.UpdateSessionTask(**update, todo_task_id=other)).focus_session
    assert (changed.tasks[0].todo_task_id, same.etag) == (other, changed.etag)
    cleared = (await world.device.UpdateSessionTask(**update)).focus_session
    assert not cleared.tasks[0].HasField("todo_task_id")


async def test_a_todo_task_of_somebody_else_a_deleted_one_and_none_look_the_same(
    world: World, tasks: UserStub, signer: Signer
) -> None:
    mine, foreign, deleted = await task_of(tasks), await task_of(tasks.another_user()), await task_of(tasks)
    await tasks.DeleteTask(task_id=deleted)
    session = await world.device.create(tasks=[pb.NewSessionTask(title="a")])
    before = content(world)
    for missing in (foreign, deleted, new_id()):
        new = [pb.NewSessionTask(title="a", todo_task_id=each) for each in (mine, missing)]
        calls = {
            "tasks[1].todo_task_id": lambda new=new: world.device.create(tasks=new, start=True),
            "todo_task_id": lambda missing=missing: world.device.AddSessionTask(
                focus_session_id=session.id, title="b", todo_task_id=missing
            ),
        }
        for field, call in calls.items():
            with refused("TODO_TASK_NOT_FOUND", todo_task_id=missing) as error:
                await call()
            assert (error.code, list(error.fields)) == (grpc.StatusCode.NOT_FOUND, [field])
        with refused("TODO_TASK_NOT_FOUND", todo_task_id=missing):
            await world.device.UpdateSessionTask(
                session_task_id=session.tasks[0].id, update_mask={"paths": ["todo_task_id"]}, todo_task_id=missing
            )
    assert content(world) == before


async def test_without_todo_nothing_is_linked_and_nothing_written(world: World) -> None:
    session = await world.device.create(tasks=[pb.NewSessionTask(title="a")])
    before = content(world)
    with refused("TODO_UNAVAILABLE") as error:
        await world.device.create(tasks=[pb.NewSessionTask(title="a", todo_task_id=new_id())])
    assert error.code is grpc.StatusCode.UNAVAILABLE
    with refused("TODO_UNAVAILABLE"):
        await world.device.AddSessionTask(focus_session_id=session.id, title="b", todo_task_id=new_id())
    assert content(world) == before


async def test_a_call_that_was_answered_is_answered_again_although_its_todo_task_is_gone(
    world: World, tasks: UserStub
) -> None:
    task = await task_of(tasks)
    request = {"request_id": new_id(), "tasks": [pb.NewSessionTask(title="a", todo_task_id=task)]}
    session = await world.device.create(**request)
    await tasks.DeleteTask(task_id=task)
    assert await world.device.create(**request) == session


def content(world: World) -> list[tuple[object, ...]]:
    """What pomodoro has."""
    with psycopg.connect(world.database) as connection:
        statement = (
            "SELECT version, tasks.* FROM sessions LEFT JOIN tasks ON session_id = sessions.id ORDER BY tasks.id"
        )
        return connection.execute(statement).fetchall()
