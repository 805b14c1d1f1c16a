"""The ceiling of focus sessions: the same statements as the pomodoro service's, in bare grpc.aio handlers.

No token, policy, validation, idempotency, outbox, metrics or rules; a header names the caller. A change reads the
session with its tasks and transitions, and writes the session and one transition in one statement, as the service does.
"""

import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import uvloop
from focusmesh.pomodoro.v1 import focus_session_pb2
from focusmesh.pomodoro.v1 import focus_session_service_pb2 as pb
from focusmesh.pomodoro.v1 import focus_session_service_pb2_grpc as rpc
from google.protobuf.timestamp_pb2 import Timestamp

from bench.ceiling import CALLER, Context, Pool, serve, set_time

_COLUMNS = (
    "id, user_id, title, status, duration_pomodoro_minutes, duration_short_break_minutes, duration_long_break_minutes,"
    " long_break_interval, auto_start_breaks, auto_start_focus, interval_number, interval_end, progress, focused,"
    " rested, as_of, pomodoro_count, short_break_count, long_break_count, interruption_count, task_count,"
    " selected_task_id, current_task_id, outcome, start_time, end_time, created_at, updated_at, deleted_at, purge_at,"
    " version"
)
_TASKS = """
    (SELECT json_agg(json_build_array(id, title, description, is_done, position, focused_seconds, pomodoro_count)
        ORDER BY position) FROM tasks WHERE tasks.session_id = sessions.id)"""
_TRANSITIONS = """
    (SELECT json_agg(json_build_array(number, kind, at, runs, device_id, cause, gap_start, gap_end, task_id)
        ORDER BY number) FROM transitions WHERE transitions.session_id = sessions.id)"""
_GET = f"SELECT {_COLUMNS}, {_TASKS}, {_TRANSITIONS} FROM sessions WHERE user_id = %s AND id = %s"
_CURRENT = f"""
    SELECT {_COLUMNS}, {_TASKS} FROM sessions
    WHERE user_id = %s AND status IN ('running', 'paused') AND deleted_at IS NULL
    ORDER BY status = 'running' DESC, as_of DESC, id DESC LIMIT 1"""
_CHANGE = """
    WITH changed AS (
        UPDATE sessions SET status = %s, interval_end = %s, progress = %s, focused = %s, as_of = %s, start_time = %s,
            updated_at = %s, version = %s
        WHERE user_id = %s AND id = %s AND version = %s RETURNING id)
    INSERT INTO transitions (session_id, number, kind, at, runs, device_id)
    SELECT id, %s, %s, %s, %s, %s FROM changed"""
_STATES = {
    "planned": focus_session_pb2.FOCUS_SESSION_STATE_PLANNED,
    "running": focus_session_pb2.FOCUS_SESSION_STATE_RUNNING,
    "paused": focus_session_pb2.FOCUS_SESSION_STATE_PAUSED,
    "finished": focus_session_pb2.FOCUS_SESSION_STATE_FINISHED,
}
_MICROSECOND = timedelta(microseconds=1)


