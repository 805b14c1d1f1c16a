"""What becomes of reminders when their task changes, and notifications of updates."""

from collections.abc import Awaitable, Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from focusmesh.notification.v1 import reminder_pb2
from focusmesh.notification.v1.notification_preferences_pb2 import ChannelPreferences, QuietHours
from google.protobuf.field_mask_pb2 import FieldMask

from harness.smtp_server import MailServer
from harness.waiting import until
from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from tests.contract.notification.people import (
    EMAIL,
    IN_APP,
    SENT,
    SUPPRESSED,
    Others,
    Person,
    a_reminder,
    a_task,
    after,
    at,
)
from tests.support.user_events import a_user_event

Register = Callable[..., Awaitable[Person]]


@pytest.fixture
async def sleeper(register: Register) -> Person:
    """A user who wants reminders by mail, and for whom it is night: all mails wait."""
    person = await register(time_zone="UTC")
    minute = (at(0).hour * 60 + at(0).minute + 1380) % 1440
    hours = QuietHours(from_minutes=minute, to_minutes=(minute + 180) % 1440)
    mask = FieldMask(paths=["email", "quiet_hours"])
    email = ChannelPreferences(reminders=True)
    await person.UpdateNotificationPreferences(update_mask=mask, email=email, quiet_hours=hours)
    return person


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "task-completed", "status": "complete"}, "TASK_COMPLETED"),
        ({"kind": "task-deleted"}, "TASK_DELETED"),
        ({"reminder_time": at(3600)}, "TASK_MOVED"),
    ],
)
async def test_what_waits_of_a_task_is_withdrawn_when_it_is_void(
    sleeper: Person, others: Others, mail_server: MailServer, change: dict[str, Any], reason: str
) -> None:
    task_id, when = new_id(), at(0)
    await others.remind(a_reminder(sleeper.user_id, task_id, at=when))
    await sleeper.shown()
    fields = {"reminder_time": when, **change}
    await others.publish("task-events", a_task(sleeper.user_id, task_id, **fields))
    [row] = await sleeper.deliveries(EMAIL)
    assert (row.state, row.reason) == (SUPPRESSED, reason)
    assert not mail_server.taken


@pytest.mark.parametrize("together", [True, False])
async def test_a_task_without_a_time_is_kept_from_the_event_on_that_can_make_a_reminder_void(
    person: Person, others: Others, db: Database, *, together: bool
) -> None:
    async def kept() -> int:
        async with db.connection() as connection:
            cursor = await connection.execute("SELECT FROM tasks")
            return len(await cursor.fetchall())

    task_id = new_id()
    created = a_task(person.user_id, task_id, "task-created", version=1)
    completed = a_task(person.user_id, task_id, "task-completed", status="complete")
    if together:
        await others.publish("task-events", created, completed)
    else:
        await others.publish("task-events", created)
        assert await kept() == 0
        await others.publish("task-events", completed)
    assert await kept() == 1
    await others.remind(a_reminder(person.user_id, task_id, at=at(0)))
    [row] = await person.ended(IN_APP)
    assert (row.state, row.reason) == (SUPPRESSED, "TASK_COMPLETED")


async def test_another_change_of_a_task_withdraws_nothing(sleeper: Person, others: Others) -> None:
    task_id, when = new_id(), at(0)
    await others.remind(a_reminder(sleeper.user_id, task_id, at=when))
    await sleeper.shown()
    await others.publish("task-events", a_task(sleeper.user_id, task_id, title="Changed", reminder_time=when))
    [row] = await sleeper.deliveries(EMAIL)
    assert row.HasField("next_attempt_time")


