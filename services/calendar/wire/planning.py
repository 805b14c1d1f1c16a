"""Free time, conflicts and planned tasks to their messages, and what requests say of working hours."""

from datetime import time

from focusmesh.calendar.v1 import event_service_pb2
from focusmesh.calendar.v1 import planning_service_pb2 as pb
from focusmesh.todo.v1 import task_pb2
from google.protobuf.message import Message

from mesh.recurrence.series import slot_text
from mesh.recurrence.zones import TIME_ZONES, to_wall_within
from mesh.runtime.clock import from_timestamp, set_timestamp
from services.calendar.errors import TimeZoneUnknown
from services.calendar.model import Occurrence
from services.calendar.rules import planning
from services.calendar.rules.planning import WORKING_HOURS, Hours, Time
from services.calendar.wire.occurrences import occurrence_to_pb


def window_from_pb(request: pb.FindConflictsRequest | pb.FindFreeTimeRequest) -> Time:
    """The window of a request."""
    return Time(from_timestamp(request.start_time), from_timestamp(request.end_time))


def hours_from_pb(request: pb.FindFreeTimeRequest | pb.PlanTaskRequest) -> Hours:
    """When to look."""
    if not request.HasField("working_hours"):
        return WORKING_HOURS
    hours = request.working_hours
    days = frozenset(day - 1 for day in hours.days) or WORKING_HOURS.weekdays
    return Hours(time.fromisoformat(hours.start), time.fromisoformat(hours.end), days)


def zone_from_pb(request: pb.FindFreeTimeRequest | pb.PlanTaskRequest, zone: str) -> str:
    """The zone of the working hours; raises TimeZoneUnknown. zone: of the user."""
    if not request.HasField("time_zone"):
        return zone
    if request.time_zone not in TIME_ZONES:
        raise TimeZoneUnknown(request.time_zone)
    return request.time_zone


def window_to_plan(request: pb.PlanTaskRequest, task: task_pb2.Task, now: int) -> Time:
    """Where to look for a time for a task."""
    start, end, due = _instant(request, "start_time"), _instant(request, "end_time"), _instant(task, "due_time")
    return planning.window_to_plan(now, start, end, due)


def free_time_to_pb(free: Time) -> pb.FreeTime:
    """The message of a free time."""
    message = pb.FreeTime()
    set_timestamp(message.start_time, free.start)
    set_timestamp(message.end_time, free.end)
    return message


def conflict_to_pb(shared: Time, occurrence: Occurrence, other: Occurrence | None, zone: str) -> pb.Conflict:
    """The message of a conflict. zone: of the user."""
    message = pb.Conflict(occurrence=occurrence_to_pb(occurrence, zone, with_description=False))
    set_timestamp(message.start_time, shared.start)
    set_timestamp(message.end_time, shared.end)
    if other is not None:
        message.other.CopyFrom(occurrence_to_pb(other, zone, with_description=False))
    return message


def _instant(message: Message, field: str) -> int | None:
    return from_timestamp(getattr(message, field)) if message.HasField(field) else None


def event_for_task(
    request: pb.PlanTaskRequest, task: task_pb2.Task, start: int, minutes: int, zone: str
) -> event_service_pb2.CreateEventRequest:
    """The request of an event that begins at an instant, in a zone, and is for a task."""
    return event_service_pb2.CreateEventRequest(
        title=task.title,
        start=slot_text(to_wall_within(start, zone), all_day=False),
        time_zone=zone,
        duration_minutes=minutes,
        todo_task_id=task.id,
        reminders=request.reminders,
    )