class BareFocus(rpc.FocusSessionServiceServicer):
    """Three RPCs."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def StartFocusSession(
        self, request: pb.StartFocusSessionRequest, context: Context
    ) -> pb.StartFocusSessionResponse:
        now = datetime.now(UTC)
        row = await self._read(request.focus_session_id, context)
        row |= {"status": "running", "interval_end": now + timedelta(minutes=row["duration_pomodoro_minutes"])}
        await self._write(row | {"start_time": now}, "start", now)
        return pb.StartFocusSessionResponse(focus_session=_message(row, now), server_time=_timestamp(now))

    async def PauseFocusSession(
        self, request: pb.PauseFocusSessionRequest, context: Context
    ) -> pb.PauseFocusSessionResponse:
        now = datetime.now(UTC)
        row = await self._read(request.focus_session_id, context)
        ran = (now - row["as_of"]) // _MICROSECOND
        row |= {"status": "paused", "interval_end": None}
        row |= {"progress": row["progress"] + ran, "focused": row["focused"] + ran}
        await self._write(row, "pause", now)
        return pb.PauseFocusSessionResponse(focus_session=_message(row, now), server_time=_timestamp(now))

    async def GetCurrentFocusSession(
        self, _: pb.GetCurrentFocusSessionRequest, context: Context
    ) -> pb.GetCurrentFocusSessionResponse:
        now = datetime.now(UTC)
        row = await self._fetch(_CURRENT, (_caller(context),))
        return pb.GetCurrentFocusSessionResponse(focus_session=_message(row, now), server_time=_timestamp(now))

    async def _read(self, session_id: str, context: Context) -> dict[str, Any]:
        return await self._fetch(_GET, (_caller(context), uuid.UUID(session_id)))

    async def _fetch(self, statement: str, values: tuple[Any, ...]) -> dict[str, Any]:
        async with self.pool.connection() as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(statement, values)
            row = await cursor.fetchone()
        if row is None:
            raise LookupError(values)
        return dict(zip((*_COLUMNS.replace("\n", "").split(", "), "tasks", "transitions"), row, strict=False))

    async def _write(self, row: dict[str, Any], kind: str, now: datetime) -> None:
        version, number = row["version"], len(row["transitions"] or ()) + 1
        row |= {"as_of": now, "updated_at": now, "version": version + 1}
        changed = ("status", "interval_end", "progress", "focused", "as_of", "start_time", "updated_at", "version")
        values = (*map(row.get, changed), row["user_id"], row["id"], version)
        async with self.pool.connection() as connection:
            await connection.execute(_CHANGE, (*values, number, kind, now, row["status"] == "running", "bench"))


def _caller(context: Context) -> uuid.UUID:
    return uuid.UUID(str(dict(context.invocation_metadata() or ())[CALLER]))


def _timestamp(instant: datetime) -> Timestamp:
    message = Timestamp()
    set_time(message, instant)
    return message


def _message(row: dict[str, Any], now: datetime) -> focus_session_pb2.FocusSession:
    ran = (now - row["as_of"]) // _MICROSECOND if row["status"] == "running" and row["as_of"] else 0
    message = focus_session_pb2.FocusSession(
        id=str(row["id"]),
        title=row["title"],
        state=_STATES[row["status"]],
        focus_minutes=row["duration_pomodoro_minutes"],
        short_break_minutes=row["duration_short_break_minutes"],
        long_break_minutes=row["duration_long_break_minutes"],
        long_break_interval=row["long_break_interval"],
        auto_start_breaks=row["auto_start_breaks"],
        auto_start_focus=row["auto_start_focus"],
        interval_number=row["interval_number"],
        interval_kind=focus_session_pb2.INTERVAL_KIND_FOCUS,
        progress_seconds=(row["progress"] + ran) // 1_000_000,
        pomodoro_count=row["pomodoro_count"],
        short_break_count=row["short_break_count"],
        long_break_count=row["long_break_count"],
        total_focused_seconds=(row["focused"] + ran) // 1_000_000,
        total_break_seconds=row["rested"] // 1_000_000,
        interruption_count=row["interruption_count"],
        task_count=row["task_count"],
        current_task_id=None if row["current_task_id"] is None else str(row["current_task_id"]),
        etag=f"v{row['version']}",
    )
    for name, column in (
        ("interval_end_time", "interval_end"),
        ("start_time", "start_time"),
        ("create_time", "created_at"),
        ("update_time", "updated_at"),
    ):
        if row[column] is not None:
            set_time(getattr(message, name), row[column])
    for task_id, title, description, is_done, position, seconds, pomodoros in row["tasks"] or ():
        message.tasks.add(
            id=task_id,
            title=title,
            description=description,
            is_done=is_done,
            position=position,
            focused_seconds=seconds,
            pomodoro_count=pomodoros,
        )
    return message


def _register(server: grpc.aio.Server, pool: Pool) -> None:
    rpc.add_FocusSessionServiceServicer_to_server(BareFocus(pool), server)  # type: ignore[abstract]


if __name__ == "__main__":
    uvloop.run(serve(_register, *sys.argv[1:3]))
