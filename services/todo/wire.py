"""Tasks to and from their messages; nothing else converts."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

from focusmesh.todo.v1 import task_pb2, task_service_pb2
from google.protobuf.message import Message

from mesh.rpc.etag import etag
from mesh.runtime import clock
from mesh.runtime.clock import SECOND
from services.todo.model import Filter, Order, Schedule, State, Task

UPDATABLE = ("title", "description", "due_time", "reminder_time", "is_recurring", "recurrence_schedule")

_MOST_CHARACTERS = 1_005_000
"""Of titles and descriptions on one page: 4 bytes each in UTF-8, 6 in JSON; the rest of an answer is small."""
_ALWAYS_FIT = 100
"""Tasks of any length."""

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
}
_SCHEDULE_FROM_PB = {number: schedule for schedule, number in _SCHEDULE_TO_PB.items()}
_ORDER_FROM_PB = {
    task_service_pb2.TASK_ORDER_UNSPECIFIED: Order.CREATED_DESC,
    task_service_pb2.TASK_ORDER_CREATE_TIME_DESC: Order.CREATED_DESC,
    task_service_pb2.TASK_ORDER_CREATE_TIME_ASC: Order.CREATED_ASC,
    task_service_pb2.TASK_ORDER_DUE_TIME_ASC: Order.DUE_ASC,
    task_service_pb2.TASK_ORDER_UPDATE_TIME_DESC: Order.UPDATED_DESC,
}


def fill_pb(message: task_pb2.Task, task: Task) -> None:
    """Fills a message in place: lists are made without a second object for each task."""
    (
        message.id, _, message.title, description, status, due, reminder, recurring, schedule,
        created, updated, completed, deleted, purge, version,
    ) = task  # fmt: skip
    message.state, message.etag = _STATE_TO_PB[status], etag(version)
    if description is not None:
        message.description = description
    if recurring:
        message.is_recurring, message.recurrence_schedule = True, _SCHEDULE_TO_PB[schedule]
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


def task_to_pb(task: Task) -> task_pb2.Task:
    """The message of a task."""
    message = task_pb2.Task()
    fill_pb(message, task)
    return message


def page_to_pb(tasks: Sequence[Task]) -> task_service_pb2.ListTasksResponse:
    """A page of tasks, or of the first of them: it ends early before the answer would be longer than one may be."""
    response = task_service_pb2.ListTasksResponse()
    add = response.tasks.add
    for task in tasks if len(tasks) <= _ALWAYS_FIT else tasks[: _fitting(tasks)]:
        fill_pb(add(), task)
    return response


def new_task_from_pb(
    request: task_service_pb2.CreateTaskRequest | task_service_pb2.NewTask, *, task_id: str, user_id: str, now: int
) -> Task:
    """The pending task that a request asks for."""
    return Task(
        id=task_id,
        user_id=user_id,
        title=request.title,
        description=request.description if request.HasField("description") else None,
        status=State.PENDING.value,
        due_date=_instant(request, "due_time"),
        reminder_time=_instant(request, "reminder_time"),
        is_recurring=request.is_recurring,
        recurrence_schedule=_SCHEDULE_FROM_PB[request.recurrence_schedule],
        created_at=now,
        updated_at=now,
        completed_at=None,
        deleted_at=None,
        purge_at=None,
        version=1,
    )


def changes_from_pb(request: task_service_pb2.UpdateTaskRequest, paths: Iterable[str]) -> dict[str, Any]:
    """The new values of the named fields, by the names of the model; unset means cleared."""
    values: dict[str, tuple[str, Any]] = {
        "title": ("title", request.title),
        "description": ("description", request.description if request.HasField("description") else None),
        "due_time": ("due_date", _instant(request, "due_time")),
        "reminder_time": ("reminder_time", _instant(request, "reminder_time")),
        "is_recurring": ("is_recurring", request.is_recurring),
        "recurrence_schedule": ("recurrence_schedule", _SCHEDULE_FROM_PB[request.recurrence_schedule]),
    }
    return dict(values[path] for path in paths)


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


def _fitting(tasks: Sequence[Task]) -> int:
    """How many of the tasks, from the first, fit on one page."""
    characters = accumulate(len(task.title) + len(task.description or "") for task in tasks)
    return sum(1 for total in characters if total <= _MOST_CHARACTERS)


def _instant(request: Message, field: str) -> int | None:
    return clock.from_timestamp(getattr(request, field)) if request.HasField(field) else None
