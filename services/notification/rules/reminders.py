"""Reminders that users make, snooze and cancel."""

from mesh.rpc.etag import check_etag, next_version
from mesh.runtime.clock import DAY, SECOND, to_json
from services.notification import errors
from services.notification.model import CANCELLED, Planned, Reminder, ReminderStatus, TaskState
from services.notification.rules.refusals import refusal

_FURTHEST = 3653 * DAY
_BEHIND = 60 * SECOND
"""A client's clock may be so far behind."""


def require_ahead(instant: int, now: int) -> None:
    """Raises RemindTimeInPast for an instant that is over, or more than ten years ahead."""
    if not now - _BEHIND <= instant <= now + _FURTHEST:
        raise errors.RemindTimeInPast(server_time=to_json(now))


def snooze(reminder: Reminder, until: int, *, now: int, etag: str | None) -> Reminder:
    """The reminder for another instant, pending again."""
    check_etag(etag, reminder.version)
    if reminder.status == ReminderStatus.CANCELLED:
        raise errors.ReminderCancelled(reminder_id=reminder.id)
    require_ahead(until, now)
    if until == reminder.scheduled_for and reminder.fire_at is None:
        until += 1  # there are deliveries for this instant, and one instant has only those
    return next_version(
        reminder,
        now,
        scheduled_for=until,
        fire_at=until,
        status=ReminderStatus.PENDING,
        sent_at=None,
        error_message=None,
        snooze_count=reminder.snooze_count + 1,
    )


def cancel(reminder: Reminder, *, now: int, etag: str | None) -> Reminder:
    """The pending reminder, cancelled."""
    check_etag(etag, reminder.version)
    if reminder.status == ReminderStatus.CANCELLED:
        raise errors.ReminderCancelled(reminder_id=reminder.id)
    if reminder.status != ReminderStatus.PENDING:
        raise errors.ReminderAlreadySent(reminder_id=reminder.id)
    return next_version(reminder, now, status=ReminderStatus.CANCELLED, fire_at=None, error_message=CANCELLED)


def is_new(task: TaskState, kind: str) -> bool:
    """Whether the event of this type begins a task without a time: no reminder can be void by it."""
    return kind == "task-created" and task.is_open and task.due_date is None and task.reminder_time is None


def follow(reminder: Reminder, state: TaskState | Planned | None, *, now: int) -> Reminder:
    """A reminder by the last state of what it is of: cancelled when it is void, pending again when it no longer is."""
    reason = refusal(reminder.payload, state)
    if reminder.status == ReminderStatus.PENDING and reason:
        return next_version(reminder, now, status=ReminderStatus.CANCELLED, fire_at=None, error_message=reason)
    if reminder.status == ReminderStatus.CANCELLED and not reason:
        return next_version(
            reminder, now, status=ReminderStatus.PENDING, fire_at=reminder.scheduled_for, error_message=None
        )
    return reminder
