"""Rows to and from messages, and events of tasks to rows; nothing else converts."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from focusmesh.recurrence.v1 import schedule_pb2, schedule_service_pb2
from focusmesh.todo.v1 import task_instance_service_pb2 as instance_pb

from mesh.events.envelope import ConsumedEvent
from mesh.recurrence.completion import Timing
from mesh.recurrence.offsets import parse_offset
from mesh.recurrence.rule import RepeatFrom, RuleError
from mesh.recurrence.series import Moved, Series, Slot, check_series, parse_slot, slot_text
from mesh.recurrence.wire import document_to_pb, invalid, repeat_from_pb, repeat_to_pb, rule_from_pb
from mesh.recurrence.zones import TIME_ZONES
from mesh.rpc.etag import etag
from mesh.rpc.fieldmask import update_paths
from mesh.runtime.clock import SECOND, from_timestamp, set_timestamp
from mesh.runtime.errors import FieldViolation, InvalidArgument, InvalidRequest
from services.recurrence.errors import TimeZoneUnknown
from services.recurrence.model import Completion, DueReminder, OpenTask, Plan, PlanKind, Schedule, TaskState
from services.recurrence.rules.edits import Change
from services.recurrence.rules.reminders import reminder_id

_TIMINGS = {
    Timing.EARLY: schedule_pb2.COMPLETION_TIMING_EARLY,
    Timing.ON_TIME: schedule_pb2.COMPLETION_TIMING_ON_TIME,
    Timing.LATE: schedule_pb2.COMPLETION_TIMING_LATE,
    Timing.SKIPPED: schedule_pb2.COMPLETION_TIMING_SKIPPED,
}
_MOVES = {Moved.GAP: schedule_pb2.SLOT_MOVE_GAP, Moved.CLAMP: schedule_pb2.SLOT_MOVE_CLAMP}
_FIRST_START = datetime(1970, 1, 2)
"""In every zone after 1970 has begun, from which on tasks are due."""
_VALUES = ("title", "description", "estimated_pomodoros", "reminder_offsets")


def schedule_to_pb(schedule: Schedule, task: OpenTask | None) -> schedule_pb2.Schedule:
    """The message of a schedule. task: its open instance."""
    message = schedule_pb2.Schedule(
        id=schedule.id,
        parent_task_id=schedule.parent_task_id,
        recurrence=document_to_pb(schedule.rule),
        time_zone=schedule.time_zone,
        repeat_from=repeat_to_pb(RepeatFrom(schedule.repeat_from)),
        start=schedule.start_slot,
        is_active=schedule.is_active,
        cancelled_slots=schedule.cancelled,
        etag=etag(schedule.version),
    )
    for slot, due in sorted(schedule.moved.items()):
        set_timestamp(message.moved_slots.add(slot=slot).due_time, due)
    if task is not None:
        message.open_slot, message.open_task_id = task.slot or "", task.id
    if schedule.successor is not None:
        message.next_schedule_id = schedule.successor["id"]
    set_timestamp(message.next_due_time, schedule.next_due_date)
    set_timestamp(message.create_time, schedule.created_at)
    set_timestamp(message.update_time, schedule.updated_at)
    return message


def completion_to_pb(completion: Completion) -> schedule_pb2.Completion:
    """The message of an entry of a log."""
    message = schedule_pb2.Completion(
        id=completion.id,
        schedule_id=completion.series_id,
        slot=completion.slot,
        local_date=completion.local_date,
        timing=_TIMINGS[Timing(completion.timing)],
    )
    if completion.task_id is not None:
        message.task_id = completion.task_id
    if completion.next_slot is not None:
        message.next_slot = completion.next_slot
    set_timestamp(message.complete_time, completion.completed_at)
    set_timestamp(message.undo_time, completion.undone_at)
    return message


def reminder_to_pb(due: DueReminder) -> schedule_pb2.UpcomingReminder:
    """The message of a waiting reminder."""
    message = schedule_pb2.UpcomingReminder(
        id=reminder_id(due.task_id, due.reminder), task_id=due.task_id, title=due.title
    )
    if due.reminder:
        message.offset = due.reminder
    if due.series_id is not None:
        message.schedule_id, message.slot = due.series_id, due.slot or ""
    set_timestamp(message.reminder_time, due.remind_at)
    set_timestamp(message.due_time, due.due_date)
    return message


def slot_to_pb(slot: Slot, series: Series, moved: Mapping[str, int]) -> schedule_pb2.PreviewSlot:
    """The message of a slot of a preview. moved: slots that are due at another instant."""
    text = slot_text(slot.local, all_day=series.all_day)
    message = schedule_pb2.PreviewSlot(slot=text)
    if slot.moved:
        message.moves.extend(_MOVES[each] for each in slot.moved)
    if text in moved:
        message.moves.append(schedule_pb2.SLOT_MOVE_OVERRIDE)
    set_timestamp(message.due_time, moved.get(text, slot.instant))
    return message


def series_from_pb(draft: schedule_service_pb2.RecurrenceDraft) -> Series:
    """The series of a draft; raises InvalidRequest and TimeZoneUnknown."""
    start, all_day = _slot(draft.start, "draft.start")
    if draft.time_zone not in TIME_ZONES:
        raise TimeZoneUnknown(draft.time_zone, "draft.time_zone")
    series = Series(start, draft.time_zone, rule_from_pb(draft.recurrence, "draft.recurrence"), all_day)
    try:
        check_series(series)
    except RuleError as error:
        raise invalid(error, "draft" if error.part == "start" else "draft.recurrence") from None
    return series


def change_from_pb(request: schedule_service_pb2.UpdateSeriesRequest, schedule: Schedule) -> Change:
    """What a request changes of a schedule; raises FieldNotInMask, InvalidRequest and TimeZoneUnknown."""
    changes = request.changes
    try:
        paths = update_paths(changes)
    except InvalidArgument as error:
        error.fields = tuple(each._replace(field=f"changes.{each.field}") for each in error.fields)
        raise
    if (request.scope == schedule_service_pb2.SERIES_SCOPE_THIS) != ("due_time" in paths) or paths > {"due_time"}:
        raise _wrong("changes.update_mask", "must be due_time of one occurrence, and must not name it for others")
    if "start" in paths and _slot(changes.start, "changes.start")[1] != parse_slot(schedule.start_slot)[1]:
        raise _wrong("changes.start", "must be a date when the series has no time of day, and else a local time")
    if "time_zone" in paths and changes.time_zone not in TIME_ZONES:
        raise TimeZoneUnknown(changes.time_zone, "changes.time_zone")
    for index, offset in enumerate(changes.reminder_offsets):
        try:
            parse_offset(offset)
        except ValueError as error:
            raise _wrong(f"changes.reminder_offsets[{index}]", str(error)) from None
    return Change(
        start=changes.start if "start" in paths else None,
        rule=rule_from_pb(changes.recurrence, "changes.recurrence") if "recurrence" in paths else None,
        time_zone=changes.time_zone if "time_zone" in paths else None,
        repeat_from=repeat_from_pb(changes.repeat_from) if "repeat_from" in paths else None,
        values={name: _value(changes, name) for name in _VALUES if name in paths},
        force=request.force,
    )


def wrong_rule(error: RuleError) -> InvalidRequest:
    """The error for a changed series whose rule is not valid, or does not produce its start."""
    if error.part == "start":
        return _wrong("changes.start", error.description)
    return invalid(error, "changes.recurrence")


def due_from_pb(request: schedule_service_pb2.UpdateSeriesRequest) -> int | None:
    """The due time of one occurrence; None for that of its slot."""
    return from_timestamp(request.changes.due_time) if request.changes.HasField("due_time") else None


def plan_to_pb(plan: Plan) -> instance_pb.ApplyInstanceRequest:
    """What todo is asked to do. The plan's id makes the call repeatable."""
    request = instance_pb.ApplyInstanceRequest(
        user_id=plan.user_id, request_id=plan.id, series_id=plan.target_id, slot=plan.slot
    )
    match PlanKind(plan.kind):
        case PlanKind.PUT:
            request.put.source_task_id = plan.task_id or ""
            _set(request.put.changes, plan.changes)
            if plan.source_id is not None:
                request.put.source_series_id = plan.source_id
        case PlanKind.REVISE:
            request.revise.task_id = plan.task_id or ""
            _set(request.revise.changes, plan.changes)
            if plan.source_id is not None:
                request.revise.source_series_id = plan.source_id
        case PlanKind.WITHDRAW:
            request.withdraw.SetInParent()
        case PlanKind.REOPEN:
            request.reopen.task_id = plan.task_id or ""
    return request


