"""Series of tasks through completions, skips, undos and edits: exactly one next instance, and a log that is exact."""

from datetime import datetime, timedelta

import pytest
from focusmesh.recurrence.v1 import schedule_pb2
from focusmesh.recurrence.v1 import schedule_service_pb2 as pb
from focusmesh.todo.v1 import task_pb2
from focusmesh.type.v1 import recurrence_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from harness.waiting import until
from tests.contract.recurrence.world import DAILY, HOUR, Person, ahead, changes, complete, slot
from tests.support.errors import refused

WEEKLY = recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_WEEKLY)


async def test_completing_an_instance_makes_the_next_and_the_log_says_how_punctual_it_was(person: Person) -> None:
    due = ahead(30 * HOUR)
    first = await person.recurring(due)
    await complete(person, first)
    [second] = await person.settled([slot(due, 1)])
    assert (second.title, second.due_time.seconds - due.seconds) == ("Water", 24 * HOUR)
    [entry] = await person.log(first.series_id)
    assert (entry.slot, entry.next_slot, entry.task_id) == (slot(due), slot(due, 1), first.id)
    assert entry.timing == schedule_pb2.COMPLETION_TIMING_EARLY
    schedule = await person.schedule(first.series_id)
    assert (schedule.open_task_id, schedule.is_active) == (second.id, True)
    assert schedule.next_due_time == second.due_time


async def test_the_last_slot_closes_the_series_and_undoing_it_opens_it_again(person: Person) -> None:
    due = ahead(HOUR)
    rule = recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_DAILY, count=1)
    task = await person.recurring(due, rule)
    await complete(person, task)
    await person.settled([])
    assert not (await person.schedule(task.series_id)).is_active
    [entry] = await person.log(task.series_id)
    undone = await person.schedules.UndoCompletion(completion_id=entry.id)
    assert undone.completion.HasField("undo_time")
    [again] = await person.settled([slot(due)])
    assert again.id == task.id
    assert (await person.schedule(task.series_id)).is_active


async def test_undo_restores_the_slot_and_the_reminder_and_withdraws_the_next(person: Person) -> None:
    due = ahead(2 * HOUR)
    task = await person.recurring(due, reminder_offsets=["-PT30M"])
    await complete(person, task)
    await person.settled([slot(due, 1)])
    [entry] = await person.log(task.series_id)
    await person.schedules.UndoCompletion(completion_id=entry.id)
    [again] = await person.settled([slot(due)])
    assert again.id == task.id
    [reminder] = (await person.schedules.ListUpcomingReminders()).upcoming_reminders
    assert (reminder.task_id, reminder.reminder_time.seconds) == (task.id, due.seconds - 1800)
    [entry] = await person.log(task.series_id)
    assert entry.HasField("undo_time")
    with refused("COMPLETION_ALREADY_UNDONE", completion_id=entry.id):
        await person.schedules.UndoCompletion(completion_id=entry.id)


async def test_reopening_a_completed_instance_is_undo_and_a_begun_next_one_stays(person: Person) -> None:
    due = ahead(HOUR)
    task = await person.recurring(due)
    await complete(person, task)
    [second] = await person.settled([slot(due, 1)])
    await person.todo.StartTask(task_id=second.id)
    await person.todo.ReopenTask(task_id=task.id)
    await person.settled([slot(due), slot(due, 1)])
    [entry] = await person.log(task.series_id)
    assert entry.HasField("undo_time")
    await complete(person, task)  # the other instance is open: nothing new is made
    await person.settled([slot(due, 1)])
    assert [each.HasField("undo_time") for each in await person.log(task.series_id)] == [False, True]


async def test_a_skipped_occurrence_is_followed_by_the_next_and_comes_back_by_undo(person: Person) -> None:
    due = ahead(HOUR)
    task = await person.recurring(due)
    skipped = await person.schedules.SkipOccurrence(schedule_id=task.series_id)
    assert skipped.completion.timing == schedule_pb2.COMPLETION_TIMING_SKIPPED
    [second] = await person.settled([slot(due, 1)])
    await person.schedules.UndoCompletion(completion_id=skipped.completion.id)
    [again] = await person.settled([slot(due)])
    assert again.id == task.id != second.id


