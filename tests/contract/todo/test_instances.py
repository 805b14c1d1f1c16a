"""ApplyInstance: what recurrence makes of the instances of a series, once each, whatever is repeated or comes late."""

import asyncio
from typing import Any

import grpc
import psycopg
import pytest
from focusmesh.todo.v1 import task_instance_service_pb2 as pb
from focusmesh.todo.v1 import task_pb2
from focusmesh.type.v1 import recurrence_pb2 as recurrence
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.runtime.ids import new_id
from services.todo.rules.series import instance_id
from tests.contract.todo.todo_client import Scheduler, TaskBuilder, Todo, changes_of, events
from tests.support.errors import refused

APPLIED, UNCHANGED, BEGUN = (
    pb.INSTANCE_OUTCOME_APPLIED,
    pb.INSTANCE_OUTCOME_UNCHANGED,
    pb.INSTANCE_OUTCOME_BEGUN,
)
FIRST, SECOND, THIRD = "2026-03-28T02:30:00", "2026-03-29T02:30:00", "2026-03-30T02:30:00"
DUE = Timestamp(seconds=1_774_747_800)  # 2026-03-29T01:30:00Z: 02:30 is in the gap of Berlin
COMPLETE = task_pb2.TASK_STATE_COMPLETE


@pytest.fixture
async def first(a_task: TaskBuilder) -> task_pb2.Task:
    """The first instance of a daily series, complete."""
    return await a_task(
        state=COMPLETE,
        title="Water the plants",
        description="With rain water",
        due_time=Timestamp(seconds=1_774_661_400),
        recurrence=recurrence.Recurrence(frequency=recurrence.FREQUENCY_DAILY),
        time_zone="Europe/Berlin",
        reminder_offsets=["-PT10M"],
    )


async def titles(todo: Todo) -> list[str]:
    return [task.title for task in (await todo.ListTasks(show_deleted=True)).tasks]


