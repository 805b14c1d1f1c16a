"""The events of the todo service: the specification's TaskEvent, to `task-events` and `task-updates`."""

from typing import Any

from mesh.events.outbox import Event
from mesh.runtime.clock import to_datetime_or_none
from mesh.runtime.ids import new_id
from services.todo.model import Task

TOPICS = ("task-events", "task-updates")


def task_created(task: Task) -> Event:
    """For `CreateTask` and `BatchCreateTasks`."""
    return _event("task-created", task)


def task_updated(task: Task) -> Event:
    """For a task that was changed, started, reopened or undeleted."""
    return _event("task-updated", task)


def task_completed(task: Task) -> Event:
    """For `CompleteTask`."""
    return _event("task-completed", task)


def task_deleted(task: Task) -> Event:
    """For `DeleteTask`."""
    return _event("task-deleted", task)


def _event(kind: str, task: Task) -> Event:
    return Event(
        id=new_id(),
        type=kind,
        source="todo",
        topics=TOPICS,
        user_id=task.user_id,
        subject=task.id,
        subject_name="task_id",
        version=task.version,
        time=task.updated_at,
        payload=_snapshot(task),
    )


def _snapshot(task: Task) -> dict[str, Any]:
    return {
        "title": task.title,
        "description": task.description,
        "status": task.status,
        "due_date": to_datetime_or_none(task.due_date),
        "reminder_time": to_datetime_or_none(task.reminder_time),
        "is_recurring": task.is_recurring,
        "recurrence_schedule": task.recurrence_schedule,
        "estimated_pomodoros": task.estimated_pomodoros,
        "recurrence": task.recurrence,
        "time_zone": task.time_zone,
        "repeat_from": task.repeat_from,
        "series_id": task.series_id,
        "slot": task.slot,
        "reminder_offsets": task.reminder_offsets or (),
        "completed_at": to_datetime_or_none(task.completed_at),
        "deleted_at": to_datetime_or_none(task.deleted_at),
    }