async def test_a_slot_that_is_skipped_ahead_is_left_out(person: Person) -> None:
    due = ahead(HOUR)
    task = await person.recurring(due)
    skipped = await person.schedules.SkipOccurrence(schedule_id=task.series_id, slot=slot(due, 1))
    assert list(skipped.schedule.cancelled_slots) == [slot(due, 1)]
    with refused("SLOT_NOT_FOUND"):
        await person.schedules.SkipOccurrence(schedule_id=task.series_id, slot=slot(due, 1))
    preview = await person.schedules.PreviewRecurrence(schedule_id=task.series_id, count=2)
    assert [each.slot for each in preview.slots] == [slot(due, 2), slot(due, 3)]
    await complete(person, task)
    await person.settled([slot(due, 2)])


async def test_a_begun_occurrence_is_not_skipped(person: Person) -> None:
    task = await person.recurring(ahead(HOUR))
    await person.todo.StartTask(task_id=task.id)

    async def is_refused() -> bool:
        with refused("OCCURRENCE_BEGUN", task_id=task.id):
            await person.schedules.SkipOccurrence(schedule_id=task.series_id)
        return True

    await until(lambda: _begun(person, task), "recurrence knows that it is begun")
    assert await is_refused()


async def _begun(person: Person, task: task_pb2.Task) -> bool:
    async with person.db.connection() as connection:
        cursor = await connection.execute("SELECT is_begun FROM open_tasks WHERE id = %s", (task.id,))
        return (await cursor.fetchone() or (False,))[0]


async def test_deleting_the_open_instance_closes_the_series_and_undeleting_it_opens_it(person: Person) -> None:
    due = ahead(HOUR)
    task = await person.recurring(due, reminder_offsets=["-PT10M"])
    await complete(person, task)
    [second] = await person.settled([slot(due, 1)])
    await person.todo.DeleteTask(task_id=task.id)  # a completed one never closes it
    await person.todo.DeleteTask(task_id=second.id)
    await person.settled([])
    assert not (await person.schedule(task.series_id)).is_active
    assert not (await person.schedules.ListUpcomingReminders()).upcoming_reminders
    with refused("SCHEDULE_INACTIVE", schedule_id=task.series_id):
        await person.schedules.SkipOccurrence(schedule_id=task.series_id)
    await person.todo.UndeleteTask(task_id=second.id)
    await person.settled([slot(due, 1)])
    assert (await person.schedule(task.series_id)).is_active
    assert len((await person.schedules.ListUpcomingReminders()).upcoming_reminders) == 1


async def test_a_task_without_a_due_time_recurs_by_local_dates(person: Person) -> None:
    task = await person.recurring()
    today = datetime.fromisoformat(task.slot)
    await complete(person, task)
    [second] = await person.settled([(today + timedelta(days=1)).date().isoformat()])
    assert not second.HasField("due_time")


async def test_a_change_of_the_rule_of_the_open_task_begins_a_series_that_takes_skipped_slots_along(
    person: Person,
) -> None:
    due = ahead(HOUR)
    task = await person.recurring(due)
    await person.schedules.SkipOccurrence(schedule_id=task.series_id, slot=slot(due, 7))
    changed = (
        await person.todo.UpdateTask(task_id=task.id, update_mask=FieldMask(paths=["recurrence"]), recurrence=WEEKLY)
    ).task
    await until(lambda: person.has_schedule(changed.series_id), "the new schedule is there")
    old, new = await person.schedule(task.series_id), await person.schedule(changed.series_id)
    assert (old.is_active, old.next_schedule_id, new.is_active) == (False, new.id, True)
    assert list(new.cancelled_slots) == [slot(due, 7)]


