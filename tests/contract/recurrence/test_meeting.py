"""Edits, completions, undos and deletions that meet: a series always has its next instance, and edits are not lost."""

import asyncio
from collections.abc import Sequence

import grpc
import pytest
from focusmesh.recurrence.v1 import schedule_service_pb2 as pb
from focusmesh.todo.v1 import task_pb2
from focusmesh.type.v1 import recurrence_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from harness.waiting import until
from mesh.database.pool import Database
from tests.contract.recurrence.world import DAILY, HOUR, Carrier, Person, ahead, changes, complete, slot
from tests.support.errors import refused
from tests.support.tokens import Signer


@pytest.mark.parametrize("scope", [pb.SERIES_SCOPE_ALL, pb.SERIES_SCOPE_FOLLOWING])
async def test_an_edit_that_meets_a_completion_is_kept_and_the_next_instance_comes(
    scope: pb.SeriesScope,
    todo_channel: grpc.aio.Channel,
    channel: grpc.aio.Channel,
    signer: Signer,
    db: Database,
    carrier: Carrier,
) -> None:
    person, due = Person(todo_channel, channel, signer, db), ahead(HOUR)
    later = Timestamp(seconds=due.seconds + 60)
    task = (await person.todo.CreateTask(title="Water", due_time=due, recurrence=DAILY, time_zone="UTC")).task
    await carrier.carry()
    await complete(person, task)  # recurrence has yet to hear of it
    edited = await person.schedules.UpdateSeries(
        schedule_id=task.series_id,
        scope=scope,
        slot=slot(due) if scope == pb.SERIES_SCOPE_FOLLOWING else None,
        changes=changes(start=slot(later), title="Fertilize"),
    )
    carrying = asyncio.create_task(carrier.run())
    try:
        [second] = await person.settled([slot(later, 1)])
        assert (second.title, second.series_id) == ("Fertilize", edited.schedule.id)
        assert second.due_time.seconds == later.seconds + 24 * HOUR
        [entry] = await person.log(edited.schedule.id)
        assert (entry.slot, entry.next_slot) == (slot(later), slot(later, 1))
        await complete(person, second)
        await person.settled([slot(later, 2)])
    finally:
        carrying.cancel()
        await asyncio.gather(carrying, return_exceptions=True)


async def test_undo_after_an_edit_of_all_withdraws_the_instance_that_followed(person: Person) -> None:
    due = ahead(30 * HOUR)
    task = await person.recurring(due)
    await complete(person, task)
    await person.settled([slot(due, 1)])
    later = Timestamp(seconds=due.seconds + 60)
    await person.schedules.UpdateSeries(
        schedule_id=task.series_id, scope=pb.SERIES_SCOPE_ALL, changes=changes(start=slot(later))
    )
    await person.settled([slot(later, 1)])
    [entry] = await person.log(task.series_id)
    await person.schedules.UndoCompletion(completion_id=entry.id)
    await person.settled([slot(due)])


async def test_an_edit_of_all_moves_the_open_instance_to_the_slot_of_one_that_undo_withdrew(person: Person) -> None:
    due = ahead(HOUR)
    task = await person.recurring(due)
    await complete(person, task)
    await person.settled([slot(due, 1)])
    [entry] = await person.log(task.series_id)
    await person.schedules.UndoCompletion(completion_id=entry.id)
    await person.settled([slot(due)])
    weekly = recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_WEEKLY)
    await person.schedules.UpdateSeries(
        schedule_id=task.series_id,
        scope=pb.SERIES_SCOPE_ALL,
        changes=changes(start=slot(due, 1), recurrence=weekly, title="Fertilize"),
    )
    [moved] = await person.settled([slot(due, 1)])
    assert (moved.id, moved.title, moved.recurrence.frequency) == (task.id, "Fertilize", weekly.frequency)
    await complete(person, moved)
    await person.settled([slot(due, 8)])


