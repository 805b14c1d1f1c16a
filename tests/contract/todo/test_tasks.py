"""TaskService, as a caller sees it."""

import asyncio
from collections.abc import Callable

import psycopg
import pytest
from focusmesh.todo.v1 import task_pb2
from focusmesh.todo.v1 import task_service_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from harness.waiting import until
from mesh.recurrence import wire
from mesh.recurrence.rule import Frequency, Rule
from mesh.rpc.pagination import LARGEST_RESPONSE
from mesh.runtime.ids import new_id
from tests.contract.todo.todo_client import TaskBuilder, Todo, events
from tests.support.errors import refused
from tests.support.round_trips import every_field, lost

PENDING = task_pb2.TASK_STATE_PENDING
IN_PROGRESS = task_pb2.TASK_STATE_IN_PROGRESS
COMPLETE = task_pb2.TASK_STATE_COMPLETE


async def test_a_created_task_is_read_back_as_it_was_returned(todo: Todo) -> None:
    created = (
        await todo.CreateTask(
            title="Buy groceries",
            description="Milk, bread, eggs",
            due_time=Timestamp(seconds=253_402_000_000),
            is_recurring=True,
            recurrence_schedule=task_pb2.RECURRENCE_SCHEDULE_WEEKLY,
            time_zone="Europe/Berlin",
        )
    ).task
    assert created.state == PENDING
    assert (await todo.GetTask(task_id=created.id)).task == created


async def test_every_field_of_a_request_is_stored_alone_in_a_batch_and_in_an_update(
    todo: Todo, a_task: TaskBuilder
) -> None:
    rule = wire.rule_to_pb(Rule(Frequency.YEARLY))
    given = {"recurrence": rule, "time_zone": "Asia/Tokyo", "reminder_offsets": ["-P1D"]}
    new, task_id = every_field(pb.CreateTaskRequest, **given), (await a_task()).id
    update = every_field(pb.UpdateTaskRequest, task_id=task_id, **given)
    await todo.send(update)
    created = (await todo.send(new)).task.id
    (batched,) = (await todo.send(pb.BatchCreateTasksRequest(requests=[new]))).tasks
    for request, stored in ((new, created), (new, batched.id), (update, task_id)):
        assert lost(request, (await todo.GetTask(task_id=stored)).task, but=frozenset({"task_id"})) == []


async def test_every_change_of_a_task_publishes_its_next_version(
    todo: Todo, a_task: TaskBuilder, todo_url: str
) -> None:
    task = await a_task()
    for verb in ("Start", "Complete", "Reopen", "Delete", "Undelete"):
        await getattr(todo, f"{verb}Task")(task_id=task.id)
    await todo.UpdateTask(task_id=task.id, update_mask=FieldMask(paths=["title"]), title="y")
    assert events(todo_url, task.id) == [
        ("task-created", 1),
        ("task-updated", 2),
        ("task-completed", 3),
        ("task-updated", 4),
        ("task-deleted", 5),
        ("task-updated", 6),
        ("task-updated", 7),
    ]


async def test_a_task_cannot_be_completed_twice(todo: Todo, a_task: TaskBuilder) -> None:
    task = await a_task(state=COMPLETE)
    with refused("TASK_ALREADY_COMPLETE", task_id=task.id) as error:
        await todo.CompleteTask(task_id=task.id)
    assert error.domain == "todo.focusmesh"


async def test_another_users_task_looks_like_a_missing_one(todo: Todo, a_task: TaskBuilder) -> None:
    task = await a_task()
    another = todo.another_user()
    for verb in ("Get", "Start", "Complete", "Reopen", "Delete", "Undelete"):
        with refused("TASK_NOT_FOUND", task_id=task.id) as theirs:
            await getattr(another, f"{verb}Task")(task_id=task.id)
        nothing = new_id()
        with refused("TASK_NOT_FOUND", task_id=nothing) as missing:
            await getattr(another, f"{verb}Task")(task_id=nothing)
        assert theirs.message == missing.message.replace(nothing, task.id)
    assert not (await another.ListTasks()).tasks


