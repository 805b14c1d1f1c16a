"""What edits of one occurrence, of those from one on, and of all make of an event and of what differs from it."""

from collections.abc import Sequence
from typing import Any

import pytest

from mesh.recurrence.rule import RuleError
from mesh.recurrence.series import parse_slot, slot_text
from mesh.recurrence.text import parse
from mesh.recurrence.zones import to_wall
from mesh.runtime.clock import to_json
from services.calendar.errors import OccurrenceNotFound, OverridesLost
from services.calendar.model import CalendarEvent, Length, OccurrenceRow
from services.calendar.rules import changes, edits, series
from services.calendar.rules.edits import Edited, Rows
from tests.support.calendar_model import CREATED, ZONE, a_row, an_event, rows_of

NEW = "01890000-0000-7000-8000-0000000000e2"
NOW = CREATED
END = 10**17
"""After everything here."""


def following(event: CalendarEvent, rows: Rows, slot: str, *, force: bool = False, **values: Any) -> Edited:
    """An edit from a slot on."""
    return edits.following(event, rows, slot, values, ZONE, force=force, new_id=NEW, now=NOW)


def all_of(event: CalendarEvent, rows: Rows, *, force: bool = False, **values: Any) -> Edited:
    """An edit of all."""
    return edits.all_of(event, rows, values, ZONE, force=force)


def taking_place(event: CalendarEvent, rows: Rows, most: int = 20) -> list[str]:
    """Local starts of what takes place, on the clock of the event, with the title where it is one's own."""
    kept = changes.created(event, rows, ZONE).rows
    found: list[str] = []
    for each in series.between(event, kept, 0, END, ZONE):
        if each.status == "planned" and len(found) < most:
            local = slot_text(to_wall(each.start, event.time_zone or ZONE), all_day=event.is_all_day)
            found.append(local if each.title == event.title else f"{local} {each.title}")
    return found


def new_of(edited: Edited) -> tuple[CalendarEvent, Rows]:
    """The event that was split off."""
    assert edited.new is not None
    return edited.new


def weekly(count: int = 6, **fields: Any) -> CalendarEvent:
    """Mondays at 18:00, the first on 7 September."""
    return an_event("2026-09-07T18:00:00", f"FREQ=WEEKLY;COUNT={count}", **fields)


MONDAYS = ["2026-09-07", "2026-09-14", "2026-09-21", "2026-09-28", "2026-10-05", "2026-10-12"]


def at(time: str, *days: str) -> list[str]:
    """Those days at a time."""
    return [f"{day}T{time}:00" for day in days]


# What differs before and after every pivot.
ROWS = rows_of(
    a_row("2026-09-07T18:00:00", title="Opening"),
    a_row("2026-09-14T18:00:00", status="cancelled"),
    a_row("2026-09-21T18:00:00", moved_to="2026-09-22T08:00:00"),
    a_row("2026-10-05T18:00:00", status="cancelled"),
    a_row("2026-10-12T18:00:00", title="Closing"),
)


@pytest.mark.parametrize(
    ("pivot", "before", "after"),
    [
        (
            "2026-09-14T18:00:00",
            ["2026-09-07T18:00:00 Opening"],
            ["2026-09-22T08:00:00", "2026-09-28T19:00:00", "2026-10-12T19:00:00 Closing"],
        ),
        (
            "2026-09-21T18:00:00",
            ["2026-09-07T18:00:00 Opening"],
            ["2026-09-22T08:00:00", "2026-09-28T19:00:00", "2026-10-12T19:00:00 Closing"],
        ),
        (
            "2026-09-28T18:00:00",
            ["2026-09-07T18:00:00 Opening", "2026-09-22T08:00:00"],
            ["2026-09-28T19:00:00", "2026-10-12T19:00:00 Closing"],
        ),
        (
            "2026-10-12T18:00:00",
            ["2026-09-07T18:00:00 Opening", "2026-09-22T08:00:00", "2026-09-28T18:00:00"],
            ["2026-10-12T19:00:00 Closing"],
        ),
    ],
)
def test_following_takes_along_what_differs_after_the_slot_and_leaves_the_rest(
    pivot: str, before: Sequence[str], after: Sequence[str]
) -> None:
    edited = following(weekly(), ROWS, pivot, start_slot=f"{pivot[:10]}T19:00:00")

    assert taking_place(edited.event, edited.rows) == before
    new, new_rows = new_of(edited)
    assert taking_place(new, new_rows) == after
    assert (new.id, new.series_id) == (NEW, weekly().id)
    assert {row.event_id for row in new_rows.values()} == {NEW}