async def test_a_reminder_that_comes_after_its_task_was_completed_or_moved_is_not_sent(
    person: Person, others: Others
) -> None:
    done, moved = new_id(), new_id()
    due = at(3600)
    await others.publish(
        "task-events",
        a_task(person.user_id, done, "task-completed", status="complete"),
        a_task(person.user_id, moved, due_date=at(7200)),
    )
    await others.remind(
        a_reminder(person.user_id, done, at=at(0)),
        a_reminder(person.user_id, moved, at=at(0), due_date=due, reminder="-PT1H"),
        a_reminder(person.user_id, at=at(0), title="Of a task that is not known yet"),
    )
    [shown] = await person.shown()
    assert shown.title == "Of a task that is not known yet"
    ended = {each.task_id: each.reason for each in await person.ended(IN_APP, 3)}
    assert (ended[done], ended[moved]) == ("TASK_COMPLETED", "TASK_MOVED")


async def test_a_task_that_moves_to_another_time_is_reminded_again(
    register: Register, others: Others, mail_server: MailServer
) -> None:
    """Case D-reminder-relative-2."""
    person, task_id = await register(), new_id()
    await person.UpdateNotificationPreferences(
        update_mask=FieldMask(paths=["email"]), email=ChannelPreferences(reminders=True)
    )
    first_due, second_due = at(600), at(605)
    await others.publish("task-events", a_task(person.user_id, task_id, due_date=first_due))
    await others.remind(a_reminder(person.user_id, task_id, at=at(-5), due_date=first_due, reminder="-PT10M"))
    await person.ended(EMAIL)
    await others.publish("task-events", a_task(person.user_id, task_id, version=3, due_date=second_due))
    when = at(0)
    await others.remind(a_reminder(person.user_id, task_id, at=when, due_date=second_due, reminder="-PT10M"))
    sent = await person.ended(EMAIL, 2)
    assert [each.state for each in sent] == [SENT, SENT]
    assert sent[1].scheduled_time.ToDatetime(when.tzinfo) == when
    assert len(mail_server.taken) == 2


async def test_a_reminder_that_is_published_again_is_not_sent_again(person: Person, others: Others) -> None:
    event = a_reminder(person.user_id, at=at(0))
    await others.remind(event, event)
    await person.shown()
    await others.remind(event)
    await others.remind(a_reminder(person.user_id, at=at(0), title="Another"))
    assert len(await person.shown(2)) == 2


async def test_a_snoozed_reminder_is_cancelled_with_its_task(person: Person, others: Others) -> None:
    task_id = new_id()
    await others.remind(a_reminder(person.user_id, task_id, at=at(0)))
    [shown] = await person.shown()
    await person.SnoozeReminder(reminder_id=shown.reminder_id, remind_time=after(3600))
    await others.publish("task-events", a_task(person.user_id, task_id, "task-completed", status="complete"))
    reminder = (await person.GetReminder(reminder_id=shown.reminder_id)).reminder
    assert (reminder.state, reminder.error) == (reminder_pb2.REMINDER_STATE_CANCELLED, "TASK_COMPLETED")


@pytest.mark.parametrize("end", [{"kind": "task-deleted"}, {"kind": "task-completed", "status": "complete"}])
async def test_a_snoozed_reminder_comes_back_with_its_task(person: Person, others: Others, end: dict[str, Any]) -> None:
    task_id = new_id()
    await others.remind(a_reminder(person.user_id, task_id, at=at(0)))
    [shown] = await person.shown()
    snoozed = (await person.SnoozeReminder(reminder_id=shown.reminder_id, remind_time=after(2))).reminder
    when = snoozed.remind_time
    original = shown.scheduled_time.ToDatetime(at(0).tzinfo)
    await others.publish("task-events", a_task(person.user_id, task_id, reminder_time=original, **end))
    cancelled = (await person.GetReminder(reminder_id=shown.reminder_id)).reminder
    assert cancelled.state == reminder_pb2.REMINDER_STATE_CANCELLED
    await others.publish("task-events", a_task(person.user_id, task_id, version=3, reminder_time=original))
    again, _ = await person.shown(2)
    assert again.scheduled_time == when