async def test_an_update_changes_what_the_mask_names_and_clears_what_is_unset(todo: Todo) -> None:
    task = (await todo.CreateTask(title="x", description="y", due_time=Timestamp(seconds=5))).task
    changed = (
        await todo.UpdateTask(
            task_id=task.id, update_mask=FieldMask(paths=["title", "description", "due_time"]), title="z"
        )
    ).task
    assert (changed.title, changed.HasField("description"), changed.HasField("due_time")) == ("z", False, False)
    with refused("FIELD_NOT_IN_MASK", field="description") as error:
        await todo.UpdateTask(task_id=task.id, update_mask=FieldMask(paths=["title"]), title="x", description="y")
    assert error.fields == ["description"]


async def test_an_estimate_is_a_field_like_any_other(todo: Todo) -> None:
    task = (await todo.CreateTask(title="x", estimated_pomodoros=3)).task
    mask = FieldMask(paths=["estimated_pomodoros"])
    changed = (await todo.UpdateTask(task_id=task.id, update_mask=mask, estimated_pomodoros=5)).task
    assert (task.estimated_pomodoros, changed.estimated_pomodoros, changed.etag) == (3, 5, "v2")
    cleared = (await todo.UpdateTask(task_id=task.id, update_mask=mask, etag="v2")).task
    assert not cleared.HasField("estimated_pomodoros")
    with refused("INVALID_REQUEST") as error:
        await todo.UpdateTask(task_id=task.id, update_mask=mask, estimated_pomodoros=0)
    assert error.fields == ["estimated_pomodoros"]


async def test_a_stale_etag_is_refused_with_the_current_one(todo: Todo, a_task: TaskBuilder) -> None:
    task = await a_task(state=IN_PROGRESS)
    with refused("VERSION_CONFLICT", etag=task.etag):
        await todo.CompleteTask(task_id=task.id, etag="v1")
    assert (await todo.CompleteTask(task_id=task.id, etag=task.etag)).task.state == COMPLETE


async def test_writers_that_race_all_win_one_after_the_other(todo: Todo, a_task: TaskBuilder, todo_url: str) -> None:
    task = await a_task()
    changes = [
        todo.UpdateTask(task_id=task.id, update_mask=FieldMask(paths=["title"]), title=f"by {writer}")
        for writer in range(6)
    ]
    etags = {response.task.etag for response in await asyncio.gather(*changes)}
    assert etags == {f"v{version}" for version in range(2, 8)}
    assert [version for _, version in events(todo_url, task.id)] == list(range(1, 8))


