"""The errors of the todo service; reasons are values of `focusmesh.todo.v1.ErrorReason`."""

from mesh.runtime.errors import FailedPrecondition, NotFound


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