async def test_a_reminder_that_its_user_cancelled_stays_cancelled(person: Person, others: Others) -> None:
    task_id = new_id()
    await others.remind(a_reminder(person.user_id, task_id, at=at(0)))
    [shown] = await person.shown()
    await person.SnoozeReminder(reminder_id=shown.reminder_id, remind_time=after(3600))
    await person.CancelReminder(reminder_id=shown.reminder_id)
    original = shown.scheduled_time.ToDatetime(at(0).tzinfo)
    await others.publish("task-events", a_task(person.user_id, task_id, reminder_time=original))
    reminder = (await person.GetReminder(reminder_id=shown.reminder_id)).reminder
    assert reminder.state == reminder_pb2.REMINDER_STATE_CANCELLED


async def test_completed_and_deleted_tasks_are_told_to_those_who_want_it(person: Person, others: Others) -> None:
    other = person.another()
    await person.UpdateNotificationPreferences(
        update_mask=FieldMask(paths=["in_app"]), in_app=ChannelPreferences(reminders=True, updates=True)
    )
    for each in (person, other):
        await others.publish(
            "task-events",
            a_task(each.user_id, new_id(), "task-completed", status="complete", title="Done"),
            a_task(each.user_id, new_id(), "task-deleted", title="Gone"),
            a_task(each.user_id, new_id(), title="Changed"),
        )
    shown = await person.shown(2)
    assert {(each.title, each.event_type) for each in shown} == {("Done", "task-completed"), ("Gone", "task-deleted")}
    assert not (await other.ListNotifications()).notifications


async def test_a_new_zone_moves_the_end_of_quiet_hours(register: Register, others: Others) -> None:
    """Case D-quiet-hours-2: what is put off is decided again by where the user is then."""
    person = await register(time_zone="Europe/Berlin")
    here = at(0)
    minute = (here.hour * 60 + here.minute + 120 + 1380) % 1440  # since an hour ago in Berlin, or two in summer
    hours = QuietHours(from_minutes=(minute - 60) % 1440, to_minutes=(minute + 180) % 1440)
    mask = FieldMask(paths=["email", "quiet_hours"])
    email = ChannelPreferences(reminders=True)
    await person.UpdateNotificationPreferences(update_mask=mask, email=email, quiet_hours=hours)
    await others.locate(person.user_id, "Europe/Berlin")
    await others.remind(a_reminder(person.user_id, at=at(0)))
    await person.shown()

    async def deferred_to(zone: str) -> bool:
        [row] = await person.deliveries(EMAIL)
        if not row.HasField("deferred_time"):
            return False
        ends = row.deferred_time.ToDatetime(here.tzinfo).astimezone(ZoneInfo(zone))
        return bool(ends.hour * 60 + ends.minute == hours.to_minutes)

    async def in_berlin() -> bool:
        return await deferred_to("Europe/Berlin")

    async def in_helsinki() -> bool:
        return await deferred_to("Europe/Helsinki")

    await until(in_berlin, "it waits for the morning of Berlin")
    await others.locate(person.user_id, "Europe/Helsinki")
    await until(in_helsinki, "it waits for the morning of Helsinki, an hour earlier")


async def test_everything_of_a_deleted_user_is_erased_and_nothing_comes_later(
    person: Person, others: Others, db: Database
) -> None:
    other = person.another()
    for each in (person, other):
        await each.CreateReminder(title="Later", remind_time=after(3600), request_id=new_id())
        await each.CreateWebhook(url="https://example.org/")
        await others.remind(a_reminder(each.user_id, at=at(0)))
        await others.publish("task-events", a_task(each.user_id, new_id()))
        await each.shown()
    await others.publish("user-events", a_user_event(person.user_id))
    await others.remind(a_reminder(person.user_id, at=at(0)))
    await others.publish("task-events", a_task(person.user_id, new_id()))
    assert not (await person.ListReminders()).reminders
    assert not (await person.ListNotifications()).notifications
    assert (await person.GetUnreadCount()).unread_count == 0
    async with db.connection() as connection:
        for table in ("notifications", "reminders", "webhooks", "tasks", "push_subscriptions", "idempotency"):
            cursor = await connection.execute(f"SELECT count(*) FROM {table} WHERE user_id = %s", (person.user_id,))
            assert await cursor.fetchone() == (0,), table
    assert len((await other.ListReminders()).reminders) == 2
    assert (await other.GetUnreadCount()).unread_count == 1