class TestRequestId:
    """The same call again."""

    async def test_a_repeated_create_gets_the_stored_response_and_makes_one_task(self, todo: Todo) -> None:
        request_id = new_id()
        first = await todo.CreateTask(title="x", request_id=request_id)
        assert await todo.CreateTask(title="x", request_id=request_id) == first
        assert len((await todo.ListTasks()).tasks) == 1

    async def test_twins_that_race_make_one_task(self, todo: Todo, todo_url: str) -> None:
        request_id = new_id()
        responses = await asyncio.gather(*(todo.CreateTask(title="x", request_id=request_id) for _ in range(8)))
        assert len({response.task.id for response in responses}) == 1
        assert len((await todo.ListTasks()).tasks) == 1
        assert events(todo_url, responses[0].task.id) == [("task-created", 1)]

    async def test_a_repeated_verb_gets_the_response_of_the_first_time(self, todo: Todo, a_task: TaskBuilder) -> None:
        task, request_id = await a_task(), new_id()
        first = await todo.StartTask(task_id=task.id, request_id=request_id)
        await todo.CompleteTask(task_id=task.id)
        assert await todo.StartTask(task_id=task.id, request_id=request_id) == first
        assert (await todo.GetTask(task_id=task.id)).task.state == COMPLETE

    async def test_an_update_that_changed_nothing_stores_its_response_too(
        self, todo: Todo, a_task: TaskBuilder
    ) -> None:
        task = await a_task(title="x")
        to_x = {"task_id": task.id, "update_mask": FieldMask(paths=["title"]), "title": "x", "request_id": new_id()}
        first = await todo.UpdateTask(**to_x)
        await todo.UpdateTask(task_id=task.id, update_mask=FieldMask(paths=["title"]), title="y")
        assert await todo.UpdateTask(**to_x) == first
        assert (await todo.GetTask(task_id=task.id)).task.title == "y"

    async def test_a_verb_is_not_done_again_although_the_task_would_allow_it(
        self, todo: Todo, a_task: TaskBuilder, todo_url: str
    ) -> None:
        task, request_id = await a_task(), new_id()
        first = await todo.CompleteTask(task_id=task.id, request_id=request_id)
        await todo.ReopenTask(task_id=task.id)
        assert await todo.CompleteTask(task_id=task.id, request_id=request_id) == first
        assert (await todo.GetTask(task_id=task.id)).task.state == PENDING
        assert len(events(todo_url, task.id)) == 3

    async def test_a_call_that_was_refused_may_be_tried_again_with_its_id(
        self, todo: Todo, a_task: TaskBuilder
    ) -> None:
        task, request_id = await a_task(), new_id()
        with refused("TASK_NOT_COMPLETE"):
            await todo.ReopenTask(task_id=task.id, request_id=request_id)
        await todo.CompleteTask(task_id=task.id)
        assert (await todo.ReopenTask(task_id=task.id, request_id=request_id)).task.state == PENDING

    async def test_other_methods_may_use_the_same_id(self, todo: Todo, a_task: TaskBuilder) -> None:
        task, request_id = await a_task(), new_id()
        assert (await todo.StartTask(task_id=task.id, request_id=request_id)).task.state == IN_PROGRESS
        assert (await todo.CompleteTask(task_id=task.id, request_id=request_id)).task.state == COMPLETE

    async def test_a_repeated_create_gets_its_response_after_its_task_was_deleted(self, todo: Todo) -> None:
        request_id = new_id()
        first = await todo.CreateTask(title="x", request_id=request_id)
        await todo.DeleteTask(task_id=first.task.id)
        assert await todo.CreateTask(title="x", request_id=request_id) == first

    async def test_the_same_id_with_another_request_is_refused_and_writes_nothing(self, todo: Todo) -> None:
        request_id = new_id()
        await todo.CreateTask(title="x", request_id=request_id)
        with refused("REQUEST_ID_REUSED", request_id=request_id):
            await todo.CreateTask(title="y", request_id=request_id)
        assert [task.title for task in (await todo.ListTasks()).tasks] == ["x"]

    async def test_another_user_may_use_the_same_id(self, todo: Todo) -> None:
        request_id = new_id()
        mine = await todo.CreateTask(title="x", request_id=request_id)
        theirs = await todo.another_user().CreateTask(title="x", request_id=request_id)
        assert mine.task.id != theirs.task.id

    async def test_a_batch_is_made_once(self, todo: Todo) -> None:
        request_id = new_id()
        tasks = [pb.CreateTaskRequest(title=str(index)) for index in range(100)]
        first = await todo.BatchCreateTasks(requests=tasks, request_id=request_id)
        assert await todo.BatchCreateTasks(requests=tasks, request_id=request_id) == first
        assert [task.title for task in first.tasks] == [str(index) for index in range(100)]


