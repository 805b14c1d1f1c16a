"""What occurrences have of their own."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import starmap

import orjson

from mesh.database.columns import Columns
from mesh.database.connection import Connection
from mesh.runtime.slices import in_slices
from services.calendar.errors import TooManyChanges
from services.calendar.model import MOST_ROWS, OccurrenceRow

ROWS = Columns(
    "occurrences",
    OccurrenceRow,
    {
        "event_id": "uuid",
        "slot": "text",
        "user_id": "uuid",
        "status": "text",
        "title": "text",
        "description": "text",
        "location": "text",
        "start_slot": "text",
        "start_time": "timestamptz",
        "length_days": "integer",
        "length_seconds": "integer",
        "session_id": "uuid",
        "starts": "integer",
        "completed_at": "timestamptz",
        "is_completed_by_session": "boolean",
    },
    fixed={"event_id", "slot", "user_id"},
)
_PORTION = 500
"""Rows that are made at once: some milliseconds of the event loop."""


async def all_rows(connection: Connection, event_id: str) -> dict[str, OccurrenceRow]:
    """All rows of an event by slot, at most `model.MOST_ROWS`."""
    cursor = ROWS.cursor(connection)
    await cursor.execute(f"SELECT {ROWS.select} FROM occurrences WHERE event_id = %s::uuid", (event_id,))
    return {row.slot: row for row in await cursor.fetchall()}


async def all_rows_of(connection: Connection, event_ids: Collection[str]) -> dict[str, dict[str, OccurrenceRow]]:
    """All rows of events, by event and slot."""
    cursor = ROWS.cursor(connection)
    await cursor.execute(f"SELECT {ROWS.select} FROM occurrences WHERE event_id = ANY(%s::uuid[])", (list(event_ids),))
    found: dict[str, dict[str, OccurrenceRow]] = defaultdict(dict)
    while portion := await cursor.fetchmany(_PORTION):
        for row in portion:
            found[row.event_id][row.slot] = row
        await asyncio.sleep(0)
    return found


_BARE = ROWS.select
for _text in ("title", "description", "location"):
    _BARE = _BARE.replace(f"occurrences.{_text}", "NULL")
_ALL = f"""
    SELECT event_id::text, json_agg(json_build_array({_BARE}))::text
    FROM occurrences WHERE event_id = ANY(%s::uuid[]) GROUP BY event_id"""


async def bare_rows(connection: Connection, event_ids: Collection[str]) -> dict[str, dict[str, OccurrenceRow]]:
    """All rows of events by event and slot, without their texts; as JSON, which is read ten times faster."""
    cursor = await connection.execute(_ALL, (list(event_ids),), binary=True)
    return dict(await in_slices(starmap(_of_event, await cursor.fetchall())))


async def rows_at(connection: Connection, slots: Collection[tuple[str, str]]) -> dict[tuple[str, str], OccurrenceRow]:
    """The rows at these slots, by event and slot."""
    cursor = ROWS.cursor(connection)
    await cursor.execute(
        f"""
        SELECT {ROWS.select} FROM occurrences
            JOIN unnest(%s::uuid[], %s::text[]) AS place (id, at) ON event_id = place.id AND slot = place.at""",
        ([id_ for id_, _ in slots], [slot for _, slot in slots]),
    )
    return {(row.event_id, row.slot): row for row in await cursor.fetchall()}


def _of_event(event_id: str, text: str) -> tuple[str, dict[str, OccurrenceRow]]:
    return event_id, {row.slot: row for row in starmap(OccurrenceRow, orjson.loads(text))}


async def get_row(connection: Connection, event_id: str, slot: str) -> OccurrenceRow | None:
    """The row of one occurrence, if it has one; the caller has read its event."""
    cursor = ROWS.cursor(connection)
    query = f"SELECT {ROWS.select} FROM occurrences WHERE event_id = %s::uuid AND slot = %s"
    await cursor.execute(query, (event_id, slot))
    return await cursor.fetchone()


async def find_of_session(connection: Connection, user_id: str, session_id: str) -> OccurrenceRow | None:
    """The row of the occurrence that has a session."""
    cursor = ROWS.cursor(connection)
    query = f"SELECT {ROWS.select} FROM occurrences WHERE user_id = %s::uuid AND session_id = %s::uuid LIMIT 1"
    await cursor.execute(query, (user_id, session_id))
    return await cursor.fetchone()


async def require_room(connection: Connection, event_id: str) -> None:
    """Raises TooManyChanges when an event may not have another row."""
    cursor = await connection.execute("SELECT count(*) FROM occurrences WHERE event_id = %s::uuid", (event_id,))
    row = await cursor.fetchone()
    if row is not None and row[0] >= MOST_ROWS:
        raise TooManyChanges(limit=MOST_ROWS)


async def put_rows(tx: Connection, rows: Sequence[OccurrenceRow]) -> None:
    """Writes rows."""
    assignments = ROWS.assignments_of_rows.replace("occurrences_rows.", "excluded.")
    await tx.execute(
        f"""
        INSERT INTO occurrences ({ROWS.names}) SELECT * FROM {ROWS.recordset}
        ON CONFLICT (event_id, slot) DO UPDATE SET {assignments}""",
        ROWS.rows(rows),
    )


async def delete_rows(tx: Connection, event_id: str, slots: Collection[str]) -> None:
    """Removes the rows of these slots."""
    await tx.execute("DELETE FROM occurrences WHERE event_id = %s::uuid AND slot = ANY(%s)", (event_id, list(slots)))
