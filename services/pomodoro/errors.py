"""Every error of the pomodoro service; reasons are values of `focusmesh.pomodoro.v1.ErrorReason`."""

from mesh.runtime.errors import (
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)


class FocusSessionNotFound(NotFound):
    """The caller has no session with this id, deleted or not."""

    reason = "FOCUS_SESSION_NOT_FOUND"
    message = "There is no focus session {focus_session_id}."


class AnotherSessionRunning(FailedPrecondition):
    """A session is started or resumed while another one is running."""

    reason = "ANOTHER_SESSION_RUNNING"
    message = (
        "Focus session {focus_session_id} is {state} until {interval_end_time}, version {etag}. Pause or finish it "
        "first, or repeat the call with when_running."
    )


class FocusSessionNotStarted(FailedPrecondition):
    """What only a started session can do."""

    reason = "FOCUS_SESSION_NOT_STARTED"
    message = "Focus session {focus_session_id} is planned. Start it first."


class FocusSessionAlreadyStarted(FailedPrecondition):
    """What only a planned session can do."""

    reason = "FOCUS_SESSION_ALREADY_STARTED"
    message = "Focus session {focus_session_id} was started already and is {state}."


class FocusSessionNotRunning(FailedPrecondition):
    """A session that is not running is paused."""

    reason = "FOCUS_SESSION_NOT_RUNNING"
    message = "Focus session {focus_session_id} is {state}; only a running one can be paused."


class FocusSessionRunning(FailedPrecondition):
    """A running session is resumed."""

    reason = "FOCUS_SESSION_RUNNING"
    message = "Focus session {focus_session_id} is running already."


class FocusSessionFinished(FailedPrecondition):
    """A finished session is changed."""

    reason = "FOCUS_SESSION_FINISHED"
    message = "Focus session {focus_session_id} is finished and does not change any more."


class FocusSessionDeleted(FailedPrecondition):
    """A deleted session is changed."""

    reason = "FOCUS_SESSION_DELETED"
    message = "Focus session {focus_session_id} is deleted. Undelete it first."


class FocusSessionNotDeleted(FailedPrecondition):
    """A session that is not deleted is undeleted."""

    reason = "FOCUS_SESSION_NOT_DELETED"
    message = "Focus session {focus_session_id} is not deleted."


class OccurrenceStartedAgain(FailedPrecondition):
    """A session is undeleted after another one was started for its occurrence."""

    reason = "OCCURRENCE_STARTED_AGAIN"
    message = "Focus session {focus_session_id} was started for an occurrence that has another session since."


class FocusSessionFull(FailedPrecondition):
    """A session has as many transitions as it may have."""

    reason = "FOCUS_SESSION_FULL"
    message = "Focus session {focus_session_id} has had its {limit} changes. Finish it and start another."


class ProgressAhead(FailedPrecondition):
    """A device shows more progress than the server."""

    reason = "PROGRESS_AHEAD"
    message = "The server is at {progress_seconds} seconds of interval {interval_number}. Show that."


class IdleInFuture(InvalidArgument):
    """The user would be idle in the future only."""

    reason = "IDLE_IN_FUTURE"
    message = "idle_start_time lies in the future: it is {server_time}."


class SessionTaskNotFound(NotFound):
    """No session of the caller has a task with this id."""

    reason = "SESSION_TASK_NOT_FOUND"
    message = "There is no session task {session_task_id}."


class TooManySessionTasks(ResourceExhausted):
    """A session has as many tasks as it may have."""

    reason = "TOO_MANY_SESSION_TASKS"
    message = "Focus session {focus_session_id} has {limit} tasks, the most that it can have."


class SessionTaskDone(FailedPrecondition):
    """A task that is done is selected."""

    reason = "SESSION_TASK_DONE"
    message = "Session task {session_task_id} is done. No time counts to it."


class SessionTaskOrderIncomplete(FailedPrecondition):
    """A new order leaves tasks out or names those of another session."""

    reason = "SESSION_TASK_ORDER_INCOMPLETE"
    message = "The new order must name every task of focus session {focus_session_id} once, and no other."


class TodoTaskNotFound(NotFound):
    """A session task would stand for a todo task that the caller does not have."""

    reason = "TODO_TASK_NOT_FOUND"
    message = "There is no todo task {todo_task_id}."

    def __init__(self, field: str, task_id: str) -> None:
        """field: path of the field that names the task."""
        super().__init__(
            todo_task_id=task_id, fields=[FieldViolation(field, "must be a todo task of yours that is not deleted")]
        )


class TodoUnavailable(Unavailable):
    """A session task would stand for a todo task, and todo does not respond."""

    reason = "TODO_UNAVAILABLE"
    message = "Whose todo task that is cannot be found out right now. Try again in a moment, or without it."


class GuestFull(ResourceExhausted):
    """A guest has as many sessions, tasks in all of them, or bytes in all, as a guest may have."""

    reason = "GUEST_FULL"
    message = "A guest has {limit} {what} at most. Delete a session, or register to go on."


class GuestClaimed(FailedPrecondition):
    """A guest calls, or another user claims, whose sessions an account has claimed."""

    reason = "GUEST_CLAIMED"
    message = "An account has claimed this guest's sessions. Sign in to that account to go on."


class GuestBeingClaimed(Unavailable):
    """A guest calls while an account claims its sessions; the claim may fail still."""

    reason = "UNAVAILABLE"
    message = "An account is claiming this guest's sessions. Try again in a moment."
    domain = "focusmesh"


class GuestTokenInvalid(FailedPrecondition):
    """A guest is claimed who has ended or never was."""

    reason = "GUEST_TOKEN_INVALID"
    message = "This is no valid refresh token of a guest. The guest's sessions are gone, or it was refreshed since."

    def __init__(self) -> None:
        super().__init__(fields=[FieldViolation("guest_refresh_token", "must be the newest of a guest")])


class TooManyWatches(ResourceExhausted):
    """A user has too many open watches on this replica."""

    reason = "TOO_MANY_WATCHES"
    message = "There are {limit} open watches of this user already. Close one."


class ShuttingDown(Unavailable):
    """This replica is shutting down; another one serves the watch."""

    reason = "UNAVAILABLE"
    message = "This replica stops. Watch again."
    domain = "focusmesh"