class TestPut:
    """The next instance."""

    async def test_it_is_new_and_has_what_its_series_has(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task, todo_url: str
    ) -> None:
        response = await scheduler.put(first, SECOND, due_time=DUE)
        made = (await todo.GetTask(task_id=response.task.id)).task
        assert (response.outcome, made) == (APPLIED, response.task)
        assert made.id == instance_id(first.series_id, SECOND)
        assert (made.slot, made.due_time, made.state) == (SECOND, DUE, task_pb2.TASK_STATE_PENDING)
        for name in ("title", "description", "recurrence", "time_zone", "repeat_from", "series_id", "reminder_offsets"):
            assert getattr(made, name) == getattr(first, name)
        assert events(todo_url, made.id) == [("task-created", 1)]

    @pytest.mark.parametrize("request_id", ["", new_id()], ids=["without request_id", "with request_id"])
    async def test_again_it_changes_nothing_whatever_its_user_did_since(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task, todo_url: str, request_id: str
    ) -> None:
        made = (await scheduler.put(first, SECOND, request_id)).task
        assert (await scheduler.put(first, SECOND)).outcome == UNCHANGED
        await todo.UpdateTask(task_id=made.id, update_mask=FieldMask(paths=["title"]), title="y")
        await todo.CompleteTask(task_id=made.id)
        await todo.DeleteTask(task_id=made.id)
        again = await scheduler.put(first, SECOND, request_id)
        assert again.outcome == (APPLIED if request_id else UNCHANGED)
        assert (await todo.GetTask(task_id=made.id)).task.HasField("delete_time")
        assert len(events(todo_url, made.id)) == 4

    async def test_calls_that_race_make_one(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task, todo_url: str
    ) -> None:
        responses = await asyncio.gather(*(scheduler.put(first, SECOND) for _ in range(8)))
        assert sorted(response.outcome for response in responses) == [APPLIED] + [UNCHANGED] * 7
        assert len({response.task.id for response in responses}) == 1
        assert events(todo_url, responses[0].task.id) == [("task-created", 1)]

    async def test_the_slot_of_the_first_instance_is_taken(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task
    ) -> None:
        response = await scheduler.put(first, FIRST)
        assert (response.outcome, response.task.id) == (UNCHANGED, first.id)

    async def test_a_deleted_source_still_serves_and_a_purged_one_is_missing(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task, todo_url: str
    ) -> None:
        await todo.DeleteTask(task_id=first.id)
        assert (await scheduler.put(first, SECOND)).outcome == APPLIED
        with psycopg.connect(todo_url) as connection:
            connection.execute("DELETE FROM tasks WHERE id = %s", (first.id,))
        with refused("TASK_NOT_FOUND", task_id=first.id):
            await scheduler.put(first, THIRD)
        assert (await scheduler.put(first, SECOND)).outcome == UNCHANGED

    async def test_a_source_that_left_the_series_is_refused(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task
    ) -> None:
        await todo.ReopenTask(task_id=first.id)
        await todo.UpdateTask(task_id=first.id, update_mask=FieldMask(paths=["time_zone"]), time_zone="Asia/Tokyo")
        with refused("TASK_NOT_IN_SERIES", task_id=first.id, series_id=first.series_id):
            await scheduler.put(first, SECOND)

    async def test_it_begins_another_series_and_its_source_stays(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task
    ) -> None:
        other, slot = new_id(), "2026-03-29T10:00:00"
        put = pb.PutInstance(
            source_task_id=first.id, source_series_id=first.series_id, changes=changes_of(title="y", due_time=DUE)
        )
        made = (await scheduler.apply(other, slot, put=put)).task
        assert (made.id, made.series_id, made.slot, made.title) == (instance_id(other, slot), other, slot, "y")
        assert (await scheduler.apply(other, slot, put=put)).outcome == UNCHANGED
        assert (await todo.GetTask(task_id=first.id)).task == first
        put.source_series_id = new_id()
        with refused("TASK_NOT_IN_SERIES", task_id=first.id, series_id=put.source_series_id):
            await scheduler.apply(other, "2026-03-30T10:00:00", put=put)

    async def test_another_users_task_is_no_source(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task
    ) -> None:
        scheduler.user_id = new_id()
        with refused("TASK_NOT_FOUND"):
            await scheduler.put(first, SECOND)
        assert (await scheduler.withdraw(first.series_id, FIRST)).outcome == UNCHANGED


