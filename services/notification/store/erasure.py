"""Erases what is stored of a user, in batches that end long before the statement timeout."""

from mesh.database.connection import Connection

_TABLES = ("notifications", "reminders", "push_subscriptions", "webhooks", "phone_codes", "tasks")


async def erase(tx: Connection, user_id: str, limit: int) -> int:
    """Deletes up to so many rows of each table of a user; returns how many."""
    erased = 0
    for table in _TABLES:
        cursor = await tx.execute(
            f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE user_id = %s::uuid LIMIT %s))",
            (user_id, limit),
        )
        erased += cursor.rowcount
    return erased
