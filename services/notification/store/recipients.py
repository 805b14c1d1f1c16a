"""Who is notified through what. Whoever sends to a user, or changes the user's inbox, holds the lock of the row."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from mesh.database.columns import Columns, microseconds
from mesh.database.connection import Connection
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.runtime.clock import to_datetime
from services.notification.errors import TooManyRepeats
from services.notification.model import MOST_REPEATS, Recipient, Targets

RECIPIENTS = Columns(
    "recipients",
    Recipient,
    {
        "user_id": "uuid",
        "time_zone": "text",
        "zone_at": "timestamptz",
        "channels": "jsonb",
        "quiet_from": "integer",
        "quiet_to": "integer",
        "phone_number": "text",
        "unread_count": "integer",
        "inbox_version": "bigint",
        "is_deleted": "boolean",
        "updated_at": "timestamptz",
        "version": "bigint",
    },
    fixed={"user_id"},
)
_SELECT = f"SELECT {RECIPIENTS.select} FROM recipients"


def unknown(user_id: str) -> Recipient:
    """A user of whom nothing is stored."""
    return Recipient(user_id, None, None, {}, None, None, None, 0, 0, False, 0, 1)


async def get_recipient(connection: Connection, user_id: str) -> Recipient:
    """Reads a user; the defaults where nothing is stored."""
    return (await find_recipients(connection, [user_id])).get(user_id) or unknown(user_id)


async def find_recipients(connection: Connection, user_ids: Iterable[str]) -> dict[str, Recipient]:
    """Reads those of these users of whom something is stored."""
    cursor = RECIPIENTS.cursor(connection)
    await cursor.execute(f"{_SELECT} WHERE user_id = ANY(%s::uuid[])", (sorted(set(user_ids)),))
    return {row.user_id: row for row in await cursor.fetchall()}


async def add_recipients(connection: Connection, user_ids: Iterable[str]) -> None:
    """Stores users of whom nothing is stored, with the defaults."""
    await connection.execute(
        "INSERT INTO recipients (user_id) SELECT * FROM unnest(%s::uuid[]) ORDER BY 1 ON CONFLICT DO NOTHING",
        (sorted(set(user_ids)),),
    )


async def hold(tx: Connection, user_ids: Iterable[str]) -> dict[str, Recipient]:
    """Reads users, stored before when necessary, of whom nothing is sent or erased until the transaction ends."""
    expected = sorted(set(user_ids))
    await add_recipients(tx, expected)
    cursor = RECIPIENTS.cursor(tx)
    await cursor.execute(f"{_SELECT} WHERE user_id = ANY(%s::uuid[]) ORDER BY user_id FOR SHARE", (expected,))
    return {row.user_id: row for row in await cursor.fetchall()}


async def lock_recipient(tx: Connection, user_id: str) -> Recipient:
    """Reads and locks a user, who is stored before when necessary."""
    await add_recipients(tx, [user_id])
    cursor = RECIPIENTS.cursor(tx)
    await cursor.execute(f"{_SELECT} WHERE user_id = %s::uuid FOR NO KEY UPDATE", (user_id,))
    [recipient] = await cursor.fetchall()
    return recipient


_TODAY = "(now() AT TIME ZONE 'UTC')::date"


async def count_repeat(tx: Connection, user_id: str) -> None:
    """Counts that a locked user has something sent again today; raises TooManyRepeats."""
    cursor = await tx.execute(
        f"""
        UPDATE recipients SET repeated_on = {_TODAY},
            repeats = CASE WHEN repeated_on = {_TODAY} THEN repeats + 1 ELSE 1 END
        WHERE user_id = %s::uuid AND (repeated_on IS DISTINCT FROM {_TODAY} OR repeats < {MOST_REPEATS})""",
        (user_id,),
    )
    if cursor.rowcount == 0:
        raise TooManyRepeats(limit=MOST_REPEATS)


async def lock_free(tx: Connection, user_ids: Collection[str]) -> tuple[int, dict[str, Recipient]]:
    """Reads and locks those of these users that nobody else has locked, and the database's clock."""
    cursor = RECIPIENTS.cursor(tx)
    await cursor.execute(
        f"{_SELECT} WHERE user_id = ANY(%s::uuid[]) ORDER BY user_id FOR NO KEY UPDATE SKIP LOCKED", (sorted(user_ids),)
    )
    locked = {row.user_id: row for row in await cursor.fetchall()}
    clock = await tx.execute(f"SELECT {microseconds('clock_timestamp()')}")
    [now] = await clock.fetchone() or (0,)
    return int(now), locked


_SAVE = f"""
    INSERT INTO recipients ({RECIPIENTS.names}) SELECT {RECIPIENTS.values}
    ON CONFLICT (user_id) DO UPDATE SET channels = excluded.channels, quiet_from = excluded.quiet_from,
        quiet_to = excluded.quiet_to, updated_at = excluded.updated_at, version = excluded.version
    WHERE recipients.version = excluded.version - 1 AND NOT recipients.is_deleted
    RETURNING user_id"""


