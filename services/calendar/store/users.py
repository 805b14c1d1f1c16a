"""Users and where they are."""

from mesh.database.connection import Connection


async def mark_deleted(tx: Connection, user_id: str) -> None:
    """Drops what comes later of a user; waits until nothing of theirs is written."""
    await tx.execute(
        """
        INSERT INTO users (user_id, is_deleted) VALUES (%s::uuid, true)
        ON CONFLICT (user_id) DO UPDATE SET time_zone = NULL, is_deleted = true""",
        (user_id,),
    )
