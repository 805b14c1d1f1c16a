"""What the recurrence service publishes, to `reminders`."""

from uuid import UUID, uuid5

from mesh.events.outbox import Event
from mesh.runtime.clock import to_datetime, to_datetime_or_none, to_json
from services.recurrence.model import DueReminder
from services.recurrence.rules.reminders import reminder_id

TOPICS = ("reminders",)


def reminder_fired(due: DueReminder) -> Event:
    """A reminder is due. Its id says which reminder and for which instant: a second one is a duplicate."""
    return Event(
        id=str(uuid5(UUID(reminder_id(due.task_id, due.reminder)), to_json(due.remind_at))),
        type="reminder-fired",
        source="recurrence",
        topics=TOPICS,
        user_id=due.user_id,
        subject=due.task_id,
        subject_name="task_id",
        version=due.now,  # the reminders of a task have no common row that could count them
        time=due.now,
        payload={
            "title": due.title,
            "reminder_time": to_datetime(due.remind_at),
            "channel": "in_app",
            "due_date": to_datetime_or_none(due.due_date),
            "reminder": due.reminder or None,
            "series_id": due.series_id,
            "slot": due.slot,
        },
    )