def state_from_event(event: ConsumedEvent) -> TaskState:
    """What an event of todo shows of a task; ids in the spelling of Postgres. Older events lack the keys of series."""
    payload = event.data["payload"]
    series_id = payload.get("series_id")
    completed_at, deleted_at = payload.get("completed_at"), payload.get("deleted_at")
    task = OpenTask(
        id=str(UUID(event.subject)),
        user_id=str(UUID(event.user_id)),
        title=payload["title"],
        is_begun=payload["status"] != "pending",
        due_date=_instant(payload["due_date"]),
        time_zone=payload.get("time_zone"),
        series_id=None if series_id is None else str(UUID(series_id)),
        slot=payload.get("slot"),
    )
    is_complete = payload["status"] == "complete"
    is_deleted = deleted_at is not None or event.type == "task-deleted"
    return TaskState(
        task=task,
        is_open=not is_complete and not is_deleted,
        at=event.time,
        completed_at=_instant(completed_at) or event.time,
        reminder_time=_instant(payload["reminder_time"]),
        offsets=tuple(payload.get("reminder_offsets") or ()),
        rule=payload.get("recurrence"),
        repeat_from=payload.get("repeat_from") or RepeatFrom.DUE_NEXT_FUTURE.value,
    )


def _set(message: instance_pb.InstanceChanges, changes: Mapping[str, Any]) -> None:
    """Fills the changes: every name in the mask, None stays unset and so clears."""
    message.update_mask.paths.extend(sorted(changes))
    for name, value in changes.items():
        if value is None:
            continue
        match name:
            case "due_time":
                set_timestamp(message.due_time, value)
            case "recurrence":
                message.recurrence.CopyFrom(document_to_pb(value))
            case "repeat_from":
                message.repeat_from = repeat_to_pb(RepeatFrom(value))
            case "reminder_offsets":
                message.reminder_offsets.extend(value)
            case _:
                setattr(message, name, value)


def _value(changes: schedule_service_pb2.SeriesChanges, name: str) -> Any:
    if name == "reminder_offsets":
        return list(changes.reminder_offsets)
    return {field.name: value for field, value in changes.ListFields()}.get(name)


def _slot(text: str, field: str) -> tuple[datetime, bool]:
    try:
        local, all_day = parse_slot(text)
    except ValueError:
        raise _wrong(field, "must be a local time such as 2026-03-29T02:30:00, or a date") from None
    if local < _FIRST_START:
        raise _wrong(field, "must be after 1 January 1970")
    return local, all_day


def _wrong(field: str, description: str) -> InvalidRequest:
    return InvalidRequest(fields=[FieldViolation(field, description)], summary=f"{field}: {description}")


def _instant(text: str | None) -> int | None:
    return None if text is None else round(datetime.fromisoformat(text).timestamp() * SECOND)
