"""What changes while a message is being sent, or between two attempts."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from focusmesh.notification.v1 import channel_pb2, reminder_pb2
from focusmesh.notification.v1.notification_preferences_pb2 import ChannelPreferences
from google.protobuf.field_mask_pb2 import FieldMask

from harness.http_receiver import Receiver, answers, hangs
from harness.smtp_server import MailServer
from harness.waiting import until
from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from tests.contract.notification.people import (
    EMAIL,
    FAILED,
    IN_APP,
    SENT,
    SMS,
    SUPPRESSED,
    WEBHOOK,
    Others,
    Person,
    a_reminder,
    a_task,
    after,
    at,
)

Register = Callable[..., Awaitable[Person]]
OFF, ON = ChannelPreferences(), ChannelPreferences(reminders=True)


async def states(person: Person, channel: int) -> list[int]:
    """The states of the deliveries of a channel."""
    return [each.state for each in await person.deliveries(channel)]


async def tried_again(person: Person, channel: int, db: Database) -> list[Any]:
    """The deliveries of a channel, once those that wait for another attempt have had it."""
    async with db.connection() as connection:
        await connection.execute(
            "UPDATE notifications SET next_attempt_at = now() WHERE status = 'failed' AND outcome IS NULL"
        )

    async def over() -> bool:
        return not any(each.HasField("next_attempt_time") for each in await person.deliveries(channel))

    await until(over, "what waited is over")
    return await person.deliveries(channel)


@pytest.fixture
async def reader(register: Register) -> Person:
    """A user who is reminded by mail alone."""
    person = await register(time_zone="Europe/Berlin")
    await person.UpdateNotificationPreferences(update_mask=FieldMask(paths=["in_app", "email"]), in_app=OFF, email=ON)
    return person


@pytest.mark.parametrize("method", ["CancelReminder", "SnoozeReminder"])
async def test_a_reminder_that_is_withdrawn_during_an_attempt_is_not_tried_again(
    reader: Person, mail_server: MailServer, db: Database, method: str
) -> None:
    mail_server.held.clear()
    mail_server.data_response = "451 4.3.0 try later"
    reminder = (await reader.CreateReminder(title="Call home", remind_time=after(0), channel=EMAIL)).reminder
    await mail_server.arrived.wait()
    fields = {"minutes": 60} if method == "SnoozeReminder" else {}
    await getattr(reader, method)(reminder_id=reminder.id, **fields)
    mail_server.held.set()

    async def failed() -> bool:
        return FAILED in await states(reader, EMAIL)

    await until(failed, "the attempt has failed")
    mail_server.data_response = "250 2.0.0 queued"
    rows = await tried_again(reader, EMAIL, db)
    assert [(row.state, row.reason) for row in rows] == [
        (SUPPRESSED, "SNOOZED" if method == "SnoozeReminder" else "CANCELLED")
    ]
    assert not mail_server.taken


async def test_a_message_that_was_tried_stays_the_same_when_one_of_its_tasks_is_completed(
    reader: Person, others: Others, mail_server: MailServer, db: Database
) -> None:
    mail_server.data_response = "451 4.3.0 try later"
    task_id, when = new_id(), at(-7200)
    await others.remind(
        a_reminder(reader.user_id, task_id, at=when, title="Pay"),
        a_reminder(reader.user_id, at=at(-7100), title="Call"),
    )

    async def failed() -> bool:
        return await states(reader, EMAIL) == [FAILED, FAILED]

    await until(failed, "the attempt has failed")
    await others.publish(
        "task-events", a_task(reader.user_id, task_id, "task-completed", status="complete", reminder_time=when)
    )
    mail_server.data_response = "250 2.0.0 queued"
    assert [row.state for row in await tried_again(reader, EMAIL, db)] == [SENT, SENT]
    [mail] = mail_server.taken
    assert "2 reminders" in mail.message["Subject"]


@pytest.mark.parametrize("method", ["CancelReminder", "SnoozeReminder"])
async def test_a_message_that_was_tried_stays_the_same_when_one_of_its_reminders_is_withdrawn(
    reader: Person, mail_server: MailServer, db: Database, method: str
) -> None:
    mail_server.data_response = "451 4.3.0 try later"
    when = after(1)
    first, _ = [
        (await reader.CreateReminder(title=title, remind_time=when, channel=EMAIL)).reminder
        for title in ("Pay", "Call")
    ]

    async def failed() -> bool:
        return await states(reader, EMAIL) == [FAILED, FAILED]

    await until(failed, "the attempt has failed")
    fields = {"minutes": 60} if method == "SnoozeReminder" else {}
    withdrawn = (await getattr(reader, method)(reminder_id=first.id, **fields)).reminder
    mail_server.data_response = "250 2.0.0 queued"
    assert [row.state for row in await tried_again(reader, EMAIL, db)] == [SENT, SENT]
    [mail] = mail_server.taken
    assert "2 reminders" in mail.message["Subject"]
    assert (await reader.GetReminder(reminder_id=first.id)).reminder.state == withdrawn.state


async def test_a_message_that_tells_of_one_task_is_not_tried_again_when_it_is_completed(
    reader: Person, others: Others, mail_server: MailServer, db: Database
) -> None:
    mail_server.data_response = "451 4.3.0 try later"
    task_id, when = new_id(), at(0)
    await others.remind(a_reminder(reader.user_id, task_id, at=when))

    async def failed() -> bool:
        return await states(reader, EMAIL) == [FAILED]

    await until(failed, "the attempt has failed")
    await others.publish(
        "task-events", a_task(reader.user_id, task_id, "task-completed", status="complete", reminder_time=when)
    )
    [row] = await reader.ended(EMAIL)
    assert (row.state, row.reason) == (SUPPRESSED, "TASK_COMPLETED")


async def test_a_reminder_that_no_channel_is_to_send_does_not_stay_pending(person: Person, others: Others) -> None:
    await person.UpdateNotificationPreferences(update_mask=FieldMask(paths=["in_app"]), in_app=OFF)
    await others.remind(a_reminder(person.user_id, at=at(0)))
    [reminder] = (await person.ListReminders()).reminders
    assert (reminder.state, reminder.error) == (reminder_pb2.REMINDER_STATE_FAILED, "NO_CHANNEL")


async def test_a_reminder_whose_webhook_is_deleted_does_not_stay_pending(person: Person, receiver: Receiver) -> None:
    await person.UpdateNotificationPreferences(update_mask=FieldMask(paths=["in_app"]), in_app=OFF)
    receiver.respond = answers(500)
    webhook = (await person.CreateWebhook(url=receiver.url)).webhook
    reminder = (
        await person.CreateReminder(title="x", remind_time=after(0), channel=channel_pb2.CHANNEL_WEBHOOK)
    ).reminder

    async def failed() -> bool:
        return await states(person, WEBHOOK) == [FAILED]

    await until(failed, "the attempt has failed")
    await person.DeleteWebhook(webhook_id=webhook.id)
    read = (await person.GetReminder(reminder_id=reminder.id)).reminder
    assert (read.state, read.error) == (reminder_pb2.REMINDER_STATE_FAILED, "TARGET_REMOVED")


@pytest.mark.parametrize("also_late", [False, True])
async def test_a_reminder_that_overtakes_the_event_by_which_its_task_moved_is_sent(
    person: Person, others: Others, also_late: bool
) -> None:
    task_id, before, now = new_id(), at(3600), at(0)
    await others.publish("task-events", a_task(person.user_id, task_id, reminder_time=before, version=1))
    await others.remind(a_reminder(person.user_id, task_id, at=now))
    if also_late:
        renamed = a_task(person.user_id, task_id, reminder_time=before, title="Renamed", version=2)
        await others.publish("task-events", renamed)
    else:
        await person.ended(IN_APP)
    await others.publish("task-events", a_task(person.user_id, task_id, reminder_time=now, version=3))
    [shown] = await person.shown()
    assert shown.task_id == task_id

    async def sent() -> bool:
        [reminder] = (await person.ListReminders()).reminders
        return bool(reminder.state == reminder_pb2.REMINDER_STATE_SENT)

    await until(sent, "the reminder is sent")


async def test_a_code_is_the_same_in_every_attempt(register: Register, provider: Receiver, db: Database) -> None:
    """The provider may have sent the first, and drops a repetition."""
    person = await register()
    provider.respond = answers(503)
    await person.VerifyPhone(phone_number="+491701234567")

    async def failed() -> bool:
        return await states(person, SMS) == [FAILED]

    await until(failed, "the attempt has failed")
    provider.respond = answers(200)
    await tried_again(person, SMS, db)
    first, second = (orjson.loads(request.body) for request in provider.received)
    assert first == second
    code = "".join(filter(str.isdigit, first["text"]))[:6]
    assert (await person.VerifyPhone(phone_number="+491701234567", code=code)).is_verified


async def test_webhooks_that_hang_leave_places_for_others(
    person: Person, others: Others, receiver: Receiver, provider: Receiver
) -> None:
    receiver.respond = hangs
    people = [person, *(person.another() for _ in range(3))]
    for each in people:
        for _ in range(10):
            await each.CreateWebhook(url=receiver.url)
    await others.remind(*(a_reminder(each.user_id, at=at(-number)) for number in range(8) for each in people))
    await until(lambda: len(receiver.received) >= 8, "the first are being sent")
    other = person.another()
    await other.CreateWebhook(url=provider.url)
    await others.remind(a_reminder(other.user_id, at=at(0)))
    [sent] = await other.ended(WEBHOOK)
    assert sent.late_by_seconds <= 3
