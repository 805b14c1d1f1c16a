"""TaskPlanningService, as calendar calls it about a user."""

import asyncio
from typing import Any

import psycopg
import pytest
from focusmesh.todo.v1 import task_pb2
from focusmesh.todo.v1.task_planning_service_pb2 import ImportedTask
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.runtime.ids import new_id
from tests.contract.todo.todo_client import Calendar, TaskBuilder, Todo, events
from tests.support.errors import refused

DUE = Timestamp(seconds=1_800_000_000)
PENDING, COMPLETE = task_pb2.TASK_STATE_PENDING, task_pb2.TASK_STATE_COMPLETE


class TestGetOwnedTask:
    """The task that a focus block is for."""

    async def test_it_is_shown_whole(self, calendar: Calendar, a_task: TaskBuilder) -> None:
        task = await a_task(due_time=DUE, estimated_pomodoros=4)
        assert (await calendar.GetOwnedTask(task_id=task.id)).task == task

    async def test_one_that_is_deleted_or_of_somebody_else_is_missing(
        self, todo: Todo, calendar: Calendar, a_task: TaskBuilder
    ) -> None:
        deleted = await a_task()
        await todo.DeleteTask(task_id=deleted.id)
        foreign = (await todo.another_user().CreateTask(title="x")).task
        for task_id in (deleted.id, foreign.id, new_id()):
            with refused("TASK_NOT_FOUND", task_id=task_id):
                await calendar.GetOwnedTask(task_id=task_id)


