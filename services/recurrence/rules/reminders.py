"""When the reminders of a task fire."""

from collections.abc import Mapping
from uuid import UUID, uuid5

from mesh.recurrence.offsets import before, parse_offset
from services.recurrence.model import Reminder, TaskState

ABSOLUTE = ""
"""The name of a task's absolute reminder; the others are named by their offset."""


def follow(stored: Mapping[str, Reminder], state: TaskState, zone: str | None) -> dict[str, Reminder]:
    """The reminders of an open task after an event, by name. zone: of its user, for days of a task that has none.

    One that keeps its instant keeps whether it waits; a new or moved one waits unless it was in the past already.
    """
    task = state.task
    found: dict[str, Reminder] = {}
    for name, instant in _instants(state, zone).items():
        kept = stored.get(name)
        if kept is None or kept.remind_at != instant:
            kept = Reminder(task.id, name, task.user_id, instant, is_waiting=instant >= state.at)
        found[name] = kept
    return found


def reminder_id(task_id: str, name: str) -> str:
    """The id of a reminder of a task."""
    return str(uuid5(UUID(task_id), name or "reminder_time"))


def moved(reminder: Reminder, due: int, zone: str, now: int) -> Reminder:
    """A relative reminder of a user whose zone changed."""
    instant = _before(due, reminder.reminder, zone)
    if instant is None or instant == reminder.remind_at:
        return reminder
    return reminder._replace(remind_at=instant, is_waiting=instant >= now)


def needs_zone(state: TaskState) -> bool:
    """Whether a reminder counts in days of the user: the task recurs in no zone of its own."""
    return state.task.time_zone is None and any(parse_offset(offset).days for offset in state.offsets)


def _instants(state: TaskState, zone: str | None) -> dict[str, int]:
    due, found = state.task.due_date, dict[str, int]()
    if state.reminder_time is not None:
        found[ABSOLUTE] = state.reminder_time
    if due is not None:
        for offset in state.offsets:
            instant = _before(due, offset, state.task.time_zone or zone or "UTC")
            if instant is not None:
                found[offset] = instant
    return found


def _before(due: int, offset: str, zone: str) -> int | None:
    """The instant of a relative reminder; None when the due time is after the year 9999 in the zone."""
    try:
        return before(due, parse_offset(offset), zone)
    except OverflowError:
        return None
