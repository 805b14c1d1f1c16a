"""Occurrences to their messages."""

from datetime import timedelta
from uuid import UUID

from focusmesh.calendar.v1 import event_pb2
from focusmesh.calendar.v1 import occurrence_service_pb2 as pb

from mesh.recurrence.series import parse_slot
from mesh.rpc.etag import etag
from mesh.runtime.clock import set_timestamp
from services.calendar.errors import OccurrenceNotFound
from services.calendar.model import Length, Occurrence, OccurrenceFilter, Status
from services.calendar.rules.changes import is_override
from services.calendar.wire.events import OF_STATE, STATES, length_from_pb, start_from_pb, wrong


def occurrence_to_pb(occurrence: Occurrence, zone: str, *, with_description: bool = True) -> event_pb2.Occurrence:
    """The message of an occurrence. zone: of its user. with_description: not in lists."""
    event, row = occurrence.event, occurrence.row
    message = event_pb2.Occurrence(
        id=occurrence.id,
        event_id=event.id,
        slot=occurrence.slot,
        title=occurrence.title,
        location=event.location if row is None or row.location is None else row.location,
        time_zone=event.time_zone or zone,
        is_all_day=event.is_all_day,
        state=STATES[Status(occurrence.status)],
        moved_reasons=occurrence.moved,
        todo_task_id=event.todo_task_id,
        subscription_id=event.subscription_id,
        etag=etag(event.version),
    )
    set_timestamp(message.start_time, occurrence.start)
    set_timestamp(message.end_time, occurrence.end)
    if with_description:
        description = event.description if row is None or row.description is None else row.description
        if description is not None:
            message.description = description
    if row is not None:
        message.is_changed = is_override(row)
        set_timestamp(message.complete_time, row.completed_at)
        if row.session_id is not None:
            message.focus_session_id = row.session_id
    if event.is_all_day:
        first = parse_slot(occurrence.slot if row is None or row.start_slot is None else row.start_slot)[0].date()
        days = event.length_days if row is None or row.length_days is None else row.length_days
        message.start_date, message.end_date = first.isoformat(), (first + timedelta(days=days)).isoformat()
    return message


def preview_to_pb(occurrence: Occurrence, zone: str) -> event_pb2.Occurrence:
    """The message of an occurrence of an event that is not made yet: times, length and reasons only."""
    message = occurrence_to_pb(occurrence, zone)
    for name in ("id", "etag", "title"):
        message.ClearField(name)
    return message


def occurrence_id_from_pb(occurrence_id: str) -> tuple[str, str]:
    """Event and slot of an occurrence's id; raises OccurrenceNotFound for one that no occurrence can have."""
    event_id, _, compact = occurrence_id.partition("_")
    date, time = compact[:8], compact[9:]
    slot = f"{date[:4]}-{date[4:6]}-{date[6:]}" + (f"T{time[:2]}:{time[2:4]}:{time[4:]}" if time else "")
    try:
        parse_slot(slot)
        return str(UUID(event_id)), slot
    except ValueError:
        raise OccurrenceNotFound(occurrence_id=occurrence_id) from None


def move_from_pb(request: pb.MoveOccurrenceRequest, occurrence: Occurrence) -> tuple[str, Length | None]:
    """Start and length that a request gives to an occurrence; raises InvalidRequest."""
    all_day = occurrence.event.is_all_day
    _, is_date = start_from_pb(request.start, "start")
    if is_date != all_day:
        expected = "a date: its event is all-day" if all_day else "a local time such as 2027-03-28T02:30:00"
        raise wrong("start", f"must be {expected}")
    if not request.HasField("duration_minutes"):
        return request.start, None
    return request.start, length_from_pb(request.duration_minutes, "duration_minutes", all_day=all_day)


def filter_from_pb(request: pb.ListOccurrencesRequest) -> OccurrenceFilter:
    """The filters of a list request."""
    states = tuple(OF_STATE[state].value for state in request.states)
    return OccurrenceFilter(
        states=states or OccurrenceFilter().states,
        event_id=request.event_id if request.HasField("event_id") else None,
        todo_task_id=request.todo_task_id if request.HasField("todo_task_id") else None,
        is_all_day=request.is_all_day if request.HasField("is_all_day") else None,
        own_only=request.own_only,
    )
