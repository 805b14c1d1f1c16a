"""Users and where they are."""

from collections.abc import Awaitable, Callable, Iterable

from mesh.database.connection import Connection
from mesh.database.pool import Database

_LOCK = """
    SELECT time_zone FROM users WHERE user_id = %s::uuid AND NOT is_deleted FOR """


class UserZones:
    """Where users are, also those of whom no event has arrived yet."""

    def __init__(self, db: Database, fetch: Callable[[str], Awaitable[str | None]]) -> None:
        """fetch: the zone of a user from auth; None when the account is closed."""
        self._db, self._fetch = db, fetch

    async def of(self, user_id: str) -> str:
        """The zone of a user now; raises DependencyUnavailable while auth is away and has to be asked."""
        async with self._db.connection() as connection:
            zone = await zone_of(connection, user_id)
        if zone is None:
            zone = await self._fetch(user_id)
            if zone is None:
                return "UTC"
            async with self._db.connection() as connection:
                await learn_zone(connection, user_id, zone)
        return zone


async def zone_of(connection: Connection, user_id: str) -> str | None:
    """Where a user is; None when that is not known."""
    cursor = await connection.execute("SELECT time_zone FROM users WHERE user_id = %s::uuid", (user_id,))
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def zones_of(connection: Connection, user_ids: Iterable[str]) -> dict[str, str]:
    """Where those of these users are of whom that is known."""
    cursor = await connection.execute(
        "SELECT user_id::text, time_zone FROM users WHERE user_id = ANY(%s::uuid[]) AND time_zone IS NOT NULL",
        (list(user_ids),),
    )
    return dict(await cursor.fetchall())


async def lock_zone(tx: Connection, user_id: str, *, alone: bool = False) -> str | None:
    """Where a user is, which stays so until the transaction ends; None when that is not known, or they are deleted.

    Lock the user before an event of theirs. alone: no other transaction may hold the lock.
    """
    cursor = await tx.execute(_LOCK + ("UPDATE" if alone else "SHARE"), (user_id,))
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def learn_zone(connection: Connection, user_id: str, zone: str) -> None:
    """Stores where a user is, unless that is known or they are deleted."""
    await connection.execute(
        """
        INSERT INTO users (user_id, time_zone) VALUES (%s::uuid, %s) ON CONFLICT (user_id)
        DO UPDATE SET time_zone = excluded.time_zone WHERE users.time_zone IS NULL AND NOT users.is_deleted""",
        (user_id, zone),
    )


async def set_zone(tx: Connection, user_id: str, zone: str) -> bool:
    """Stores where a user is now; returns whether that is news."""
    cursor = await tx.execute(
        """
        INSERT INTO users (user_id, time_zone) VALUES (%s::uuid, %s) ON CONFLICT (user_id)
        DO UPDATE SET time_zone = excluded.time_zone
        WHERE users.time_zone IS DISTINCT FROM excluded.time_zone AND NOT users.is_deleted""",
        (user_id, zone),
    )
    return cursor.rowcount > 0


async def mark_deleted(tx: Connection, user_id: str) -> None:
    """Drops what comes later of a user; waits until nothing of theirs is written."""
    await tx.execute(
        """
        INSERT INTO users (user_id, is_deleted) VALUES (%s::uuid, true)
        ON CONFLICT (user_id) DO UPDATE SET time_zone = NULL, is_deleted = true""",
        (user_id,),
    )
