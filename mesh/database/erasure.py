"""Erases what is stored of a user, in batches that end long before the statement timeout."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from mesh.database.connection import Connection

Erase: TypeAlias = Callable[[Connection, str, int], Awaitable[int]]
"""Deletes up to so many rows of a user; returns how many, 0 when none are left."""


def erase_of(*tables: str) -> Erase:
    """Erases a user's rows, up to so many of each of these tables, which have a column `user_id`."""

    async def erase(connection: Connection, user_id: str, limit: int) -> int:
        erased = 0
        for table in tables:
            # By ctid: some tables have no key of one column.
            cursor = await connection.execute(
                f"DELETE FROM {table}"
                f" WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE user_id = %s::uuid LIMIT %s))",
                (user_id, limit),
            )
            erased += cursor.rowcount
        return erased

    return erase
