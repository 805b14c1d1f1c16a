"""Which occurrences an event has in a window, and when each begins and ends."""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice

import pytest

from mesh.runtime.clock import to_json
from services.calendar.model import CalendarEvent, Length, Occurrence, OccurrenceRow
from services.calendar.rules import series
from tests.support.calendar_model import ZONE, a_row, an_event, rows_of

LAST_DAY = datetime.fromisoformat("9999-12-30T00:00:00")
"""No slot is on a later one."""


def instant(text: str) -> int:
    """The instant of a UTC time such as `2026-03-28T01:30`."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def times(occurrences: Iterable[Occurrence]) -> list[tuple[str, str, str]]:
    """Slot, start and end of each."""
    return [(each.slot, to_json(each.start), to_json(each.end)) for each in occurrences]


def slots(event: CalendarEvent, begin: str, end: str, *rows: OccurrenceRow, zone: str = ZONE) -> list[str]:
    """The slots of what takes place in a window."""
    return [each.slot for each in series.between(event, rows_of(*rows), instant(begin), instant(end), zone)]


def test_a_single_event_has_one_occurrence() -> None:
    event = an_event("2026-03-28T02:30:00")

    found = list(series.between(event, {}, instant("2026-01-01"), instant("2027-01-01"), ZONE))

    assert times(found) == [("2026-03-28T02:30:00", "2026-03-28T01:30:00Z", "2026-03-28T02:30:00Z")]


def test_days_are_counted_on_the_wall_clock_and_seconds_pass() -> None:
    # Clocks go forward at 2026-03-29 02:00: that day has 23 hours.
    local = datetime.fromisoformat("2026-03-28T12:00:00")
    assert to_json(series.length_end(local, Length(1, 0), ZONE)) == "2026-03-29T10:00:00Z"
    assert to_json(series.length_end(local, Length(0, 86_400), ZONE)) == "2026-03-29T11:00:00Z"
    assert to_json(series.length_end(local, Length(1, 3_600), ZONE)) == "2026-03-29T11:00:00Z"


def test_nothing_ends_after_the_last_instant_of_a_timestamp() -> None:
    assert to_json(series.length_end(LAST_DAY, Length(366, 0), ZONE)) == "9999-12-31T23:59:59Z"
    assert to_json(series.length_end(LAST_DAY, Length(0, 366 * 86_400), ZONE)) == "9999-12-31T23:59:59Z"


def test_an_hour_from_the_first_of_two_equal_times_ends_at_the_second() -> None:
    """D-dst-repeat-1: the length is one hour, not none and not two."""
    event = an_event("2026-10-25T01:30:00", "FREQ=WEEKLY;BYDAY=SU;COUNT=3", time_zone="America/New_York")

    found = series.between(event, {}, instant("2026-10-01"), instant("2026-12-01"), "Asia/Tokyo")

    assert times(found) == [
        ("2026-10-25T01:30:00", "2026-10-25T05:30:00Z", "2026-10-25T06:30:00Z"),
        ("2026-11-01T01:30:00", "2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"),
        ("2026-11-08T01:30:00", "2026-11-08T06:30:00Z", "2026-11-08T07:30:00Z"),
    ]


def test_the_zone_of_the_user_moves_no_slot_of_an_event_with_a_zone() -> None:
    """D-zones-1."""
    event = an_event("2026-07-06T09:00:00", "FREQ=WEEKLY;COUNT=3", time_zone="Europe/Berlin")
    begin, end = instant("2026-07-01"), instant("2026-08-01")

    in_berlin, in_tokyo = (
        times(series.between(event, {}, begin, end, zone)) for zone in ("Europe/Berlin", "Asia/Tokyo")
    )

    assert in_berlin == in_tokyo
    assert [start for _, start, _ in in_berlin] == [
        "2026-07-06T07:00:00Z",
        "2026-07-13T07:00:00Z",
        "2026-07-20T07:00:00Z",
    ]


@pytest.mark.parametrize("zone", ["Europe/Kiev", "Europe/Kyiv"])
def test_an_old_and_a_new_name_of_a_zone_give_the_same_instants(zone: str) -> None:
    """D-zones-2."""
    event = an_event("2026-10-24T09:00:00", "FREQ=DAILY;COUNT=2", time_zone=zone)

    found = series.between(event, {}, instant("2026-10-01"), instant("2026-11-01"), ZONE)

    assert [start for _, start, _ in times(found)] == ["2026-10-24T06:00:00Z", "2026-10-25T07:00:00Z"]


def test_a_floating_event_is_on_the_clock_of_its_user() -> None:
    event = an_event("2026-07-06T09:00:00", time_zone=None)

    found = series.between(event, {}, instant("2026-07-01"), instant("2026-08-01"), "Asia/Tokyo")

    assert times(found) == [("2026-07-06T09:00:00", "2026-07-06T00:00:00Z", "2026-07-06T01:00:00Z")]


def test_an_all_day_event_takes_the_local_days_of_its_user() -> None:
    event = an_event("2026-03-28", "FREQ=DAILY;COUNT=2", minutes=1440)

    found = series.between(event, {}, instant("2026-03-01"), instant("2026-04-01"), ZONE)

    assert times(found) == [
        ("2026-03-28", "2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z"),
        ("2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
    ]


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        ("2026-09-07T16:30", "2026-09-07T16:31", ["2026-09-07T18:00:00"]),
        ("2026-09-07T17:00", "2026-09-07T20:00", []),
        ("2026-09-07T15:00", "2026-09-07T16:00", []),
        ("2026-09-07T16:00", "2026-09-14T16:00", ["2026-09-07T18:00:00"]),
        ("2026-09-07T16:00", "2026-09-14T16:01", ["2026-09-07T18:00:00", "2026-09-14T18:00:00"]),
    ],
)
def test_a_window_has_what_takes_place_at_some_time_of_it(begin: str, end: str, expected: list[str]) -> None:
    assert slots(an_event("2026-09-07T18:00:00", "FREQ=WEEKLY"), begin, end) == expected


def test_an_event_without_a_length_is_in_the_window_that_it_begins_in() -> None:
    event = an_event("2026-09-07T18:00:00", minutes=0)

    assert slots(event, "2026-09-07T16:00", "2026-09-07T16:01") == ["2026-09-07T18:00:00"]
    assert slots(event, "2026-09-07T15:00", "2026-09-07T16:00") == []


def test_an_occurrence_is_listed_where_it_was_moved_to_and_not_where_it_was() -> None:
    event = an_event("2026-09-07T18:00:00", "FREQ=WEEKLY")
    row = a_row("2026-09-14T18:00:00", moved_to="2026-09-21T17:00:00")

    assert slots(event, "2026-09-14", "2026-09-15", row) == []
    assert slots(event, "2026-09-21", "2026-09-22", row) == ["2026-09-14T18:00:00", "2026-09-21T18:00:00"]


def test_an_occurrence_may_have_a_length_of_its_own() -> None:
    event = an_event("2026-09-07T18:00:00", "FREQ=WEEKLY")
    row = a_row("2026-09-14T18:00:00", minutes=3 * 1440)

    assert slots(event, "2026-09-17", "2026-09-18", row) == ["2026-09-14T18:00:00"]


def test_cancelled_occurrences_are_told_by_their_status() -> None:
    event = an_event("2026-09-07T18:00:00", "FREQ=WEEKLY;COUNT=2")
    row = a_row("2026-09-07T18:00:00", status="cancelled")

    found = list(series.between(event, rows_of(row), instant("2026-09-01"), instant("2026-10-01"), ZONE))

    assert [each.status for each in found] == ["cancelled", "planned"]


def test_a_row_of_a_slot_that_the_event_does_not_have_adds_nothing() -> None:
    event = an_event("2026-09-07T18:00:00", "FREQ=WEEKLY;COUNT=2")

    assert slots(event, "2026-09-08", "2026-09-10", a_row("2026-09-08T18:00:00", moved_to="2026-09-09T18:00:00")) == []
    assert series.occurrence(event, "2026-09-08T18:00:00", None, ZONE) is None


@pytest.mark.parametrize("slot", ["2026-09-07", "2026-09-07T18:00", "2026-09-31T18:00:00", "", "today"])
def test_what_is_no_slot_of_the_event_has_no_occurrence(slot: str) -> None:
    assert series.occurrence(an_event("2026-09-07T18:00:00", "FREQ=WEEKLY"), slot, None, ZONE) is None


def test_slots_beside_the_rule_come_in_the_order_of_their_starts_and_once() -> None:
    event = an_event(
        "2026-09-07T18:00:00",
        "FREQ=WEEKLY;COUNT=2",
        added=["2026-09-14T18:00:00", "2026-09-14T09:00:00", "2026-10-01T09:00:00"],
    )

    assert slots(event, "2026-09-01", "2026-11-01") == [
        "2026-09-07T18:00:00",
        "2026-09-14T09:00:00",
        "2026-09-14T18:00:00",
        "2026-10-01T09:00:00",
    ]


def test_planned_occurrences_after_an_instant_leave_out_what_is_cancelled_or_done() -> None:
    event = an_event("2026-09-07T18:00:00", "FREQ=WEEKLY")
    rows = rows_of(
        a_row("2026-09-14T18:00:00", status="cancelled"),
        a_row("2026-09-21T18:00:00", status="completed"),
        a_row("2026-10-05T18:00:00", moved_to="2026-09-20T18:00:00"),
    )

    found = islice(series.planned_after(event, rows, instant("2026-09-07T16:00"), ZONE), 3)

    assert [each.slot for each in found] == ["2026-10-05T18:00:00", "2026-09-28T18:00:00", "2026-10-12T18:00:00"]


@pytest.mark.parametrize(
    ("rule", "last"),
    [
        (None, "2026-09-07T17:00:00Z"),
        ("FREQ=WEEKLY", None),
        ("FREQ=WEEKLY;COUNT=3", "2026-09-21T17:00:00Z"),
        ("FREQ=WEEKLY;UNTIL=20260921T160000Z", "2026-09-21T17:00:00Z"),
        ("FREQ=WEEKLY;UNTIL=20260921T155959Z", "2026-09-14T17:00:00Z"),
        ("FREQ=WEEKLY;UNTIL=20260920", "2026-09-14T17:00:00Z"),
        ("FREQ=WEEKLY;UNTIL=20260921", "2026-09-21T17:00:00Z"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;UNTIL=99991231", "9996-02-29T18:00:00Z"),
    ],
)
def test_an_event_whose_rule_ends_has_a_last_end(rule: str | None, last: str | None) -> None:
    event = an_event("2028-02-29T18:00:00" if rule and "YEARLY" in rule else "2026-09-07T18:00:00", rule)

    _, end = series.ends(event, {}, 0, ZONE)

    assert (None if end is None else to_json(end)) == last


def test_the_last_end_counts_what_was_moved_and_what_lies_beside_the_rule() -> None:
    event = an_event("2026-09-07T18:00:00", "FREQ=WEEKLY;COUNT=2", added=["2026-10-01T09:00:00"])

    assert series.ends(event, {}, 0, ZONE)[1] == instant("2026-10-01T08:00")
    moved = rows_of(a_row("2026-09-07T18:00:00", moved_to="2026-12-01T09:00:00"))
    assert series.ends(event, moved, 0, ZONE)[1] == instant("2026-12-01T09:00")
