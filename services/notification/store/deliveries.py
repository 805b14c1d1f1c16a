"""Deliveries: what is due, what is being sent, and how it ended."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from mesh.database.columns import Columns
from mesh.database.connection import Connection
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.runtime.slices import in_slices
from services.notification.model import REVOCABLE, Cause, Notification, Recipient, Targets
from services.notification.store.recipients import find_targets, lock_recipient

NOTIFICATIONS = Columns(
    "notifications",
    Notification,
    {
        "id": "uuid",
        "user_id": "uuid",
        "task_id": "uuid",
        "event_id": "uuid",
        "reminder_id": "uuid",
        "source_id": "uuid",
        "notification_type": "text",
        "channel": "text",
        "target_id": "uuid",
        "status": "text",
        "outcome": "text",
        "payload": "jsonb",
        "cause": "bytea",
        "scheduled_for": "timestamptz",
        "deferred_until": "timestamptz",
        "expires_at": "timestamptz",
        "next_attempt_at": "timestamptz",
        "leased": "boolean",
        "message_id": "uuid",
        "attempts": "integer",
        "created_at": "timestamptz",
        "sent_at": "timestamptz",
        "error_message": "text",
        "read_at": "timestamptz",
    },
)
_BATCH = 100
"""Rows of one statement, whose JSON is made in one piece."""
_FETCHED = 100
"""Rows that are made in one piece."""
_CHANGES = [
    "status",
    "outcome",
    "payload",
    "deferred_until",
    "next_attempt_at",
    "leased",
    "message_id",
    "attempts",
    "sent_at",
    "error_message",
]


async def insert(tx: Connection, rows: Sequence[Notification]) -> int:
    """Stores deliveries but those that are there already; returns how many."""
    cursor = await tx.execute(
        f"""
        INSERT INTO notifications ({NOTIFICATIONS.names}) SELECT * FROM {NOTIFICATIONS.recordset}
        ON CONFLICT ON CONSTRAINT notifications_once DO NOTHING""",
        NOTIFICATIONS.rows(rows),
    )
    return cursor.rowcount


_UNSENT = """
    UPDATE reminders SET status = 'failed', error_message = 'NO_CHANNEL', fire_at = NULL, version = version + 1,
        updated_at = now()
    WHERE id = ANY(%s::uuid[]) AND status = 'pending'"""


async def deliver(
    tx: Connection, causes: Sequence[Cause], make: Callable[[Cause, Targets], list[Notification]]
) -> None:
    """Stores the deliveries of causes. make: the deliveries of one, by where the messages of its user can go."""
    if not causes:
        return
    targets = await find_targets(tx, {cause.user_id for cause in causes})
    made = await in_slices(make(cause, targets.get(cause.user_id, Targets())) for cause in causes)
    unsent = [cause.reminder_id for cause, some in zip(causes, made, strict=True) if cause.reminder_id and not some]
    if unsent:
        await tx.execute(_UNSENT, (unsent,))
    rows = [row for some in made for row in some]
    for first in range(0, len(rows), _BATCH):
        await insert(tx, rows[first : first + _BATCH])


class Group(NamedTuple):
    """What is due of one channel to one target of a user."""

    user_id: str
    target_id: str | None
    knows_zone: bool
    rows: int
    """At least so many, of those that were looked at."""


_LIST_DUE = """
    SELECT due.user_id::text, target_id::text, recipients.time_zone IS NOT NULL, rows
    FROM (
        SELECT user_id, target_id, min(next_attempt_at) AS first, count(*)::integer AS rows,
            row_number() OVER (PARTITION BY user_id ORDER BY min(next_attempt_at), target_id) AS place
        FROM (
            SELECT user_id, target_id, next_attempt_at FROM notifications
            WHERE next_attempt_at <= now() AND channel = %(channel)s AND user_id <> ALL(%(busy)s::uuid[])
            ORDER BY next_attempt_at LIMIT %(rows)s
        ) AS row GROUP BY user_id, target_id
    ) AS due JOIN recipients ON recipients.user_id = due.user_id
    WHERE place <= %(of_user)s ORDER BY first LIMIT %(groups)s"""


async def list_due(
    connection: Connection, channel: str, *, busy: Collection[str], groups: int, rows: int, of_user: int
) -> list[Group]:
    """Reads to whom something of a channel is due by the database's clock, the longest due first.

    busy: users that are left out. rows: that are looked at. of_user: the most targets of one.
    """
    values = {"channel": channel, "busy": list(busy), "groups": groups, "rows": rows, "of_user": of_user}
    cursor = await connection.execute(_LIST_DUE, values)
    return [Group._make(row) for row in await cursor.fetchall()]


_CLAIM = f"""
    SELECT {NOTIFICATIONS.select} FROM unnest(%(users)s::uuid[], %(targets)s::uuid[]) AS due (user_id, target_id)
    JOIN LATERAL (
        SELECT * FROM notifications WHERE user_id = due.user_id AND channel = %(channel)s
            AND target_id IS NOT DISTINCT FROM due.target_id
            AND (next_attempt_at <= now() OR next_attempt_at IS NOT NULL AND NOT leased AND attempts = 0
                AND scheduled_for <= now() AND deferred_until IS NULL)
        -- With ties: no message is cut in two.
        ORDER BY next_attempt_at, message_id, CASE WHEN message_id IS NULL THEN id END
        FETCH FIRST (%(most)s) ROWS WITH TIES
    ) AS notifications ON true"""


async def claim(tx: Connection, channel: str, groups: Sequence[Group], most: int) -> list[Notification]:
    """Reads what is due of a channel to these targets of locked users, and what waits for others to join it.

    most: rows of one target.
    """
    cursor = NOTIFICATIONS.cursor(tx)
    await cursor.execute(
        _CLAIM,
        {
            "users": [group.user_id for group in groups],
            "targets": [group.target_id for group in groups],
            "channel": channel,
            "most": most,
        },
    )
    rows: list[Notification] = []
    while some := await cursor.fetchmany(_FETCHED):
        rows += some
        await asyncio.sleep(0)
    return rows


async def seconds_until_due(connection: Connection, channel: str, *, busy: Collection[str]) -> float | None:
    """Seconds until the next delivery of a channel is due, by the database's clock; None when none waits.

    busy: users that are left out.
    """
    cursor = await connection.execute(
        "SELECT extract(epoch FROM min(next_attempt_at) - clock_timestamp())::float8 FROM notifications"
        " WHERE next_attempt_at IS NOT NULL AND channel = %s AND user_id <> ALL(%s::uuid[])",
        (channel, list(busy)),
    )
    [seconds] = await cursor.fetchone() or (None,)
    return None if seconds is None else float(seconds)


_DECIDED = f"""
    UPDATE notifications SET {", ".join(f"{name} = decided.{name}" for name in _CHANGES)}
    FROM {NOTIFICATIONS.recordset.replace("AS notifications_rows", "AS decided")}
    WHERE notifications.id = decided.id"""
_ATTEMPTS = """
    INSERT INTO delivery_attempts (notification_id, number, message_id)
    SELECT id, attempts, message_id FROM decided_rows WHERE leased"""
_REMINDERS = """
    UPDATE reminders SET status = ended.status, version = version + 1, updated_at = now(),
        sent_at = CASE WHEN ended.status = 'sent' THEN coalesce(sent_at, now()) END,
        error_message = CASE WHEN ended.status = 'failed' THEN ended.error END
    FROM (
        SELECT reminder_id, scheduled_for, max(error_message) AS error,
            CASE WHEN bool_or(status = 'sent') THEN 'sent' ELSE 'failed' END AS status
        FROM decided_rows WHERE reminder_id IS NOT NULL AND outcome IS NOT NULL GROUP BY reminder_id, scheduled_for
    ) AS ended
    WHERE reminders.id = ended.reminder_id AND reminders.scheduled_for = ended.scheduled_for AND fire_at IS NULL
        AND reminders.status IN ('pending', 'failed')
        AND reminders.status <> ended.status AND (ended.status = 'sent' OR NOT EXISTS (
            SELECT FROM notifications AS other WHERE other.reminder_id = ended.reminder_id
                AND other.scheduled_for = reminders.scheduled_for
                AND other.id NOT IN (SELECT id FROM decided_rows)
                AND (other.next_attempt_at IS NOT NULL OR other.status = 'sent')))"""


async def save_decided(tx: Connection, rows: Sequence[Notification]) -> None:
    """Writes what became of claimed deliveries, an attempt for each that is being sent, and their reminders."""
    await tx.execute(
        f"""
        WITH decided_rows AS (
            {_DECIDED} RETURNING notifications.*
        ), attempted AS ({_ATTEMPTS})
        {_REMINDERS}""",
        NOTIFICATIONS.rows([row._replace(cause=None) for row in rows]),
    )


_END = f"""
    WITH decided_rows AS (
        UPDATE notifications SET status = %(status)s, sent_at = %(sent_at)s::timestamptz,
            outcome = CASE WHEN %(status)s <> 'sent' THEN %(outcome)s
                WHEN %(sent_at)s::timestamptz - coalesce(deferred_until, scheduled_for)
                    >= make_interval(secs => %(late_seconds)s) THEN 'late' ELSE 'on_time' END,
            error_message = %(error_message)s, next_attempt_at = %(next_attempt_at)s::timestamptz, leased = false
        WHERE user_id = %(user_id)s::uuid AND channel = %(channel)s AND next_attempt_at IS NOT NULL
            AND message_id = %(message_id)s::uuid AND attempts = %(attempts)s AND leased
        RETURNING notifications.*
    ), answered AS (
        UPDATE delivery_attempts SET ended_at = now(), is_sent = %(status)s = 'sent', answer = left(%(answer)s, 500)
        FROM decided_rows WHERE notification_id = decided_rows.id AND number = decided_rows.attempts
    ), reported AS ({_REMINDERS})
    SELECT count(*)::integer FROM decided_rows"""


async def end_attempt(tx: Connection, ended: Notification, answer: str, *, late_seconds: int) -> tuple[Recipient, int]:
    """Locks the user and writes how the attempt of a message ended, and which of its deliveries were late; returns
    the user, and how many deliveries the message has.

    ended: one of the deliveries, as it is now. None are written when another process has begun an attempt since: what
    that one writes counts. Of two channels that end at once, the lock lets the second see how the first ended: else
    their reminder would stay pending.
    """
    values = NOTIFICATIONS.parameters(ended) | {"answer": answer.replace("\0", ""), "late_seconds": late_seconds}
    user = await lock_recipient(tx, ended.user_id)
    cursor = await tx.execute(_END, values)
    [count] = await cursor.fetchone() or (0,)
    return user, int(count)


WITHDRAWABLE = """
    next_attempt_at IS NOT NULL AND NOT leased AND (attempts = 0 OR NOT EXISTS (
        SELECT FROM notifications AS other
        WHERE other.user_id = notifications.user_id AND other.channel = notifications.channel
            AND other.next_attempt_at IS NOT NULL
            AND other.message_id = notifications.message_id AND other.id <> notifications.id))"""
"""What waits and was not tried together with others: such a message may have arrived, and must not change."""


_OF = "(task_id = ANY(%(ids)s::uuid[]) OR event_id = ANY(%(ids)s::uuid[]))"


async def list_waiting(tx: Connection, ids: Iterable[str]) -> list[Notification]:
    """Reads and locks the deliveries of reminders of tasks or events that wait and could still be withdrawn."""
    cursor = NOTIFICATIONS.cursor(tx)
    await cursor.execute(
        f"""
        SELECT {NOTIFICATIONS.select} FROM notifications
        WHERE {_OF} AND notification_type = 'reminder' AND {WITHDRAWABLE}
        ORDER BY id FOR UPDATE OF notifications""",
        {"ids": list(ids)},
    )
    return await cursor.fetchall()


async def list_withdrawn(tx: Connection, ids: Iterable[str]) -> list[Notification]:
    """Reads and locks the deliveries of the last day that were suppressed by what may be taken back."""
    cursor = NOTIFICATIONS.cursor(tx)
    await cursor.execute(
        f"""
        SELECT {NOTIFICATIONS.select} FROM notifications
        WHERE {_OF} AND outcome = 'suppressed' AND error_message = ANY(%(reasons)s)
            AND created_at > now() - interval '1 day'
        ORDER BY id FOR UPDATE""",
        {"ids": list(ids), "reasons": REVOCABLE},
    )
    return await cursor.fetchall()


async def drop(tx: Connection, user_id: str, channel: str, target_id: str) -> None:
    """Ends what waits for a target that was removed, and the reminders of which nothing is left. The user is locked."""
    await tx.execute(
        f"""
        WITH decided_rows AS (
            UPDATE notifications SET status = 'failed', outcome = 'suppressed', next_attempt_at = NULL,
                error_message = 'TARGET_REMOVED'
            WHERE user_id = %s::uuid AND channel = %s AND target_id = %s::uuid AND next_attempt_at IS NOT NULL
                AND NOT leased
            RETURNING notifications.*
        )
        {_REMINDERS}""",
        (user_id, channel, target_id),
    )


async def save_again(connection: Connection, row: Notification, side_effects: SideEffects) -> None:
    """Makes a delivery that has ended pending again; raises WriteConflict when it is."""
    await outbox.write(
        connection,
        f"{_DECIDED} AND notifications.next_attempt_at IS NULL RETURNING notifications.id",
        NOTIFICATIONS.rows([row._replace(cause=None)]),
        side_effects,
    )
