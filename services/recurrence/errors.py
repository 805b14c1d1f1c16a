"""The errors of the recurrence service; reasons are values of `focusmesh.recurrence.v1.ErrorReason`."""

from mesh.runtime.errors import FailedPrecondition, FieldViolation, InvalidArgument, NotFound


class ScheduleNotFound(NotFound):
    """No such schedule, or another user's."""

    reason = "SCHEDULE_NOT_FOUND"
    message = "There is no schedule {schedule_id}."


class CompletionNotFound(NotFound):
    """No such completion, or another user's."""

    reason = "COMPLETION_NOT_FOUND"
    message = "There is no completion {completion_id}."


class CompletionAlreadyUndone(FailedPrecondition):
    """A completion is undone twice."""

    reason = "COMPLETION_ALREADY_UNDONE"
    message = "Completion {completion_id} was undone before."


class ScheduleInactive(FailedPrecondition):
    """A series that has no further occurrence is changed."""

    reason = "SCHEDULE_INACTIVE"
    message = "The schedule {schedule_id} has no further occurrence."


class SlotNotFound(FailedPrecondition):
    """A slot is named that is neither open nor ahead."""

    reason = "SLOT_NOT_FOUND"
    message = "The series has no slot {slot} ahead."


class OccurrenceBegun(FailedPrecondition):
    """The open occurrence is skipped though somebody has begun it."""

    reason = "OCCURRENCE_BEGUN"
    message = "Task {task_id} is begun. Complete it, or make it pending again."


class OverridesLost(FailedPrecondition):
    """An edit would lose occurrences that were moved alone."""

    reason = "OVERRIDES_LOST"
    message = "The changed series has no slots for moved occurrences: {slots}. Set force to give them up."


class TooManyChanges(FailedPrecondition):
    """A schedule has as many single changes as it can have."""

    reason = "TOO_MANY_CHANGES"
    message = "The schedule has {limit} cancelled or moved slots ahead, as many as it can have."


class TimeZoneUnknown(InvalidArgument):
    """A name that is not in the IANA time zone database."""

    reason = "TIME_ZONE_UNKNOWN"
    message = "There is no time zone {time_zone}. Use an IANA name such as Europe/Berlin."

    def __init__(self, time_zone: str, field: str = "time_zone") -> None:
        """field: of the request."""
        super().__init__(
            time_zone=time_zone, fields=[FieldViolation(field, "must be a name of the IANA time zone database")]
        )


class ScheduleBusy(FailedPrecondition):
    """The next instance of a series is planned and not there yet."""

    reason = "SCHEDULE_BUSY"
    message = "The next occurrence of schedule {schedule_id} is being made. Try again in a moment."

    def __init__(self, schedule_id: str) -> None:
        super().__init__(schedule_id=schedule_id, retry_after=1.0)