class TestLists:
    """Filters, orders and pages."""

    @pytest.fixture
    async def tasks(self, todo: Todo) -> list[task_pb2.Task]:
        """25 tasks, some due, some recurring, some begun, some complete."""
        made = []
        for index in range(25):
            recurring = index % 5 == 0
            task = (
                await todo.CreateTask(
                    title=str(index),
                    due_time=Timestamp(seconds=1000 + index % 7) if index % 3 else None,
                    is_recurring=recurring,
                    recurrence_schedule=task_pb2.RECURRENCE_SCHEDULE_DAILY if recurring else 0,
                    time_zone="Europe/Berlin" if recurring else None,
                )
            ).task
            if index % 4 == 1:
                task = (await todo.StartTask(task_id=task.id)).task
            elif index % 4 == 2:
                task = (await todo.CompleteTask(task_id=task.id)).task
            made.append(task)
        return made

    @staticmethod
    async def everything(todo: Todo, **filters: object) -> list[task_pb2.Task]:
        """All pages of a list, four tasks at a time unless it says another size."""
        found: list[task_pb2.Task] = []
        token = ""
        while True:
            page = await todo.ListTasks(**{"page_size": 4, "page_token": token} | filters)
            found += page.tasks
            token = page.next_page_token
            if not token:
                return found

    @pytest.mark.parametrize("order", pb.TaskOrder.values())
    async def test_pages_of_every_order_show_every_task_once(
        self, todo: Todo, tasks: list[task_pb2.Task], order: "pb.TaskOrder.ValueType"
    ) -> None:
        never = 2**62
        keys: dict[int, Callable[[task_pb2.Task], tuple[int, str]]] = {
            pb.TASK_ORDER_UNSPECIFIED: lambda task: (-task.create_time.ToNanoseconds(), task.id),
            pb.TASK_ORDER_CREATE_TIME_DESC: lambda task: (-task.create_time.ToNanoseconds(), task.id),
            pb.TASK_ORDER_CREATE_TIME_ASC: lambda task: (task.create_time.ToNanoseconds(), task.id),
            pb.TASK_ORDER_DUE_TIME_ASC: lambda task: (
                task.due_time.ToNanoseconds() if task.HasField("due_time") else never,
                task.id,
            ),
            pb.TASK_ORDER_UPDATE_TIME_DESC: lambda task: (-task.update_time.ToNanoseconds(), task.id),
        }
        assert await self.everything(todo, order=order) == sorted(tasks, key=keys[order])

    async def test_filters_show_what_they_say(self, todo: Todo, tasks: list[task_pb2.Task]) -> None:
        def titles(found: list[task_pb2.Task]) -> set[str]:
            return {task.title for task in found}

        assert titles(await self.everything(todo, states=[PENDING, COMPLETE])) == titles(
            [task for task in tasks if task.state != IN_PROGRESS]
        )
        assert titles(await self.everything(todo, is_recurring=True)) == {"0", "5", "10", "15", "20"}
        window = {"due_from": Timestamp(seconds=1002), "due_before": Timestamp(seconds=1004)}
        assert titles(await self.everything(todo, **window)) == titles(
            [task for task in tasks if task.due_time.seconds in {1002, 1003}]
        )

    async def test_deleted_tasks_are_hidden_unless_asked_for(self, todo: Todo, tasks: list[task_pb2.Task]) -> None:
        await todo.DeleteTask(task_id=tasks[3].id)
        assert len(await self.everything(todo)) == 24
        assert len(await self.everything(todo, show_deleted=True)) == 25

    @pytest.mark.parametrize("text", ["水", "\x01"], ids=["long in bytes", "long in JSON"])
    async def test_a_page_of_the_longest_tasks_is_shorter_and_leads_on(self, todo: Todo, text: str) -> None:
        longest = pb.CreateTaskRequest(title="x", description=text * 10_000)
        for _ in range(15):
            await todo.BatchCreateTasks(requests=[longest] * 10)
        first = await todo.ListTasks(page_size=200)
        assert 30 < len(first.tasks) < 150
        assert first.ByteSize() <= LARGEST_RESPONSE + 1000
        assert len({task.id for task in await self.everything(todo, page_size=200)}) == 150

    async def test_a_page_token_of_another_list_is_refused(self, todo: Todo, tasks: list[task_pb2.Task]) -> None:
        token = (await todo.ListTasks(page_size=4)).next_page_token
        for request in ({"is_recurring": True}, {"order": pb.TASK_ORDER_DUE_TIME_ASC}):
            with refused("PAGE_TOKEN_INVALID") as error:
                await todo.ListTasks(page_token=token, **request)
            assert error.fields == ["page_token"]
        with refused("PAGE_TOKEN_INVALID"):
            await todo.another_user().ListTasks(page_token=token)


async def test_a_task_is_gone_for_everyone_once_its_undelete_window_is_over(
    todo: Todo, a_task: TaskBuilder, todo_url: str
) -> None:
    task = await a_task()
    await todo.DeleteTask(task_id=task.id)
    with psycopg.connect(todo_url) as connection:
        connection.execute("UPDATE tasks SET purge_at = now() WHERE id = %s", (task.id,))
    with refused("TASK_NOT_FOUND"):
        await todo.UndeleteTask(task_id=task.id)
    assert not (await todo.ListTasks(show_deleted=True)).tasks


async def test_a_callers_deadline_leaves_no_query_running(todo: Todo, a_task: TaskBuilder, todo_url: str) -> None:
    task = await a_task()
    with psycopg.connect(todo_url) as blocker, psycopg.connect(todo_url, autocommit=True) as observer:
        blocker.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (task.id,))

        def running() -> int:
            (count,) = observer.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%UPDATE tasks%'"
                " AND pid <> pg_backend_pid() AND datname = current_database()"
            ).fetchone() or (0,)
            return int(count)

        call = asyncio.create_task(todo.StartTask(task_id=task.id, timeout=2))
        await until(lambda: running() == 1, "the update waits for the row")
        with refused("DEADLINE_EXCEEDED"):
            await call
        await until(lambda: running() == 0, "no update waits any more")
        blocker.rollback()
    assert (await todo.StartTask(task_id=task.id)).task.state == IN_PROGRESS