class TestWithdraw:
    """An instance whose completion before it was undone."""

    async def test_it_goes_and_can_be_put_again(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task, todo_url: str
    ) -> None:
        made = (await scheduler.put(first, SECOND, due_time=DUE)).task
        for _ in range(2):
            assert (await scheduler.withdraw(first.series_id, SECOND)).task.HasField("delete_time")
        assert (await todo.GetTask(task_id=made.id)).task.HasField("delete_time")
        again = await scheduler.put(first, SECOND, due_time=DUE)
        assert (again.outcome, again.task.etag, again.task.due_time) == (APPLIED, "v3", DUE)
        assert not again.task.HasField("delete_time")
        assert (await scheduler.put(first, SECOND)).outcome == UNCHANGED
        assert events(todo_url, made.id) == [("task-created", 1), ("task-deleted", 2), ("task-updated", 3)]

    async def test_however_late_it_is_put_again_it_goes_on_with_its_version(
        self, scheduler: Scheduler, first: task_pb2.Task, todo_url: str
    ) -> None:
        made = (await scheduler.put(first, SECOND)).task
        await scheduler.withdraw(first.series_id, SECOND)
        with psycopg.connect(todo_url) as connection:
            connection.execute("UPDATE tasks SET purge_at = now() WHERE id = %s", (made.id,))
        again = await scheduler.put(first, SECOND)
        assert (again.outcome, again.task.id, again.task.etag) == (APPLIED, made.id, "v3")

    @pytest.mark.parametrize("verb", ["Start", "Complete"])
    async def test_it_stays_once_it_is_begun(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task, verb: str
    ) -> None:
        made = (await scheduler.put(first, SECOND)).task
        await getattr(todo, f"{verb}Task")(task_id=made.id)
        response = await scheduler.withdraw(first.series_id, SECOND)
        assert (response.outcome, response.task.etag) == (BEGUN, "v2")
        assert not (await todo.GetTask(task_id=made.id)).task.HasField("delete_time")

    async def test_one_that_its_user_began_at_the_same_moment_stays_or_is_deleted_whole(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task
    ) -> None:
        made = (await scheduler.put(first, SECOND)).task
        started, withdrawn = await asyncio.gather(
            todo.StartTask(task_id=made.id), scheduler.withdraw(first.series_id, SECOND), return_exceptions=True
        )
        shown = (await todo.GetTask(task_id=made.id)).task
        assert isinstance(withdrawn, pb.ApplyInstanceResponse)
        if withdrawn.outcome == BEGUN:
            assert (shown.state, shown.HasField("delete_time")) == (task_pb2.TASK_STATE_IN_PROGRESS, False)
        else:
            assert isinstance(started, grpc.aio.AioRpcError)
            assert (shown.state, shown.HasField("delete_time")) == (task_pb2.TASK_STATE_PENDING, True)

    async def test_one_that_its_user_brings_back_is_not_put_over(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task
    ) -> None:
        made = (await scheduler.put(first, SECOND)).task
        await scheduler.withdraw(first.series_id, SECOND)
        await todo.UndeleteTask(task_id=made.id)
        await todo.DeleteTask(task_id=made.id)
        assert (await scheduler.put(first, SECOND)).outcome == UNCHANGED

    async def test_what_was_never_put_is_not_there(self, scheduler: Scheduler, first: task_pb2.Task) -> None:
        response = await scheduler.withdraw(first.series_id, THIRD)
        assert (response.outcome, response.HasField("task")) == (UNCHANGED, False)


class TestReopen:
    """A complete instance whose completion was undone."""

    async def test_it_is_pending_again_once(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task, todo_url: str
    ) -> None:
        reopened = await scheduler.reopen(first)
        assert (reopened.outcome, reopened.task.state) == (APPLIED, task_pb2.TASK_STATE_PENDING)
        assert (await scheduler.reopen(first)).outcome == UNCHANGED
        assert [version for _, version in events(todo_url, first.id)] == [1, 2, 3]

    async def test_one_that_was_deleted_when_complete_comes_back(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task
    ) -> None:
        await todo.DeleteTask(task_id=first.id)
        reopened = await scheduler.reopen(first)
        assert (reopened.outcome, reopened.task.state) == (APPLIED, task_pb2.TASK_STATE_PENDING)
        assert not reopened.task.HasField("delete_time")
        await todo.DeleteTask(task_id=first.id)
        assert (await scheduler.reopen(first)).outcome == UNCHANGED

    async def test_one_that_is_not_there_is_refused(self, scheduler: Scheduler, first: task_pb2.Task) -> None:
        with refused("TASK_NOT_FOUND"):
            await scheduler.reopen(task_pb2.Task(id=new_id(), series_id=first.series_id, slot=FIRST))