def test_following_at_the_first_slot_edits_all() -> None:
    edited = following(weekly(), ROWS, "2026-09-07T18:00:00", start_slot="2026-09-07T19:00:00")

    assert edited.new is None
    assert edited.event.id == weekly().id
    assert taking_place(edited.event, edited.rows) == [
        "2026-09-07T19:00:00 Opening",
        "2026-09-22T08:00:00",
        "2026-09-28T19:00:00",
        "2026-10-12T19:00:00 Closing",
    ]


@pytest.mark.parametrize("pivot", MONDAYS[1:])
def test_a_title_from_a_slot_on_changes_no_time(pivot: str) -> None:
    edited = following(weekly(), ROWS, f"{pivot}T18:00:00", title="Other")
    new, new_rows = new_of(edited)

    both = [*taking_place(edited.event, edited.rows), *taking_place(new, new_rows)]

    assert [each[:19] for each in both] == [each[:19] for each in taking_place(weekly(), ROWS)]
    assert (edited.event.title, new.title) == ("Deep work", "Other")


@pytest.mark.parametrize("pivot", MONDAYS[1:])
def test_deleting_from_a_slot_on_keeps_what_is_before_it(pivot: str) -> None:
    edited = edits.ended(weekly(), ROWS, f"{pivot}T18:00:00", ZONE)

    assert edited is not None
    expected = [each for each, day in zip(_all_local(), MONDAYS, strict=True) if day < pivot and each]
    assert taking_place(edited.event, edited.rows) == expected


def _all_local() -> list[str]:
    """Of each Monday what takes place of it with ROWS."""
    found = {each.slot[:10]: each for each in series.between(weekly(), ROWS, 0, END, ZONE) if each.status == "planned"}
    shown = dict(zip(sorted(found), taking_place(weekly(), ROWS), strict=True))
    return [shown.get(day, "") for day in MONDAYS]


def test_deleting_from_the_first_slot_on_leaves_nothing() -> None:
    assert edits.ended(weekly(), ROWS, "2026-09-07T18:00:00", ZONE) is None


def test_an_event_whose_first_occurrence_was_deleted_stays_editable() -> None:
    cancelled = edits.cancelled(weekly(), {}, "2026-09-07T18:00:00", ZONE)
    rows = rows_of(cancelled)

    whole = all_of(weekly(), rows, start_slot="2026-09-07T19:00:00")
    assert taking_place(whole.event, whole.rows) == at("19:00", *MONDAYS[1:])

    from_second = following(weekly(), rows, "2026-09-14T18:00:00", start_slot="2026-09-14T20:00:00")
    assert taking_place(from_second.event, from_second.rows) == []
    assert taking_place(*new_of(from_second)) == at("20:00", *MONDAYS[1:])

    one = edits.this(weekly(), rows, "2026-09-07T18:00:00", {"title": "Gone"}, ZONE)
    assert one.status == "cancelled"


def test_a_counted_event_is_split_with_what_was_cancelled() -> None:
    """D-scopes-1."""
    rows = rows_of(a_row("2026-09-14T18:00:00", status="cancelled"), a_row("2026-10-26T18:00:00", status="cancelled"))

    edited = following(weekly(10), rows, "2026-10-05T18:00:00", start_slot="2026-10-05T19:00:00")

    new, new_rows = new_of(edited)
    assert (_slots(edited.event), len(taking_place(edited.event, edited.rows))) == (4, 3)
    found = taking_place(new, new_rows)
    assert (_slots(new), len(found), found[0], found[-1]) == (6, 5, "2026-10-05T19:00:00", "2026-11-09T19:00:00")
    assert [row.slot for row in new_rows.values()] == ["2026-10-26T19:00:00"]


