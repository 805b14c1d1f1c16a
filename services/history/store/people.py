"""Users: where they were when."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any

import orjson

from mesh.database.connection import Connection
from mesh.database.pool import Database
from services.history.model import Person, WeekStart, Zone

NOWHERE = (Zone(0, "UTC", 0),)


async def learn(db: Database, user_ids: Collection[str], fetch: Callable[[str], Awaitable[Person]]) -> None:
    """Stores what is known of those of these users of whom nothing is stored. fetch: reads it where they registered."""
    async with db.connection() as connection:
        known = await _known(connection, user_ids)
    for user_id in sorted(set(user_ids) - known):
        person = await fetch(user_id)
        async with db.connection() as connection:
            await add(connection, person)


async def get_person(connection: Connection, user_id: str) -> Person:
    """Reads a user; one of whom nothing is stored was in UTC."""
    cursor = await connection.execute(f"{_SELECT} WHERE user_id = %s::uuid", (user_id,))
    row = await cursor.fetchone()
    return _person(row) if row else Person(user_id, NOWHERE, WeekStart.MONDAY.value, False)


async def lock(tx: Connection, user_ids: Iterable[str]) -> dict[str, Person]:
    """Reads and locks users in the order of their ids: whoever changes the sessions of a user holds this lock."""
    cursor = await tx.execute(
        f"{_SELECT} WHERE user_id = ANY(%s::uuid[]) ORDER BY user_id FOR UPDATE", (sorted(set(user_ids)),)
    )
    return {person.user_id: person for person in map(_person, await cursor.fetchall())}


async def add(connection: Connection, person: Person) -> None:
    """Stores a user, unless one is stored."""
    await connection.execute(
        """
        INSERT INTO users (user_id, zones, week_start, is_deleted)
        VALUES (%(user_id)s::uuid, %(zones)s::jsonb, %(week_start)s, %(is_deleted)s) ON CONFLICT DO NOTHING""",
        _parameters(person),
    )


async def save(tx: Connection, person: Person) -> None:
    """Stores a user that is locked."""
    await tx.execute(
        """
        UPDATE users SET zones = %(zones)s::jsonb, week_start = %(week_start)s, is_deleted = %(is_deleted)s
        WHERE user_id = %(user_id)s::uuid""",
        _parameters(person),
    )


_SELECT = "SELECT user_id::text, zones, week_start, is_deleted FROM users"


async def _known(connection: Connection, user_ids: Collection[str]) -> set[str]:
    cursor = await connection.execute(
        "SELECT user_id::text FROM users WHERE user_id = ANY(%s::uuid[])", (list(user_ids),)
    )
    return {user_id for (user_id,) in await cursor.fetchall()}


def _person(row: Sequence[Any]) -> Person:
    user_id, zones, week_start, is_deleted = row
    return Person(user_id, tuple(Zone._make(zone) for zone in zones) or NOWHERE, week_start, is_deleted)


def _parameters(person: Person) -> dict[str, Any]:
    return person._asdict() | {"zones": orjson.dumps([list(zone) for zone in person.zones]).decode()}
