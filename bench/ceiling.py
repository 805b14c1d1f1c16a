"""The ceiling: CreateTask and ListTasks as a bare grpc.aio handler, and nothing around it.

No token, policy, validation, idempotency, outbox, metrics, traces or limits; a header names the caller. The statements
are the todo service's own, on the same tables: one autocommitted, prepared INSERT, and one SELECT of a page.
Rows become messages the usual way, through UUID and datetime objects; timestamps are set by arithmetic, because the
convenient `FromDatetime` would cost a quarter more and make the ceiling too easy to reach.
"""

import asyncio
import base64
import signal
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import grpc
import uvloop
from focusmesh.todo.v1 import task_pb2, task_service_pb2_grpc
from focusmesh.todo.v1 import task_service_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp
from psycopg_pool import AsyncConnectionPool

Row: TypeAlias = tuple[Any, ...]

CONNECTIONS = 8
CALLER = "x-user-id"
"""Header with the id of the caller."""

INSERT = """
    INSERT INTO tasks (id, user_id, title, description, status, due_date, reminder_time, is_recurring,
        recurrence_schedule, created_at, updated_at, version)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""
LIST = """
    SELECT id, user_id, title, description, status, due_date, reminder_time, is_recurring, recurrence_schedule,
        created_at, updated_at, completed_at, deleted_at, purge_at, version
    FROM tasks WHERE user_id = %s AND deleted_at IS NULL
    ORDER BY created_at DESC, id DESC LIMIT %s"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATES = {
    "pending": task_pb2.TASK_STATE_PENDING,
    "in_progress": task_pb2.TASK_STATE_IN_PROGRESS,
    "complete": task_pb2.TASK_STATE_COMPLETE,
}
_SCHEDULES = {
    None: task_pb2.RECURRENCE_SCHEDULE_UNSPECIFIED,
    "daily": task_pb2.RECURRENCE_SCHEDULE_DAILY,
    "weekly": task_pb2.RECURRENCE_SCHEDULE_WEEKLY,
    "monthly": task_pb2.RECURRENCE_SCHEDULE_MONTHLY,
}
_SCHEDULE_NAMES = {number: name for name, number in _SCHEDULES.items()}


def set_time(message: Timestamp, instant: datetime) -> None:
    """Sets a Timestamp."""
    since = instant - _EPOCH
    message.seconds = since.days * 86_400 + since.seconds
    message.nanos = since.microseconds * 1000


def time_of(message: Timestamp) -> datetime:
    """The instant of a Timestamp."""
    return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)


def fill(message: task_pb2.Task, row: Row) -> None:
    """A row of LIST as a message."""
    (task_id, _, title, description, status, due, reminder, recurring, schedule, *times, version) = row
    created, updated, completed, deleted, purge = times
    message.id = str(task_id)
    message.title = title
    if description is not None:
        message.description = description
    message.state = _STATES[status]
    if due is not None:
        set_time(message.due_time, due)
    if reminder is not None:
        set_time(message.reminder_time, reminder)
    message.is_recurring = recurring
    message.recurrence_schedule = _SCHEDULES[schedule]
    set_time(message.create_time, created)
    set_time(message.update_time, updated)
    if completed is not None:
        set_time(message.complete_time, completed)
    if deleted is not None:
        set_time(message.delete_time, deleted)
    if purge is not None:
        set_time(message.purge_time, purge)
    message.etag = f"v{version}"


def new_row(request: pb.CreateTaskRequest, user_id: uuid.UUID) -> Row:
    """A request as a row of LIST."""
    now = datetime.now(UTC)
    return (
        uuid.uuid4(),
        user_id,
        request.title,
        request.description if request.HasField("description") else None,
        "pending",
        time_of(request.due_time) if request.HasField("due_time") else None,
        time_of(request.reminder_time) if request.HasField("reminder_time") else None,
        request.is_recurring,
        _SCHEDULE_NAMES[request.recurrence_schedule],
        now,
        now,
        None,
        None,
        None,
        1,
    )


Pool: TypeAlias = "AsyncConnectionPool[Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


def _caller(context: Context) -> uuid.UUID:
    for name, value in context.invocation_metadata() or ():
        if name == CALLER:
            return uuid.UUID(str(value))
    raise LookupError(CALLER)


class BareTasks(task_service_pb2_grpc.TaskServiceServicer):
    """The two RPCs."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def CreateTask(self, request: pb.CreateTaskRequest, context: Context) -> pb.CreateTaskResponse:
        row = new_row(request, _caller(context))
        async with self.pool.connection() as connection:
            await connection.execute(INSERT, (*row[:11], row[14]))
        response = pb.CreateTaskResponse()
        fill(response.task, row)
        return response

    async def ListTasks(self, request: pb.ListTasksRequest, context: Context) -> pb.ListTasksResponse:
        size = request.page_size or 50
        async with self.pool.connection() as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(LIST, (_caller(context), size + 1))
            rows = await cursor.fetchall()
        response = pb.ListTasksResponse()
        for row in rows[:size]:
            fill(response.tasks.add(), row)
        if len(rows) > size:
            last = rows[size - 1]
            response.next_page_token = base64.urlsafe_b64encode(f"{last[9].isoformat()} {last[0]}".encode()).decode()
        return response


async def serve(register: Callable[[grpc.aio.Server, Pool], None], database_url: str, listen: str) -> None:
    """Serves until SIGTERM. register: adds the servicer."""
    pool: Pool = AsyncConnectionPool(
        database_url, min_size=CONNECTIONS, max_size=CONNECTIONS, kwargs={"autocommit": True}, open=False
    )
    await pool.open(wait=True)
    server = grpc.aio.server()
    register(server, pool)
    server.add_insecure_port(listen)
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop(0.2)
    await pool.close()


def _register(server: grpc.aio.Server, pool: Pool) -> None:
    task_service_pb2_grpc.add_TaskServiceServicer_to_server(BareTasks(pool), server)  # type: ignore[abstract]


if __name__ == "__main__":
    uvloop.run(serve(_register, *sys.argv[1:3]))
