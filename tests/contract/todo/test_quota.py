"""How many tasks a user may have."""

import asyncio

import pytest
from focusmesh.todo.v1 import task_service_pb2 as pb
from focusmesh.todo.v1.task_planning_service_pb2 import ImportedTask
from focusmesh.type.v1 import recurrence_pb2

from mesh.events import shares
from mesh.events.outbox import SideEffects
from mesh.events.shares import ShareExhausted
from tests.contract.todo.todo_client import Calendar, Todo
from tests.support.errors import refused

DAILY = recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_DAILY)
RECURRING = pb.CreateTaskRequest(title="x", recurrence=DAILY, time_zone="Europe/Berlin")
REQUEST_ID = "0198c0de-0000-7000-8000-00000000000a"


@pytest.fixture
def most_tasks() -> int:
    """So few that every write is looked at."""
    return 5


async def create(todo: Todo, count: int) -> list[str]:
    return [(await todo.CreateTask(title="x")).task.id for _ in range(count)]


async def test_a_task_too_many_is_refused_however_it_would_come(todo: Todo, calendar: Calendar) -> None:
    recurring = (await todo.send(RECURRING)).task
    await create(todo, 3)
    batch = [pb.CreateTaskRequest(title="x")] * 2
    for call in (
        todo.BatchCreateTasks(requests=batch),
        todo.BatchCreateTasks(requests=[*batch[:1], RECURRING]),
        calendar.ImportTasks(tasks=[ImportedTask(uid=uid, title="x") for uid in ("one", "two")]),
    ):
        with refused("TOO_MANY_TASKS", limit="5"):
            await call
    await create(todo, 1)
    for call in (
        todo.CreateTask(title="x"),
        todo.send(RECURRING),
        todo.CompleteTask(task_id=recurring.id),  # the next instance follows
    ):
        with refused("TOO_MANY_TASKS", limit="5"):
            await call
    assert len((await todo.ListTasks()).tasks) == 5
    assert (await todo.another_user().CreateTask(title="x")).task.id


async def test_whoever_is_full_reads_changes_and_repeats_calls_as_before(todo: Todo) -> None:
    first = await todo.CreateTask(title="x", request_id=REQUEST_ID)
    (second, *_) = await create(todo, 4)
    with refused("TOO_MANY_TASKS"):
        await todo.CreateTask(title="x")
    assert await todo.CreateTask(title="x", request_id=REQUEST_ID) == first
    await todo.CompleteTask(task_id=second)
    await todo.DeleteTask(task_id=second)
    with refused("TOO_MANY_TASKS"):  # it can still be undeleted
        await todo.CreateTask(title="x")
    await todo.UndeleteTask(task_id=second)


async def test_whoever_has_stored_too_much_gets_the_response_to_what_is_repeated(
    todo: Todo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_user_id: str, side_effects: SideEffects) -> None:
        if side_effects.response is not None:
            raise ShareExhausted(retry_after=10)

    first = await todo.CreateTask(title="x", request_id=REQUEST_ID)
    monkeypatch.setattr(shares, "require_room", full)
    with refused("OVERLOADED"):
        await todo.CreateTask(title="x", request_id=REQUEST_ID.replace("a", "b"))
    assert await todo.CreateTask(title="x", request_id=REQUEST_ID) == first


async def test_calls_at_once_pass_the_bound_by_those_in_flight_only(todo: Todo) -> None:
    await create(todo, 3)
    results = await asyncio.gather(*(todo.CreateTask(title="x") for _ in range(20)), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            with refused("TOO_MANY_TASKS"):
                raise result
    assert 2 <= sum(not isinstance(result, BaseException) for result in results) <= 2 + 8
