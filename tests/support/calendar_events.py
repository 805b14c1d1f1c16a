"""Events of the calendar, put onto the broker as its relay puts them."""

from datetime import datetime
from itertools import count
from typing import Any

from mesh.events.outbox import Event
from mesh.runtime import clock
from mesh.runtime.ids import new_id

_SNAPSHOT: dict[str, Any] = {
    "title": "Deep work",
    "description": None,
    "location": None,
    "scheduled_start": "2030-01-01T09:00:00Z",
    "duration_minutes": 60,
    "repeat_type": "daily",
    "repeat_until": None,
    "status": "planned",
    "start": "2030-01-01T09:00:00",
    "time_zone": "UTC",
    "is_all_day": False,
    "recurrence": {"frequency": "daily"},
    "added": [],
    "todo_task_id": None,
    "series_id": None,
    "delete_time": None,
    "occurrence": None,
}
TOPIC = "calendar-events"
SLOT = "2030-01-02T09:00:00"
"""Of the second occurrence."""


def a_calendar_event(
    user_id: str, event_id: str, kind: str = "event-updated", *, version: int = 2, **changes: Any
) -> Event:
    """What the calendar publishes of a daily event, with these changes."""
    return Event(
        id=new_id(),
        type=kind,
        source="calendar",
        topics=("calendar-events",),
        user_id=user_id,
        subject=event_id,
        subject_name="calendar_event_id",
        version=version,
        time=clock.now(),
        payload={**_SNAPSHOT, "series_id": event_id, **changes},
    )


def an_occurrence(slot: str = SLOT, **changes: Any) -> dict[str, Any]:
    """What such a message says of an occurrence."""
    return {
        "occurrence_id": "",
        "slot": slot,
        "start": slot,
        "title": "Deep work",
        "status": "planned",
        "start_time": f"{slot}Z",
        "end_time": "2030-01-02T10:00:00Z",
        "planned_minutes": 60,
        "focus_session_id": None,
        **changes,
    }


def an_event_reminder(
    user_id: str, event_id: str, *, at: datetime, version: int = 1, slot: str | None = SLOT, **payload: Any
) -> Event:
    """A reminder of an occurrence that is due, as the calendar publishes it. version: of the event when it fired."""
    return Event(
        id=new_id(),
        type="reminder-fired",
        source="calendar",
        topics=("reminders",),
        user_id=user_id,
        subject=event_id,
        subject_name="calendar_event_id",
        version=version,
        time=clock.now(),
        payload={
            "title": "Deep work",
            "reminder_time": at,
            "channel": "in_app",
            "due_date": None,
            "reminder": None if slot is None else "-PT10M",
            "occurrence_id": None if slot is None else f"{event_id}_{slot}",
            "slot": slot,
            "start": slot,
            "start_time": None if slot is None else f"{slot}Z",
            "end_time": None,
            "time_zone": "UTC",
            **payload,
        },
        beside={"task_id": None},
    )


class PlannedEvent:
    """An event of a calendar, of 50 minutes, of which something happens."""

    def __init__(self, user_id: str, *, series_id: str = "", title: str = "Write", **changes: Any) -> None:
        self.user_id, self.id, self._title = user_id, new_id(), title
        self._versions = count(1)
        self._changes = {"title": title, "series_id": series_id or self.id} | changes

    def happens(self, kind: str, slot: str | None = None, **occurrence: Any) -> Event:
        """Something happens to the whole event, or to an occurrence. slot: in UTC."""
        made = {"title": self._title, "planned_minutes": 50} | occurrence
        shown = None if slot is None else an_occurrence(slot, **made)
        version = next(self._versions)
        return a_calendar_event(self.user_id, self.id, kind, version=version, occurrence=shown, **self._changes)
