"""Reminders that wait to their messages."""

from focusmesh.calendar.v1 import event_service_pb2 as pb

from mesh.runtime.clock import set_timestamp
from services.calendar.model import Upcoming
from services.calendar.rules.reminders import name_of
from services.calendar.rules.series import occurrence
from services.calendar.wire.events import reminder_to_pb


def upcoming_to_pb(upcoming: Upcoming, zone: str) -> pb.UpcomingReminder:
    """The message of a reminder that waits. zone: of its user."""
    due, event, row = upcoming
    reminder = next(each for each in event.reminders if name_of(each) == due.reminder)
    message = pb.UpcomingReminder(event_id=event.id, title=event.title, reminder=reminder_to_pb(reminder))
    set_timestamp(message.remind_time, due.remind_at)
    found = None if due.slot is None else occurrence(event, due.slot, row, zone)
    if found is not None:
        message.occurrence_id, message.title = found.id, found.title
        set_timestamp(message.start_time, found.start)
    return message
