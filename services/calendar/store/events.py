"""Events of calendars."""

from collections.abc import Iterable, Sequence
from typing import Any

from mesh.database.columns import Columns
from mesh.database.connection import Connection
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.rpc.pagination import Key, Page
from services.calendar.errors import EventNotFound, EventsFull
from services.calendar.model import MOST_EVENTS, CalendarEvent, EventFilter

EVENTS = Columns(
    "events",
    CalendarEvent,
    {
        "id": "uuid",
        "user_id": "uuid",
        "title": "text",
        "description": "text",
        "scheduled_start": "timestamptz",
        "duration_minutes": "integer",
        "repeat_type": "text",
        "repeat_until": "timestamptz",
        "status": "text",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
        "location": "text",
        "start_slot": "text",
        "time_zone": "text",
        "length_days": "integer",
        "length_seconds": "integer",
        "rule": "jsonb",
        "added": "jsonb",
        "reminders": "jsonb",
        "todo_task_id": "uuid",
        "series_id": "uuid",
        "subscription_id": "uuid",
        "uid": "text",
        "sequence": "integer",
        "stamped_at": "timestamptz",
        "ends_at": "timestamptz",
        "last_slot": "text",
        "next_end_at": "timestamptz",
        "deleted_at": "timestamptz",
        "purge_at": "timestamptz",
        "version": "bigint",
    },
    fixed={"id", "user_id", "created_at"},
)
_VISIBLE = "(purge_at IS NULL OR purge_at > now())"
_GET = f"SELECT {EVENTS.select} FROM events WHERE user_id = %s::uuid AND id = %s::uuid AND {_VISIBLE}"


async def get_event(connection: Connection, user_id: str, event_id: str) -> CalendarEvent:
    """Reads one event, also a deleted one until it is purged; raises EventNotFound."""
    return await _get(connection, _GET, user_id, event_id)


async def find_events(connection: Connection, event_ids: Iterable[str]) -> dict[str, CalendarEvent]:
    """Reads events of any users."""
    cursor = EVENTS.cursor(connection)
    await cursor.execute(f"SELECT {EVENTS.select} FROM events WHERE id = ANY(%s::uuid[])", (list(event_ids),))
    return {event.id: event for event in await cursor.fetchall()}


async def lock_event(tx: Connection, user_id: str, event_id: str) -> CalendarEvent:
    """Reads one event, which nobody else changes until the transaction ends; raises EventNotFound."""
    return await _get(tx, _GET + " FOR UPDATE", user_id, event_id)


async def _get(connection: Connection, query: str, user_id: str, event_id: str) -> CalendarEvent:
    cursor = EVENTS.cursor(connection)
    await cursor.execute(query, (user_id, event_id))
    event = await cursor.fetchone()
    if event is None:
        raise EventNotFound(event_id=event_id)
    return event


async def require_room(tx: Connection, user_id: str, more: int = 1) -> None:
    """Raises EventsFull when a user may not have so many more events; lock the user alone before."""
    cursor = await tx.execute(
        """
        SELECT count(*) FROM (SELECT FROM events
            WHERE user_id = %s::uuid AND subscription_id IS NULL AND deleted_at IS NULL LIMIT %s) AS counted""",
        (user_id, MOST_EVENTS),
    )
    row = await cursor.fetchone()
    if row is not None and row[0] + more > MOST_EVENTS:
        raise EventsFull(limit=MOST_EVENTS)


async def has_uid(tx: Connection, user_id: str, uid: str | None) -> bool:
    """Whether a user has an event of that UID, of their own and not deleted."""
    cursor = await tx.execute(
        """
        SELECT FROM events
        WHERE user_id = %s::uuid AND uid = %s AND subscription_id IS NULL AND deleted_at IS NULL""",
        (user_id, uid),
    )
    return await cursor.fetchone() is not None


_PUT = f"""
    INSERT INTO events ({EVENTS.names}) SELECT * FROM {EVENTS.recordset}
    ON CONFLICT (id) DO UPDATE SET {EVENTS.assignments_of_rows.replace("events_rows.", "excluded.")}
    RETURNING id"""


async def put_events(tx: Connection, changed: Sequence[CalendarEvent], side_effects: SideEffects) -> None:
    """Writes new events and the next versions of locked ones."""
    await outbox.write(tx, _PUT, EVENTS.rows(changed), side_effects)


async def list_events(connection: Connection, user_id: str, chosen: EventFilter, page: Page) -> list[CalendarEvent]:
    """Reads one event more than the page holds, the one that was created last first."""
    values: dict[str, Any] = {
        "user_id": user_id,
        "limit": page.limit(),
        "states": list(chosen.states),
        "subscription_id": chosen.subscription_id,
        "todo_task_id": chosen.todo_task_id,
    }
    conditions = ["user_id = %(user_id)s::uuid", _VISIBLE]
    if not chosen.show_deleted:
        conditions.append("deleted_at IS NULL")
    if chosen.states:
        conditions.append("status = ANY(%(states)s)")
    if chosen.todo_task_id is not None:
        conditions.append("todo_task_id = %(todo_task_id)s::uuid")
    if chosen.subscription_id is None:
        conditions.append("subscription_id IS NULL")
    else:
        conditions.append("subscription_id = %(subscription_id)s::uuid")
    if page.after is not None:
        values["created_at"], values["id"] = page.after
        conditions.append(
            "(created_at, id) < ('epoch'::timestamptz + %(created_at)s * interval '1 microsecond', %(id)s::uuid)"
        )
    cursor = EVENTS.cursor(connection)
    await cursor.execute(
        f"""
        SELECT {EVENTS.select} FROM events WHERE {" AND ".join(conditions)}
        ORDER BY events.created_at DESC, events.id DESC LIMIT %(limit)s""",
        values,
    )
    return await cursor.fetchall()


def event_key(event: CalendarEvent) -> Key:
    """The sort key of an event in the list."""
    return [event.created_at, event.id]


async def lock_floating(tx: Connection, user_id: str, after: str, limit: int) -> list[CalendarEvent]:
    """Locks events of a user that are on the clock of wherever they are, but no deleted ones, by their ids."""
    cursor = EVENTS.cursor(tx)
    await cursor.execute(
        f"""
        SELECT {EVENTS.select} FROM events
        WHERE user_id = %s::uuid AND time_zone IS NULL AND deleted_at IS NULL AND id > %s::uuid
        ORDER BY events.id LIMIT %s FOR UPDATE""",
        (user_id, after, limit),
    )
    return await cursor.fetchall()


async def purge_events(connection: Connection, limit: int) -> int:
    """Removes events that can no longer be undeleted, with their occurrences; returns how many."""
    cursor = await connection.execute(
        """
        DELETE FROM events WHERE id IN (
            SELECT id FROM events WHERE purge_at <= now() ORDER BY purge_at LIMIT %s FOR UPDATE SKIP LOCKED)""",
        (limit,),
    )
    return cursor.rowcount
