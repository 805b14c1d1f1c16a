"""Every refusal of the todo service."""

from mesh.runtime.errors import FailedPrecondition, NotFound


class TaskNotFound(NotFound):
    """No such task, or another user's."""

    reason = "TASK_NOT_FOUND"
    message = "There is no task {task_id}."


class TaskAlreadyComplete(FailedPrecondition):
    """It is complete."""

    reason = "TASK_ALREADY_COMPLETE"
    message = "Task {task_id} is complete already. Reopen it first."


class TaskAlreadyStarted(FailedPrecondition):
    """It is in progress."""

    reason = "TASK_ALREADY_STARTED"
    message = "Task {task_id} is in progress already."


class TaskNotComplete(FailedPrecondition):
    """Only a complete task can be reopened."""

    reason = "TASK_NOT_COMPLETE"
    message = "Task {task_id} is {state}; only a complete task can be reopened."


class TaskNotDeleted(FailedPrecondition):
    """There is nothing to undelete."""

    reason = "TASK_NOT_DELETED"
    message = "Task {task_id} is not deleted."


class TaskDeleted(FailedPrecondition):
    """A deleted task does not change."""

    reason = "TASK_DELETED"
    message = "Task {task_id} is deleted. Undelete it first."


class RecurrenceIncomplete(FailedPrecondition):
    """A recurring task has a schedule, and no other has one."""

    reason = "RECURRENCE_INCOMPLETE"
    message = "Task {task_id} would recur without a schedule, or have one and not recur. Change both together."
