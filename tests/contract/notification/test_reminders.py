"""ReminderService, as a caller sees it."""

import pytest
from focusmesh.notification.v1 import reminder_pb2 as pb

from mesh.runtime.ids import new_id
from services.notification.model import MOST_PENDING
from tests.contract.notification.people import IN_APP, SENT, Others, Person, a_reminder, after, at
from tests.support.errors import refused


async def test_a_reminder_is_shown_in_the_app_when_its_time_has_come_and_not_before(person: Person) -> None:
    created = (await person.CreateReminder(title="Call home", note="0611", remind_time=after(0.7))).reminder
    assert created.state == pb.REMINDER_STATE_PENDING
    [shown] = await person.shown()
    assert (shown.title, shown.note, shown.reminder_id) == ("Call home", "0611", created.id)
    assert shown.create_time.ToNanoseconds() >= created.remind_time.ToNanoseconds()
    read = (await person.GetReminder(reminder_id=created.id)).reminder
    assert read.state == pb.REMINDER_STATE_SENT
    assert read.send_time.ToNanoseconds() >= created.remind_time.ToNanoseconds()


async def test_a_repeated_request_makes_one_reminder(person: Person) -> None:
    fields = {"title": "Call home", "remind_time": after(3600), "request_id": new_id()}
    responses = [await person.CreateReminder(**fields) for _ in range(2)]
    assert responses[0] == responses[1]
    assert len((await person.ListReminders()).reminders) == 1


@pytest.mark.parametrize("seconds", [-120, 3654 * 86400])
async def test_a_reminder_is_for_an_instant_ahead(person: Person, seconds: float) -> None:
    with refused("REMIND_TIME_IN_PAST"):
        await person.CreateReminder(title="Call home", remind_time=after(seconds))


async def test_another_users_reminder_looks_like_a_missing_one(person: Person) -> None:
    created = (await person.CreateReminder(title="Call home", remind_time=after(3600))).reminder
    other = person.another()
    for method in ("GetReminder", "CancelReminder"):
        with refused("REMINDER_NOT_FOUND", reminder_id=created.id):
            await getattr(other, method)(reminder_id=created.id)
    with refused("REMINDER_NOT_FOUND"):
        await other.SnoozeReminder(reminder_id=created.id, minutes=5)


async def test_lists_show_every_reminder_once_the_earliest_first_and_filter(person: Person) -> None:
    times = [after(3600 * hours) for hours in (3, 1, 2)]
    made = [(await person.CreateReminder(title=str(time.seconds), remind_time=time)).reminder for time in times]
    await person.CancelReminder(reminder_id=made[0].id)
    first = await person.ListReminders(page_size=2)
    rest = await person.ListReminders(page_size=2, page_token=first.next_page_token)
    assert [each.id for each in [*first.reminders, *rest.reminders]] == [made[1].id, made[2].id, made[0].id]
    pending = await person.ListReminders(states=[pb.REMINDER_STATE_PENDING])
    assert [each.id for each in pending.reminders] == [made[1].id, made[2].id]
    window = await person.ListReminders(from_time=times[2], before_time=times[0])
    assert [each.id for each in window.reminders] == [made[2].id]


async def test_a_cancelled_reminder_is_never_sent(person: Person) -> None:
    created = (await person.CreateReminder(title="Call home", remind_time=after(0.6))).reminder
    cancelled = (await person.CancelReminder(reminder_id=created.id, etag=created.etag)).reminder
    assert cancelled.state == pb.REMINDER_STATE_CANCELLED
    later = (await person.CreateReminder(title="Later", remind_time=after(1))).reminder
    assert [each.reminder_id for each in await person.shown()] == [later.id]
    with refused("REMINDER_CANCELLED", reminder_id=created.id):
        await person.CancelReminder(reminder_id=created.id)
    with refused("REMINDER_CANCELLED"):
        await person.SnoozeReminder(reminder_id=created.id, minutes=5)


async def test_a_sent_reminder_cannot_be_cancelled_and_an_old_etag_is_refused(person: Person) -> None:
    created = (await person.CreateReminder(title="Call home", remind_time=after(0))).reminder
    await person.shown()
    with refused("VERSION_CONFLICT"):
        await person.CancelReminder(reminder_id=created.id, etag=created.etag)
    with refused("REMINDER_ALREADY_SENT"):
        await person.CancelReminder(reminder_id=created.id)


async def test_a_snooze_reminds_once_more_in_place_of_what_waits(person: Person) -> None:
    created = (await person.CreateReminder(title="Call home", remind_time=after(0))).reminder
    await person.shown()
    snoozed = (await person.SnoozeReminder(reminder_id=created.id, remind_time=after(0.5))).reminder
    assert (snoozed.state, snoozed.snooze_count) == (pb.REMINDER_STATE_PENDING, 1)
    again = (await person.SnoozeReminder(reminder_id=created.id, remind_time=after(1))).reminder
    shown = await person.shown(2)
    assert [each.scheduled_time for each in shown] == [again.remind_time, created.remind_time]
    states = {each.state for each in await person.deliveries(IN_APP)}
    assert states == {SENT}


async def test_a_reminder_that_was_sent_can_be_snoozed_to_its_own_instant(person: Person) -> None:
    created = (await person.CreateReminder(title="Call home", remind_time=after(0))).reminder
    await person.shown()
    await person.SnoozeReminder(reminder_id=created.id, remind_time=created.remind_time)
    again, first = await person.shown(2)
    assert again.reminder_id == first.reminder_id == created.id


async def test_a_reminder_of_a_task_can_be_snoozed(person: Person, others: Others) -> None:
    await others.remind(a_reminder(person.user_id, at=at(0)))
    [shown] = await person.shown()
    await person.SnoozeReminder(reminder_id=shown.reminder_id, remind_time=after(0.3))
    again, first = await person.shown(2)
    assert (again.task_id, again.title) == (first.task_id, first.title)


async def test_a_snooze_says_when_in_one_way(person: Person) -> None:
    created = (await person.CreateReminder(title="Call home", remind_time=after(3600))).reminder
    for fields in ({}, {"minutes": 5, "remind_time": after(60)}):
        with refused("INVALID_REQUEST"):
            await person.SnoozeReminder(reminder_id=created.id, **fields)


async def test_a_user_has_a_bounded_number_of_pending_reminders(person: Person, db: object) -> None:
    async with db.connection() as connection:  # type: ignore[attr-defined]
        await connection.execute(
            """
            INSERT INTO reminders (user_id, type, scheduled_for, fire_at, payload)
            SELECT %s::uuid, 'in_app', now() + interval '1 day', now() + interval '1 day', '{"title": "x"}'
            FROM generate_series(1, %s)""",
            (person.user_id, MOST_PENDING),
        )
    with refused("TOO_MANY_REMINDERS", limit=str(MOST_PENDING)):
        await person.CreateReminder(title="One more", remind_time=after(3600))
    await person.another().CreateReminder(title="Somebody else's", remind_time=after(3600))
