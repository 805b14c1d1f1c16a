"""Occurrences to their messages."""

from datetime import timedelta

from focusmesh.calendar.v1 import event_pb2

from mesh.recurrence.series import parse_slot
from mesh.rpc.etag import etag
from mesh.runtime.clock import set_timestamp
from services.calendar.model import Occurrence, Status
from services.calendar.rules.changes import is_override
from services.calendar.wire.events import STATES


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
