"""Deliveries in the database: made once, claimed by one, ended once, removed in the end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from harness.waiting import until
from mesh.database.pool import Database
from mesh.runtime.clock import SECOND, now
from mesh.runtime.ids import new_id
from services.notification.jobs.upkeep import Purger
from services.notification.model import Cause, Channel, Kind, Notification, Reminder, Targets
from services.notification.rules import deliveries as rules
from services.notification.store import deliveries as store
from services.notification.store import notifications, recipients, reminders
from services.notification.store.deliveries import Group
from tests.support.databases import ServiceUrl, lock_waits, opened

MOST = rules.MOST_COMBINED


@pytest.fixture
async def db(service_url: ServiceUrl) -> AsyncIterator[Database]:
    async with opened(service_url("notification"), "notification") as db:
        yield db


def made(user_id: str, channel: Channel = Channel.EMAIL, **changes: Any) -> Notification:
    """A delivery whose time has come."""
    cause = Cause(new_id(), user_id, Kind.REMINDER, now() - SECOND, {"title": "Call home"})
    wanted = recipients.unknown(user_id)._replace(channels={each: [each == channel, False] for each in Channel})
    [row] = rules.made_of(
        cause, Targets(("target",), ("target",)), {user_id: wanted}, now=now() - SECOND, settle_seconds=0
    )
    return row._replace(target_id=None, **changes)


async def stored(db: Database, *rows: Notification) -> str:
    """Stores deliveries of one user."""
    async with db.connection() as connection:
        await recipients.add_recipients(connection, {row.user_id for row in rows})
        await store.insert(connection, rows)
    return rows[0].user_id


async def claimed(db: Database, user_id: str, channel: Channel = Channel.EMAIL, most: int = MOST) -> list[Notification]:
    """What is due to a user, claimed and leased for a minute."""
    async with db.transaction() as tx:
        _, locked = await recipients.lock_free(tx, [user_id])
        rows = await store.claim(tx, channel, [Group(user_id, None, True, 1)] if locked else [], most)
        leases = [rules.leased(message, until=now() + 60 * SECOND) for message in rules.messages(rows)]
        await store.save_decided(tx, [row for message in leases for row in message])
    return [row for message in leases for row in message]


async def ended(db: Database, row: Notification, answer: str) -> int:
    """Notes how an attempt ended; returns of how many deliveries."""
    async with db.transaction() as tx:
        _, count = await store.end_attempt(tx, row, answer, late_seconds=rules.LATE_SECONDS)
    return count


async def attempts(db: Database, delivery_id: str) -> list[Any]:
    """Number, end and answer of the attempts of a delivery."""
    async with db.connection() as connection:
        cursor = await connection.execute(
            "SELECT number, ended_at IS NOT NULL, answer FROM delivery_attempts WHERE notification_id = %s ORDER BY 1",
            (delivery_id,),
        )
        return await cursor.fetchall()


async def test_a_delivery_is_unique_by_reminder_instant_channel_and_target(db: Database) -> None:
    row = made(new_id())
    async with db.connection() as connection:
        same = row._replace(id=new_id())
        others = [
            row._replace(id=new_id(), scheduled_for=row.scheduled_for + 1),
            row._replace(id=new_id(), channel=Channel.SMS),
            row._replace(id=new_id(), target_id=new_id()),
            row._replace(id=new_id(), source_id=new_id()),
        ]
        assert await store.insert(connection, [row]) == 1
        assert await store.insert(connection, [same]) == 0
        assert await store.insert(connection, others) == 4


async def test_what_is_leased_is_claimed_again_only_after_its_lease_with_the_same_message(db: Database) -> None:
    user_id = await stored(db, made(new_id()))
    [first] = await claimed(db, user_id)
    assert await claimed(db, user_id) == []
    async with db.connection() as connection:
        await connection.execute("UPDATE notifications SET next_attempt_at = now()")
    [second] = await claimed(db, user_id)
    assert (second.id, second.message_id, second.attempts) == (first.id, first.message_id, 2)
    assert await attempts(db, first.id) == [(1, False, ""), (2, False, "")]


async def test_a_user_whom_somebody_sends_to_is_left_alone(db: Database) -> None:
    user_id = await stored(db, made(new_id()))
    async with db.transaction() as tx:
        await recipients.lock_recipient(tx, user_id)
        assert await claimed(db, user_id) == []
    assert len(await claimed(db, user_id)) == 1


async def test_a_message_is_never_claimed_in_part(db: Database) -> None:
    user_id = new_id()
    await stored(db, *(made(user_id) for _ in range(10)))
    assert len(await claimed(db, user_id)) == 10
    async with db.connection() as connection:
        await connection.execute("UPDATE notifications SET next_attempt_at = now()")
    await stored(db, *(made(user_id) for _ in range(10)))
    again = await claimed(db, user_id, most=3)
    assert sorted(row.attempts for row in again if row.message_id == again[0].message_id) in ([2] * 10, [1] * 3)


async def test_the_result_of_an_attempt_that_another_process_repeats_does_not_count(db: Database) -> None:
    user_id = await stored(db, made(new_id()))
    [first] = await claimed(db, user_id)
    async with db.connection() as connection:
        await connection.execute("UPDATE notifications SET next_attempt_at = now()")
    [second] = await claimed(db, user_id)
    for row, count in ((first, 0), (second, 1), (second, 0)):
        assert await ended(db, rules.sent(row, now()), "250 OK") == count
    assert await attempts(db, first.id) == [(1, False, ""), (2, True, "250 OK")]


async def test_a_reminder_whose_last_two_channels_end_at_once_does_not_stay_pending(db: Database) -> None:
    at = now() - SECOND
    reminder = Reminder(
        *(new_id(), new_id(), None, None, "in_app", at, {"title": "Call home"}),
        *(None, "pending", None, None, None, 0, at, at, 1),
    )
    of_it = {"reminder_id": reminder.id, "source_id": reminder.id, "scheduled_for": at}
    await stored(db, made(reminder.user_id, **of_it), made(reminder.user_id, Channel.WEBPUSH, **of_it))
    rows = [row for channel in (Channel.EMAIL, Channel.WEBPUSH) for row in await claimed(db, reminder.user_id, channel)]

    async def both_wait() -> bool:
        return await lock_waits(db) == 2

    async with db.transaction() as tx:
        await reminders.insert_fired(tx, [reminder])
    async with db.transaction() as tx:
        await tx.execute("SELECT FROM delivery_attempts FOR UPDATE")
        ends = [asyncio.create_task(ended(db, rules.removed(row, "CHANNEL_OFF"), "")) for row in rows]
        await until(both_wait, "both channels note their result")
    assert await asyncio.gather(*ends) == [1, 1]
    async with db.connection() as connection:
        read = await reminders.get_reminder(connection, reminder.user_id, reminder.id)
    assert (read.status, read.error_message) == ("failed", "CHANNEL_OFF")


@pytest.mark.parametrize(("seconds", "outcome"), [(0, "on_time"), (60, "on_time"), (61, "late"), (7200, "late")])
async def test_each_delivery_of_a_message_is_late_by_itself(db: Database, seconds: int, outcome: str) -> None:
    user_id = await stored(db, made(new_id()))
    [row] = await claimed(db, user_id)
    sent = rules.sent(row, row.scheduled_for + seconds * SECOND)
    await ended(db, sent, "250 OK")
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT outcome FROM notifications")
        assert await cursor.fetchone() == (outcome,)
    assert sent.outcome == outcome


async def test_what_waits_for_others_is_taken_along_with_the_first(db: Database) -> None:
    user_id = new_id()
    waits = made(user_id)._replace(next_attempt_at=now() + 60 * SECOND)
    deferred = made(user_id)._replace(next_attempt_at=now() + 60 * SECOND, deferred_until=now() + 60 * SECOND)
    await stored(db, made(user_id), waits, deferred)
    assert deferred.id not in {row.id for row in await claimed(db, user_id)}
    assert await claimed(db, user_id) == []


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0)])
async def test_a_change_of_quiet_hours_and_whoever_sends_to_the_user_do_not_wait_for_each_other(
    db: Database, first: int, second: int
) -> None:
    user_id, later = new_id(), now() + 60 * SECOND
    rows = [made(user_id)._replace(next_attempt_at=later, deferred_until=later) for _ in range(2)]
    await stored(db, *rows)

    async def wake() -> None:
        async with db.transaction() as tx:
            await recipients.wake_deferred(tx, user_id)

    async with db.transaction() as tx:
        await recipients.lock_recipient(tx, user_id)
        await tx.execute("SELECT FROM notifications WHERE id = %s FOR UPDATE", (rows[first].id,))
        waking = asyncio.create_task(wake())
        await until(lambda: lock_waits(db), "the change waits")
        await tx.execute("SELECT FROM notifications WHERE id = %s FOR UPDATE", (rows[second].id,))
    await waking
    assert len(await claimed(db, user_id)) == 2


async def test_old_notifications_are_removed_and_do_not_count_as_unread(db: Database) -> None:
    user_id = new_id()
    rows = [made(user_id, Channel.IN_APP) for _ in range(4)]
    await stored(db, *rows)
    async with db.connection() as connection:
        await connection.execute(
            """
            UPDATE notifications SET next_attempt_at = NULL, status = 'sent', sent_at = now(),
                created_at = now() - CASE WHEN id = ANY(%s::uuid[]) THEN interval '91 days' ELSE interval '89 days' END,
                read_at = CASE WHEN id = %s THEN now() END""",
            ([row.id for row in rows[:3]], rows[0].id),
        )
        await connection.execute("UPDATE recipients SET unread_count = 3")
    purger = Purger(db, retention_days=90)
    assert await purger.run_once() == 3
    assert await purger.run_once() == 0
    async with db.connection() as connection:
        assert (await recipients.get_recipient(connection, user_id)).unread_count == 1
        cursor = await connection.execute("SELECT id::text FROM notifications")
        assert await cursor.fetchall() == [(rows[3].id,)]


async def test_the_oldest_of_a_user_who_has_too_many_are_removed(db: Database) -> None:
    crowded, other = new_id(), new_id()
    rows = [made(crowded, Channel.IN_APP)._replace(created_at=now() - number * SECOND) for number in range(8)]
    await stored(db, *rows, *(made(other, Channel.IN_APP) for _ in range(5)))
    async with db.connection() as connection:
        await connection.execute(
            """
            UPDATE notifications SET next_attempt_at = NULL, status = 'sent', sent_at = now()
            WHERE id <> %s""",
            (rows[-1].id,),
        )
        await connection.execute("UPDATE recipients SET unread_count = 7 WHERE user_id = %s", (crowded,))
    purger = Purger(db, retention_days=90, most_of_user=5)
    assert await purger.run_once() == 2
    assert await purger.run_once() == 0
    async with db.connection() as connection:
        assert (await recipients.get_recipient(connection, crowded)).unread_count == 5
        cursor = await connection.execute("SELECT id::text FROM notifications WHERE user_id = %s", (crowded,))
        assert {row_id for (row_id,) in await cursor.fetchall()} == {row.id for row in [*rows[:5], rows[-1]]}


async def test_what_is_still_to_be_sent_is_not_removed(db: Database) -> None:
    row = made(new_id())._replace(created_at=now() - 91 * 86400 * SECOND)
    await stored(db, row)
    assert await Purger(db, retention_days=90).run_once() == 0
    async with db.connection() as connection:
        assert await notifications.list_purgeable(connection, 90, 10) == []
