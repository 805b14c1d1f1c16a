"""What is there of the events that a file has."""

from collections.abc import Collection

from mesh.database.connection import Connection
from services.calendar.model import CalendarEvent, OccurrenceRow
from services.calendar.store.events import EVENTS
from services.calendar.store.feeds import rows_of_events


async def lock_imported(tx: Connection, user_id: str, uids: Collection[str]) -> list[CalendarEvent]:
    """The user's own events with these UIDs, or ids, with what was split off from those by an import before."""
    cursor = EVENTS.cursor(tx)
    await cursor.execute(
        f"""
        SELECT {EVENTS.select} FROM events
        WHERE user_id = %(user_id)s::uuid AND subscription_id IS NULL AND deleted_at IS NULL AND (
            uid = ANY(%(uids)s::text[]) OR id::text = ANY(%(uids)s::text[]) OR strpos(uid, '#') > 0
            AND EXISTS (SELECT FROM unnest(%(uids)s::text[]) AS of_uid WHERE starts_with(uid, of_uid || '#')))
        FOR UPDATE""",
        {"user_id": user_id, "uids": list(uids)},
    )
    return await cursor.fetchall()


async def rows_by_event(tx: Connection, event_ids: Collection[str]) -> dict[str, dict[str, OccurrenceRow]]:
    """All rows of some events by event and slot."""
    found: dict[str, dict[str, OccurrenceRow]] = {event_id: {} for event_id in event_ids}
    async for rows in rows_of_events(tx, event_ids):
        for row in rows:
            found[row.event_id][row.slot] = row
    return found
