"""What a focus session makes of its occurrence, event by event."""

from services.calendar.model import FocusSession, Occurrence, OccurrenceRow, Status
from services.calendar.rules import occurrences, series, starting
from tests.support.calendar_model import CREATED, EVENT, USER, ZONE, an_event

SLOT = "2026-06-01T09:00:00"
SESSION = "01890000-0000-7000-8000-0000000000f1"


def of(row: OccurrenceRow | None) -> Occurrence:
    found = series.occurrence(an_event(SLOT), SLOT, row, ZONE)
    assert found is not None
    return found


def session(*, is_done: bool = False, is_gone: bool = False) -> FocusSession:
    return FocusSession(SESSION, USER, EVENT, SLOT, is_gone, is_done, CREATED)


def test_an_occurrence_that_is_restored_is_not_completed_again_by_the_session_that_it_has() -> None:
    completed = starting.followed(of(None), session(is_done=True))
    assert completed.status == Status.COMPLETED

    restored = occurrences.restored(of(completed))
    after = starting.followed(of(restored), session(is_done=True))

    assert (after.status, after.completed_at, after.session_id) == (Status.PLANNED, None, SESSION)


def test_one_that_was_restored_and_completed_by_hand_stays_so_without_its_session() -> None:
    restored = occurrences.restored(of(starting.followed(of(None), session(is_done=True))))
    by_hand = occurrences.completed(of(restored), CREATED)

    assert starting.followed(of(by_hand), session(is_gone=True)).status == Status.COMPLETED


def test_a_session_that_comes_back_completes_what_it_had_completed() -> None:
    completed = starting.followed(of(None), session(is_done=True))
    without = starting.followed(of(completed), session(is_gone=True))
    assert (without.status, without.session_id) == (Status.PLANNED, None)

    assert starting.followed(of(without), session(is_done=True)).status == Status.COMPLETED
