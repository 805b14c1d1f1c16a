"""The ceiling of the calendar: the same statements as its service's, in bare grpc.aio handlers.

No token, policy, validation, idempotency, outbox, metrics or rules; a header names the caller. Slots come from
dateutil, as a team would make them; instead of a start, pomodoro is asked for its health, which is a call too.
"""

import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import uvloop
from dateutil.rrule import DAILY, rrule  # type: ignore[import-untyped]  # it has no types
from focusmesh.calendar.v1 import event_pb2, event_service_pb2, event_service_pb2_grpc, occurrence_service_pb2_grpc
from focusmesh.calendar.v1 import occurrence_service_pb2 as pb
from focusmesh.type.v1 import recurrence_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from psycopg.types.json import Jsonb

from bench.ceiling import CALLER, Context, Pool, serve, set_time, time_of

_COLUMNS = (
    "id, user_id, title, description, scheduled_start, duration_minutes, repeat_type, repeat_until, status, created_at,"
    " updated_at, location, start_slot, time_zone, length_days, length_seconds, rule, added, reminders, todo_task_id,"
    " series_id, subscription_id, uid, sequence, stamped_at, ends_at, last_slot, next_end_at, deleted_at, purge_at,"
    " version"
)
_ZONE = "SELECT time_zone FROM users WHERE user_id = %s"
_LOCK_USER = _ZONE + " FOR UPDATE"
_ROOM = "SELECT count(*) FROM (SELECT FROM events WHERE user_id = %s AND deleted_at IS NULL LIMIT 5000) AS counted"
_CREATE = """
    INSERT INTO events (id, user_id, title, scheduled_start, duration_minutes, repeat_type, status, start_slot,
        time_zone, length_days, length_seconds, rule, series_id, next_end_at)
    VALUES (%(id)s, %(user)s, %(title)s, %(at)s, 25, 'daily', 'planned', %(slot)s, %(zone)s, 0, 1500, %(rule)s, %(id)s,
        %(end)s)"""
_PATTERNS = """
    SELECT id, title, start_slot, time_zone, length_seconds, rule, version FROM events
    WHERE user_id = %s AND deleted_at IS NULL AND scheduled_start < %s AND (ends_at IS NULL OR ends_at >= %s)"""
_MOVED = (
    "SELECT event_id, slot, start_time FROM occurrences WHERE user_id = %s AND start_time >= %s AND start_time < %s"
)
_ROWS = """
    SELECT event_id, occurrences.slot, status FROM occurrences
        JOIN unnest(%s::uuid[], %s::text[]) AS place (id, slot) ON event_id = id AND occurrences.slot = place.slot"""
_EVENT = f"SELECT {_COLUMNS} FROM events WHERE user_id = %s AND id = %s"
_OWN = "SELECT slot, status, session_id, starts FROM occurrences WHERE event_id = %s"
_STARTED = """
    INSERT INTO occurrences (event_id, slot, user_id, session_id, starts) VALUES (%s, %s, %s, %s, 1)
    ON CONFLICT (event_id, slot) DO UPDATE SET session_id = excluded.session_id, starts = occurrences.starts + 1"""
_CHANGED = "UPDATE events SET version = version + 1, updated_at = %s WHERE user_id = %s AND id = %s"


def _caller(context: Context) -> uuid.UUID:
    return uuid.UUID(str(dict(context.invocation_metadata() or ())[CALLER]))


def _shown(event: uuid.UUID, title: str, slot: datetime, seconds: int, zone: str, version: int) -> event_pb2.Occurrence:
    """The message of an occurrence."""
    text = slot.replace(tzinfo=None).isoformat()
    message = event_pb2.Occurrence(
        id=f"{event}_{text.replace('-', '').replace(':', '')}",
        event_id=str(event),
        slot=text,
        title=title,
        time_zone=zone,
        state=event_pb2.EVENT_STATE_PLANNED,
        etag=f"v{version}",
    )
    start = slot.astimezone(UTC)
    set_time(message.start_time, start)
    set_time(message.end_time, start + timedelta(seconds=seconds))
    return message