async def test_undo_brings_back_an_instance_that_was_deleted_after_its_completion(person: Person) -> None:
    due = ahead(HOUR)
    task = await person.recurring(due)
    await complete(person, task)
    await person.settled([slot(due, 1)])
    await person.todo.DeleteTask(task_id=task.id)
    [entry] = await person.log(task.series_id)
    await person.schedules.UndoCompletion(completion_id=entry.id)
    [again] = await person.settled([slot(due)])
    assert again.id == task.id
    assert (await person.schedule(task.series_id)).is_active


async def test_undo_of_an_instance_that_was_purged_leaves_the_open_one(person: Person, carrier: Carrier) -> None:
    due = ahead(HOUR)
    task = await person.recurring(due)
    await complete(person, task)
    await person.settled([slot(due, 1)])
    async with carrier.todo.connection() as connection:
        await connection.execute("DELETE FROM tasks WHERE id = %s", (task.id,))
    [entry] = await person.log(task.series_id)
    await person.schedules.UndoCompletion(completion_id=entry.id)
    [second] = await person.settled([slot(due, 1)])
    schedule = await person.schedule(task.series_id)
    assert (schedule.open_task_id, schedule.is_active) == (second.id, True)
    await complete(person, second)
    await person.settled([slot(due, 2)])


async def test_a_series_whose_next_instance_its_user_deleted_is_closed_until_that_is_undeleted(person: Person) -> None:
    due = ahead(HOUR)
    task = await person.recurring(due)
    await complete(person, task)
    [second] = await person.settled([slot(due, 1)])
    await person.todo.DeleteTask(task_id=second.id)
    await person.settled([])
    await person.todo.ReopenTask(task_id=task.id)
    await person.settled([slot(due)])
    await complete(person, task)
    await person.settled([])

    async def is_closed() -> bool:
        return not (await person.schedule(task.series_id)).is_active

    await until(is_closed, "the series is closed")
    await person.todo.UndeleteTask(task_id=second.id)
    await person.settled([slot(due, 1)])
    assert (await person.schedule(task.series_id)).is_active


async def test_a_start_before_tasks_can_be_due_is_refused_and_changes_nothing(person: Person) -> None:
    task = await person.recurring(ahead(HOUR))
    before = await person.schedule(task.series_id)
    with refused("INVALID_REQUEST") as error:
        await person.schedules.UpdateSeries(
            schedule_id=task.series_id,
            scope=pb.SERIES_SCOPE_FOLLOWING,
            slot=task.slot,
            changes=changes(start="1969-12-31T09:00:00"),
        )
    assert error.fields == ["changes.start"]
    assert await person.schedule(task.series_id) == before
    with refused("INVALID_REQUEST") as error:
        await person.schedules.PreviewRecurrence(
            draft={"recurrence": DAILY, "time_zone": "Asia/Tokyo", "start": "0001-01-01T00:00:00"}
        )
    assert error.fields == ["draft.start"]


async def _with_two_ahead(person: Person, due: Timestamp) -> tuple[task_pb2.Task, list[str]]:
    """A daily task, and the schedules that begin two and four days ahead of it."""
    task = await person.recurring(due)
    new = [
        (
            await person.schedules.UpdateSeries(
                schedule_id=task.series_id,
                scope=pb.SERIES_SCOPE_FOLLOWING,
                slot=slot(due, days),
                changes=changes(title=f"After {days} days"),
            )
        ).schedule
        for days in (4, 2)
    ]
    return task, [schedule.id for schedule in new]


async def _are_active(person: Person, ids: Sequence[str], *, active: bool) -> None:
    async def are_so() -> bool:
        return [(await person.schedule(each)).is_active for each in ids] == [active] * len(ids)

    await until(are_so, f"the schedules ahead are {'active' if active else 'closed'}")


