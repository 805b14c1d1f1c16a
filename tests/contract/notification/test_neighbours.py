"""A second user's calls while a first one's largest batches, lists and outages are dealt with."""

import asyncio
from collections.abc import Awaitable, Callable

from focusmesh.notification.v1.notification_preferences_pb2 import ChannelPreferences
from google.protobuf.field_mask_pb2 import FieldMask

from harness.http_receiver import Receiver, answers
from harness.notified import browser
from harness.waiting import until
from mesh.database.pool import Database
from services.notification.rules.targets import MOST_SUBSCRIPTIONS, MOST_WEBHOOKS
from tests.contract.notification.people import EMAIL, WEBHOOK, Others, Person, a_reminder, at
from tests.support.neighbours import disturbance

WORST_TITLE, WORST_NOTE = "\x01" * 255, "\x01" * 1000
CONNECTIONS = 8
"""Of the service to its database."""
REMINDERS = 1000
"""That are due for one user at once, after an outage."""


async def test_an_outage_of_one_user_with_every_target_does_not_disturb_another(
    register: Callable[..., Awaitable[Person]], others: Others, receiver: Receiver, db: Database
) -> None:
    receiver.respond = answers(201)
    person = await register(time_zone="Europe/Berlin")
    await person.UpdateNotificationPreferences(
        update_mask=FieldMask(paths=["email"]), email=ChannelPreferences(reminders=True)
    )
    for number in range(MOST_SUBSCRIPTIONS):
        await person.RegisterPushSubscription(**browser(f"{receiver.url}/{number}"))
    for _ in range(MOST_WEBHOOKS):
        await person.CreateWebhook(url=receiver.url)
    other = person.another()

    async def outage() -> None:
        for first in range(0, REMINDERS, 100):
            await others.remind(
                *(
                    a_reminder(person.user_id, at=at(-7200 - number), title=WORST_TITLE)
                    for number in range(first, first + 100)
                )
            )

        async def pushed() -> bool:
            async with db.connection() as connection:
                cursor = await connection.execute(
                    "SELECT count(*) FROM notifications WHERE status = 'sent' AND channel <> 'webhook'"
                )
                return await cursor.fetchone() == (REMINDERS * (2 + MOST_SUBSCRIPTIONS),)

        await until(pushed, "all but the webhooks is sent", seconds=90)

    (await disturbance(outage(), lambda: other.GetUnreadCount(timeout=60))).check()


async def test_a_user_who_is_locked_while_many_messages_end_takes_no_connection_from_another(
    person: Person, others: Others, receiver: Receiver, db: Database
) -> None:
    answer = asyncio.Event()

    async def respond(writer: asyncio.StreamWriter) -> None:
        await answer.wait()
        await answers(201)(writer)

    async def waiting_for_lock() -> bool:
        async with db.connection() as connection:
            cursor = await connection.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            return await cursor.fetchone() is not None

    receiver.respond = respond
    for _ in range(MOST_WEBHOOKS):
        await person.CreateWebhook(url=receiver.url)
    for number in range(MOST_SUBSCRIPTIONS):
        await person.RegisterPushSubscription(**browser(f"{receiver.url}/{number}"))
    await others.locate(person.user_id)
    await others.remind(*(a_reminder(person.user_id, at=at(-number)) for number in range(10)))
    await until(
        lambda: len(receiver.received) >= CONNECTIONS, "as many messages are being sent as there are connections"
    )
    async with db.transaction() as tx:
        await tx.execute("SELECT FROM recipients WHERE user_id = %s FOR NO KEY UPDATE", (person.user_id,))
        answer.set()
        await until(waiting_for_lock, "the result of a message waits for its user")
        other = person.another()
        for _ in range(50):
            assert (await other.GetUnreadCount(timeout=1)).unread_count == 0
    await person.ended(WEBHOOK, 10 * MOST_WEBHOOKS)


async def test_the_largest_lists_do_not_disturb_another(person: Person, others: Others, db: Database) -> None:
    other = person.another()
    async with db.connection() as connection:
        await connection.execute(
            """
            INSERT INTO reminders (user_id, type, scheduled_for, fire_at, payload)
            SELECT %s::uuid, 'in_app', now() + interval '1 day', now() + interval '1 day',
                json_build_object('title', repeat(E'\\x01', 255), 'note', repeat(E'\\x01', 1000))
            FROM generate_series(1, 400)""",
            (person.user_id,),
        )
        await connection.execute(
            """
            WITH made AS (
                INSERT INTO notifications (user_id, source_id, notification_type, channel, status, outcome, payload,
                    scheduled_for, sent_at, attempts, cause)
                SELECT %s::uuid, uuidv7(), 'reminder', channel, 'sent', 'on_time',
                    json_build_object('title', repeat(E'\\x01', 255), 'note', repeat(E'\\x01', 1000)), now(), now(), 10,
                    CASE WHEN channel = 'webhook' THEN decode(repeat('7b', 60000), 'hex') END
                FROM generate_series(1, 200), unnest(ARRAY['in_app', 'email', 'webhook']) AS channel
                RETURNING id, channel
            )
            INSERT INTO delivery_attempts (notification_id, number, message_id, answer)
            SELECT id, number, uuidv7(), repeat(E'\\x01', 500) FROM made, generate_series(1, 10) AS number
            WHERE channel = 'email'""",
            (person.user_id,),
        )

    async def read() -> None:
        for _ in range(10):
            assert len((await person.ListReminders(page_size=200, timeout=60)).reminders) > 50
            assert len((await person.ListNotifications(page_size=200, timeout=60)).notifications) > 50
            for channel in (EMAIL, WEBHOOK):
                assert len((await person.ListDeliveries(page_size=200, channel=channel, timeout=60)).deliveries) > 50

    (await disturbance(read(), lambda: other.GetUnreadCount(timeout=60))).check()
    assert (await person.MarkAllRead(timeout=60)).unread_count == 0
