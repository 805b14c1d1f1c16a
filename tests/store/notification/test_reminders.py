"""Reminders in the database: claimed by one, bounded, removed in the end."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from harness.waiting import until
from mesh.database.connection import Connection
from mesh.database.pool import Database, WriteConflict
from mesh.events.outbox import SideEffects
from mesh.runtime.clock import SECOND, now
from mesh.runtime.ids import new_id
from services.notification.jobs.upkeep import Purger, ReminderFirer
from services.notification.model import MOST_KEPT, Reminder
from services.notification.rules import reminders as rules
from services.notification.store import erasure, recipients
from services.notification.store import reminders as store
from tests.support.databases import ServiceUrl, lock_waits, opened

NOTHING = SideEffects((), None, "")


@pytest.fixture
async def db(service_url: ServiceUrl) -> AsyncIterator[Database]:
    async with opened(service_url("notification"), "notification") as db:
        yield db


def due(seconds: float, user_id: str = "") -> Reminder:
    """A pending reminder for so many seconds from now."""
    at = now() + round(seconds * SECOND)
    return Reminder(
        *(new_id(), user_id or new_id(), None, None, "in_app", at, {"title": "Call home"}),
        *(None, "pending", None, at, None, 0, now(), now(), 1),
    )


async def inserted(connection: Connection, *reminders: Reminder) -> None:
    """Stores reminders."""
    for reminder in reminders:
        await store.insert_reminder(connection, reminder, NOTHING)


async def count(db: Database, table: str) -> int:
    """The rows of a table."""
    async with db.connection() as connection:
        cursor = await connection.execute(f"SELECT count(*)::integer FROM {table}")
        [found] = await cursor.fetchone() or (0,)
        return int(found)


async def test_three_replicas_fire_each_reminder_that_is_due_once(db: Database) -> None:
    async with db.connection() as connection:
        await inserted(connection, *(due(-1) for _ in range(200)), due(60))
    replicas = [ReminderFirer(db, lambda: None, settle_seconds=0) for _ in range(3)]
    fired = await asyncio.gather(*(replica.run_once() for replica in replicas))
    assert sum(fired) == 200
    assert await count(db, "notifications") == 200
    assert await replicas[0].run_once() == 0


async def test_a_cancellation_that_meets_the_firing_reads_again(db: Database) -> None:
    reminder = due(-1)
    async with db.connection() as connection:
        await inserted(connection, reminder)
        await ReminderFirer(db, lambda: None, settle_seconds=0).run_once()
        with pytest.raises(WriteConflict):
            await store.save_cancelled(connection, rules.cancel(reminder, now=now(), etag=None), NOTHING)
        fired = await store.get_reminder(connection, reminder.user_id, reminder.id)
        await store.save_cancelled(connection, rules.cancel(fired, now=now(), etag=None), NOTHING)
        cursor = await connection.execute("SELECT error_message, next_attempt_at FROM notifications")
        assert await cursor.fetchall() == [("CANCELLED", None)]


async def test_a_cancellation_and_whoever_sends_to_its_user_do_not_wait_for_each_other(db: Database) -> None:
    reminder = due(-1)
    async with db.connection() as connection:
        await inserted(connection, reminder)
        await ReminderFirer(db, lambda: None, settle_seconds=0).run_once()
        fired = await store.get_reminder(connection, reminder.user_id, reminder.id)

    async def cancel() -> None:
        async with db.connection() as connection:
            await store.save_cancelled(connection, rules.cancel(fired, now=now(), etag=None), NOTHING)

    async with db.transaction() as tx:
        await recipients.lock_recipient(tx, reminder.user_id)
        await tx.execute("SELECT FROM notifications FOR UPDATE")
        cancelling = asyncio.create_task(cancel())
        await until(lambda: lock_waits(db), "the cancellation waits")
        await tx.execute("SELECT FROM reminders FOR UPDATE")
    await cancelling


async def test_the_firing_and_the_erasure_of_its_user_do_not_wait_for_each_other(db: Database) -> None:
    user_id = new_id()
    async with db.connection() as connection:
        await inserted(connection, due(-1, user_id))
        await recipients.add_recipients(connection, [user_id])

    async def ended_or_waits() -> bool:
        return firing.done() or await lock_waits(db) > 0

    async with db.transaction() as tx:
        await recipients.mark_deleted(tx, user_id)
        firing = asyncio.create_task(ReminderFirer(db, lambda: None, settle_seconds=0).run_once())
        await until(ended_or_waits, "the firing has met the erasure")
        assert await erasure.erase(tx, user_id, 10) == 1
    assert await firing == 0


async def test_nothing_is_fired_before_its_time_by_the_clock_of_the_database(db: Database) -> None:
    async with db.connection() as connection:
        await inserted(connection, due(30), due(90))
        assert await store.list_due(connection, 10) == []
        seconds = await store.seconds_until_due(connection)
    assert seconds == pytest.approx(30, abs=5)


async def test_the_oldest_that_are_over_make_room(db: Database) -> None:
    user_id = new_id()
    async with db.connection() as connection:
        await connection.execute(
            """
            INSERT INTO reminders (user_id, type, scheduled_for, status, payload)
            SELECT %s::uuid, 'in_app', now() - number * interval '1 minute', 'sent', '{}'
            FROM generate_series(1, %s) AS number""",
            (user_id, MOST_KEPT + 5),
        )
        await inserted(connection, due(60, user_id))
    assert await count(db, "reminders") == MOST_KEPT + 2


async def test_reminders_that_are_over_are_removed_after_the_retention(db: Database) -> None:
    async with db.connection() as connection:
        await inserted(connection, *(due(60) for _ in range(3)))
        await connection.execute("UPDATE reminders SET updated_at = now() - interval '91 days'")
        await connection.execute(
            "UPDATE reminders SET status = 'cancelled', fire_at = NULL WHERE id = (SELECT id FROM reminders LIMIT 1)"
        )
    assert await Purger(db, retention_days=90).run_once() == 1
    assert await count(db, "reminders") == 2
