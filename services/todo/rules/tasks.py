"""The changes of a task that the specification allows.

Pure; `now` in microseconds, `etag` None for no check.

pending -> in_progress -> complete      pending -> complete      complete -> pending (reopen)      any -> deleted
"""

from collections.abc import Mapping
from typing import Any

from mesh.rpc.etag import check_etag, next_version
from mesh.runtime.clock import DAY
from services.todo import errors
from services.todo.model import State, Task
from services.todo.rules import series

UNDELETE_WINDOW = 30 * DAY


def start(task: Task, now: int, etag: str | None) -> Task:
    """The task, in progress."""
    _require_live(task, etag)
    if task.status == State.COMPLETE:
        raise errors.TaskAlreadyComplete(task_id=task.id)
    if task.status == State.IN_PROGRESS:
        raise errors.TaskAlreadyStarted(task_id=task.id)
    return next_version(task, now, status=State.IN_PROGRESS)


def complete(task: Task, now: int, etag: str | None) -> Task:
    """The task, complete."""
    _require_live(task, etag)
    if task.status == State.COMPLETE:
        raise errors.TaskAlreadyComplete(task_id=task.id)
    return next_version(task, now, status=State.COMPLETE, completed_at=now)


def reopen(task: Task, now: int, etag: str | None) -> Task:
    """The complete task, pending again."""
    _require_live(task, etag)
    if task.status != State.COMPLETE:
        raise errors.TaskNotComplete(task_id=task.id, state=task.status)
    return next_version(task, now, status=State.PENDING, completed_at=None)


def create(task: Task, zone: str | None) -> Task:
    """A new task, as it was asked for; one that recurs is the first instance of its series.

    zone: of its user, for a recurring task that names none. Raises ZoneMissing when that is needed and None.
    """
    series.check_offsets(task.reminder_offsets)
    stated = {name: value for name in series.FORMS if (value := getattr(task, name))}
    if not stated:
        return task
    plain = task._replace(recurrence_schedule=None, recurrence=None)
    task = series.with_rule(plain, task, stated, zone)
    return series.begin(task, task.id, task.created_at)


def update(
    task: Task, now: int, etag: str | None, *, changes: Mapping[str, Any], series_id: str, zone: str | None = None
) -> Task:
    """The task with its changes, by the names of the model; `task` itself when they change nothing.

    series_id: of the series that begins with the task when its rule changes. zone: as in `create`.
    """
    _require_live(task, etag)
    series.check_offsets(changes.get("reminder_offsets"))
    changed = task._replace(**changes)
    if not changes.keys().isdisjoint(series.FORMS):
        changed = series.with_rule(task, changed, changes, zone)
    if series.same_rule(changed, task):
        changed = series.of_this_alone(task, changed)
        return task if changed == task else next_version(changed, now)
    if task.status == State.COMPLETE:
        raise errors.TaskAlreadyComplete(task_id=task.id)
    return next_version(series.split(task, changed, changes, series_id, now), now)


def delete(task: Task, now: int, etag: str | None) -> Task:
    """The task, deleted; its state is kept for an undelete within 30 days."""
    _require_live(task, etag)
    return next_version(task, now, deleted_at=now, purge_at=now + UNDELETE_WINDOW)


def undelete(task: Task, now: int, etag: str | None) -> Task:
    """The deleted task, back in the state it had."""
    check_etag(etag, task.version)
    if task.deleted_at is None:
        raise errors.TaskNotDeleted(task_id=task.id)
    return next_version(task, now, deleted_at=None, purge_at=None, is_withdrawn=False)


def _require_live(task: Task, etag: str | None) -> None:
    check_etag(etag, task.version)
    if task.deleted_at is not None:
        raise errors.TaskDeleted(task_id=task.id)