def _slots(event: CalendarEvent) -> int:
    return len(list(series.between(event, {}, 0, END, ZONE)))


def test_an_override_that_the_changed_event_has_no_slot_for_is_refused_unless_forced() -> None:
    """D-scopes-2."""
    event = an_event("2026-09-07T18:00:00", "FREQ=WEEKLY;BYDAY=MO;COUNT=6")
    rows = rows_of(a_row("2026-10-05T18:00:00", title="room 12"))
    change = {"start_slot": "2026-09-29T18:00:00", "rule": parse("FREQ=WEEKLY;BYDAY=TU;COUNT=6")}

    with pytest.raises(OverridesLost) as refused:
        following(event, rows, "2026-09-28T18:00:00", **change)
    assert refused.value.metadata["slots"] == "2026-10-05T18:00:00"

    edited = following(event, rows, "2026-09-28T18:00:00", force=True, **change)
    new, new_rows = new_of(edited)
    assert _slots(edited.event) == 3
    assert taking_place(new, new_rows) == at("18:00", "2026-09-29", "2026-10-06", "2026-10-13")
    assert not new_rows


def test_the_old_event_ends_with_its_last_slot() -> None:
    """D-scopes-3."""
    edited = following(an_event("2026-09-07T18:00:00", "FREQ=WEEKLY"), {}, "2026-09-28T18:00:00", title="B")

    settled = changes.created(edited.event, {}, ZONE).event
    assert settled.repeat_until is not None
    assert to_json(settled.repeat_until) == "2026-09-21T16:00:00Z"
    assert taking_place(edited.event, {})[-1] == "2026-09-21T18:00:00"
    assert taking_place(new_of(edited)[0], {}, 1) == ["2026-09-28T18:00:00"]


def test_moving_all_by_time_of_day_brings_nothing_back_and_moves_nothing_that_was_moved() -> None:
    """D-scopes-4."""
    rows = rows_of(
        a_row("2026-09-14T18:00:00", status="cancelled"),
        a_row("2026-09-21T18:00:00", moved_to="2026-09-22T08:00:00"),
    )

    edited = all_of(weekly(4), rows, start_slot="2026-09-07T19:30:00")

    assert taking_place(edited.event, edited.rows) == [
        "2026-09-07T19:30:00",
        "2026-09-22T08:00:00",
        "2026-09-28T19:30:00",
    ]
    assert edited.rows["2026-09-14T19:30:00"].status == "cancelled"


def test_another_zone_leaves_what_was_moved_at_its_instant() -> None:
    rows = changes.created(weekly(), ROWS, ZONE).rows

    edited = all_of(weekly(), rows, time_zone="America/New_York")

    assert taking_place(edited.event, edited.rows) == [
        "2026-09-07T18:00:00 Opening",
        "2026-09-22T02:00:00",
        "2026-09-28T18:00:00",
        "2026-10-12T18:00:00 Closing",
    ]


def test_what_was_completed_or_started_is_no_override_and_moves_along() -> None:
    session = "01890000-0000-7000-8000-0000000000f1"
    rows = rows_of(
        a_row("2026-09-07T18:00:00", status="completed", starts=1, session_id=session),
        a_row("2026-09-28T18:00:00", starts=1, session_id=session),
    )

    edited = following(weekly(), rows, "2026-09-14T18:00:00", start_slot="2026-09-14T19:00:00")
    assert list(edited.rows) == ["2026-09-07T18:00:00"]
    assert list(new_of(edited)[1]) == ["2026-09-28T19:00:00"]

    tuesdays = all_of(weekly(), rows, start_slot="2026-09-08T18:00:00")
    assert tuesdays.rows["2026-09-08T18:00:00"].session_id == session  # that with which the edit begins