async def wake_deferred(tx: Connection, user_id: str) -> None:
    """Locks the user and has what waits for quiet hours to end decided again, after a change of where or when they are.

    A statement of its own, so that it sees what was deferred while the change waited for the user's lock.
    """
    await lock_recipient(tx, user_id)
    await tx.execute(
        """
        UPDATE notifications SET next_attempt_at = now()
        WHERE user_id = %s::uuid AND next_attempt_at > now() AND NOT leased AND deferred_until IS NOT NULL
            AND attempts = 0""",
        (user_id,),
    )


async def save_preferences(connection: Connection, recipient: Recipient, side_effects: SideEffects) -> None:
    """Writes the next version of preferences; raises WriteConflict when another write came first."""
    await outbox.write(connection, _SAVE, RECIPIENTS.parameters(recipient), side_effects)


_UNNAME_REMINDERS = """
    UPDATE reminders SET type = 'in_app', version = version + 1, updated_at = now()
    WHERE user_id = %(user_id)s::uuid AND type = 'email' AND fire_at IS NOT NULL AND EXISTS (SELECT FROM changed)"""
_UNNAME_DELIVERIES = """
    UPDATE notifications SET payload = payload - 'named'
    WHERE user_id = %(user_id)s::uuid AND channel = 'email' AND notification_type = 'reminder'
        AND next_attempt_at IS NOT NULL AND NOT leased AND EXISTS (SELECT FROM changed)"""


async def save_unsubscribed(
    connection: Connection, recipient: Recipient, side_effects: SideEffects, *, reminders: bool
) -> None:
    """Writes the next version of preferences that have no mails of a kind; raises WriteConflict.

    reminders: of that kind; then those that name mail name the app, and what waits is sent as the preferences say.
    """
    unname = [_UNNAME_REMINDERS, _UNNAME_DELIVERIES] if reminders else []
    await outbox.write(connection, _SAVE, RECIPIENTS.parameters(recipient), side_effects, unname)


async def put_zone(connection: Connection, user_id: str, time_zone: str, at: int) -> None:
    """Stores where a user was at an instant, unless something newer is known."""
    await connection.execute(
        """
        INSERT INTO recipients (user_id, time_zone, zone_at) VALUES (%s::uuid, %s, %s)
        ON CONFLICT (user_id) DO UPDATE SET time_zone = excluded.time_zone, zone_at = excluded.zone_at
        WHERE coalesce(recipients.zone_at, '-infinity') <= excluded.zone_at AND NOT recipients.is_deleted""",
        (user_id, time_zone, to_datetime(at)),
    )


async def set_phone(tx: Connection, user_id: str, phone_number: str) -> None:
    """Makes a number the one that SMS go to. The user is locked."""
    await tx.execute(
        "UPDATE recipients SET phone_number = %s, version = version + 1, updated_at = now() WHERE user_id = %s::uuid",
        (phone_number, user_id),
    )


async def mark_deleted(tx: Connection, user_id: str) -> None:
    """Forgets everything of a user but that there was one; waits until nobody sends to the user."""
    await tx.execute(
        """
        INSERT INTO recipients (user_id, is_deleted) VALUES (%s::uuid, true)
        ON CONFLICT (user_id) DO UPDATE SET time_zone = NULL, zone_at = NULL, channels = '{}', quiet_from = NULL,
            quiet_to = NULL, phone_number = NULL, unread_count = 0, repeated_on = NULL, repeats = 0,
            is_deleted = true""",
        (user_id,),
    )


_INBOXES = """
    UPDATE recipients SET unread_count = inbox.unread_count, inbox_version = inbox.version
    FROM unnest(%(inbox_users)s::uuid[], %(inbox_unread)s::integer[], %(inbox_versions)s::bigint[])
        AS inbox (user_id, unread_count, version)
    WHERE recipients.user_id = inbox.user_id RETURNING recipients.user_id"""


async def save_inboxes(tx: Connection, recipients: Collection[Recipient], side_effects: SideEffects) -> None:
    """Writes what is unread of locked users, with the events that say so."""
    values: dict[str, Any] = {
        "inbox_users": [each.user_id for each in recipients],
        "inbox_unread": [each.unread_count for each in recipients],
        "inbox_versions": [each.inbox_version for each in recipients],
    }
    await outbox.write(tx, _INBOXES, values, side_effects)


async def find_targets(connection: Connection, user_ids: Iterable[str]) -> Mapping[str, Targets]:
    """Reads where messages of these users can go, of those who have something beside the app."""
    cursor = await connection.execute(
        """
        SELECT user_id::text, array_agg(id::text ORDER BY id) FILTER (WHERE is_push),
            array_agg(id::text ORDER BY id) FILTER (WHERE NOT is_push)
        FROM (
            SELECT user_id, id, true AS is_push FROM push_subscriptions WHERE user_id = ANY(%(users)s::uuid[])
            UNION ALL
            SELECT user_id, id, false FROM webhooks WHERE user_id = ANY(%(users)s::uuid[]) AND is_enabled
        ) AS target GROUP BY user_id""",
        {"users": sorted(set(user_ids))},
    )
    return {user_id: Targets(pushes or (), webhooks or ()) for user_id, pushes, webhooks in await cursor.fetchall()}
