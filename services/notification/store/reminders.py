"""Reminders: users' own, and those of tasks and events once they are due."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from mesh.database.columns import Columns, microseconds
from mesh.database.connection import Connection
from mesh.database.pool import WriteConflict
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.rpc.pagination import Key, Page
from mesh.runtime.clock import to_datetime
from services.notification.errors import ReminderNotFound, TooManyReminders
from services.notification.model import CANCELLED, MOST_KEPT, MOST_PENDING, REVOCABLE, Reminder, ReminderState
from services.notification.store.deliveries import WITHDRAWABLE
from services.notification.store.recipients import count_repeat, lock_recipient

REMINDERS = Columns(
    "reminders",
    Reminder,
    {
        "id": "uuid",
        "user_id": "uuid",
        "event_id": "uuid",
        "task_id": "uuid",
        "type": "text",
        "scheduled_for": "timestamptz",
        "payload": "jsonb",
        "sent_at": "timestamptz",
        "status": "text",
        "error_message": "text",
        "fire_at": "timestamptz",
        "expires_at": "timestamptz",
        "snooze_count": "integer",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
        "version": "bigint",
    },
    fixed={"id", "user_id", "event_id", "task_id", "type", "payload", "expires_at", "created_at"},
)
_ROOM = f"""
    (SELECT count(*) FROM (
        SELECT FROM reminders WHERE user_id = %(user_id)s::uuid AND status = 'pending' LIMIT {MOST_PENDING}) AS pending
    ) < {MOST_PENDING}"""
_INSERT = f"""
    INSERT INTO reminders ({REMINDERS.names}) SELECT {REMINDERS.values} WHERE {_ROOM} RETURNING id"""
_TRIM = f"""
    DELETE FROM reminders WHERE id IN (
        SELECT id FROM reminders WHERE user_id = %(user_id)s::uuid AND status <> 'pending' AND scheduled_for < (
            SELECT scheduled_for FROM reminders WHERE user_id = %(user_id)s::uuid AND EXISTS (SELECT FROM changed)
            ORDER BY scheduled_for DESC OFFSET {MOST_KEPT} LIMIT 1)
        -- Its user is not locked: it waits for nobody.
        FOR UPDATE SKIP LOCKED)"""


async def insert_reminder(connection: Connection, reminder: Reminder, side_effects: SideEffects) -> None:
    """Writes a new reminder; raises TooManyReminders. The oldest that are over make room, when there are too many."""
    try:
        await outbox.write(connection, _INSERT, REMINDERS.parameters(reminder), side_effects, [_TRIM])
    except WriteConflict:
        raise TooManyReminders(limit=MOST_PENDING) from None


_GET = f"SELECT {REMINDERS.select} FROM reminders WHERE user_id = %s::uuid AND id = %s::uuid"


async def get_reminder(connection: Connection, user_id: str, reminder_id: str) -> Reminder:
    """Reads one reminder; raises ReminderNotFound."""
    cursor = REMINDERS.cursor(connection)
    await cursor.execute(_GET, (user_id, reminder_id))
    reminder = await cursor.fetchone()
    if reminder is None:
        raise ReminderNotFound(reminder_id=reminder_id)
    return reminder


async def list_reminders(
    connection: Connection, user_id: str, states: Sequence[str], since: int | None, until: int | None, page: Page
) -> list[Reminder]:
    """Reads one reminder more than the page holds, the earliest first. states: empty for all."""
    values: dict[str, Any] = {"user_id": user_id, "limit": page.limit(), "states": list(states)}
    conditions = ["user_id = %(user_id)s::uuid"]
    if states:
        conditions.append("status = ANY(%(states)s::text[])")
    if since is not None:
        values["since"] = to_datetime(since)
        conditions.append("scheduled_for >= %(since)s")
    if until is not None:
        values["until"] = to_datetime(until)
        conditions.append("scheduled_for < %(until)s")
    if page.after is not None:
        values["after"], values["after_id"] = to_datetime(int(page.after[0] or 0)), page.after[1]
        conditions.append("(scheduled_for, id) > (%(after)s::timestamptz, %(after_id)s::uuid)")
    cursor = REMINDERS.cursor(connection)
    await cursor.execute(
        f"""
        SELECT {REMINDERS.select} FROM reminders WHERE {" AND ".join(conditions)}
        ORDER BY reminders.scheduled_for, reminders.id LIMIT %(limit)s""",
        values,
    )
    return await cursor.fetchall()


def page_key(reminder: Reminder) -> Key:
    """The sort key of a reminder in the list."""
    return [reminder.scheduled_for, reminder.id]


async def find_states(connection: Connection, ids: Collection[str]) -> dict[str, ReminderState]:
    """Reads what became of those of these reminders that are there."""
    cursor = await connection.execute(
        f"""
        SELECT id::text, status, {microseconds("scheduled_for")}, error_message FROM reminders
        WHERE id = ANY(%s::uuid[])""",
        (list(ids),),
    )
    return {reminder_id: ReminderState._make(state) for reminder_id, *state in await cursor.fetchall()}


_UPDATE = f"""
    UPDATE reminders SET {REMINDERS.assignments}
    WHERE user_id = %(user_id)s::uuid AND id = %(id)s::uuid AND version = %(version)s - 1"""
_WITHDRAW = f"""
    UPDATE notifications SET status = 'failed', outcome = 'suppressed', next_attempt_at = NULL,
        error_message = %(withdrawn)s::text
    WHERE reminder_id = %(id)s::uuid AND {WITHDRAWABLE} AND EXISTS (SELECT FROM changed)"""


async def save_cancelled(connection: Connection, reminder: Reminder, side_effects: SideEffects) -> None:
    """Writes the next version of a reminder, and withdraws what waits of it; raises WriteConflict."""
    async with connection.transaction():
        await lock_recipient(connection, reminder.user_id)
        await _save_withdrawn(connection, reminder, CANCELLED, side_effects)


async def save_snoozed(connection: Connection, reminder: Reminder, side_effects: SideEffects) -> None:
    """The same for a snooze, which may make it one more that is pending; raises TooManyRepeats."""
    async with connection.transaction():
        await lock_recipient(connection, reminder.user_id)
        await count_repeat(connection, reminder.user_id)
        await _save_withdrawn(connection, reminder, "SNOOZED", side_effects)


async def _save_withdrawn(tx: Connection, reminder: Reminder, reason: str, side_effects: SideEffects) -> None:
    """The user is locked first, as by whoever sends: two who lock rows in another order would wait for each other."""
    values = REMINDERS.parameters(reminder) | {"withdrawn": reason}
    await outbox.write(tx, f"{_UPDATE} RETURNING id", values, side_effects, [_WITHDRAW])


async def has_room(connection: Connection, user_id: str) -> bool:
    """Whether the user may have one more pending reminder."""
    cursor = await connection.execute(f"SELECT {_ROOM}", {"user_id": user_id})
    [room] = await cursor.fetchone() or (False,)
    return bool(room)


async def insert_fired(tx: Connection, reminders: Sequence[Reminder]) -> set[str]:
    """Stores reminders of tasks and events that are due; returns the ids of those that were not stored before."""
    cursor = await tx.execute(
        f"""
        INSERT INTO reminders ({REMINDERS.names}) SELECT * FROM {REMINDERS.recordset}
        ON CONFLICT (id) DO NOTHING RETURNING id::text""",
        REMINDERS.rows(reminders),
    )
    return {reminder_id for (reminder_id,) in await cursor.fetchall()}


async def list_due(connection: Connection, limit: int) -> list[str]:
    """Reads whose reminders are due by the database's clock. limit: of reminders that are looked at."""
    cursor = await connection.execute(
        """
        SELECT DISTINCT user_id::text FROM (
            SELECT user_id FROM reminders WHERE fire_at <= now() ORDER BY fire_at LIMIT %s) AS due""",
        (limit,),
    )
    return [user_id for (user_id,) in await cursor.fetchall()]


