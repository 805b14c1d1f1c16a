"""What the focus session of an occurrence makes of it."""

from services.calendar.errors import OccurrenceCancelled, OccurrenceCompleted
from services.calendar.model import FocusSession, Occurrence, OccurrenceRow, Status
from services.calendar.rules.occurrences import row_of


def require_startable(occurrence: Occurrence) -> None:
    """Raises OccurrenceCancelled, and OccurrenceCompleted when it was done without a session."""
    if occurrence.status == Status.CANCELLED:
        raise OccurrenceCancelled(occurrence_id=occurrence.id)
    if occurrence.status == Status.COMPLETED and row_of(occurrence).session_id is None:
        raise OccurrenceCompleted(occurrence_id=occurrence.id)


def started(occurrence: Occurrence, session_id: str) -> OccurrenceRow:
    """It has this session."""
    row = row_of(occurrence)
    return row if row.session_id == session_id else row._replace(session_id=session_id, starts=row.starts + 1)


def followed(occurrence: Occurrence, session: FocusSession) -> OccurrenceRow:
    """It follows its session: has it while that is neither deleted nor abandoned, and is done when that is.

    Another session than its own is passed over.
    """
    row = row_of(occurrence)
    if session.is_gone:
        return _without(row) if row.session_id == session.id else row
    if row.session_id is None:
        row = started(occurrence, session.id)
    was_restored = row.is_completed_by_session
    if row.session_id != session.id or not session.is_done or row.status != Status.PLANNED or was_restored:
        return row
    return row._replace(status=Status.COMPLETED.value, completed_at=session.changed_at, is_completed_by_session=True)


def _without(row: OccurrenceRow) -> OccurrenceRow:
    row = row._replace(session_id=None)
    if not row.is_completed_by_session:
        return row
    return row._replace(status=Status.PLANNED.value, completed_at=None, is_completed_by_session=False)
