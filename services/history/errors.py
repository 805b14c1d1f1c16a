"""Every error of the history service; reasons are values of `focusmesh.history.v1.ErrorReason`."""

from mesh.runtime.errors import FailedPrecondition, FieldViolation, InvalidArgument, InvalidRequest, NotFound


class ArchivedSessionNotFound(NotFound):
    """The caller has no session with this id in the archive, or it is in cold storage and that was not asked for."""

    reason = "ARCHIVED_SESSION_NOT_FOUND"
    message = "There is no session {archived_session_id} in the archive."


class ArchivedSessionDeleted(FailedPrecondition):
    """A deleted session is changed."""

    reason = "ARCHIVED_SESSION_DELETED"
    message = "Session {archived_session_id} is deleted. Undelete it first."


class ArchivedSessionNotDeleted(FailedPrecondition):
    """A session that is not deleted is undeleted."""

    reason = "ARCHIVED_SESSION_NOT_DELETED"
    message = "Session {archived_session_id} is not deleted."


class TimeInColdStorage(FailedPrecondition):
    """A session of a time that is in cold storage is added or changed."""

    reason = "TIME_IN_COLD_STORAGE"
    message = "Sessions from before {oldest_time} are in cold storage and do not change any more."


class TimeInFuture(InvalidArgument):
    """A session would end in the future."""

    reason = "TIME_IN_FUTURE"
    message = "It is {server_time}; a session in the archive is over."


class TimeOverlaps(FailedPrecondition):
    """A session is added or moved to a time in which another one was at work."""

    reason = "TIME_OVERLAPS"
    message = "Session {archived_session_id} was at work in this time already, and no second counts twice."


class TimeNotRecorded(FailedPrecondition):
    """A recorded session is made longer."""

    reason = "TIME_NOT_RECORDED"
    message = (
        "Session {archived_session_id} was recorded from {start_time} to {end_time}; it can be made shorter only. Add "
        "other time as a session by hand."
    )


class TimesInvalid(InvalidArgument):
    """A session would end before it begins, or one that is added by hand would be too long."""

    reason = "TIMES_INVALID"
    message = (
        "A session cannot last from {start_time} to {end_time}: it ends after it begins and, when it is added by hand, "
        "at most 24 hours later."
    )


def invalid(field: str, description: str) -> InvalidRequest:
    """A value of a field that no rule of the contract can refuse."""
    return InvalidRequest(fields=[FieldViolation(field, description, "")], summary=f"{field}: {description}")