_CLAIM = f"""
    SELECT {REMINDERS.select} FROM reminders WHERE id IN (
        SELECT id FROM reminders WHERE fire_at <= now() AND user_id = ANY(%s::uuid[])
        ORDER BY fire_at LIMIT %s FOR UPDATE SKIP LOCKED)
    ORDER BY reminders.fire_at, reminders.id"""


async def claim_due(tx: Connection, user_ids: Collection[str], limit: int) -> list[Reminder]:
    """Reads and locks reminders of locked users whose time has come, the longest due first."""
    cursor = REMINDERS.cursor(tx)
    await cursor.execute(_CLAIM, (list(user_ids), limit))
    return await cursor.fetchall()


async def mark_fired(tx: Connection, reminder_ids: Sequence[str]) -> None:
    """Notes that deliveries of these reminders are made: a snooze or a cancellation that came before that reads again,
    and then finds them."""
    await tx.execute(
        "UPDATE reminders SET fire_at = NULL, version = version + 1 WHERE id = ANY(%s::uuid[])", (list(reminder_ids),)
    )


async def seconds_until_due(connection: Connection) -> float | None:
    """Seconds until the next reminder is due, by the database's clock; None when none waits."""
    cursor = await connection.execute(
        "SELECT extract(epoch FROM min(fire_at) - clock_timestamp())::float8 FROM reminders WHERE fire_at IS NOT NULL"
    )
    [seconds] = await cursor.fetchone() or (None,)
    return None if seconds is None else float(seconds)


async def lock_of(tx: Connection, ids: Iterable[str]) -> list[Reminder]:
    """Reads and locks the reminders of tasks or events that are pending, and those ahead that were cancelled so."""
    cursor = REMINDERS.cursor(tx)
    await cursor.execute(
        f"""
        SELECT {REMINDERS.select} FROM reminders
        WHERE (task_id = ANY(%(ids)s::uuid[]) OR event_id = ANY(%(ids)s::uuid[])) AND (
            status = 'pending' OR status = 'cancelled' AND scheduled_for > now() AND error_message <> '{CANCELLED}')
        ORDER BY id FOR UPDATE""",
        {"ids": list(ids)},
    )
    return await cursor.fetchall()


async def save_locked(tx: Connection, changed: Sequence[Reminder]) -> None:
    """Writes the next versions of locked reminders."""
    await tx.execute(
        f"""
        UPDATE reminders SET {REMINDERS.assignments_of_rows} FROM {REMINDERS.recordset}
        WHERE reminders.id = reminders_rows.id""",
        REMINDERS.rows(changed),
    )


async def restore(tx: Connection, reminder_ids: Sequence[str]) -> None:
    """Makes reminders pending again that were withdrawn by what was taken back."""
    await tx.execute(
        """
        UPDATE reminders SET status = 'pending', error_message = NULL, version = version + 1, updated_at = now()
        WHERE id = ANY(%s::uuid[]) AND error_message = ANY(%s)""",
        (reminder_ids, REVOCABLE),
    )


async def purge(connection: Connection, days: int, limit: int) -> int:
    """Removes reminders that have been over for so many days; returns how many."""
    cursor = await connection.execute(
        """
        DELETE FROM reminders WHERE id IN (
            SELECT id FROM reminders WHERE status <> 'pending' AND updated_at < now() - make_interval(days => %s)
            ORDER BY updated_at LIMIT %s FOR UPDATE SKIP LOCKED)""",
        (days, limit),
    )
    return cursor.rowcount
