"""Every error of the calendar service; reasons are values of `focusmesh.calendar.v1.ErrorReason`."""

from mesh.runtime.errors import FailedPrecondition, FieldViolation, InvalidArgument, NotFound, Unavailable


class EventNotFound(NotFound):
    """No such event, or another user's."""

    reason = "EVENT_NOT_FOUND"
    message = "There is no event {event_id}."


class EventDeleted(FailedPrecondition):
    """A deleted event is changed."""

    reason = "EVENT_DELETED"
    message = "Event {event_id} is deleted. Undelete it first."


class EventNotDeleted(FailedPrecondition):
    """An event that is not deleted is undeleted."""

    reason = "EVENT_NOT_DELETED"
    message = "Event {event_id} is not deleted."


class EventReadOnly(FailedPrecondition):
    """An event of a subscription is changed."""

    reason = "EVENT_READ_ONLY"
    message = "Event {event_id} came by a subscription. Change it in the calendar that it is from."


class EventsFull(FailedPrecondition):
    """A user has as many events as a user may have."""

    reason = "EVENTS_FULL"
    message = "There are {limit} events, as many as there may be. Delete some first."


class OccurrenceNotFound(NotFound):
    """No event of the user has such a slot."""

    reason = "OCCURRENCE_NOT_FOUND"
    message = "There is no occurrence {occurrence_id}."


class OccurrenceCancelled(FailedPrecondition):
    """A cancelled occurrence is moved, completed or started."""

    reason = "OCCURRENCE_CANCELLED"
    message = "Occurrence {occurrence_id} is cancelled. Restore it first."


class OccurrenceCompleted(FailedPrecondition):
    """A completed occurrence is moved, cancelled or started."""

    reason = "OCCURRENCE_COMPLETED"
    message = "Occurrence {occurrence_id} is completed. Restore it first."


class OverridesLost(FailedPrecondition):
    """An edit would lose occurrences that were changed or moved alone."""

    reason = "OVERRIDES_LOST"
    message = "The changed event has no slots for changed occurrences: {slots}. Set force to give them up."


class TooManyChanges(FailedPrecondition):
    """An event has as many occurrences of their own as it may have."""

    reason = "TOO_MANY_CHANGES"
    message = "The event has {limit} occurrences that differ from it, as many as it may have."


class TodoTaskNotFound(InvalidArgument):
    """An event is for a task that the user does not have."""

    reason = "TODO_TASK_NOT_FOUND"
    message = "There is no todo task {todo_task_id}."

    def __init__(self, todo_task_id: str, field: str) -> None:
        """field: of the request."""
        super().__init__(todo_task_id=todo_task_id, fields=[FieldViolation(field, "must be a task of the user")])


class TodoUnavailable(Unavailable):
    """Todo cannot be asked."""

    reason = "TODO_UNAVAILABLE"
    message = "Tasks cannot be read right now. Try again in a moment."


class PomodoroUnavailable(Unavailable):
    """Pomodoro cannot be asked."""

    reason = "POMODORO_UNAVAILABLE"
    message = "The focus session cannot be started right now. Try again in a moment."


class AnotherSessionRunning(FailedPrecondition):
    """An occurrence is started while another focus session is running."""

    reason = "ANOTHER_SESSION_RUNNING"
    message = (
        "Focus session {focus_session_id} is running. Pause or finish it first, or repeat the call with when_running."
    )


class NoFreeTime(FailedPrecondition):
    """No time of a window is long enough."""

    reason = "NO_FREE_TIME"
    message = "No free time of {minutes} minutes was found. Look further ahead, or for less."


class FileUnreadable(InvalidArgument):
    """A file that is not of iCalendar is imported."""

    reason = "FILE_UNREADABLE"
    message = "Line {line}: the content is not an iCalendar file, which begins with BEGIN:VCALENDAR."


class FileTooLarge(InvalidArgument):
    """A file has more than an import may have."""

    reason = "FILE_TOO_LARGE"
    message = "The file has more than {limit} {what}. Import it in parts."


class FeedNotFound(NotFound):
    """No such feed, or another user's."""

    reason = "FEED_NOT_FOUND"
    message = "There is no feed {feed_id}."


class FeedsFull(FailedPrecondition):
    """A user has as many feeds as a user may have."""

    reason = "FEEDS_FULL"
    message = "There are {limit} feeds, as many as there may be. Delete one first."


class SubscriptionNotFound(NotFound):
    """No such subscription, or another user's."""

    reason = "SUBSCRIPTION_NOT_FOUND"
    message = "There is no subscription {subscription_id}."


class SubscriptionsFull(FailedPrecondition):
    """A user has as many subscriptions as a user may have."""

    reason = "SUBSCRIPTIONS_FULL"
    message = "There are {limit} subscriptions, as many as there may be. Delete one first."


class UrlNotAllowed(InvalidArgument):
    """An address may not be read."""

    reason = "URL_NOT_ALLOWED"
    message = "The url {problem}."


class TimeZoneUnknown(InvalidArgument):
    """A name that is not in the IANA time zone database."""

    reason = "TIME_ZONE_UNKNOWN"
    message = "There is no time zone {time_zone}. Use an IANA name such as Europe/Berlin."

    def __init__(self, time_zone: str, field: str = "time_zone") -> None:
        """field: of the request."""
        super().__init__(
            time_zone=time_zone, fields=[FieldViolation(field, "must be a name of the IANA time zone database")]
        )
