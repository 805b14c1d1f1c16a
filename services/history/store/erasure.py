"""Erases what is stored of a user, in batches that end long before the statement timeout."""

from mesh.database.connection import Connection
from mesh.database.erasure import erase_of

erase_figures = erase_of(
    "session_days", "recorded_sessions", "task_titles", "daily_user_aggregates", "goals", "planned_occurrences"
)
"""Every table but the archive's."""


async def erase_sessions(tx: Connection, user_id: str, limit: int) -> int:
    """Deletes up to so many sessions of the archive with their tasks; returns how many."""
    cursor = await tx.execute(
        """
        WITH gone AS (
            SELECT id, created_at FROM sessions_archive WHERE user_id = %s::uuid LIMIT %s
        ), of_tasks AS (
            DELETE FROM session_tasks USING gone
            WHERE session_tasks.id = gone.id AND session_tasks.created_at = gone.created_at
        )
        DELETE FROM sessions_archive USING gone
        WHERE sessions_archive.id = gone.id AND sessions_archive.created_at = gone.created_at""",
        (user_id, limit),
    )
    return cursor.rowcount


async def erase_cold(tx: Connection, user_id: str, limit: int) -> int:
    """Deletes up to so many sessions from cold storage with their tasks; returns how many."""
    cursor = await tx.execute("SELECT erase_cold(%s::uuid, %s)", (user_id, limit))
    [erased] = await cursor.fetchone() or (0,)
    return int(erased)


async def mark_deleted(tx: Connection, user_id: str) -> None:
    """Forgets where a user was, and drops what comes later; waits until nobody writes the user's sessions."""
    await tx.execute(
        """
        INSERT INTO users (user_id, is_deleted) VALUES (%s::uuid, true)
        ON CONFLICT (user_id) DO UPDATE SET zones = '[]', is_deleted = true""",
        (user_id,),
    )
