"""What the history service publishes, to `history-events`: corrections by the user, and what follows of them."""

from typing import Any
from uuid import UUID, uuid5

from mesh.events.outbox import Event
from mesh.runtime.clock import to_datetime_or_none
from mesh.runtime.ids import new_id
from services.history.model import Record

TOPICS = ("history-events",)


def archived_session_added(record: Record) -> Event:
    """For a session that was added by hand."""
    return _event("archived-session-added", record)


def archived_session_updated(record: Record) -> Event:
    """For a session whose title or times changed, or that was undeleted."""
    return _event("archived-session-updated", record)


def archived_session_deleted(record: Record) -> Event:
    """For a session that was deleted."""
    return _event("archived-session-deleted", record)


def archived_session_followed(record: Record, cause_id: str) -> Event:
    """For a session that an event of the pomodoro service deleted or brought back, or that joins with time taken out.

    cause_id: of that event; the id is made from it, so consumers drop what a replay publishes again.
    """
    event = archived_session_updated(record) if record.archived.deleted_at is None else archived_session_deleted(record)
    return event._replace(id=str(uuid5(UUID(cause_id), record.archived.id)))


def _event(kind: str, record: Record) -> Event:
    archived = record.archived
    return Event(
        id=new_id(),
        type=kind,
        source="history",
        topics=TOPICS,
        user_id=archived.user_id,
        subject=archived.id,
        subject_name="session_id",
        version=archived.version,
        time=archived.updated_at,
        payload=_snapshot(record),
    )


def _snapshot(record: Record) -> dict[str, Any]:
    archived = record.archived
    return {
        "title": archived.title,
        "status": archived.status,
        "is_manual": archived.original_session_id is None,
        "outcome": archived.outcome,
        "pomodoro_count": archived.pomodoro_count,
        "total_focused_seconds": archived.total_focused_seconds,
        "total_break_seconds": archived.total_break_seconds,
        "start_time": to_datetime_or_none(archived.start_time),
        "end_time": to_datetime_or_none(archived.end_time),
        "archive_time": to_datetime_or_none(archived.created_at),
        "delete_time": to_datetime_or_none(archived.deleted_at),
        "tasks": [task._asdict() for task in record.tasks],
    }