class TestListDueTasks:
    """The tasks that a calendar shows."""

    async def test_pages_show_every_task_that_is_due_once_in_order(
        self, todo: Todo, calendar: Calendar, a_task: TaskBuilder
    ) -> None:
        await a_task()  # never due
        await todo.another_user().CreateTask(title="x", due_time=DUE)
        deleted = await a_task(due_time=DUE)
        await todo.DeleteTask(task_id=deleted.id)
        due = [await a_task(due_time=Timestamp(seconds=DUE.seconds - index // 2)) for index in range(7)]
        expected = sorted((task.due_time.seconds, task.id) for task in due)
        shown: list[tuple[int, str]] = []
        token = ""
        for _ in range(4):
            page = await calendar.ListDueTasks(page_size=2, page_token=token)
            shown += [(task.due_time.seconds, task.id) for task in page.tasks]
            token = page.next_page_token
        assert (shown, token) == (expected, "")

    async def test_a_task_is_shown_as_it_is(self, calendar: Calendar, a_task: TaskBuilder) -> None:
        task = await a_task(title="Pay", due_time=DUE, state=COMPLETE)
        (shown,) = (await calendar.ListDueTasks()).tasks
        for name in ("id", "title", "due_time", "state", "create_time", "update_time", "complete_time"):
            assert getattr(shown, name) == getattr(task, name)

    async def test_a_page_token_of_another_user_is_refused(self, calendar: Calendar, a_task: TaskBuilder) -> None:
        for _ in range(2):
            await a_task(due_time=DUE)
        token = (await calendar.ListDueTasks(page_size=1)).next_page_token
        with refused("PAGE_TOKEN_INVALID"):
            await calendar.ListDueTasks(page_token=token, user_id=new_id())


def imported(uid: str = "one@example.com", title: str = "x", **fields: Any) -> ImportedTask:
    return ImportedTask(uid=uid, title=title, **fields)


class TestImportTasks:
    """The tasks of a file."""

    async def test_they_are_created_as_the_file_says_and_published(
        self, todo: Todo, calendar: Calendar, todo_url: str
    ) -> None:
        done = Timestamp(seconds=1_700_000_000)
        response = await calendar.ImportTasks(
            tasks=[
                imported("one", "Pay", description="by card", due_time=DUE),
                imported("two", is_complete=True, complete_time=done),
                imported("three", is_complete=True),
            ]
        )
        assert [each.is_new for each in response.imports] == [True] * 3
        first, second, third = [(await todo.GetTask(task_id=each.task_id)).task for each in response.imports]
        assert (first.title, first.description, first.due_time, first.state) == ("Pay", "by card", DUE, PENDING)
        assert (second.state, second.complete_time, second.HasField("description")) == (COMPLETE, done, False)
        assert (third.state, third.complete_time) == (COMPLETE, third.create_time)
        for task in (first, second, third):
            assert events(todo_url, task.id) == [("task-created", 1)]

    async def test_one_that_was_imported_before_is_left_as_its_user_has_it(
        self, todo: Todo, calendar: Calendar, todo_url: str
    ) -> None:
        (first,) = (await calendar.ImportTasks(tasks=[imported()])).imports
        await todo.DeleteTask(task_id=first.task_id)
        again = (await calendar.ImportTasks(tasks=[imported(title="y"), imported("two")])).imports
        assert [(each.is_new, each.task_id == first.task_id) for each in again] == [(False, True), (True, False)]
        task = (await todo.GetTask(task_id=first.task_id)).task
        assert (task.title, task.HasField("delete_time")) == ("x", True)
        assert [kind for kind, _ in events(todo_url, task.id)] == ["task-created", "task-deleted"]

    async def test_a_purged_one_comes_again_as_another_task(self, calendar: Calendar, todo_url: str) -> None:
        (first,) = (await calendar.ImportTasks(tasks=[imported()])).imports
        with psycopg.connect(todo_url) as connection:
            connection.execute("DELETE FROM tasks WHERE id = %s", (first.task_id,))
        (again,) = (await calendar.ImportTasks(tasks=[imported()])).imports
        assert (again.is_new, again.task_id == first.task_id) == (True, False)

    async def test_imports_that_race_make_each_task_once(self, todo: Todo, calendar: Calendar) -> None:
        responses = await asyncio.gather(
            *(calendar.ImportTasks(tasks=[imported("one"), imported(f"of {index}")]) for index in range(8))
        )
        assert sum(response.imports[0].is_new for response in responses) == 1
        assert len({response.imports[0].task_id for response in responses}) == 1
        assert len((await todo.ListTasks()).tasks) == 9

    async def test_users_may_have_the_same_uid(self, calendar: Calendar) -> None:
        (mine,) = (await calendar.ImportTasks(tasks=[imported()])).imports
        (other,) = (await calendar.ImportTasks(tasks=[imported()], user_id=new_id())).imports
        assert (other.is_new, other.task_id == mine.task_id) == (True, False)

    async def test_a_dry_run_says_the_same_and_changes_nothing(self, todo: Todo, calendar: Calendar) -> None:
        (first,) = (await calendar.ImportTasks(tasks=[imported()])).imports
        known, new = (await calendar.ImportTasks(tasks=[imported(), imported("two")], dry_run=True)).imports
        assert (known.task_id, known.is_new, new.task_id, new.is_new) == (first.task_id, False, "", True)
        assert len((await todo.ListTasks()).tasks) == 1

    async def test_a_repeated_call_gets_the_response_of_the_first(self, calendar: Calendar) -> None:
        for is_new in (True, False):
            request_id = new_id()
            first = await calendar.ImportTasks(tasks=[imported()], request_id=request_id)
            assert first.imports[0].is_new == is_new
            assert await calendar.ImportTasks(tasks=[imported()], request_id=request_id) == first
            with refused("REQUEST_ID_REUSED"):
                await calendar.ImportTasks(tasks=[imported("other")], request_id=request_id)

    @pytest.mark.parametrize(
        ("tasks", "field"),
        [
            ([], "tasks"),
            ([imported(str(index)) for index in range(101)], "tasks"),
            ([imported(), imported()], "tasks"),
            ([imported(title=" ")], "tasks[0].title"),
            ([imported(title="x" * 256)], "tasks[0].title"),
            ([imported(uid="")], "tasks[0].uid"),
            ([imported(uid="x" * 501)], "tasks[0].uid"),
            ([imported(description="x" * 10_001)], "tasks[0].description"),
        ],
    )
    async def test_what_cannot_be_is_refused_by_name(
        self, todo: Todo, calendar: Calendar, tasks: list[ImportedTask], field: str
    ) -> None:
        with refused("INVALID_REQUEST") as refusal:
            await calendar.ImportTasks(tasks=tasks)
        assert field in refusal.fields
        assert not (await todo.ListTasks()).tasks