async def test_schedules_that_begin_ahead_end_and_come_back_with_the_one_before_them(person: Person) -> None:
    due = ahead(HOUR)
    task, later = await _with_two_ahead(person, due)
    with refused("SCHEDULE_BUSY"):
        await person.schedules.UpdateSeries(schedule_id=later[1], scope=pb.SERIES_SCOPE_ALL, changes=changes(title="x"))
    await person.todo.DeleteTask(task_id=task.id)
    await _are_active(person, [task.series_id, *later], active=False)
    with refused("SCHEDULE_INACTIVE"):
        await person.schedules.UpdateSeries(schedule_id=later[1], scope=pb.SERIES_SCOPE_ALL, changes=changes(title="x"))
    await person.todo.UndeleteTask(task_id=task.id)
    await _are_active(person, [task.series_id, *later], active=True)
    for days in range(5):
        [open_task] = await person.settled([slot(due, days)])
        await complete(person, open_task)
    [open_task] = await person.settled([slot(due, 5)])
    assert (open_task.series_id, open_task.title) == (later[0], "After 4 days")
    await _are_active(person, [task.series_id, later[1]], active=False)


async def test_a_schedule_whose_begun_instance_an_undo_left_stays_when_the_one_before_it_closes(person: Person) -> None:
    due = ahead(HOUR)
    task = await person.recurring(due)
    ahead_of_it = {"scope": pb.SERIES_SCOPE_FOLLOWING, "slot": slot(due, 1), "changes": changes(title="Fertilize")}
    new = (await person.schedules.UpdateSeries(schedule_id=task.series_id, **ahead_of_it)).schedule
    await complete(person, task)
    [first] = await person.settled([slot(due, 1)])
    await person.todo.StartTask(task_id=first.id)
    await person.todo.ReopenTask(task_id=task.id)
    await person.settled([slot(due), slot(due, 1)])
    await person.todo.DeleteTask(task_id=task.id)
    await person.settled([slot(due, 1)])
    await _are_active(person, [task.series_id], active=False)
    assert (await person.schedule(new.id)).is_active


@pytest.mark.parametrize("rule", [None, recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_WEEKLY)])
async def test_schedules_that_begin_ahead_end_when_the_open_task_recurs_otherwise(
    person: Person, rule: recurrence_pb2.Recurrence | None
) -> None:
    task, later = await _with_two_ahead(person, ahead(HOUR))
    mask = FieldMask(paths=["recurrence"])
    split = (await person.todo.UpdateTask(task_id=task.id, update_mask=mask, recurrence=rule)).task
    await _are_active(person, [task.series_id, *later], active=False)
    active = (await person.schedules.ListSchedules(is_active=True)).schedules
    assert [each.id for each in active] == ([split.series_id] if rule else [])


@pytest.mark.parametrize("is_in_todo", [True, False])
async def test_what_was_skipped_comes_back_by_undo_though_another_series_has_it_now(
    person: Person, is_in_todo: bool
) -> None:
    due = ahead(HOUR)
    task = await person.recurring(due)
    skipped = await person.schedules.SkipOccurrence(schedule_id=task.series_id, slot=slot(due, 7))
    if is_in_todo:
        mask = FieldMask(paths=["recurrence"])
        weekly = recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_WEEKLY)
        split = (await person.todo.UpdateTask(task_id=task.id, update_mask=mask, recurrence=weekly)).task
        series_id = split.series_id
    else:
        ahead_of_it = {"scope": pb.SERIES_SCOPE_FOLLOWING, "slot": slot(due, 2), "changes": changes(title="Fertilize")}
        series_id = (await person.schedules.UpdateSeries(schedule_id=task.series_id, **ahead_of_it)).schedule.id
    await until(lambda: person.has_schedule(series_id), "the new schedule is there")
    assert list((await person.schedule(series_id)).cancelled_slots) == [slot(due, 7)]
    await person.schedules.UndoCompletion(completion_id=skipped.completion.id)
    assert not (await person.schedule(series_id)).cancelled_slots
