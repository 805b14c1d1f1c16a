"""NotificationService, as a caller sees it, and what is published of an inbox."""

from typing import Any

import orjson

from harness.http_receiver import Receiver
from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from tests.contract.notification.people import IN_APP, WEBHOOK, Others, Person, a_reminder, at
from tests.support.errors import refused


async def published(db: Database, user_id: str) -> list[dict[str, Any]]:
    """The events of a user's inbox, in order."""
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT value FROM outbox WHERE key = %s ORDER BY seq", (user_id,))
        return [orjson.loads(value) for (value,) in await cursor.fetchall()]


async def reminded(person: Person, others: Others, count: int) -> list[Any]:
    """Notifications of so many reminders, each shown by itself, the newest first."""
    for number in range(count):
        await others.remind(a_reminder(person.user_id, at=at(0), title=f"Number {number}"))
        await person.shown(number + 1)
    return await person.shown(count)


async def test_lists_show_every_notification_once_the_newest_first(person: Person, others: Others) -> None:
    shown = await reminded(person, others, 3)
    assert [each.title for each in shown] == ["Number 2", "Number 1", "Number 0"]
    first = await person.ListNotifications(page_size=2)
    rest = await person.ListNotifications(page_size=2, page_token=first.next_page_token)
    assert [*first.notifications, *rest.notifications] == shown
    assert not (await person.another().ListNotifications()).notifications
    with refused("PAGE_TOKEN_INVALID"):
        await person.another().ListNotifications(page_token=first.next_page_token)


async def test_what_is_read_counts_no_more_and_is_read_once(person: Person, others: Others) -> None:
    shown = await reminded(person, others, 3)
    assert (await person.GetUnreadCount()).unread_count == 3
    assert (await person.MarkRead(notification_ids=[shown[0].id])).unread_count == 2
    assert (await person.MarkRead(notification_ids=[shown[0].id, shown[1].id])).unread_count == 1
    unread = (await person.ListNotifications(unread_only=True)).notifications
    assert [each.id for each in unread] == [shown[2].id]
    assert (await person.MarkAllRead()).unread_count == 0
    assert (await person.MarkAllRead()).unread_count == 0
    assert (await person.GetUnreadCount()).unread_count == 0
    assert all(each.HasField("read_time") for each in await person.shown())


async def test_another_users_notification_is_not_read(person: Person, others: Others) -> None:
    [shown] = await reminded(person, others, 1)
    for notification_id in (shown.id, new_id()):
        assert (await person.another().MarkRead(notification_ids=[notification_id])).unread_count == 0
    assert (await person.GetUnreadCount()).unread_count == 1


async def test_a_repeated_request_reads_and_publishes_once(person: Person, others: Others, db: Database) -> None:
    [shown] = await reminded(person, others, 1)
    request_id = new_id()
    for _ in range(2):
        assert (await person.MarkRead(notification_ids=[shown.id], request_id=request_id)).unread_count == 0
    assert [event["type"] for event in await published(db, person.user_id)] == [
        "notification-created",
        "notification-read",
    ]


async def test_events_of_an_inbox_say_what_is_unread_and_are_in_its_order(
    person: Person, others: Others, db: Database
) -> None:
    shown = await reminded(person, others, 2)
    await person.MarkAllRead()
    events = await published(db, person.user_id)
    assert [event["type"] for event in events] == ["notification-created"] * 2 + ["notification-read"]
    assert [int(event["sequence"]) for event in events] == [1, 2, 3]
    assert [event["data"]["payload"]["unread_count"] for event in events] == [1, 2, 0]
    assert {event["subject"] for event in events} == {event["data"]["inbox_id"] for event in events} == {person.user_id}
    [item] = events[1]["data"]["payload"]["items"]
    assert (item["id"], item["title"], item["kind"]) == (shown[0].id, "Number 1", "reminder")


async def test_reminders_that_are_due_together_are_one_event(person: Person, others: Others, db: Database) -> None:
    await others.remind(*(a_reminder(person.user_id, at=at(0), title=f"Number {number}") for number in range(30)))
    await person.shown(30)
    [event] = await published(db, person.user_id)
    payload = event["data"]["payload"]
    assert (payload["count"], payload["unread_count"], len(payload["items"])) == (30, 30, 20)


async def test_deliveries_are_listed_by_reminder_channel_and_target_the_newest_first(
    person: Person, others: Others, receiver: Receiver
) -> None:
    webhook = (await person.CreateWebhook(url=receiver.url)).webhook
    for number in range(3):
        await others.remind(a_reminder(person.user_id, at=at(-number), title=f"Number {number}"))
        await person.ended(WEBHOOK, number + 1)
    every = await person.ListDeliveries(page_size=4)
    rest = await person.ListDeliveries(page_size=4, page_token=every.next_page_token)
    listed = [*every.deliveries, *rest.deliveries]
    assert len({each.id for each in listed}) == 6
    assert [each.title for each in listed] == [f"Number {number}" for number in (2, 2, 1, 1, 0, 0)]
    of_webhook = (await person.ListDeliveries(channel=WEBHOOK)).deliveries
    assert {each.target_id for each in of_webhook} == {webhook.id}
    assert (await person.ListDeliveries(target_id=webhook.id)).deliveries == of_webhook
    of_one = (await person.ListDeliveries(reminder_id=listed[0].reminder_id)).deliveries
    assert {each.channel for each in of_one} == {IN_APP, WEBHOOK}
    assert not (await person.another().ListDeliveries()).deliveries
