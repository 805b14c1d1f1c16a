"""The ceiling of recurring tasks and reminders: the same statements as the services', in bare grpc.aio handlers.

No token, policy, validation, idempotency, outbox, metrics or rules; a header names the caller. Slots of a preview come
from dateutil, as a team would make them.
"""

import sys
import uuid
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import uvloop
from dateutil.rrule import WEEKLY, rrule  # type: ignore[import-untyped]  # it has no types
from focusmesh.notification.v1 import (
    channel_pb2,
    notification_pb2,
    notification_service_pb2,
    notification_service_pb2_grpc,
    reminder_pb2,
    reminder_service_pb2,
    reminder_service_pb2_grpc,
)
from focusmesh.recurrence.v1 import schedule_service_pb2, schedule_service_pb2_grpc
from focusmesh.todo.v1 import task_service_pb2, task_service_pb2_grpc
from focusmesh.type.v1 import recurrence_pb2
from psycopg.types.json import Jsonb

from bench.ceiling import CALLER, Context, Pool, fill, serve, set_time, time_of

_TASK = """
    SELECT id, user_id, title, description, status, due_date, reminder_time, is_recurring, recurrence_schedule,
        created_at, updated_at, completed_at, deleted_at, purge_at, version, estimated_pomodoros, focus_seconds,
        pomodoros, recurrence, time_zone, repeat_from, series_id, slot, reminder_offsets
    FROM tasks WHERE user_id = %s AND id = %s AND (purge_at IS NULL OR purge_at > now())"""
_COMPLETE = """
    UPDATE tasks SET status = 'complete', completed_at = %s, updated_at = %s, version = %s
    WHERE user_id = %s AND id = %s AND version = %s"""
_REMIND = """
    INSERT INTO reminders (id, user_id, type, scheduled_for, payload, fire_at, created_at, updated_at)
    SELECT %(id)s, %(user)s, 'in_app', %(at)s, %(payload)s, %(at)s, %(now)s, %(now)s
    WHERE (SELECT count(*) FROM (
        SELECT FROM reminders WHERE user_id = %(user)s AND status = 'pending' LIMIT 1000) AS pending) < 1000"""
_SHOWN = """
    SELECT id, task_id, reminder_id, outcome, payload, scheduled_for, sent_at, read_at FROM notifications
    WHERE user_id = %s AND channel = 'in_app' AND sent_at IS NOT NULL ORDER BY sent_at DESC, id DESC LIMIT %s"""


def _caller(context: Context) -> uuid.UUID:
    return uuid.UUID(str(dict(context.invocation_metadata() or ())[CALLER]))


class BareTasks(task_service_pb2_grpc.TaskServiceServicer):
    """One RPC."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def CompleteTask(
        self, request: task_service_pb2.CompleteTaskRequest, context: Context
    ) -> task_service_pb2.CompleteTaskResponse:
        user, task, now = _caller(context), uuid.UUID(request.task_id), datetime.now(UTC)
        async with self.pool.connection() as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(_TASK, (user, task))
            row = list(await cursor.fetchone() or ())
            row[4], row[10], row[11], row[14] = "complete", now, now, row[14] + 1
            await connection.execute(_COMPLETE, (now, now, row[14], user, task, row[14] - 1))
        response = task_service_pb2.CompleteTaskResponse()
        fill(response.task, tuple(row[:15]))
        *_, rule, zone, _, series_id, slot, _ = row
        recurrence = recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_DAILY, interval=rule["interval"])
        response.task.recurrence.CopyFrom(recurrence)
        response.task.time_zone, response.task.series_id, response.task.slot = zone, str(series_id), slot
        response.task.repeat_from = recurrence_pb2.REPEAT_FROM_DUE_NEXT_FUTURE
        return response


class BareReminders(reminder_service_pb2_grpc.ReminderServiceServicer):
    """One RPC."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def CreateReminder(
        self, request: reminder_service_pb2.CreateReminderRequest, context: Context
    ) -> reminder_service_pb2.CreateReminderResponse:
        now, reminder_id = datetime.now(UTC), uuid.uuid4()
        values = {"id": reminder_id, "user": _caller(context), "at": time_of(request.remind_time), "now": now}
        async with self.pool.connection() as connection:
            await connection.execute(_REMIND, values | {"payload": Jsonb({"title": request.title})})
        made = reminder_pb2.Reminder(
            id=str(reminder_id),
            title=request.title,
            channel=channel_pb2.CHANNEL_IN_APP,
            state=reminder_pb2.REMINDER_STATE_PENDING,
            etag="v1",
        )
        made.remind_time.CopyFrom(request.remind_time)
        set_time(made.create_time, now)
        set_time(made.update_time, now)
        return reminder_service_pb2.CreateReminderResponse(reminder=made)


