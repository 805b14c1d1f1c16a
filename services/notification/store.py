"""SQL of the notification service."""

from mesh.database.columns import Columns
from mesh.database.connection import Connection
from services.notification.model import Recipient

RECIPIENTS = Columns(
    "recipients",
    Recipient,
    {
        "user_id": "uuid",
        "time_zone": "text",
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
_TABLES = ("notifications", "reminders", "push_subscriptions", "webhooks", "phone_codes", "tasks")


async def get_recipient(connection: Connection, user_id: str) -> Recipient:
    """Reads who is notified through what; the defaults where nothing is stored."""
    cursor = RECIPIENTS.cursor(connection)
    await cursor.execute(f"SELECT {RECIPIENTS.select} FROM recipients WHERE user_id = %s::uuid", (user_id,))
    return await cursor.fetchone() or Recipient(user_id, None, {}, None, None, None, 0, 0, False, 0, 0)


async def erase(connection: Connection, user_id: str, limit: int) -> int:
    """Deletes up to so many rows of each table of a user; returns how many."""
    erased = 0
    for table in _TABLES:
        cursor = await connection.execute(
            f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE user_id = %s::uuid LIMIT %s))",
            (user_id, limit),
        )
        erased += cursor.rowcount
    return erased