def test_an_event_that_recurs_no_more_has_its_first_occurrence() -> None:
    with pytest.raises(OverridesLost):
        all_of(weekly(), ROWS, rule=None)

    edited = all_of(weekly(), ROWS, force=True, rule=None)

    assert edited.event.rule is None
    assert taking_place(edited.event, edited.rows) == ["2026-09-07T18:00:00 Opening"]


def test_a_single_event_may_recur() -> None:
    edited = all_of(an_event("2026-09-07T18:00:00"), {}, rule=parse("FREQ=WEEKLY;COUNT=2"))

    assert taking_place(edited.event, edited.rows) == at("18:00", *MONDAYS[:2])


def test_a_single_event_is_moved_with_what_differs() -> None:
    rows = rows_of(a_row("2026-09-07T18:00:00", title="Own"))

    edited = all_of(an_event("2026-09-07T18:00:00"), rows, start_slot="2026-10-01T09:00:00", length=Length(0, 600))

    assert edited.event.rule is None
    assert edited.event.length == Length(0, 600)
    assert taking_place(edited.event, edited.rows) == ["2026-10-01T09:00:00 Own"]


def test_an_event_with_times_may_become_one_of_whole_days_and_back() -> None:
    rows = changes.created(weekly(), ROWS, ZONE).rows

    days = all_of(weekly(), rows, start_slot="2026-09-07", length=Length(1, 0), time_zone=None)
    assert taking_place(days.event, days.rows) == [
        "2026-09-07 Opening",
        "2026-09-22",
        "2026-09-28",
        "2026-10-12 Closing",
    ]

    kept = changes.created(days.event, days.rows, ZONE).rows
    times = all_of(days.event, kept, start_slot="2026-09-07T07:00:00", length=Length(0, 1500), time_zone=ZONE)
    assert taking_place(times.event, times.rows) == [
        "2026-09-07T07:00:00 Opening",
        "2026-09-22T07:00:00",
        "2026-09-28T07:00:00",
        "2026-10-12T07:00:00 Closing",
    ]


def test_a_start_that_the_rule_does_not_produce_is_refused() -> None:
    event = an_event("2026-09-07T18:00:00", "FREQ=WEEKLY;BYDAY=MO")
    with pytest.raises(RuleError, match="2026-09-14T18:00:00"):
        all_of(event, {}, start_slot="2026-09-08T18:00:00")


@pytest.mark.parametrize("slot", ["2026-09-08T18:00:00", "2026-09-07", "2026-10-19T18:00:00"])
def test_a_slot_that_the_event_does_not_have_cannot_be_edited(slot: str) -> None:
    with pytest.raises(OccurrenceNotFound):
        edits.this(weekly(), {}, slot, {"title": "x"}, ZONE)
    with pytest.raises(OccurrenceNotFound):
        following(weekly(), {}, slot, title="x")
    with pytest.raises(OccurrenceNotFound):
        edits.ended(weekly(), {}, slot, ZONE)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"title": "x"}, a_row("2026-09-14T18:00:00", title="x", moved_to="2026-09-15T08:00:00", minutes=30)),
        ({"start_slot": None}, a_row("2026-09-14T18:00:00", title="Own", minutes=30)),
        ({"start_slot": "2026-09-14T18:00:00"}, a_row("2026-09-14T18:00:00", title="Own", minutes=30)),
        ({"length": None}, a_row("2026-09-14T18:00:00", title="Own", moved_to="2026-09-15T08:00:00")),
        ({"title": None, "length": None, "start_slot": None}, a_row("2026-09-14T18:00:00")),
    ],
)
def test_an_edit_of_one_occurrence_sets_and_clears_what_it_has_of_its_own(
    values: dict[str, Any], expected: OccurrenceRow
) -> None:
    rows = rows_of(a_row("2026-09-14T18:00:00", title="Own", moved_to="2026-09-15T08:00:00", minutes=30))

    row = edits.this(weekly(), rows, "2026-09-14T18:00:00", values, ZONE)

    assert row._replace(start_time=None) == expected._replace(start_time=None)