class BareNotifications(notification_service_pb2_grpc.NotificationServiceServicer):
    """One RPC."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def ListNotifications(
        self, request: notification_service_pb2.ListNotificationsRequest, context: Context
    ) -> notification_service_pb2.ListNotificationsResponse:
        async with self.pool.connection() as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(_SHOWN, (_caller(context), request.page_size + 1))
            rows = await cursor.fetchall()
        response = notification_service_pb2.ListNotificationsResponse()
        for row in rows[: request.page_size]:
            _show(response.notifications.add(), row)
        if len(rows) > request.page_size:
            response.next_page_token = f"{rows[-1][6].isoformat()} {rows[-1][0]}"
        return response


def _show(message: notification_pb2.Notification, row: tuple[Any, ...]) -> None:
    notification_id, task_id, reminder_id, outcome, payload, scheduled, sent, read = row
    message.id, message.title = str(notification_id), payload["title"]
    message.kind = channel_pb2.NOTIFICATION_KIND_REMINDER
    message.is_late, message.is_missed = outcome == "late", outcome == "missed"
    if task_id is not None:
        message.task_id = str(task_id)
    if reminder_id is not None:
        message.reminder_id = str(reminder_id)
    set_time(message.scheduled_time, scheduled)
    set_time(message.create_time, sent)
    message.due_time.FromMicroseconds(payload["due_date"])
    if read is not None:
        set_time(message.read_time, read)


class BareSchedules(schedule_service_pb2_grpc.ScheduleServiceServicer):
    """One RPC."""

    async def PreviewRecurrence(
        self, request: schedule_service_pb2.PreviewRecurrenceRequest, _context: Context
    ) -> schedule_service_pb2.PreviewRecurrenceResponse:
        draft = request.draft
        zone, start = ZoneInfo(draft.time_zone), datetime.fromisoformat(draft.start)
        days = [day.weekday - 1 for day in draft.recurrence.by_day]
        response = schedule_service_pb2.PreviewRecurrenceResponse()
        for local in rrule(WEEKLY, dtstart=start, byweekday=days, count=request.count):
            slot = response.slots.add(slot=local.isoformat())
            set_time(slot.due_time, local.replace(tzinfo=zone).astimezone(UTC))
        return response


def _register_todo(server: grpc.aio.Server, pool: Pool) -> None:
    task_service_pb2_grpc.add_TaskServiceServicer_to_server(BareTasks(pool), server)  # type: ignore[abstract]


def _register_notification(server: grpc.aio.Server, pool: Pool) -> None:
    reminder_service_pb2_grpc.add_ReminderServiceServicer_to_server(BareReminders(pool), server)  # type: ignore[abstract]
    notification_service_pb2_grpc.add_NotificationServiceServicer_to_server(BareNotifications(pool), server)  # type: ignore[abstract]


def _register_recurrence(server: grpc.aio.Server, _: Pool) -> None:
    schedule_service_pb2_grpc.add_ScheduleServiceServicer_to_server(BareSchedules(), server)  # type: ignore[abstract]


_REGISTER = {"todo": _register_todo, "notification": _register_notification, "recurrence": _register_recurrence}

if __name__ == "__main__":
    uvloop.run(serve(_REGISTER[sys.argv[1]], *sys.argv[2:4]))
