"""The errors of the todo service; reasons are values of `focusmesh.todo.v1.ErrorReason`."""

from collections.abc import Iterator
from contextlib import contextmanager

from mesh.runtime.errors import FailedPrecondition, FieldViolation, InvalidArgument, NotFound, ServiceError


class TaskNotFound(NotFound):
    """The caller has no task with this id, deleted or not."""

    reason = "TASK_NOT_FOUND"
    message = "There is no task {task_id}."


class TaskAlreadyComplete(FailedPrecondition):
    """A complete task is completed or started."""

    reason = "TASK_ALREADY_COMPLETE"
    message = "Task {task_id} is complete already. Reopen it first."


class TaskAlreadyStarted(FailedPrecondition):
    """A task in progress is started."""

    reason = "TASK_ALREADY_STARTED"
    message = "Task {task_id} is in progress already."


class TaskNotComplete(FailedPrecondition):
    """A task that is not complete is reopened."""

    reason = "TASK_NOT_COMPLETE"
    message = "Task {task_id} is {state}; only a complete task can be reopened."


class TaskNotDeleted(FailedPrecondition):
    """A task that is not deleted is undeleted."""

    reason = "TASK_NOT_DELETED"
    message = "Task {task_id} is not deleted."


class TaskDeleted(FailedPrecondition):
    """A deleted task is changed."""

    reason = "TASK_DELETED"
    message = "Task {task_id} is deleted. Undelete it first."


class RecurrenceIncomplete(FailedPrecondition):
    """A change would leave `is_recurring` without a schedule, or a schedule without it."""

    reason = "RECURRENCE_INCOMPLETE"
    message = "Task {task_id} would recur without a schedule, or have one and not recur. Change both together."


class RecurrenceContradiction(InvalidArgument):
    """A field of the simple form, or one of recurring tasks only, does not fit the rule."""

    reason = "RECURRENCE_CONTRADICTION"
    message = "{field} contradicts the recurrence. Leave it out, or make both say the same."

    def __init__(self, field: str) -> None:
        super().__init__(field=field, fields=[FieldViolation(field, "contradicts recurrence")])


class RecurrenceCountMissing(InvalidArgument):
    """A series that ends after a count is split, and how many of its slots are left is not known here."""

    reason = "RECURRENCE_COUNT_MISSING"
    message = "The recurrence of task {task_id} ends after a count. Name it too, with the count that is left."

    def __init__(self, task_id: str) -> None:
        super().__init__(
            task_id=task_id, fields=[FieldViolation("recurrence", "must be named, with the count that is left")]
        )


class DueTimeNotInRecurrence(InvalidArgument):
    """The rule does not produce the due time from which it shall count."""

    reason = "DUE_TIME_NOT_IN_RECURRENCE"
    message = "The recurrence has no occurrence at {slot}; the next one is at {next_slot}, which is {next_due_time}."

    def __init__(self, *, slot: str, next_slot: str, next_due_time: str) -> None:
        """slot, next_slot: local times. next_due_time: instant of the latter."""
        super().__init__(
            slot=slot,
            next_slot=next_slot,
            next_due_time=next_due_time,
            fields=[FieldViolation("due_time", f"must be an occurrence of the recurrence, such as {next_due_time}")],
        )


class TimeZoneUnknown(InvalidArgument):
    """A name that is not in the IANA time zone database."""

    reason = "TIME_ZONE_UNKNOWN"
    message = "There is no time zone {time_zone}. Use an IANA name such as Europe/Berlin."

    def __init__(self, time_zone: str) -> None:
        super().__init__(
            time_zone=time_zone, fields=[FieldViolation("time_zone", "must be a name of the IANA time zone database")]
        )


class ReminderOffsetInvalid(InvalidArgument):
    """A reminder offset that is no duration, after the due time, or too long."""

    reason = "REMINDER_OFFSET_INVALID"
    message = "The reminder offset {offset} {description}."

    def __init__(self, index: int, offset: str, description: str) -> None:
        """index: of the offset in its list."""
        field = f"reminder_offsets[{index}]"
        super().__init__(offset=offset, description=description, fields=[FieldViolation(field, description)])


class TooManySeries(FailedPrecondition):
    """The user has as many series as one user may have."""

    reason = "TOO_MANY_SERIES"
    message = "You have {limit} recurring tasks, as many as can be. Delete one, or let it recur no more."


class TooManyTasks(FailedPrecondition):
    """The user has as many tasks as one user may have."""

    reason = "TOO_MANY_TASKS"
    message = "You have {limit} tasks, as many as can be. Those that you delete make room after 30 days."


class TaskNotInSeries(FailedPrecondition):
    """Another service speaks of an instance of a series to which the task does not belong any more."""

    reason = "TASK_NOT_IN_SERIES"
    message = "Task {task_id} is no instance of the series {series_id}."


class SlotTaken(FailedPrecondition):
    """An instance would come, or come back, to a slot that has another."""

    reason = "SLOT_TAKEN"
    message = "The series {series_id} has another instance at {slot}."


@contextmanager
def of_element(path: str) -> Iterator[None]:
    """Names the element of a list, such as `requests[3]`, in the fields of an error that is raised about it."""
    try:
        yield
    except ServiceError as error:
        error.fields = tuple(each._replace(field=f"{path}.{each.field}") for each in error.fields)
        raise
