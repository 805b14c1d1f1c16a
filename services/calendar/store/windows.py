"""What takes place in a window: read step by step, because a page needs little of what a user may have."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from itertools import starmap
from typing import Any, NamedTuple

from mesh.database.columns import microseconds, namedtuple_row
from mesh.database.connection import Connection
from mesh.runtime.clock import DAY, SECOND, to_datetime
from services.calendar.model import CalendarEvent, OccurrenceFilter, OccurrenceRow, Pattern, Place, Status, Window
from services.calendar.store.events import EVENTS
from services.calendar.store.occurrences import ROWS

_CHOSEN = """
    events.user_id = %(user_id)s::uuid AND deleted_at IS NULL
    AND (%(event_id)s::uuid IS NULL OR events.id = %(event_id)s::uuid)
    AND (%(todo_task_id)s::uuid IS NULL OR todo_task_id = %(todo_task_id)s::uuid)
    AND (%(is_all_day)s::boolean IS NULL OR (length(events.start_slot) = 10) = %(is_all_day)s::boolean)
    AND NOT (%(own_only)s AND subscription_id IS NOT NULL)"""
_PATTERNS = f"""
    SELECT id::text, start_slot, last_slot, time_zone, length_days, length_seconds, rule::text,
        CASE WHEN added <> '[]' THEN ARRAY(
            SELECT slot FROM jsonb_array_elements_text(added) AS slot
            WHERE slot < %(last_day)s AND slot >= to_char(%(since)s::timestamptz AT TIME ZONE 'UTC'
                - make_interval(days => 3 + length_days + length_seconds / 86400), 'YYYY-MM-DD')) END,
        version
    FROM events
    WHERE {_CHOSEN} AND (scheduled_start < %(end)s OR added <> '[]') AND (ends_at IS NULL OR ends_at >= %(since)s)
        AND (%(any)s OR EXISTS (SELECT FROM occurrences WHERE event_id = events.id AND status = ANY(%(states)s)))"""
_PORTION = 500
"""Rows that are made at once: two milliseconds of the event loop."""
_LONGEST = 368 * DAY
"""An occurrence lasts at most 366 days, and a local date is at most a day from that of UTC."""
_LAST = 253_402_300_799 * SECOND
"""The last instant of a Timestamp."""
_EVENT_FIELDS = len(CalendarEvent._fields)


async def list_patterns(
    connection: Connection, user_id: str, window: Window, chosen: OccurrenceFilter
) -> list[Pattern]:
    """Of each event that may have a slot in the window what says where; without those that were moved."""
    since, end = window.since - 2 * DAY, to_datetime(min(window.end + 2 * DAY, _LAST))  # what floats may be a day off
    values = _values(user_id, chosen) | {"since": to_datetime(since), "end": end, "last_day": end.date().isoformat()}
    cursor = connection.cursor(binary=True, row_factory=namedtuple_row(Pattern))
    await cursor.execute(_PATTERNS, values | {"any": Status.PLANNED in chosen.states})
    found: list[Pattern] = []
    while len(portion := await cursor.fetchmany(_PORTION)) == _PORTION:
        found += portion
        await asyncio.sleep(0)
    return found + portion


_APART = f"""
    SELECT {microseconds("start_time")}, event_id::text, slot FROM occurrences JOIN events ON events.id = event_id
    WHERE occurrences.user_id = %(user_id)s::uuid AND {_CHOSEN} AND occurrences.status = ANY(%(states)s)
        AND start_time >= %(since)s AND start_time < %(end)s
        AND (start_time >= %(begin)s OR start_time > %(begin)s - make_interval(
            days => 2 + coalesce(occurrences.length_days, events.length_days),
            secs => coalesce(occurrences.length_seconds, events.length_seconds)))
        AND (%(after_id)s::uuid IS NULL
            OR (start_time, event_id, slot) > (%(since)s, %(after_id)s::uuid, %(after_slot)s COLLATE "C"))
        AND (%(until_id)s::uuid IS NULL
            OR (start_time, event_id, slot) <= (%(until)s, %(until_id)s::uuid, %(until_slot)s COLLATE "C"))
    ORDER BY start_time, event_id, slot COLLATE "C" LIMIT %(limit)s"""


async def list_apart(
    connection: Connection,
    user_id: str,
    window: Window,
    chosen: OccurrenceFilter,
    until: Place | None,
    limit: int,
) -> list[Place]:
    """The first places of occurrences that have a time or a length of their own; some end before the window.

    until: the last place that is asked for; None: the end of the window.
    """
    after, begin = window.after, window.begin
    values = _values(user_id, chosen) | {
        "begin": to_datetime(begin),
        "end": to_datetime(window.end),
        "since": to_datetime(begin - _LONGEST if after is None else after.start),
        "after_id": None if after is None else after.event_id,
        "after_slot": None if after is None else after.slot,
        "until": None if until is None else to_datetime(until.start),
        "until_id": None if until is None else until.event_id,
        "until_slot": None if until is None else until.slot,
        "limit": limit,
    }
    cursor = await connection.execute(_APART, values, binary=True)
    return list(starmap(Place, await cursor.fetchall()))


_WITHOUT = {"description": "NULL::text", "reminders": "NULL::jsonb"} | {
    name: f"CASE WHEN place.version <> events.version OR start_time IS NOT NULL THEN events.{name} END"
    for name in ("rule", "added")
}
"""Columns that lists do without: JSON costs more than all others. Rules are read where they say more than the place."""
_LISTED_EVENT = reduce(
    lambda select, each: select.replace(f"events.{each[0]}", each[1]), _WITHOUT.items(), EVENTS.select
)
_LISTED_ROW = ROWS.select.replace("occurrences.description", "NULL::text")
_READ = f"""
    SELECT {_LISTED_EVENT}, place.slot, {_LISTED_ROW}
    FROM unnest(%(ids)s::uuid[], %(slots)s::text[], %(versions)s::bigint[]) AS place (id, slot, version)
        JOIN events ON events.id = place.id AND events.user_id = %(user_id)s::uuid AND deleted_at IS NULL
        LEFT JOIN occurrences ON event_id = place.id AND occurrences.slot = place.slot
    WHERE coalesce(occurrences.status, 'planned') = ANY(%(states)s)"""


class Found(NamedTuple):
    """A slot with its event and its row at one moment, both without what lists do without."""

    event: CalendarEvent
    slot: str
    row: OccurrenceRow | None


async def read(
    connection: Connection,
    user_id: str,
    places: Collection[Place],
    states: Collection[str],
    versions: Mapping[str, int] | None = None,
) -> dict[tuple[str, str], Found]:
    """By event and slot, what is at these places and in one of the states.

    versions: of events whose rules are needed only if they have changed since then.
    """
    slots = {(place.event_id, place.slot) for place in places}
    values = {
        "user_id": user_id,
        "ids": [id_ for id_, _ in slots],
        "slots": [slot for _, slot in slots],
        "versions": [0 if versions is None else versions.get(id_, 0) for id_, _ in slots],
    }
    cursor = connection.cursor(binary=True, row_factory=lambda _: _found)
    await cursor.execute(_READ, values | {"states": list(states)})
    return {(found.event.id, found.slot): found for found in await cursor.fetchall()}


def _found(values: Sequence[Any]) -> Found:
    own = values[_EVENT_FIELDS + 1 :]
    row = None if own[0] is None else OccurrenceRow(*own)
    return Found(CalendarEvent(*values[:_EVENT_FIELDS]), values[_EVENT_FIELDS], row)


def _values(user_id: str, chosen: OccurrenceFilter) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "event_id": chosen.event_id,
        "todo_task_id": chosen.todo_task_id,
        "is_all_day": chosen.is_all_day,
        "own_only": chosen.own_only,
        "states": list(chosen.states),
    }
