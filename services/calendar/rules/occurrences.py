"""What callers do with one occurrence: each change gives the row that it has then."""

from services.calendar.errors import OccurrenceCancelled, OccurrenceCompleted
from services.calendar.model import Length, Occurrence, OccurrenceRow, Status


def row_of(occurrence: Occurrence) -> OccurrenceRow:
    """Its row, or one that says nothing."""
    if occurrence.row is not None:
        return occurrence.row
    event = occurrence.event
    return OccurrenceRow(
        event_id=event.id,
        slot=occurrence.slot,
        user_id=event.user_id,
        status=Status.PLANNED.value,
        title=None,
        description=None,
        location=None,
        start_slot=None,
        start_time=None,
        length_days=None,
        length_seconds=None,
        session_id=None,
        starts=0,
        completed_at=None,
        is_completed_by_session=False,
    )


def require_planned(occurrence: Occurrence) -> None:
    """Raises OccurrenceCancelled and OccurrenceCompleted."""
    _require_not_cancelled(occurrence)
    _require_not_completed(occurrence)


def moved(occurrence: Occurrence, start: str, length: Length | None) -> OccurrenceRow:
    """It begins at another local time or date. length: None for that of before.

    Where that is what its event says, nothing of its own remains. Raises OccurrenceCancelled and OccurrenceCompleted.
    """
    require_planned(occurrence)
    row = row_of(occurrence)._replace(start_slot=None if start == occurrence.slot else start)
    if length is None:
        return row
    is_same = length == occurrence.event.length
    return row._replace(
        length_days=None if is_same else length.days, length_seconds=None if is_same else length.seconds
    )


def cancelled(occurrence: Occurrence) -> OccurrenceRow:
    """It does not take place. Raises OccurrenceCompleted."""
    _require_not_completed(occurrence)
    return row_of(occurrence)._replace(status=Status.CANCELLED.value)


def completed(occurrence: Occurrence, now: int) -> OccurrenceRow:
    """It is done, without a focus session; one that was done before stays so. Raises OccurrenceCancelled."""
    _require_not_cancelled(occurrence)
    row = row_of(occurrence)
    if row.status == Status.COMPLETED:
        return row
    return row._replace(status=Status.COMPLETED.value, completed_at=now, is_completed_by_session=False)


def restored(occurrence: Occurrence) -> OccurrenceRow:
    """It is what its event says, and keeps its focus session, which does not complete it a second time."""
    row = row_of(occurrence)
    return row_of(occurrence._replace(row=None))._replace(
        session_id=row.session_id, starts=row.starts, is_completed_by_session=row.is_completed_by_session
    )


def _require_not_cancelled(occurrence: Occurrence) -> None:
    if occurrence.status == Status.CANCELLED:
        raise OccurrenceCancelled(occurrence_id=occurrence.id)


def _require_not_completed(occurrence: Occurrence) -> None:
    if occurrence.status == Status.COMPLETED:
        raise OccurrenceCompleted(occurrence_id=occurrence.id)