class BareEvents(event_service_pb2_grpc.EventServiceServicer):
    """One RPC."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def CreateEvent(
        self, request: event_service_pb2.CreateEventRequest, context: Context
    ) -> event_service_pb2.CreateEventResponse:
        user, event_id, now = _caller(context), uuid.uuid4(), datetime.now(UTC)
        at = datetime.fromisoformat(request.start).replace(tzinfo=ZoneInfo(request.time_zone))
        values = {"id": event_id, "user": user, "title": request.title, "at": at, "slot": request.start}
        values |= {"zone": request.time_zone, "rule": Jsonb({"frequency": "daily"}), "end": at + timedelta(minutes=25)}
        async with self.pool.connection() as connection:
            await connection.execute(_ZONE, (user,))
            async with connection.transaction():
                await connection.execute(_LOCK_USER, (user,))
                await connection.execute(_ROOM, (user,))
                await connection.execute(_CREATE, values)
        event = event_pb2.Event(
            id=str(event_id),
            title=request.title,
            start=request.start,
            time_zone=request.time_zone,
            duration_minutes=25,
            recurrence=recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_DAILY, interval=1),
            repeat_type=event_pb2.REPEAT_TYPE_DAILY,
            state=event_pb2.EVENT_STATE_PLANNED,
            etag="v1",
        )
        for field, instant in ((event.scheduled_start_time, at), (event.create_time, now), (event.update_time, now)):
            set_time(field, instant)
        return event_service_pb2.CreateEventResponse(event=event)


class BareOccurrences(occurrence_service_pb2_grpc.OccurrenceServiceServicer):
    """Two RPCs."""

    def __init__(self, pool: Pool, pomodoro: grpc.aio.Channel) -> None:
        self.pool, self.health = pool, health_pb2_grpc.HealthStub(pomodoro)

    async def ListOccurrences(self, request: pb.ListOccurrencesRequest, context: Context) -> pb.ListOccurrencesResponse:
        user, begin, end = _caller(context), time_of(request.start_time), time_of(request.end_time)
        async with self.pool.connection() as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(_ZONE, (user,))
            await cursor.execute(_PATTERNS, (user, end, begin))
            patterns = await cursor.fetchall()
            slots = [(slot, row) for row in patterns for slot in _slots(row, begin, end)]
            slots.sort(key=lambda each: (each[0], each[1][0]))
            shown = slots[: request.page_size]
            await cursor.execute(_MOVED, (user, begin, end))
            places = ([row[0] for _, row in shown], [slot.replace(tzinfo=None).isoformat() for slot, _ in shown])
            await cursor.execute(_ROWS, places)
            await cursor.fetchall()
        response = pb.ListOccurrencesResponse(
            occurrences=[_shown(row[0], row[1], slot, row[4], row[3], row[6]) for slot, row in shown]
        )
        if len(slots) > len(shown):
            response.next_page_token = f"{shown[-1][0].isoformat()} {shown[-1][1][0]}"
        return response

    async def StartOccurrence(self, request: pb.StartOccurrenceRequest, context: Context) -> pb.StartOccurrenceResponse:
        user, now, session = _caller(context), datetime.now(UTC), uuid.uuid4()
        event_id = uuid.UUID(request.occurrence_id[:36])
        slot = datetime.fromisoformat(request.occurrence_id[37:]).isoformat()
        async with self.pool.connection() as connection:
            await connection.execute(_ZONE, (user,))
            await self._read(connection, user, event_id)
        await self.health.Check(health_pb2.HealthCheckRequest(), timeout=3)  # type: ignore[attr-defined]  # no stubs
        async with self.pool.connection() as connection, connection.transaction():
            await connection.execute(_LOCK_USER, (user,))
            row = await self._read(connection, user, event_id, " FOR UPDATE")
            await connection.execute(_STARTED, (event_id, slot, user, session))
            await connection.execute(_CHANGED, (now, user, event_id))
        zone = row["time_zone"]
        start = datetime.fromisoformat(slot).replace(tzinfo=ZoneInfo(zone))
        made = _shown(event_id, row["title"], start, row["length_seconds"], zone, row["version"] + 1)
        made.focus_session_id = str(session)
        return pb.StartOccurrenceResponse(occurrence=made, focus_session_id=str(session), is_new=True)

    async def _read(self, connection: Any, user: uuid.UUID, event_id: uuid.UUID, lock: str = "") -> dict[str, Any]:
        """The event, after which its rows are read."""
        cursor = connection.cursor(binary=True)
        await cursor.execute(_EVENT + lock, (user, event_id))
        row = await cursor.fetchone()
        await cursor.execute(_OWN, (event_id,))
        await cursor.fetchall()
        return dict(zip(_COLUMNS.split(", "), row, strict=True))


def _slots(row: tuple[Any, ...], begin: datetime, end: datetime) -> list[datetime]:
    """The slots of a daily series in a window."""
    _, _, start, zone, seconds, rule, _ = row
    local, known = datetime.fromisoformat(start), ZoneInfo(zone)
    since = (begin - timedelta(seconds=seconds)).astimezone(known).replace(tzinfo=None)
    until = end.astimezone(known).replace(tzinfo=None)
    found = rrule(DAILY, dtstart=local, interval=rule.get("interval", 1)).between(since, until)
    return [each.replace(tzinfo=known) for each in found]


def _register(server: grpc.aio.Server, pool: Pool) -> None:
    pomodoro = grpc.aio.insecure_channel(sys.argv[3])
    event_service_pb2_grpc.add_EventServiceServicer_to_server(BareEvents(pool), server)  # type: ignore[abstract]
    occurrence_service_pb2_grpc.add_OccurrenceServiceServicer_to_server(
        BareOccurrences(pool, pomodoro),  # type: ignore[abstract]
        server,
    )


if __name__ == "__main__":
    uvloop.run(serve(_register, *sys.argv[1:3]))