async def test_one_occurrence_ahead_is_moved_alone(person: Person) -> None:
    due = ahead(HOUR)
    task = await person.recurring(due)
    later = Timestamp(seconds=due.seconds + 24 * HOUR + 1800)
    await person.schedules.UpdateSeries(
        schedule_id=task.series_id, scope=pb.SERIES_SCOPE_THIS, slot=slot(due, 1), changes=changes(due_time=later)
    )
    [moved, _] = (await person.schedules.PreviewRecurrence(schedule_id=task.series_id, count=2)).slots
    assert (moved.due_time, list(moved.moves)) == (later, [schedule_pb2.SLOT_MOVE_OVERRIDE])
    await complete(person, task)
    [second] = await person.settled([slot(due, 1)])
    assert second.due_time == later
    await complete(person, second)
    [third] = await person.settled([slot(due, 2)])
    assert third.due_time.seconds == due.seconds + 48 * HOUR


async def test_the_open_occurrence_is_moved_alone(person: Person) -> None:
    due = ahead(HOUR)
    task = await person.recurring(due)
    later = Timestamp(seconds=due.seconds + 1800)
    await person.schedules.UpdateSeries(
        schedule_id=task.series_id, scope=pb.SERIES_SCOPE_THIS, slot=slot(due), changes=changes(due_time=later)
    )
    await person.settled([slot(due)])
    [moved] = await person.open_tasks()
    assert (moved.due_time, moved.slot) == (later, slot(due))


async def test_all_occurrences_move_by_time_of_day_and_keep_what_was_skipped_or_moved(person: Person) -> None:
    due = ahead(HOUR)
    task = await person.recurring(due)
    await person.schedules.SkipOccurrence(schedule_id=task.series_id, slot=slot(due, 1))
    lone = Timestamp(seconds=due.seconds + 49 * HOUR)
    await person.schedules.UpdateSeries(
        schedule_id=task.series_id, scope=pb.SERIES_SCOPE_THIS, slot=slot(due, 2), changes=changes(due_time=lone)
    )
    at = Timestamp(seconds=due.seconds + 60)
    changed = await person.schedules.UpdateSeries(
        schedule_id=task.series_id, scope=pb.SERIES_SCOPE_ALL, changes=changes(start=slot(at), title="Fertilize")
    )
    assert list(changed.schedule.cancelled_slots) == [slot(at, 1)]
    assert [(each.slot, each.due_time) for each in changed.schedule.moved_slots] == [(slot(at, 2), lone)]
    [first] = await person.settled([slot(at)])
    assert (first.id, first.due_time, first.title) == (task.id, at, "Fertilize")
    await complete(person, first)
    [third] = await person.settled([slot(at, 2)])
    assert (third.due_time, third.title) == (lone, "Fertilize")


async def test_an_edit_that_would_lose_a_moved_occurrence_is_refused_and_lists_it_unless_forced(person: Person) -> None:
    due = ahead(HOUR)
    task = await person.recurring(due)
    await person.schedules.UpdateSeries(
        schedule_id=task.series_id,
        scope=pb.SERIES_SCOPE_THIS,
        slot=slot(due, 1),
        changes=changes(due_time=Timestamp(seconds=due.seconds + 25 * HOUR)),
    )
    before = await person.schedule(task.series_id)
    edit = {
        "schedule_id": task.series_id,
        "scope": pb.SERIES_SCOPE_FOLLOWING,
        "slot": slot(due),
        "changes": changes(recurrence=WEEKLY),
    }
    with refused("OVERRIDES_LOST", slots=slot(due, 1)):
        await person.schedules.UpdateSeries(**edit)
    assert await person.schedule(task.series_id) == before
    forced = (await person.schedules.UpdateSeries(**edit, force=True)).schedule
    assert not forced.moved_slots
    [open_task] = await person.settled([slot(due)])
    assert (open_task.id, open_task.series_id) == (task.id, forced.id)
    assert not (await person.schedule(task.series_id)).is_active


