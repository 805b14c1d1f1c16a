"""Notifications as their user sees them: the list of the app, what is unread, and how each was delivered."""

from collections.abc import Sequence
from typing import Any

import orjson

from mesh.database.columns import microseconds
from mesh.database.connection import Connection
from mesh.rpc.pagination import Key, Page
from mesh.runtime.clock import to_datetime
from services.notification.errors import DeliveryNotFound
from services.notification.model import Attempt, Notification
from services.notification.store.deliveries import NOTIFICATIONS

_SHOWN = "user_id = %(user_id)s::uuid AND channel = 'in_app' AND sent_at IS NOT NULL"
_LISTED = NOTIFICATIONS.select.replace("encode(notifications.cause, 'hex')", "NULL::text")
"""Without the causing event, which may have 512 KiB."""
_MOST_ATTEMPTS = 10
"""Of one delivery in a list."""
_ATTEMPT_COLUMNS = ", ".join(
    (
        "attempt.notification_id::text",
        "attempt.number",
        "attempt.message_id::text",
        microseconds("attempt.begun_at"),
        microseconds("attempt.ended_at"),
        "attempt.is_sent",
        "attempt.answer",
    )
)
_ATTEMPTS = f"""
    coalesce((
        SELECT json_agg(json_build_array({_ATTEMPT_COLUMNS}) ORDER BY attempt.number DESC)::text FROM (
            SELECT * FROM delivery_attempts WHERE notification_id = notifications.id
            ORDER BY number DESC LIMIT {_MOST_ATTEMPTS}) AS attempt
    ), '[]')"""


async def list_shown(connection: Connection, user_id: str, page: Page, *, unread_only: bool) -> list[Notification]:
    """Reads one notification of the app more than the page holds, the newest first."""
    values: dict[str, Any] = {"user_id": user_id, "limit": page.limit()}
    conditions = [_SHOWN]
    if unread_only:
        conditions.append("read_at IS NULL")
    if page.after is not None:
        values["after"], values["after_id"] = to_datetime(int(page.after[0] or 0)), page.after[1]
        conditions.append("(sent_at, id) < (%(after)s::timestamptz, %(after_id)s::uuid)")
    cursor = NOTIFICATIONS.cursor(connection)
    await cursor.execute(
        f"""
        SELECT {NOTIFICATIONS.select} FROM notifications WHERE {" AND ".join(conditions)}
        ORDER BY notifications.sent_at DESC, notifications.id DESC LIMIT %(limit)s""",
        values,
    )
    return await cursor.fetchall()


def shown_key(notification: Notification) -> Key:
    """The sort key of a notification in the list of the app."""
    return [notification.sent_at, notification.id]


_READ = f"""
    UPDATE notifications SET read_at = now() WHERE {_SHOWN} AND read_at IS NULL AND id = ANY(%(ids)s::uuid[])
    RETURNING {NOTIFICATIONS.select}"""


async def mark_read(tx: Connection, user_id: str, notification_ids: Sequence[str]) -> list[Notification]:
    """Marks those of the notifications as read that are unread, and returns them. The user is locked."""
    cursor = NOTIFICATIONS.cursor(tx)
    await cursor.execute(_READ, {"user_id": user_id, "ids": list(notification_ids)})
    return await cursor.fetchall()


_READ_ALL = f"""
    WITH marked AS (
        UPDATE notifications SET read_at = now() WHERE {_SHOWN} AND read_at IS NULL RETURNING notifications.*
    ), first AS (SELECT * FROM marked ORDER BY sent_at DESC, id DESC LIMIT %(limit)s)
    SELECT {NOTIFICATIONS.select.replace("notifications.", "first.")}, (SELECT count(*)::integer FROM marked)
    FROM first"""


async def mark_all_read(tx: Connection, user_id: str, limit: int) -> tuple[int, list[Notification]]:
    """Marks everything as read; returns how many, and the newest of them. The user is locked. limit: of those."""
    cursor = tx.cursor(binary=True)
    await cursor.execute(_READ_ALL, {"user_id": user_id, "limit": limit})
    rows = await cursor.fetchall()
    return (rows[0][-1] if rows else 0), [Notification._make(row[:-1]) for row in rows]


