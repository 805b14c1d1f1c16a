"""The last state of events of the calendar, and of their occurrences that were changed by themselves."""

from collections.abc import Collection, Sequence

from mesh.database.columns import Columns
from mesh.database.connection import Connection
from services.notification.model import EventState, OccurrenceState

EVENTS = Columns(
    "events",
    EventState,
    {
        "id": "uuid",
        "user_id": "uuid",
        "series_id": "uuid",
        "epoch": "integer",
        "version": "bigint",
        "is_deleted": "boolean",
        "status": "text",
        "start": "text",
        "time_zone": "text",
        "rule": "jsonb",
        "added": "jsonb",
        "updated_at": "timestamptz",
    },
    fixed={"id", "user_id"},
)
OCCURRENCES = Columns(
    "occurrences",
    OccurrenceState,
    {
        "event_id": "uuid",
        "slot": "text",
        "user_id": "uuid",
        "epoch": "integer",
        "version": "bigint",
        "status": "text",
        "start": "text",
        "ends_at": "timestamptz",
    },
    fixed={"event_id", "slot", "user_id"},
)


async def put_events(tx: Connection, events: Sequence[EventState]) -> None:
    """Stores the last state of events, each of them once."""
    await tx.execute(
        f"""
        INSERT INTO events ({EVENTS.names}) SELECT * FROM {EVENTS.recordset} ORDER BY id
        ON CONFLICT (id) DO UPDATE SET {EVENTS.assignments_of_rows.replace("events_rows.", "excluded.")}
        WHERE events.user_id = excluded.user_id""",
        EVENTS.rows(events),
    )


async def put_occurrences(tx: Connection, occurrences: Sequence[OccurrenceState]) -> None:
    """Stores the last state of occurrences of stored events, each of them once."""
    assignments = OCCURRENCES.assignments_of_rows.replace("occurrences_rows.", "excluded.")
    await tx.execute(
        f"""
        INSERT INTO occurrences ({OCCURRENCES.names}) SELECT * FROM {OCCURRENCES.recordset} ORDER BY event_id, slot
        ON CONFLICT (event_id, slot) DO UPDATE SET {assignments} WHERE occurrences.user_id = excluded.user_id""",
        OCCURRENCES.rows(occurrences),
    )


async def find_events(connection: Connection, ids: Collection[str]) -> dict[str, EventState]:
    """Reads those of these events that are known."""
    cursor = EVENTS.cursor(connection)
    await cursor.execute(f"SELECT {EVENTS.select} FROM events WHERE id = ANY(%s::uuid[])", (list(ids),))
    return {row.id: row for row in await cursor.fetchall()}


async def find_successors(connection: Connection, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """By event and slot, the other event of its series that begins last before the slot or at it."""
    cursor = await connection.execute(
        """
        SELECT wanted.id::text, wanted.slot, other.id::text
        FROM unnest(%s::uuid[], %s::text[]) AS wanted (id, slot) JOIN events AS own ON own.id = wanted.id
        CROSS JOIN LATERAL (
            SELECT id FROM events WHERE series_id = own.series_id AND NOT is_deleted AND start <= wanted.slot
                AND id <> own.id AND user_id = own.user_id
            ORDER BY start DESC LIMIT 1) AS other""",
        ([event_id for event_id, _ in keys], [slot for _, slot in keys]),
    )
    return {(event_id, slot): other for event_id, slot, other in await cursor.fetchall()}


async def find_predecessors(connection: Connection, event_ids: Collection[str]) -> list[str]:
    """The events from which these were split off, as far as that is known."""
    cursor = await connection.execute(
        """
        SELECT other.id::text FROM events AS own CROSS JOIN LATERAL (
            SELECT id FROM events WHERE series_id = own.series_id AND NOT is_deleted AND start < own.start
                AND user_id = own.user_id
            ORDER BY start DESC LIMIT 1) AS other
        WHERE own.id = ANY(%s::uuid[]) AND own.series_id <> own.id""",
        (list(event_ids),),
    )
    return [event_id for (event_id,) in await cursor.fetchall()]


async def find_occurrences(
    connection: Connection, keys: Collection[tuple[str, str]]
) -> dict[tuple[str, str], OccurrenceState]:
    """Reads those of these occurrences, by event and slot, that were changed by themselves."""
    cursor = OCCURRENCES.cursor(connection)
    await cursor.execute(
        f"""
        SELECT {OCCURRENCES.select} FROM occurrences JOIN unnest(%s::uuid[], %s::text[]) AS wanted (id, slot)
            ON event_id = wanted.id AND occurrences.slot = wanted.slot""",
        ([event_id for event_id, _ in keys], [slot for _, slot in keys]),
    )
    return {(row.event_id, row.slot): row for row in await cursor.fetchall()}


async def purge(connection: Connection, days: int, limit: int) -> int:
    """Removes events that were deleted so many days ago, and occurrences that no reminder waits for; returns how many.

    Those are over for so long, or as their event says and too far ahead for a reminder to have fired.
    """
    gone = await connection.execute(
        """
        DELETE FROM events WHERE id IN (
            SELECT id FROM events WHERE is_deleted AND updated_at < now() - make_interval(days => %s)
            ORDER BY updated_at LIMIT %s FOR UPDATE SKIP LOCKED)""",
        (days, limit),
    )
    over = await connection.execute(
        """
        DELETE FROM occurrences WHERE (event_id, slot) IN (
            SELECT event_id, slot FROM occurrences WHERE ends_at < now() - make_interval(days => %s)
                OR ends_at > now() + interval '400 days' AND status = 'planned' AND start = slot
            LIMIT %s FOR UPDATE SKIP LOCKED)""",
        (days, limit),
    )
    return gone.rowcount + over.rowcount
