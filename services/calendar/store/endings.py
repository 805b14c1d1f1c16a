"""Events of which an occurrence has ended."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from mesh.database.columns import microseconds
from mesh.database.connection import Connection
from services.calendar.model import CalendarEvent
from services.calendar.store.events import EVENTS


class Due(NamedTuple):
    """An event that has to be told of what ended, with the zone of its user, and the clock of the database."""

    event: CalendarEvent
    zone: str
    now: int


_CLAIM = f"""
    SELECT {EVENTS.select}, users.time_zone, {microseconds("now()")}
    FROM events JOIN users ON users.user_id = events.user_id
    WHERE next_end_at <= now() AND users.time_zone IS NOT NULL
    ORDER BY next_end_at, events.id LIMIT %s FOR NO KEY UPDATE OF users, events SKIP LOCKED"""


async def claim(tx: Connection, limit: int) -> list[Due]:
    """Locks the events of which something ended first, and their users: one replica at a time tells of a user."""
    cursor = tx.cursor(binary=True, row_factory=lambda _: _due)
    await cursor.execute(_CLAIM, (limit,))
    return await cursor.fetchall()


async def seconds_until_due(connection: Connection) -> float | None:
    """Seconds until something ends next; None without anything."""
    cursor = await connection.execute(
        "SELECT extract(epoch FROM min(next_end_at) - clock_timestamp())::float FROM events"
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


def _due(values: Sequence[Any]) -> Due:
    *event, zone, now = values
    return Due(CalendarEvent(*event), zone, now)