class TestRevise:
    """The instance of a series that is edited."""

    async def test_it_and_all_that_follow_have_the_changes(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task, todo_url: str
    ) -> None:
        made = (await scheduler.put(first, SECOND)).task
        await todo.UpdateTask(task_id=made.id, update_mask=FieldMask(paths=["description"]), description="today none")
        weekly = recurrence.Recurrence(frequency=recurrence.FREQUENCY_WEEKLY)
        other, slot = new_id(), "2026-03-29T10:00:00"
        revised = await scheduler.revise(
            made, series_id=other, slot=slot, title="Water", recurrence=weekly, due_time=DUE
        )
        assert (revised.outcome, revised.task.id, revised.task.title) == (APPLIED, made.id, "Water")
        assert (revised.task.series_id, revised.task.slot, revised.task.due_time) == (other, slot, DUE)
        assert revised.task.recurrence_schedule == task_pb2.RECURRENCE_SCHEDULE_WEEKLY
        again = await scheduler.revise(made, series_id=other, slot=slot, title="Water", recurrence=weekly, due_time=DUE)
        assert (again.outcome, again.task) == (UNCHANGED, revised.task)
        following = (await scheduler.put(revised.task, "2026-04-05T10:00:00")).task
        assert (following.title, following.description) == ("Water", "With rain water")
        assert events(todo_url, made.id) == [("task-created", 1), ("task-updated", 2), ("task-updated", 3)]

    async def test_withdrawn_and_put_again_it_keeps_its_id(self, scheduler: Scheduler, first: task_pb2.Task) -> None:
        made = (await scheduler.put(first, SECOND)).task
        moved = (await scheduler.revise(made, slot=THIRD)).task
        await scheduler.withdraw(first.series_id, THIRD)
        again = await scheduler.put(first, THIRD)
        assert (again.outcome, again.task.id, moved.id) == (APPLIED, made.id, made.id)

    @pytest.mark.parametrize("withdrawn", [False, True], ids=["open", "withdrawn"])
    async def test_the_slot_that_it_left_gets_an_instance_of_its_own(
        self, scheduler: Scheduler, first: task_pb2.Task, withdrawn: bool
    ) -> None:
        made = (await scheduler.put(first, SECOND)).task
        moved = (await scheduler.revise(made, slot=THIRD)).task
        if withdrawn:
            await scheduler.withdraw(first.series_id, THIRD)
        other = await scheduler.put(first, SECOND)
        assert (other.outcome, other.task.slot, other.task.id != moved.id) == (APPLIED, SECOND, True)
        again = await scheduler.put(first, SECOND)
        assert (again.outcome, again.task) == (UNCHANGED, other.task)

    async def test_one_that_was_deleted_stays_as_it_is(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task
    ) -> None:
        made = (await scheduler.put(first, SECOND)).task
        await todo.DeleteTask(task_id=made.id)
        assert (await scheduler.revise(made, title="y")).outcome == BEGUN
        assert (await todo.GetTask(task_id=made.id)).task.title == first.title

    async def test_one_that_was_completed_meanwhile_hands_the_changes_on(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task
    ) -> None:
        made = (await scheduler.put(first, SECOND)).task
        await todo.CompleteTask(task_id=made.id)
        revised = await scheduler.revise(made, title="y")
        assert (revised.outcome, revised.task.state) == (APPLIED, task_pb2.TASK_STATE_COMPLETE)
        assert (await scheduler.put(revised.task, THIRD)).task.title == "y"

    async def test_a_slot_that_has_an_instance_is_refused(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task
    ) -> None:
        made = (await scheduler.put(first, SECOND)).task
        with refused("SLOT_TAKEN", series_id=first.series_id, slot=FIRST):
            await scheduler.revise(made, slot=FIRST)
        with refused("TASK_NOT_FOUND"):
            await scheduler.revise(task_pb2.Task(id=new_id(), series_id=first.series_id, slot=THIRD))

    @pytest.mark.parametrize("by_user", [False, True], ids=["withdrawn", "deleted"])
    async def test_a_slot_whose_instance_is_gone_is_free_and_taken_when_that_would_come_back(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task, by_user: bool
    ) -> None:
        gone = (await scheduler.put(first, SECOND)).task
        await (todo.DeleteTask(task_id=gone.id) if by_user else scheduler.withdraw(first.series_id, SECOND))
        await scheduler.reopen(first)
        revised = await scheduler.revise(first, slot=SECOND)
        assert (revised.outcome, revised.task.slot) == (APPLIED, SECOND)
        with refused("SLOT_TAKEN", series_id=first.series_id, slot=SECOND):
            await todo.UndeleteTask(task_id=gone.id)
        await todo.DeleteTask(task_id=first.id)
        assert (await scheduler.put(first, SECOND)).task.id == first.id
        assert (await todo.UndeleteTask(task_id=gone.id)).task.id == gone.id
        with refused("SLOT_TAKEN", series_id=first.series_id, slot=SECOND):
            await todo.UndeleteTask(task_id=first.id)

    async def test_a_task_that_recurs_no_more_is_refused(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task
    ) -> None:
        made = (await scheduler.put(first, SECOND)).task
        await todo.UpdateTask(task_id=made.id, update_mask=FieldMask(paths=["recurrence"]))
        with refused("TASK_NOT_IN_SERIES", task_id=made.id):
            await scheduler.revise(made, title="y")

    async def test_one_with_which_its_user_began_another_series_is_refused(
        self, todo: Todo, scheduler: Scheduler, first: task_pb2.Task
    ) -> None:
        made = (await scheduler.put(first, SECOND)).task
        weekly = recurrence.Recurrence(frequency=recurrence.FREQUENCY_WEEKLY)
        split = await todo.UpdateTask(task_id=made.id, update_mask=FieldMask(paths=["recurrence"]), recurrence=weekly)
        for series_id in (first.series_id, new_id()):
            with refused("TASK_NOT_IN_SERIES", task_id=made.id, series_id=first.series_id):
                await scheduler.revise(made, series_id=series_id, title="y")
        assert (await todo.GetTask(task_id=made.id)).task == split.task


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({}, "INVALID_REQUEST", "change"),
        ({"slot": "2026-03-32", "withdraw": {}}, "INVALID_REQUEST", "slot"),
        ({"slot": "2026-03-29T02:30:00Z", "withdraw": {}}, "INVALID_REQUEST", "slot"),
        ({"series_id": "x", "withdraw": {}}, "INVALID_REQUEST", "series_id"),
        ({"put": {"source_task_id": "x"}}, "INVALID_REQUEST", "put.source_task_id"),
        ({"put": {"changes": {"title": "x"}}}, "FIELD_NOT_IN_MASK", "title"),
        ({"put": {"changes": {"update_mask": FieldMask(paths=["title"])}}}, "INVALID_REQUEST", "put.changes.title"),
        (
            {"put": {"changes": {"update_mask": FieldMask(paths=["status"])}}},
            "INVALID_REQUEST",
            "put.changes.update_mask",
        ),
        (
            {"put": {"changes": {"update_mask": FieldMask(paths=["time_zone"]), "time_zone": "x"}}},
            "TIME_ZONE_UNKNOWN",
            "time_zone",
        ),
        (
            {"put": {"changes": {"update_mask": FieldMask(paths=["reminder_offsets"]), "reminder_offsets": ["P1D"]}}},
            "REMINDER_OFFSET_INVALID",
            "reminder_offsets[0]",
        ),
    ],
)
async def test_a_wrong_field_is_refused_by_its_name(
    todo: Todo, scheduler: Scheduler, first: task_pb2.Task, change: dict[str, Any], reason: str, field: str
) -> None:
    if "put" in change:
        change["put"] = {"source_task_id": first.id} | change["put"]
    series_id, slot = change.pop("series_id", first.series_id), change.pop("slot", SECOND)
    with refused(reason) as error:
        await scheduler.apply(series_id, slot, **change)
    assert field in error.fields, error
    assert await titles(todo) == [first.title]


async def test_a_first_instance_that_was_skipped_is_put_back_under_its_own_id(
    todo: Todo, scheduler: Scheduler, a_task: TaskBuilder
) -> None:
    daily = recurrence.Recurrence(frequency=recurrence.FREQUENCY_DAILY)
    task = await a_task(due_time=DUE, recurrence=daily, time_zone="Europe/Berlin")
    await scheduler.withdraw(task.series_id, task.slot)
    again = await scheduler.put(task, task.slot, due_time=DUE)
    assert (again.outcome, again.task.id, again.task.HasField("delete_time")) == (APPLIED, task.id, False)