async def test_occurrences_from_one_ahead_on_begin_a_linked_series_when_it_is_their_turn(person: Person) -> None:
    due = ahead(HOUR)
    rule = recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_DAILY, count=4)
    task = await person.recurring(due, rule)
    later = Timestamp(seconds=due.seconds + 24 * HOUR + 60)
    new = (
        await person.schedules.UpdateSeries(
            schedule_id=task.series_id,
            scope=pb.SERIES_SCOPE_FOLLOWING,
            slot=slot(due, 1),
            changes=changes(start=slot(later), title="Fertilize"),
        )
    ).schedule
    assert (new.recurrence.count, new.is_active) == (3, True)
    assert (await person.schedule(task.series_id)).next_schedule_id == new.id
    await complete(person, task)
    [second] = await person.settled([slot(later)])
    assert (second.series_id, second.due_time, second.title) == (new.id, later, "Fertilize")
    [entry] = await person.log(task.series_id)
    await person.schedules.UndoCompletion(completion_id=entry.id)
    [again] = await person.settled([slot(due)])
    assert again.id == task.id
    assert (await person.schedule(new.id)).is_active
    await complete(person, task)
    await person.settled([slot(later)])
    for day in (0, 1):
        [open_task] = await person.open_tasks()
        await complete(person, open_task)
        [open_task] = await person.settled([slot(later, day + 1)])
    await complete(person, open_task)
    await person.settled([])


async def test_a_stale_etag_changes_nothing(person: Person) -> None:
    task = await person.recurring(ahead(HOUR))
    with refused("VERSION_CONFLICT"):
        await person.schedules.SkipOccurrence(schedule_id=task.series_id, etag="v99")
    assert len(await person.open_tasks()) == 1


async def test_what_belongs_to_another_user_is_not_there(person: Person) -> None:
    task = await person.recurring(ahead(HOUR))
    await complete(person, task)
    await until(lambda: person.log(task.series_id), "the completion is logged")
    [entry] = await person.log(task.series_id)
    stranger = person.schedules.another_user()
    for call in (
        stranger.GetSchedule(schedule_id=task.series_id),
        stranger.ListCompletions(schedule_id=task.series_id),
        stranger.SkipOccurrence(schedule_id=task.series_id),
        stranger.PreviewRecurrence(schedule_id=task.series_id),
    ):
        with refused("SCHEDULE_NOT_FOUND"):
            await call
    with refused("COMPLETION_NOT_FOUND"):
        await stranger.UndoCompletion(completion_id=entry.id)
    assert not (await stranger.ListSchedules()).schedules


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"start": "2026-01-31T09:00"}, "draft.start"),
        ({"time_zone": "Mars/Olympus"}, "draft.time_zone"),
        ({"start": "2026-01-32"}, "draft.start"),
        ({"recurrence": recurrence_pb2.Recurrence(frequency=2, by_month_day=[1])}, "draft.recurrence.by_month_day"),
        ({"recurrence": recurrence_pb2.Recurrence(frequency=3, by_month_day=[30])}, "draft.start"),
    ],
)
async def test_a_preview_of_a_bad_draft_names_the_field(person: Person, fields: dict[str, object], field: str) -> None:
    draft = {"recurrence": DAILY, "time_zone": "Europe/Berlin", "start": "2026-01-31", **fields}
    with refused("INVALID_REQUEST" if "zone" not in field else "TIME_ZONE_UNKNOWN") as error:
        await person.schedules.PreviewRecurrence(draft=draft)
    assert error.fields == [field]


async def test_a_preview_says_of_each_slot_that_moved_why(person: Person) -> None:
    monthly = recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_MONTHLY)
    shown = await person.schedules.PreviewRecurrence(
        draft={"recurrence": monthly, "time_zone": "Europe/Berlin", "start": "2027-01-31T02:30:00"}, count=3
    )
    assert [(each.slot, list(each.moves)) for each in shown.slots] == [
        ("2027-01-31T02:30:00", []),
        ("2027-02-28T02:30:00", [schedule_pb2.SLOT_MOVE_CLAMP]),
        ("2027-03-31T02:30:00", []),
    ]
    daily = await person.schedules.PreviewRecurrence(
        draft={"recurrence": DAILY, "time_zone": "Europe/Berlin", "start": "2027-03-28T02:30:00"}, count=1
    )
    assert list(daily.slots[0].moves) == [schedule_pb2.SLOT_MOVE_GAP]
