"""What the notification service publishes, to `notification-events`: what happens in the inboxes of users.

And the CloudEvent of a user's own reminder, which goes to webhooks alone.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

from mesh.events.envelope import envelope
from mesh.events.outbox import Event
from mesh.runtime.clock import to_datetime, to_datetime_or_none
from mesh.runtime.ids import new_id
from services.notification.model import Notification, Outcome, Recipient, Reminder

TOPICS = ("notification-events",)
MOST_ITEMS = 20


def notification_created(inbox: Recipient, shown: Sequence[Notification], now: int) -> Event:
    """The app shows notifications; those of one moment are one event."""
    return _event("notification-created", inbox, shown, len(shown), now)


def notification_read(inbox: Recipient, read: Sequence[Notification], count: int, now: int) -> Event:
    """Notifications were read. read: the first of them."""
    return _event("notification-read", inbox, read, count, now)


def delivery_failed(inbox: Recipient, failed: Sequence[Notification], count: int, now: int) -> Event:
    """Messages could not be delivered for good. failed: the first of them."""
    return _event("delivery-failed", inbox, failed, count, now)


def reminder_fired(reminder: Reminder) -> bytes:
    """The CloudEvent of a reminder that this service itself fires; the same id for the same instant."""
    instant = str(reminder.scheduled_for)
    payload = reminder.payload
    event = Event(
        id=str(uuid5(UUID(reminder.id), instant)),
        type="reminder-fired",
        source="notification",
        topics=(),
        user_id=reminder.user_id,
        subject=reminder.task_id or reminder.id,
        subject_name="task_id" if reminder.task_id else "reminder_id",
        version=reminder.version,
        time=reminder.scheduled_for,
        payload={
            "title": payload.get("title"),
            "note": payload.get("note"),
            "reminder_time": to_datetime(reminder.scheduled_for),
            "due_date": to_datetime_or_none(payload.get("due_date")),
            "channel": reminder.type,
        },
    )
    return envelope(event, "")


def _event(kind: str, inbox: Recipient, rows: Sequence[Notification], count: int, now: int) -> Event:
    return Event(
        id=new_id(),
        type=kind,
        source="notification",
        topics=TOPICS,
        user_id=inbox.user_id,
        subject=inbox.user_id,
        subject_name="inbox_id",
        version=inbox.inbox_version,
        time=now,
        payload={
            "unread_count": inbox.unread_count,
            "count": count,
            "items": [_item(row) for row in rows[:MOST_ITEMS]],
        },
    )


def _item(row: Notification) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.notification_type,
        "channel": row.channel,
        "title": row.payload.get("title", ""),
        "event_type": row.payload.get("event_type"),
        "task_id": row.task_id,
        "calendar_event_id": row.event_id,
        "reminder_id": row.reminder_id,
        "scheduled_time": to_datetime(row.scheduled_for),
        "is_missed": row.outcome == Outcome.MISSED,
        "is_late": row.outcome == Outcome.LATE,
        "error": row.error_message,
    }
