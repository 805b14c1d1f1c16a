"""Events to their messages, and what requests say of events."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from focusmesh.calendar.v1 import event_pb2, event_service_pb2

from mesh.recurrence.document import from_document, to_document
from mesh.recurrence.offsets import parse_offset
from mesh.recurrence.rule import Frequency, Rule, RuleError
from mesh.recurrence.series import parse_slot
from mesh.recurrence.wire import invalid, rule_from_pb, rule_to_pb
from mesh.recurrence.zones import TIME_ZONES
from mesh.rpc.etag import etag
from mesh.rpc.fieldmask import update_paths
from mesh.runtime.clock import from_timestamp, set_timestamp
from mesh.runtime.errors import FieldViolation, InvalidArgument, InvalidRequest
from services.calendar.errors import TimeZoneUnknown
from services.calendar.model import CalendarEvent, EventFilter, Length, Status

STATES = {
    Status.PLANNED: event_pb2.EVENT_STATE_PLANNED,
    Status.CANCELLED: event_pb2.EVENT_STATE_CANCELLED,
    Status.COMPLETED: event_pb2.EVENT_STATE_COMPLETED,
}
OF_STATE = {number: state for state, number in STATES.items()}
_REPEAT_TYPES = {
    "none": event_pb2.REPEAT_TYPE_NONE,
    Frequency.DAILY: event_pb2.REPEAT_TYPE_DAILY,
    Frequency.WEEKLY: event_pb2.REPEAT_TYPE_WEEKLY,
    Frequency.MONTHLY: event_pb2.REPEAT_TYPE_MONTHLY,
    Frequency.YEARLY: event_pb2.REPEAT_TYPE_YEARLY,
}
_FREQUENCIES = {number: Frequency(name) for name, number in _REPEAT_TYPES.items() if name != "none"}
_CHANNELS = {
    "in_app": event_pb2.REMINDER_CHANNEL_IN_APP,
    "email": event_pb2.REMINDER_CHANNEL_EMAIL,
    "webpush": event_pb2.REMINDER_CHANNEL_WEBPUSH,
    "sms": event_pb2.REMINDER_CHANNEL_SMS,
    "webhook": event_pb2.REMINDER_CHANNEL_WEBHOOK,
}
_OF_CHANNEL = {number: name for name, number in _CHANNELS.items()}
_TEXTS = {"title", "description", "location", "todo_task_id"}
_DAY_MINUTES = 1_440
_DEFAULT_MINUTES = 25
_FIRST_YEAR = 1900
_LAST_DATE = date(9999, 12, 30)
"""The last one of slots: the next is in the year 10000 in some zones."""


def event_to_pb(event: CalendarEvent) -> event_pb2.Event:
    """The message of an event."""
    message = event_pb2.Event(
        id=event.id,
        title=event.title,
        description=event.description,
        location=event.location,
        start=event.start_slot,
        time_zone=event.time_zone,
        is_all_day=event.is_all_day,
        duration_minutes=event.duration_minutes,
        repeat_type=_REPEAT_TYPES[event.repeat_type],
        state=STATES[Status(event.status)],
        reminders=map(reminder_to_pb, event.reminders),
        todo_task_id=event.todo_task_id,
        series_id=event.series_id if event.series_id != event.id else None,
        subscription_id=event.subscription_id,
        uid=event.uid,
        etag=etag(event.version),
    )
    if event.rule is not None:
        message.recurrence.CopyFrom(rule_to_pb(from_document(event.rule)))
    set_timestamp(message.scheduled_start_time, event.scheduled_start)
    set_timestamp(message.repeat_until_time, event.repeat_until)
    set_timestamp(message.create_time, event.created_at)
    set_timestamp(message.update_time, event.updated_at)
    set_timestamp(message.delete_time, event.deleted_at)
    set_timestamp(message.purge_time, event.purge_at)
    return message


def reminder_to_pb(reminder: Any) -> event_pb2.EventReminder:
    """The message of a reminder of an event."""
    message = event_pb2.EventReminder(offset=reminder.get("offset") or "", channel=_CHANNELS[reminder["channel"]])
    set_timestamp(message.remind_time, reminder.get("remind_time"))
    return message


def draft_from_pb(request: event_service_pb2.PreviewEventRequest, zone: str) -> CalendarEvent:
    """The event that a request describes, as far as its occurrences are concerned. Raises as `event_from_pb`."""
    draft = event_service_pb2.CreateEventRequest(start=request.start)
    if request.HasField("time_zone"):
        draft.time_zone = request.time_zone
    if request.HasField("duration_minutes"):
        draft.duration_minutes = request.duration_minutes
    if request.HasField("recurrence"):
        draft.recurrence.CopyFrom(request.recurrence)
    return event_from_pb(draft, event_id="", user_id="", zone=zone, now=0)


def event_from_pb(
    request: event_service_pb2.CreateEventRequest, *, event_id: str, user_id: str, zone: str, now: int
) -> CalendarEvent:
    """The new event that a request describes; the columns that follow from others are yet to be settled.

    zone: of the user. Raises InvalidRequest and TimeZoneUnknown.
    """
    _, all_day = start_from_pb(request.start, "start")
    minutes = request.duration_minutes if request.HasField("duration_minutes") else None
    length = length_from_pb(minutes, "duration_minutes", all_day=all_day)
    rule = _rule_from_pb(request)
    return CalendarEvent(
        id=event_id,
        user_id=user_id,
        title=request.title,
        description=request.description if request.HasField("description") else None,
        scheduled_start=0,
        duration_minutes=0,
        repeat_type="none",
        repeat_until=None,
        status=Status.PLANNED.value,
        created_at=now,
        updated_at=now,
        location=request.location if request.HasField("location") else None,
        start_slot=request.start,
        time_zone=_zone_from_pb(request, zone, all_day=all_day),
        length_days=length.days,
        length_seconds=length.seconds,
        rule=None if rule is None else to_document(rule),
        added=[],
        reminders=reminders_from_pb(request.reminders, "reminders"),
        todo_task_id=request.todo_task_id if request.HasField("todo_task_id") else None,
        series_id=event_id,
        subscription_id=None,
        uid=None,
        sequence=0,
        stamped_at=None,
        ends_at=None,
        last_slot=None,
        next_end_at=None,
        deleted_at=None,
        purge_at=None,
        version=1,
    )


def _rule_from_pb(request: event_service_pb2.CreateEventRequest) -> Rule | None:
    if request.HasField("recurrence"):
        return rule_from_pb(request.recurrence)
    frequency = _FREQUENCIES.get(request.repeat_type)
    if frequency is None:
        return None
    has_end = request.HasField("repeat_until_time")
    return Rule(frequency, until_time=from_timestamp(request.repeat_until_time) if has_end else None)


def _zone_from_pb(request: event_service_pb2.CreateEventRequest, zone: str, *, all_day: bool) -> str | None:
    if request.HasField("time_zone"):
        return zone_from_pb(request.time_zone, "time_zone", all_day=all_day)
    return None if all_day or request.is_floating else zone


def zone_from_pb(time_zone: str, field: str, *, all_day: bool) -> str:
    """A time zone that a request names; raises TimeZoneUnknown, and InvalidRequest for an all-day event."""
    if all_day:
        raise wrong(field, "must not be set: an all-day event takes the days of wherever its user is")
    if time_zone not in TIME_ZONES:
        raise TimeZoneUnknown(time_zone, field)
    return time_zone


def start_from_pb(text: str, field: str) -> tuple[datetime, bool]:
    """The local time of a start, and whether it is a date; raises InvalidRequest."""
    try:
        local, all_day = parse_slot(text)
    except ValueError:
        raise wrong(field, "must be a local time such as 2027-03-28T02:30:00, or a date") from None
    if local.year < _FIRST_YEAR:
        raise wrong(field, f"must not be before the year {_FIRST_YEAR}")
    if local.date() > _LAST_DATE:
        raise wrong(field, f"must not be after {_LAST_DATE}")
    return local, all_day


def length_from_pb(minutes: int | None, field: str, *, all_day: bool) -> Length:
    """The length that a request gives in minutes, or leaves open; raises InvalidRequest."""
    if not all_day:
        return Length(0, (_DEFAULT_MINUTES if minutes is None else minutes) * 60)
    days, rest = divmod(_DAY_MINUTES if minutes is None else minutes, _DAY_MINUTES)
    if rest:
        raise wrong(field, f"must be a multiple of {_DAY_MINUTES}: an all-day event takes whole days")
    return Length(days, 0)


def reminders_from_pb(messages: Sequence[event_pb2.EventReminder], field: str) -> list[dict[str, Any]]:
    """The reminders of a request; raises InvalidRequest."""
    made: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        reminder: dict[str, Any] = {"channel": _OF_CHANNEL.get(message.channel, "in_app")}
        if message.HasField("remind_time"):
            reminder["remind_time"] = from_timestamp(message.remind_time)
        else:
            try:
                parse_offset(message.offset)
            except ValueError as error:
                raise wrong(f"{field}[{index}].offset", str(error)) from None
            reminder["offset"] = message.offset
        if reminder in made:
            raise wrong(f"{field}[{index}]", "is given twice")
        made.append(reminder)
    return made


def values_from_pb(request: event_service_pb2.UpdateEventRequest, event: CalendarEvent, zone: str) -> dict[str, Any]:
    """What a request changes, as `rules.edits.Values`. event: as it is now. zone: of the user.

    Raises FieldNotInMask, InvalidRequest and TimeZoneUnknown.
    """
    changes = request.changes
    try:
        paths = update_paths(changes)
    except InvalidArgument as error:
        error.fields = tuple(each._replace(field=f"changes.{each.field}") for each in error.fields)
        raise
    given = {field.name for field, _ in changes.ListFields()}
    values = {name: getattr(changes, name) if name in given else None for name in _TEXTS & paths}
    all_day = event.is_all_day
    if "start" in paths:
        values["start_slot"] = changes.start if "start" in given else None
    if "start" in given:
        _, all_day = start_from_pb(changes.start, "changes.start")
        if all_day != event.is_all_day and request.scope != event_service_pb2.EVENT_SCOPE_ALL:
            raise wrong("changes.start", "must be a date when the event is all-day, and else a local time")
    if "duration_minutes" in paths or all_day != event.is_all_day:
        minutes = changes.duration_minutes if "duration_minutes" in given else None
        is_cleared = minutes is None and all_day == event.is_all_day
        values["length"] = None if is_cleared else length_from_pb(minutes, "changes.duration_minutes", all_day=all_day)
    if "time_zone" in given:
        values["time_zone"] = zone_from_pb(changes.time_zone, "changes.time_zone", all_day=all_day)
    elif "time_zone" in paths or all_day != event.is_all_day:
        values["time_zone"] = None if all_day or "time_zone" in paths else zone
    if "recurrence" in paths:
        values["rule"] = rule_from_pb(changes.recurrence, "changes.recurrence") if "recurrence" in given else None
    if "reminders" in paths:
        values["reminders"] = reminders_from_pb(changes.reminders, "changes.reminders")
    return values


def filter_from_pb(request: event_service_pb2.ListEventsRequest) -> EventFilter:
    """The filters of a list request."""
    return EventFilter(
        states=tuple(OF_STATE[state].value for state in request.states),
        show_deleted=request.show_deleted,
        subscription_id=request.subscription_id if request.HasField("subscription_id") else None,
        todo_task_id=request.todo_task_id if request.HasField("todo_task_id") else None,
    )


def wrong(field: str, description: str) -> InvalidRequest:
    """The error for a field that is not valid."""
    return InvalidRequest(fields=[FieldViolation(field, description)], summary=f"{field}: {description}")


def wrong_rule(error: RuleError, prefix: str = "") -> InvalidRequest:
    """The error for a rule that does not produce its start, or has no date. prefix: of fields, such as `changes.`."""
    if error.part == "slot":
        return wrong("slot", error.description)
    return (
        wrong(f"{prefix}start", error.description) if error.part == "start" else invalid(error, f"{prefix}recurrence")
    )