async def list_deliveries(
    connection: Connection,
    user_id: str,
    page: Page,
    *,
    reminder_id: str | None,
    channel: str | None,
    target_id: str | None,
) -> list[tuple[Notification, list[Attempt]]]:
    """Reads one delivery more than the page holds with its last attempts, the newest first."""
    values: dict[str, Any] = {"user_id": user_id, "limit": page.limit()}
    conditions = ["user_id = %(user_id)s::uuid"]
    for name, value, kind in (
        ("reminder_id", reminder_id, "uuid"),
        ("channel", channel, "text"),
        ("target_id", target_id, "uuid"),
    ):
        if value is not None:
            values[name] = value
            conditions.append(f"{name} = %({name})s::{kind}")
    if page.after is not None:
        values["after"], values["after_id"] = to_datetime(int(page.after[0] or 0)), page.after[1]
        conditions.append("(created_at, id) < (%(after)s::timestamptz, %(after_id)s::uuid)")
    cursor = connection.cursor(binary=True)
    await cursor.execute(
        f"""
        SELECT {_LISTED}, {_ATTEMPTS} FROM notifications WHERE {" AND ".join(conditions)}
        ORDER BY notifications.created_at DESC, notifications.id DESC LIMIT %(limit)s""",
        values,
    )
    return [_with_attempts(row) for row in await cursor.fetchall()]


def delivery_key(delivery: tuple[Notification, list[Attempt]]) -> Key:
    """The sort key of a delivery in its list."""
    return [delivery[0].created_at, delivery[0].id]


async def get_webhook_delivery(
    connection: Connection, user_id: str, delivery_id: str
) -> tuple[Notification, list[Attempt]]:
    """Reads one delivery to a webhook; raises DeliveryNotFound."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(
        f"""
        SELECT {_LISTED}, {_ATTEMPTS} FROM notifications
        WHERE user_id = %s::uuid AND id = %s::uuid AND channel = 'webhook' AND target_id IS NOT NULL""",
        (user_id, delivery_id),
    )
    row = await cursor.fetchone()
    if row is None:
        raise DeliveryNotFound(delivery_id=delivery_id)
    return _with_attempts(row)


def _with_attempts(row: Sequence[Any]) -> tuple[Notification, list[Attempt]]:
    *columns, attempts = row
    return Notification._make(columns), [Attempt._make(each) for each in orjson.loads(attempts)]


async def list_purgeable(connection: Connection, days: int, limit: int) -> list[str]:
    """Reads whose notifications are older than so many days and over."""
    cursor = await connection.execute(
        """
        SELECT DISTINCT user_id::text FROM (
            SELECT user_id FROM notifications WHERE created_at < now() - make_interval(days => %s)
                AND next_attempt_at IS NULL ORDER BY created_at LIMIT %s) AS old""",
        (days, limit),
    )
    return [user_id for (user_id,) in await cursor.fetchall()]


async def list_crowded(connection: Connection, most: int, newest: int) -> list[str]:
    """Reads who has more than `most`, of those to whom the newest ones belong: who makes many is among them."""
    cursor = await connection.execute(
        """
        SELECT user_id::text FROM (
            SELECT DISTINCT user_id FROM (SELECT user_id FROM notifications ORDER BY created_at DESC LIMIT %s) AS newest
        ) AS person
        WHERE EXISTS (
            SELECT FROM notifications WHERE user_id = person.user_id ORDER BY created_at DESC, id DESC OFFSET %s)""",
        (newest, most),
    )
    return [user_id for (user_id,) in await cursor.fetchall()]


async def purge(tx: Connection, user_id: str, days: int, most: int, limit: int) -> tuple[int, int]:
    """Removes notifications of a locked user that are over: those that are older than so many days, and the oldest
    when there are more than `most`. Returns how many, and how many of them were unread."""
    cursor = await tx.execute(
        """
        WITH gone AS (
            DELETE FROM notifications WHERE id IN (
                SELECT id FROM notifications WHERE user_id = %(user_id)s::uuid AND next_attempt_at IS NULL
                    AND (created_at < now() - make_interval(days => %(days)s) OR (created_at, id) <= (
                        SELECT created_at, id FROM notifications WHERE user_id = %(user_id)s::uuid
                        ORDER BY created_at DESC, id DESC OFFSET %(most)s LIMIT 1))
                ORDER BY created_at, id LIMIT %(limit)s)
            RETURNING channel, sent_at, read_at
        )
        SELECT count(*)::integer, (count(*) FILTER (
            WHERE channel = 'in_app' AND sent_at IS NOT NULL AND read_at IS NULL))::integer FROM gone""",
        {"user_id": user_id, "days": days, "most": most, "limit": limit},
    )
    [gone, unread] = await cursor.fetchone() or (0, 0)
    return int(gone), int(unread)