def test_imported_dates_beside_the_rule_are_split_where_they_lie() -> None:
    event = weekly(3, added=["2026-09-16T09:00:00", "2026-09-23T09:00:00"])

    edited = following(event, {}, "2026-09-21T18:00:00", title="Other")

    assert taking_place(edited.event, {}) == [*at("18:00", *MONDAYS[:2]), "2026-09-16T09:00:00"]
    assert taking_place(*new_of(edited)) == ["2026-09-21T18:00:00", "2026-09-23T09:00:00"]


def test_what_lies_beside_the_rule_before_its_first_slot_remains_alone() -> None:
    event = weekly(2, start_slot="2026-09-05T09:00:00", added=["2026-09-05T09:00:00"])._replace(
        rule=an_event("2026-09-07T18:00:00", "FREQ=WEEKLY;BYDAY=MO;COUNT=2").rule
    )
    assert taking_place(event, {}) == ["2026-09-05T09:00:00", *at("09:00", *MONDAYS[:2])]

    left = edits.ended(event, {}, "2026-09-07T09:00:00", ZONE)

    assert left is not None
    assert taking_place(left.event, {}) == ["2026-09-05T09:00:00"]


def test_the_slot_after_a_pivot_is_not_before_it() -> None:
    pivot = parse_slot("2026-09-21T18:00:00")[0]
    old = edits.before(weekly(), pivot, ZONE)
    assert old is not None
    assert taking_place(old, {}) == at("18:00", *MONDAYS[:2])


@pytest.mark.parametrize("elsewhere", ["America/Los_Angeles", "Asia/Tokyo"])
def test_a_floating_event_that_was_split_keeps_every_occurrence_wherever_its_user_goes(elsewhere: str) -> None:
    event = an_event("2026-09-07T09:00:00", "FREQ=DAILY", time_zone=None)

    old = following(event, {}, "2026-09-10T09:00:00", title="Other").event

    there = changes.relocated(old, {}, ZONE, elsewhere, NOW).event
    slots = [each.slot for each in series.between(there, {}, 0, END, elsewhere)]
    assert slots == at("09:00", "2026-09-07", "2026-09-08", "2026-09-09")


def test_what_ended_with_its_last_occurrence_keeps_that_when_it_floats_from_now_on() -> None:
    event = an_event("2026-09-07T09:00:00", "FREQ=DAILY")
    old = following(event, {}, "2026-09-10T09:00:00", title="Other").event

    floating = all_of(old, {}, time_zone=None).event

    assert taking_place(floating, {}) == at("09:00", "2026-09-07", "2026-09-08", "2026-09-09")
    elsewhere = "America/Los_Angeles"
    there = changes.relocated(floating, {}, ZONE, elsewhere, NOW).event
    assert len(list(series.between(there, {}, 0, END, elsewhere))) == 3


@pytest.mark.parametrize("rule", ["FREQ=WEEKLY;COUNT=6", "FREQ=WEEKLY", None])
def test_an_edit_from_a_date_beside_the_rule_on_is_refused_and_not_a_series_of_its_own(rule: str | None) -> None:
    event = an_event("2026-09-07T18:00:00", rule, added=["2026-09-16T18:00:00"])

    with pytest.raises(RuleError, match="beside the rule") as refused:
        following(event, {}, "2026-09-16T18:00:00", title="Other")
    assert refused.value.part == "slot"


def test_a_single_event_without_the_date_beside_it_does_not_recur() -> None:
    event = an_event("2026-09-07T18:00:00", added=["2026-09-16T18:00:00"])

    left = edits.ended(event, {}, "2026-09-16T18:00:00", ZONE)

    assert left is not None
    assert (left.event.rule, taking_place(left.event, {})) == (None, ["2026-09-07T18:00:00"])
