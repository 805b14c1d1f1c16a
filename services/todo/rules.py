"""The changes of a task that the specification allows, and what focus sessions count.

Pure; `now` in microseconds, `etag` None for no check.

pending -> in_progress -> complete      pending -> complete      complete -> pending (reopen)      any -> deleted
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mesh.rpc.etag import check_etag, next_version
from mesh.runtime.clock import DAY
from services.todo import errors
from services.todo.model import FocusReport, FocusSession, State, Task, Totals

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


def update(task: Task, now: int, etag: str | None, *, changes: Mapping[str, Any]) -> Task:
    """The task with its changes, by the names of the model; `task` itself when they change nothing."""
    _require_live(task, etag)
    changed = task._replace(**changes)
    if changed.is_recurring != (changed.recurrence_schedule is not None):
        raise errors.RecurrenceIncomplete(task_id=task.id)
    return task if changed == task else next_version(changed, now)


def delete(task: Task, now: int, etag: str | None) -> Task:
    """The task, deleted; its state is kept for an undelete within 30 days."""
    _require_live(task, etag)
    return next_version(task, now, deleted_at=now, purge_at=now + UNDELETE_WINDOW)


def undelete(task: Task, now: int, etag: str | None) -> Task:
    """The deleted task, back in the state it had."""
    check_etag(etag, task.version)
    if task.deleted_at is None:
        raise errors.TaskNotDeleted(task_id=task.id)
    return next_version(task, now, deleted_at=None, purge_at=None)


def _require_live(task: Task, etag: str | None) -> None:
    check_etag(etag, task.version)
    if task.deleted_at is not None:
        raise errors.TaskDeleted(task_id=task.id)


def report(session: FocusSession, report: FocusReport) -> FocusSession:
    """The focus session after a report."""
    if report.is_correction:
        return session._replace(corrected=report.totals, is_removed=report.is_deleted)
    return session._replace(totals=report.totals, is_deleted=report.is_deleted)


def counted(session: FocusSession) -> Totals:
    """What counts of a focus session: as history has it, once history has said so, which then follows pomodoro too."""
    if session.corrected is None:
        return {} if session.is_deleted else session.totals
    return {} if session.is_removed else session.corrected


def moved(before: Sequence[FocusSession], after: Sequence[FocusSession]) -> dict[tuple[str, str], list[int]]:
    """Seconds and pomodoros by which the sums of tasks change, by user and task."""
    sums: dict[tuple[str, str], list[int]] = {}
    for sign, sessions in ((-1, before), (1, after)):
        for session in sessions:
            for task_id, (seconds, pomodoros) in counted(session).items():
                total = sums.setdefault((session.user_id, task_id), [0, 0])
                total[0] += sign * seconds
                total[1] += sign * pomodoros
    return {task: total for task, total in sums.items() if any(total)}
