"""Converts tasks to and from the messages of the contract, and events of other services; no other file does."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from focusmesh.todo.v1 import task_instance_service_pb2, task_pb2, task_planning_service_pb2, task_service_pb2
from google.protobuf.message import Message

from mesh.events.envelope import ConsumedEvent
from mesh.recurrence.document import to_document
from mesh.recurrence.rule import RepeatFrom
from mesh.recurrence.series import parse_slot
from mesh.recurrence.wire import document_to_pb, repeat_from_pb, repeat_to_pb, rule_from_pb
from mesh.rpc.etag import etag
from mesh.rpc.fieldmask import update_paths
from mesh.runtime import clock
from mesh.runtime.clock import SECOND
from mesh.runtime.errors import FieldViolation, InvalidRequest
from services.todo.model import DueTask, Filter, FocusReport, ListedTask, Order, Schedule, State, Task

_PLAIN_FIELDS = len(ListedTask._fields) - 2

_MODEL_NAMES = {"due_time": "due_date"}
"""Fields of the contract with another name in the model."""
_STATE_TO_PB = {
    State.PENDING.value: task_pb2.TASK_STATE_PENDING,
    State.IN_PROGRESS.value: task_pb2.TASK_STATE_IN_PROGRESS,
    State.COMPLETE.value: task_pb2.TASK_STATE_COMPLETE,
}
_STATE_FROM_PB = {number: state for state, number in _STATE_TO_PB.items()}
_SCHEDULE_TO_PB = {
    None: task_pb2.RECURRENCE_SCHEDULE_UNSPECIFIED,
    Schedule.DAILY.value: task_pb2.RECURRENCE_SCHEDULE_DAILY,
    Schedule.WEEKLY.value: task_pb2.RECURRENCE_SCHEDULE_WEEKLY,
    Schedule.MONTHLY.value: task_pb2.RECURRENCE_SCHEDULE_MONTHLY,
    Schedule.YEARLY.value: task_pb2.RECURRENCE_SCHEDULE_YEARLY,
}
_SCHEDULE_FROM_PB = {number: schedule for schedule, number in _SCHEDULE_TO_PB.items()}
_ORDER_FROM_PB = {
    task_service_pb2.TASK_ORDER_UNSPECIFIED: Order.CREATED_DESC,
    task_service_pb2.TASK_ORDER_CREATE_TIME_DESC: Order.CREATED_DESC,
    task_service_pb2.TASK_ORDER_CREATE_TIME_ASC: Order.CREATED_ASC,
    task_service_pb2.TASK_ORDER_DUE_TIME_ASC: Order.DUE_ASC,
    task_service_pb2.TASK_ORDER_UPDATE_TIME_DESC: Order.UPDATED_DESC,
}


def task_to_pb(task: Task) -> task_pb2.Task:
    """The message of a task."""
    message = task_pb2.Task()
    _fill(message, (*task[:_PLAIN_FIELDS], task[_PLAIN_FIELDS:], None))
    return message


def _fill(message: task_pb2.Task, listed: tuple[Any, ...]) -> None:
    """Fills in the message of a task. listed: the fields of a ListedTask."""
    (
        message.id, _, message.title, description, status, due, reminder, _, _, estimate,
        created, updated, completed, deleted, purge, version, focus_seconds, pomodoros, more, _,
    ) = listed  # fmt: skip
    message.state, message.etag = _STATE_TO_PB[status], etag(version)
    if description is not None:
        message.description = description
    if estimate is not None:
        message.estimated_pomodoros = estimate
    if focus_seconds or pomodoros:
        message.focus_seconds, message.pomodoros = focus_seconds, pomodoros
    # Written out: a call for each instant costs a seventh of this function, which runs 50 times for a list.
    instant = message.create_time
    instant.seconds, instant.nanos = created // SECOND, created % SECOND * 1000
    instant = message.update_time
    instant.seconds, instant.nanos = updated // SECOND, updated % SECOND * 1000
    if due is not None:
        instant = message.due_time
        instant.seconds, instant.nanos = due // SECOND, due % SECOND * 1000
    if reminder is not None:
        instant = message.reminder_time
        instant.seconds, instant.nanos = reminder // SECOND, reminder % SECOND * 1000
    if completed is not None:
        clock.set_timestamp(message.complete_time, completed)
    if deleted is not None:
        clock.set_timestamp(message.delete_time, deleted)
        clock.set_timestamp(message.purge_time, purge)
    if more is not None:
        _recurrence_to_pb(Task(*listed[:-2], *more), message)


def _recurrence_to_pb(task: Task, message: task_pb2.Task) -> None:
    message.reminder_offsets.extend(task.reminder_offsets or ())
    if task.recurrence is not None:
        message.is_recurring, message.recurrence_schedule = True, _SCHEDULE_TO_PB[task.recurrence_schedule]
        message.recurrence.CopyFrom(document_to_pb(task.recurrence))
        message.repeat_from = repeat_to_pb(RepeatFrom(task.repeat_from or RepeatFrom.DUE_NEXT_FUTURE))
    if task.time_zone is not None and task.series_id is not None and task.slot is not None:
        message.time_zone, message.series_id, message.slot = task.time_zone, task.series_id, task.slot


def tasks_to_pb(tasks: Sequence[ListedTask]) -> task_service_pb2.ListTasksResponse:
    """The response with these tasks."""
    response = task_service_pb2.ListTasksResponse()
    add = response.tasks.add
    for task in tasks:
        _fill(add(), task)
    return response


def due_task_to_pb(task: DueTask) -> task_planning_service_pb2.DueTask:
    """The message of a task that has a due time."""
    message = task_planning_service_pb2.DueTask(id=task.id, title=task.title, state=_STATE_TO_PB[task.status])
    clock.set_timestamp(message.due_time, task.due_date)
    clock.set_timestamp(message.create_time, task.created_at)
    clock.set_timestamp(message.update_time, task.updated_at)
    if task.completed_at is not None:
        clock.set_timestamp(message.complete_time, task.completed_at)
    return message


def task_from_pb(request: task_service_pb2.CreateTaskRequest, *, task_id: str, user_id: str, now: int) -> Task:
    """The new task that a request describes, pending."""
    return Task(
        id=task_id,
        user_id=user_id,
        status=State.PENDING.value,
        created_at=now,
        updated_at=now,
        completed_at=None,
        deleted_at=None,
        purge_at=None,
        version=1,
        **_values(request),
    )


def imported_from_pb(imported: task_planning_service_pb2.ImportedTask, *, task_id: str, user_id: str, now: int) -> Task:
    """The new task that one of a file describes."""
    request = task_service_pb2.CreateTaskRequest(title=imported.title)
    if imported.HasField("description"):
        request.description = imported.description
    task = task_from_pb(request, task_id=task_id, user_id=user_id, now=now)._replace(
        due_date=_instant(imported, "due_time")
    )
    if not imported.is_complete:
        return task
    completed = _instant(imported, "complete_time")
    return task._replace(status=State.COMPLETE.value, completed_at=now if completed is None else completed)


def changes_from_pb(request: task_service_pb2.UpdateTaskRequest) -> dict[str, Any]:
    """The new values of the fields that the mask names, by the names of the model; unset means cleared."""
    values = _values(request)
    names = (_MODEL_NAMES.get(path, path) for path in update_paths(request))
    return {name: values[name] for name in names}


def instance_from_pb(request: task_instance_service_pb2.ApplyInstanceRequest) -> dict[str, Any]:
    """What an instance gets beside what its series has, by the names of the model; unset means cleared."""
    changes = getattr(request, request.WhichOneof("change") or "").changes
    values = _common_values(changes)
    names = (_MODEL_NAMES.get(path, path) for path in update_paths(changes))
    return {name: values[name] for name in names}


def slot_from_pb(request: task_instance_service_pb2.ApplyInstanceRequest) -> str:
    """The slot of a request; raises InvalidRequest when it is none."""
    try:
        parse_slot(request.slot)
    except ValueError:
        description = "must be a local time such as 2026-03-29T02:30:00, or a date"
        raise InvalidRequest(fields=[FieldViolation("slot", description)], summary=f"slot: {description}") from None
    return request.slot


def _values(request: task_service_pb2.CreateTaskRequest | task_service_pb2.UpdateTaskRequest) -> dict[str, Any]:
    """The fields of a task that its user sets, by the names of the model."""
    return _common_values(request) | {
        "reminder_time": _instant(request, "reminder_time"),
        "is_recurring": request.is_recurring,
        "recurrence_schedule": _SCHEDULE_FROM_PB[request.recurrence_schedule],
    }


def _common_values(
    request: task_service_pb2.CreateTaskRequest
    | task_service_pb2.UpdateTaskRequest
    | task_instance_service_pb2.InstanceChanges,
) -> dict[str, Any]:
    return {
        "title": request.title,
        "description": request.description if request.HasField("description") else None,
        "due_date": _instant(request, "due_time"),
        "estimated_pomodoros": request.estimated_pomodoros if request.HasField("estimated_pomodoros") else None,
        "recurrence": to_document(rule_from_pb(request.recurrence)) if request.HasField("recurrence") else None,
        "time_zone": request.time_zone if request.HasField("time_zone") else None,
        "repeat_from": repeat_from_pb(request.repeat_from).value if request.repeat_from else None,
        "reminder_offsets": list(request.reminder_offsets) or None,
    }


def filter_from_pb(request: task_service_pb2.ListTasksRequest) -> Filter:
    """The filters of a list request."""
    return Filter(
        states=tuple(_STATE_FROM_PB[state] for state in request.states),
        due_from=_instant(request, "due_from"),
        due_before=_instant(request, "due_before"),
        is_recurring=request.is_recurring if request.HasField("is_recurring") else None,
        show_deleted=request.show_deleted,
        order=_ORDER_FROM_PB[request.order],
    )


def _instant(request: Message, field: str) -> int | None:
    return clock.from_timestamp(getattr(request, field)) if request.HasField(field) else None


def report_from_event(event: ConsumedEvent) -> FocusReport:
    """What an event of pomodoro or history says of a focus session; ids in the spelling of Postgres."""
    payload = event.data["payload"]
    totals: dict[str, list[int]] = {}
    for task in payload["tasks"]:
        if linked := task.get("todo_task_id"):
            total = totals.setdefault(str(UUID(linked)), [0, 0])
            total[0] += task["focused_seconds"]
            total[1] += task["pomodoro_count"]
    return FocusReport(
        session_id=str(UUID(event.subject)),
        user_id=str(UUID(event.user_id)),
        is_correction=event.source == "history",
        is_deleted=payload["delete_time"] is not None,
        totals=totals,
    )
