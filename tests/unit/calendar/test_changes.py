"""What follows from a change of an event: its state, when it ends, which rows remain, and its version."""

from collections.abc import Sequence

import pytest

from mesh.recurrence.series import parse_slot
from mesh.recurrence.zones import to_instant
from mesh.runtime.clock import to_json
from services.calendar.errors import EventDeleted, EventReadOnly, TooManyChanges
from services.calendar.model import MOST_ROWS, CalendarEvent, OccurrenceRow, Status
from services.calendar.rules import changes
from tests.support.calendar_model import CREATED, EVENT, ZONE, a_row, an_event, rows_of

FIRST, SECOND, THIRD = "2026-09-07T18:00:00", "2026-09-14T18:00:00", "2026-09-21T18:00:00"


def settled(event: CalendarEvent, *rows: OccurrenceRow) -> CalendarEvent:
    """The event with what follows."""
    return changes.created(event, rows_of(*rows), ZONE).event


@pytest.mark.parametrize(
    ("rule", "rows", "status"),
    [
        (None, [], Status.PLANNED),
        (None, [a_row(FIRST, status="completed")], Status.COMPLETED),
        (None, [a_row(FIRST, status="cancelled")], Status.CANCELLED),
        ("FREQ=WEEKLY;COUNT=3", [a_row(SECOND, status="completed")], Status.PLANNED),
        ("FREQ=WEEKLY;COUNT=3", [a_row(THIRD, status="completed")], Status.COMPLETED),
        (
            "FREQ=WEEKLY;COUNT=3",
            [a_row(SECOND, status="completed"), a_row(THIRD, status="cancelled")],
            Status.COMPLETED,
        ),
        (
            "FREQ=WEEKLY;COUNT=2",
            [a_row(FIRST, status="cancelled"), a_row(SECOND, status="cancelled")],
            Status.CANCELLED,
        ),
        ("FREQ=WEEKLY", [a_row(FIRST, status="completed"), a_row(SECOND, status="cancelled")], Status.PLANNED),
    ],
)
def test_the_state_of_an_event_follows_from_its_occurrences(
    rule: str | None, rows: Sequence[OccurrenceRow], status: Status
) -> None:
    assert settled(an_event(FIRST, rule), *rows).status == status


def test_the_next_end_is_that_of_the_first_occurrence_that_takes_place() -> None:
    weekly = an_event(FIRST, "FREQ=WEEKLY;COUNT=3")

    assert _end(settled(weekly)) == "2026-09-07T17:00:00Z"
    assert _end(settled(weekly, a_row(FIRST, status="cancelled"))) == "2026-09-14T17:00:00Z"
    assert _end(settled(weekly, a_row(FIRST, minutes=20_160))) == "2026-09-14T17:00:00Z"
    assert _end(settled(weekly, a_row(THIRD, moved_to="2026-09-01T08:00:00"))) == "2026-09-01T07:00:00Z"
    assert _end(settled(weekly._replace(subscription_id=EVENT))) is None
    assert _end(settled(weekly._replace(deleted_at=CREATED))) is None


def _end(event: CalendarEvent) -> str | None:
    return None if event.next_end_at is None else to_json(event.next_end_at)


def test_an_edit_loses_no_end_that_is_not_published_yet() -> None:
    before = settled(an_event(FIRST, "FREQ=WEEKLY"))
    long_after = before.scheduled_start + 10 * 7 * 86_400 * 1_000_000

    change = changes.changed(before, before._replace(title="Other"), {}, {}, ZONE, long_after)

    assert change.event.next_end_at == before.next_end_at


@pytest.mark.parametrize("rule", ["FREQ=DAILY", None])
def test_what_a_traveller_jumps_over_still_ends_and_what_has_ended_does_not(rule: str | None) -> None:
    event = an_event("2026-03-02T09:00:00", rule, time_zone=None)
    there = "America/New_York"
    before = changes.created(event, {}, there).event
    assert _end(before) == "2026-03-02T15:00:00Z"

    early, late = (_at(f"2026-03-02T{time}:00") for time in ("12:00", "16:00"))
    assert _end(changes.relocated(before, {}, there, "Asia/Tokyo", early).event) == "2026-03-02T01:00:00Z"
    told = changes.changed(before, before._replace(title="B"), {}, {}, there, late).event
    told = told._replace(next_end_at=_at("2026-03-03T15:00:00") if rule else None)
    expected = "2026-03-03T01:00:00Z" if rule else None
    assert _end(changes.relocated(told, {}, there, "Asia/Tokyo", late).event) == expected


def _at(wall: str) -> int:
    return to_instant(parse_slot(wall)[0], "UTC")[0]


def test_an_event_that_was_in_the_past_when_it_was_made_ends_nothing() -> None:
    assert _end(settled(an_event("2025-09-07T18:00:00"))) is None


def test_rows_that_say_nothing_are_removed_and_the_others_know_their_instant() -> None:
    stale = a_row(THIRD, moved_to="2026-09-22T08:00:00")._replace(start_time=0)

    rows = changes.created(an_event(FIRST, "FREQ=WEEKLY"), rows_of(a_row(FIRST), stale), ZONE).rows

    assert list(rows) == [THIRD]
    assert to_json(rows[THIRD].start_time or 0) == "2026-09-22T06:00:00Z"


def test_what_changes_nothing_is_no_new_version() -> None:
    event = settled(an_event(FIRST, "FREQ=WEEKLY"))

    same = changes.changed(event, event, {}, rows_of(a_row(SECOND)), ZONE, CREATED + 1)
    other = changes.changed(event, event, {}, rows_of(a_row(SECOND, title="Own")), ZONE, CREATED + 1)

    assert same.event is same.before is event
    assert (other.event.version, other.event.updated_at) == (2, CREATED + 1)


def test_an_event_has_at_most_so_many_rows_and_may_keep_those_it_has() -> None:
    event = an_event("2026-01-01", "FREQ=DAILY", minutes=1440)
    slots = [
        f"{year}-{month:02}-{day:02}" for year in (2026, 2027, 2028) for month in range(1, 13) for day in range(1, 29)
    ]
    rows = rows_of(*(a_row(slot, title="Own") for slot in slots[: MOST_ROWS + 1]))
    fewer = rows_of(*list(rows.values())[:MOST_ROWS])

    assert len(changes.created(event, fewer, ZONE).rows) == MOST_ROWS
    with pytest.raises(TooManyChanges):
        changes.changed(event, event, fewer, rows, ZONE, CREATED)
    assert len(changes.changed(event, event._replace(title="x"), rows, rows, ZONE, CREATED).rows) == MOST_ROWS + 1


def test_deleted_events_and_those_of_subscriptions_cannot_be_changed() -> None:
    with pytest.raises(EventDeleted):
        changes.check_changeable(an_event(FIRST, deleted_at=CREATED), None)
    with pytest.raises(EventReadOnly):
        changes.check_changeable(an_event(FIRST, subscription_id=EVENT), None)
    changes.check_changeable(an_event(FIRST), "v1")
