"""What the calendar service publishes: to `calendar-events` every change, to `reminders` reminders that are due."""

from typing import Any
from uuid import UUID, uuid5

from mesh.events.outbox import Event
from mesh.runtime.clock import to_datetime, to_datetime_or_none, to_json
from mesh.runtime.ids import new_id
from services.calendar.model import CalendarEvent, DueReminder, Occurrence
from services.calendar.rules.reminders import named

TOPICS = ("calendar-events", "reminders")


def event_created(event: CalendarEvent) -> Event:
    """For a new event, also one that was split off from another."""
    return _event("event-created", event)


def event_updated(event: CalendarEvent, occurrence: Occurrence | None = None) -> Event:
    """For an event that was changed or undeleted, or an occurrence that was changed or restored."""
    return _event("event-updated", event, occurrence)


def event_deleted(event: CalendarEvent) -> Event:
    """For an event that was deleted as a whole."""
    return _event("event-deleted", event)


def occurrence_moved(event: CalendarEvent, occurrence: Occurrence) -> Event:
    """For an occurrence with another time or length."""
    return _event("occurrence-moved", event, occurrence)


def occurrence_cancelled(event: CalendarEvent, occurrence: Occurrence) -> Event:
    """For an occurrence that does not take place."""
    return _event("occurrence-cancelled", event, occurrence)


def occurrence_completed(event: CalendarEvent, occurrence: Occurrence) -> Event:
    """For an occurrence that is done."""
    return _event("occurrence-completed", event, occurrence)


def occurrence_started(event: CalendarEvent, occurrence: Occurrence) -> Event:
    """For an occurrence that became a focus session."""
    return _event("occurrence-started", event, occurrence)


def occurrence_ended(event: CalendarEvent, occurrence: Occurrence) -> Event:
    """For an occurrence whose time has passed. Its id says which: a second one is a duplicate."""
    message = _event("occurrence-ended", event, occurrence)
    return message._replace(id=str(uuid5(UUID(event.id), f"{occurrence.slot}|ended")))


def reminder_fired(event: CalendarEvent, occurrence: Occurrence | None, due: DueReminder, now: int) -> Event:
    """A reminder is due. Its id says which, and for which instant: a second one is a duplicate.

    Its version is that of the event: changes of a later one may make it void. occurrence: None of one for an instant.
    """
    offset, channel = named(due.reminder)
    ends_at = event.ends_at if occurrence is None else occurrence.end
    return Event(
        id=str(uuid5(UUID(event.id), f"{due.reminder}|{due.slot or ''}|{to_json(due.remind_at)}")),
        type="reminder-fired",
        source="calendar",
        topics=("reminders",),
        user_id=event.user_id,
        subject=event.id,
        subject_name="calendar_event_id",
        version=event.version,
        time=now,
        payload={
            "title": event.title if occurrence is None else occurrence.title,
            "reminder_time": to_datetime(due.remind_at),
            "channel": channel,
            "due_date": None,
            "reminder": offset or None,
            "occurrence_id": None if occurrence is None else occurrence.id,
            "slot": due.slot,
            "start": None if occurrence is None else occurrence.local_start,
            "start_time": None if occurrence is None else to_datetime(occurrence.start),
            "end_time": None if ends_at is None or ends_at <= due.remind_at else to_datetime(ends_at),
            "time_zone": event.time_zone,
        },
        beside={"task_id": None},
    )


def _event(kind: str, event: CalendarEvent, occurrence: Occurrence | None = None) -> Event:
    return Event(
        id=new_id(),
        type=kind,
        source="calendar",
        topics=("calendar-events",),
        user_id=event.user_id,
        subject=event.id,
        subject_name="calendar_event_id",
        version=event.version,
        time=event.updated_at,
        payload=_snapshot(event) | {"occurrence": None if occurrence is None else _occurrence(occurrence)},
    )


def _snapshot(event: CalendarEvent) -> dict[str, Any]:
    return {
        "title": event.title,
        "description": event.description,
        "location": event.location,
        "scheduled_start": to_datetime(event.scheduled_start),
        "duration_minutes": event.duration_minutes,
        "repeat_type": event.repeat_type,
        "repeat_until": to_datetime_or_none(event.repeat_until),
        "status": event.status,
        "start": event.start_slot,
        "time_zone": event.time_zone,
        "is_all_day": event.is_all_day,
        "recurrence": event.rule,
        "todo_task_id": event.todo_task_id,
        "added": list(event.added),
        "series_id": event.series_id,
        "delete_time": to_datetime_or_none(event.deleted_at),
    }


def _occurrence(occurrence: Occurrence) -> dict[str, Any]:
    return {
        "occurrence_id": occurrence.id,
        "slot": occurrence.slot,
        "start": occurrence.local_start,
        "title": occurrence.title,
        "status": occurrence.status,
        "start_time": to_datetime(occurrence.start),
        "end_time": to_datetime(occurrence.end),
        "planned_minutes": occurrence.planned_minutes,
        "focus_session_id": None if occurrence.row is None else occurrence.row.session_id,
    }
