"""What of occurrences says which time they take: little, because a search for free time reads of all in its window."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from psycopg import AsyncCursor

from mesh.database.columns import microseconds
from mesh.database.connection import Connection
from mesh.runtime.clock import DAY, SECOND, to_datetime
from services.calendar.model import Apart, Length, OccurrenceFilter, Place, Status, Timed, Window
from services.calendar.store import windows

Row = TypeVar("Row")

TIMED = OccurrenceFilter(states=(Status.PLANNED.value,), is_all_day=False)
"""All-day occurrences take no time, nor do those that are completed or cancelled."""
_PORTION = 500
"""Rows that are made at once: two milliseconds of the event loop."""
_LAST = 253_402_300_799 * SECOND
"""The last instant of a Timestamp."""
_LONGEST = 368 * DAY
"""An occurrence lasts at most 366 days, and a local date is at most a day from that of UTC."""


async def read_timed(connection: Connection, user_id: str, window: Window, but: str | None = None) -> Timed:
    """Reads what takes time in a window. but: an event that does not count."""
    patterns = await windows.list_patterns(connection, user_id, window, TIMED)
    values = {
        "user_id": user_id,
        "since": to_datetime(max(window.begin - _LONGEST, 0)),
        "end": to_datetime(window.end),
        "first_day": _day(window.begin - _LONGEST),
        "last_day": _day(min(window.end + 2 * DAY, _LAST)),
    }
    cursor = await connection.execute(_APART, values, binary=True)
    apart = await _portions(cursor, _apart)
    cursor = await connection.execute(_ELSEWHERE, values, binary=True)
    return Timed(
        {each.id: each for each in patterns if each.id != but},
        [each for each in apart if each.place.event_id != but],
        frozenset(await _portions(cursor, _event_and_slot)),
    )


_APART = f"""
    SELECT {microseconds("start_time")}, event_id::text, slot, coalesce(occurrences.start_slot, slot), events.time_zone,
        coalesce(occurrences.length_days, events.length_days),
        coalesce(occurrences.length_seconds, events.length_seconds)
    FROM occurrences JOIN events ON events.id = event_id
    WHERE occurrences.user_id = %(user_id)s::uuid AND start_time >= %(since)s AND start_time < %(end)s
        AND occurrences.status = 'planned' AND deleted_at IS NULL AND length(events.start_slot) > 10
    ORDER BY start_time, event_id, slot COLLATE "C" """
_ELSEWHERE = """
    SELECT event_id::text, slot FROM events JOIN occurrences ON event_id = events.id
    WHERE events.user_id = %(user_id)s::uuid AND deleted_at IS NULL AND length(events.start_slot) > 10
        AND slot >= %(first_day)s AND slot < %(last_day)s
        AND (occurrences.status <> 'planned' OR start_time IS NOT NULL)"""


def _apart(row: Any) -> Apart:
    start, event_id, slot, start_slot, zone, days, seconds = row
    return Apart(Place(start, event_id, slot), start_slot, zone, Length(days, seconds))


def _event_and_slot(row: Any) -> tuple[str, str]:
    return row[0], row[1]


async def _portions(cursor: AsyncCursor[Any], make: Callable[[Any], Row]) -> list[Row]:
    """The rows of a cursor, in portions between which other tasks run."""
    made: list[Row] = []
    while portion := await cursor.fetchmany(_PORTION):
        made += map(make, portion)
        await asyncio.sleep(0)
    return made


def _day(instant: int) -> str:
    """A text that sorts among slots where the UTC date of an instant does."""
    return to_datetime(instant).date().isoformat()
