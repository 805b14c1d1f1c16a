"""What becomes of reminders of calendar events when the event or its occurrence changes."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from focusmesh.notification.v1 import reminder_pb2
from focusmesh.notification.v1.notification_preferences_pb2 import ChannelPreferences, QuietHours
from google.protobuf.field_mask_pb2 import FieldMask

from harness.smtp_server import MailServer
from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from services.notification.store import calendar
from tests.contract.notification.people import (
    EMAIL,
    IN_APP,
    MISSED,
    PENDING,
    SENT,
    SUPPRESSED,
    Others,
    Person,
    after,
    at,
)
from tests.support.calendar_events import SLOT, a_calendar_event, an_event_reminder, an_occurrence
from tests.support.user_events import a_user_event

Register = Callable[..., Awaitable[Person]]
CANCELLED = {"kind": "occurrence-cancelled", "occurrence": an_occurrence(status="cancelled")}
COMPLETED = {"kind": "occurrence-completed", "occurrence": an_occurrence(status="completed")}
MOVED = {"kind": "occurrence-moved", "occurrence": an_occurrence(start="2030-01-02T15:00:00")}
RESTORED = {"occurrence": an_occurrence()}
CHANGES = [
    (CANCELLED, "OCCURRENCE_CANCELLED"),
    (COMPLETED, "OCCURRENCE_COMPLETED"),
    (MOVED, "OCCURRENCE_MOVED"),
    ({"start": "2030-01-01T10:00:00"}, "OCCURRENCE_MOVED"),
    ({"recurrence": {"frequency": "daily", "count": 1}}, "OCCURRENCE_MOVED"),
    ({"kind": "event-deleted"}, "EVENT_DELETED"),
]


@pytest.fixture
async def sleeper(register: Register) -> Person:
    """A user who wants reminders by mail, and for whom it is night: all mails wait."""
    person = await register(time_zone="UTC")
    minute = (at(0).hour * 60 + at(0).minute + 1380) % 1440
    hours = QuietHours(from_minutes=minute, to_minutes=(minute + 180) % 1440)
    await person.UpdateNotificationPreferences(
        update_mask=FieldMask(paths=["email", "quiet_hours"]),
        email=ChannelPreferences(reminders=True),
        quiet_hours=hours,
    )
    return person


async def test_a_reminder_of_an_event_names_the_event_and_not_a_task(person: Person, others: Others) -> None:
    event_id = new_id()
    await others.remind(an_event_reminder(person.user_id, event_id, at=at(0)))
    [shown] = await person.shown()
    assert (shown.event_id, shown.HasField("task_id"), shown.title) == (event_id, False, "Deep work")
    assert shown.due_time.ToJsonString() == f"{SLOT}Z"
    reminder = (await person.GetReminder(reminder_id=shown.reminder_id)).reminder
    assert (reminder.event_id, reminder.HasField("task_id")) == (event_id, False)
    [row] = await person.deliveries(IN_APP)
    assert (row.event_id, row.HasField("task_id")) == (event_id, False)


async def test_a_reminder_goes_through_the_channel_that_the_event_names(
    register: Register, others: Others, mail_server: MailServer
) -> None:
    person = await register()
    await others.remind(an_event_reminder(person.user_id, new_id(), at=at(0), channel="email"))
    [row] = await person.ended(EMAIL)
    assert row.state == SENT
    assert len(mail_server.taken) == 1


async def test_a_channel_that_was_turned_off_stays_off_whatever_the_event_names(
    register: Register, others: Others, mail_server: MailServer
) -> None:
    person = await register()
    await person.UpdateNotificationPreferences(
        update_mask=FieldMask(paths=["email"]), email=ChannelPreferences(reminders=False)
    )
    await others.remind(an_event_reminder(person.user_id, new_id(), at=at(0), channel="email"))
    await person.shown()
    assert not await person.deliveries(EMAIL)
    assert not mail_server.taken


@pytest.mark.parametrize(("change", "reason"), CHANGES)
async def test_what_waits_of_an_event_is_withdrawn_when_it_is_void_and_waits_again_when_that_is_undone(
    sleeper: Person, others: Others, mail_server: MailServer, change: dict[str, Any], reason: str
) -> None:
    event_id = new_id()
    await others.publish("calendar-events", a_calendar_event(sleeper.user_id, event_id, version=1))
    await others.remind(an_event_reminder(sleeper.user_id, event_id, at=at(0), version=1))
    await sleeper.shown()
    await others.publish("calendar-events", a_calendar_event(sleeper.user_id, event_id, version=2, **change))
    [row] = await sleeper.deliveries(EMAIL)
    assert (row.state, row.reason) == (SUPPRESSED, reason)
    await others.publish("calendar-events", a_calendar_event(sleeper.user_id, event_id, version=3, **RESTORED))
    [row] = await sleeper.deliveries(EMAIL)
    assert row.state == PENDING
    assert row.HasField("next_attempt_time")
    assert not mail_server.taken


async def test_what_goes_over_to_another_event_waits_on_until_it_is_cancelled_there(
    sleeper: Person, others: Others
) -> None:
    event_id, other = new_id(), new_id()
    await others.publish("calendar-events", a_calendar_event(sleeper.user_id, event_id, version=1))
    await others.remind(an_event_reminder(sleeper.user_id, event_id, at=at(0), version=1))
    await sleeper.shown()
    ended = {"recurrence": {"frequency": "daily", "count": 1}}
    await others.publish("calendar-events", a_calendar_event(sleeper.user_id, event_id, version=2, **ended))
    new = {"series_id": event_id, "start": SLOT}
    await others.publish("calendar-events", a_calendar_event(sleeper.user_id, other, "event-created", version=1, **new))
    [row] = await sleeper.deliveries(EMAIL)
    assert row.state == PENDING
    assert row.HasField("next_attempt_time")
    await others.publish("calendar-events", a_calendar_event(sleeper.user_id, other, version=2, **new, **CANCELLED))
    [row] = await sleeper.deliveries(EMAIL)
    assert (row.state, row.reason) == (SUPPRESSED, "OCCURRENCE_MOVED")


@pytest.mark.parametrize(("change", "reason"), CHANGES)
async def test_a_reminder_that_comes_after_the_change_that_it_did_not_know_is_not_sent(
    person: Person, others: Others, change: dict[str, Any], reason: str
) -> None:
    event_id = new_id()
    await others.publish("calendar-events", a_calendar_event(person.user_id, event_id, version=2, **change))
    await others.remind(an_event_reminder(person.user_id, event_id, at=at(0), version=1))
    [row] = await person.ended(IN_APP)
    assert (row.state, row.reason) == (SUPPRESSED, reason)
    await others.publish("calendar-events", a_calendar_event(person.user_id, event_id, version=3, **RESTORED))
    [shown] = await person.shown()
    assert shown.event_id == event_id


async def test_what_waits_of_a_deleted_event_stays_withdrawn_when_the_session_of_an_occurrence_ends_after_that(
    sleeper: Person, others: Others
) -> None:
    event_id, deleted = new_id(), {"delete_time": "2030-01-01T08:00:00Z"}
    await others.remind(an_event_reminder(sleeper.user_id, event_id, at=at(0), version=1))
    await sleeper.shown()
    done = {"kind": "occurrence-completed", "occurrence": an_occurrence("2030-01-03T09:00:00", status="completed")}
    for version, change in enumerate(({"kind": "event-deleted"}, done), start=2):
        event = a_calendar_event(sleeper.user_id, event_id, version=version, **deleted, **change)
        await others.publish("calendar-events", event)
    [row] = await sleeper.deliveries(EMAIL)
    assert (row.state, row.reason) == (SUPPRESSED, "EVENT_DELETED")


@pytest.mark.parametrize(("change", "reason"), CHANGES)
async def test_a_reminder_that_overtakes_what_undid_the_change_is_sent(
    person: Person, others: Others, change: dict[str, Any], reason: str
) -> None:
    event_id = new_id()
    await others.publish("calendar-events", a_calendar_event(person.user_id, event_id, version=2, **change))
    await others.remind(an_event_reminder(person.user_id, event_id, at=at(0), version=3))
    assert len(await person.shown()) == 1
    assert reason


async def test_a_change_of_something_else_withdraws_nothing(sleeper: Person, others: Others) -> None:
    event_id, other = new_id(), an_occurrence("2030-01-03T09:00:00", status="cancelled")
    await others.remind(an_event_reminder(sleeper.user_id, event_id, at=at(0)))
    await sleeper.shown()
    await others.publish(
        "calendar-events",
        a_calendar_event(sleeper.user_id, event_id, version=2, title="Changed"),
        a_calendar_event(sleeper.user_id, event_id, "occurrence-cancelled", version=3, occurrence=other),
        a_calendar_event(sleeper.user_id, event_id, "occurrence-started", version=4, occurrence=an_occurrence()),
        a_calendar_event(sleeper.user_id, event_id, "occurrence-ended", version=5, occurrence=an_occurrence()),
    )
    [row] = await sleeper.deliveries(EMAIL)
    assert row.HasField("next_attempt_time")


async def test_a_snoozed_reminder_is_cancelled_with_its_occurrence_and_comes_back_with_it(
    person: Person, others: Others
) -> None:
    event_id = new_id()
    await others.remind(an_event_reminder(person.user_id, event_id, at=at(0)))
    [shown] = await person.shown()
    await person.SnoozeReminder(reminder_id=shown.reminder_id, remind_time=after(2))
    await others.publish("calendar-events", a_calendar_event(person.user_id, event_id, version=2, **CANCELLED))
    reminder = (await person.GetReminder(reminder_id=shown.reminder_id)).reminder
    assert (reminder.state, reminder.error) == (reminder_pb2.REMINDER_STATE_CANCELLED, "OCCURRENCE_CANCELLED")
    await others.publish("calendar-events", a_calendar_event(person.user_id, event_id, version=3, **RESTORED))
    assert len(await person.shown(2)) == 2


async def test_nothing_is_sent_after_the_end_of_the_event(person: Person, others: Others) -> None:
    ended = {"start_time": at(-3600), "end_time": at(-1)}
    await others.remind(an_event_reminder(person.user_id, new_id(), at=at(-4200), **ended))
    [row] = await person.ended(IN_APP)
    assert row.state == MISSED


async def test_what_is_known_of_events_ends_with_them_and_with_their_user(
    person: Person, others: Others, db: Database
) -> None:
    other = person.another()
    for each in (person, other):
        far = an_occurrence("2040-01-01T09:00:00", end_time="2040-01-01T10:00:00Z")
        past = an_occurrence("2020-01-01T09:00:00", end_time="2020-01-01T10:00:00Z", status="cancelled")
        await others.publish(
            "calendar-events",
            a_calendar_event(each.user_id, new_id(), **CANCELLED),
            a_calendar_event(each.user_id, new_id(), occurrence=far),
            a_calendar_event(each.user_id, new_id(), occurrence=past),
            a_calendar_event(each.user_id, new_id(), "event-deleted"),
        )
    await others.publish("user-events", a_user_event(person.user_id))
    await others.publish("calendar-events", a_calendar_event(person.user_id, new_id()))
    async with db.connection() as connection:
        await connection.execute("UPDATE events SET updated_at = now() - interval '41 days'")
        await calendar.purge(connection, 40, 100)
        for table, count in (("events", 3), ("occurrences", 1)):
            cursor = await connection.execute(f"SELECT user_id::text FROM {table}")
            assert await cursor.fetchall() == [(other.user_id,)] * count, table
