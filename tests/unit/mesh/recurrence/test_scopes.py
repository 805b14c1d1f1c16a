"""Edits of a series from one slot on, and of all of it."""

from datetime import datetime

import pytest

from mesh.recurrence.rule import RuleError
from mesh.recurrence.scopes import Edit, split
from mesh.recurrence.series import rule_slots, slots
from mesh.recurrence.text import parse, render
from tests.unit.mesh.recurrence.build import all_slots, instant, local, locals_of, series, utc

ZONE = "Europe/Zurich"


def test_a_split_counts_on_and_takes_cancelled_slots_along() -> None:
    ten = series("2026-09-07T18:00:00", ZONE, "FREQ=WEEKLY;COUNT=10",
                 cancelled=(local("2026-09-14T18:00:00"), local("2026-10-26T18:00:00")))  # fmt: skip
    old, new, _, _ = split(ten, local("2026-10-05T18:00:00"), Edit(start=local("2026-10-05T19:00:00")))
    assert old is not None
    assert (len(list(rule_slots(old, old.start.date()))), len(all_slots(old))) == (4, 3)
    assert (len(list(rule_slots(new, new.start.date()))), len(all_slots(new))) == (6, 5)
    assert new.cancelled == (local("2026-10-26T19:00:00"),)
    assert [locals_of(all_slots(new))[at] for at in (0, -1)] == ["2026-10-05T19:00:00", "2026-11-09T19:00:00"]


def test_an_overridden_slot_whose_date_the_new_rule_lacks_is_lost_and_named() -> None:
    six = series("2026-09-07T18:00:00", ZONE, "FREQ=WEEKLY;BYDAY=MO;COUNT=6")
    edit = Edit(start=local("2026-09-29T18:00:00"), rule=parse("FREQ=WEEKLY;BYDAY=TU;COUNT=6"))
    old, new, moved, lost = split(six, local("2026-09-28T18:00:00"), edit, [local("2026-10-05T18:00:00")])
    assert (moved, lost) == ((), (local("2026-10-05T18:00:00"),))
    assert old is not None
    assert (len(all_slots(old)), locals_of(all_slots(new))) == (
        3,
        ["2026-09-29T18:00:00", "2026-10-06T18:00:00", "2026-10-13T18:00:00"],
    )


def test_the_old_series_ends_with_its_last_slot() -> None:
    weekly = series("2026-09-07T18:00:00", ZONE, "FREQ=WEEKLY")
    old, new, _, _ = split(weekly, local("2026-09-28T18:00:00"), Edit())
    assert old is not None
    assert render(old.rule, old.start.date()) == "FREQ=WEEKLY;UNTIL=20260921T160000Z"
    assert locals_of(all_slots(old))[-1] == "2026-09-21T18:00:00"
    assert locals_of(all_slots(new, 1)) == ["2026-09-28T18:00:00"]


def test_moving_all_by_time_of_day_keeps_what_was_cancelled_or_overridden() -> None:
    four = series("2026-09-07T18:00:00", ZONE, "FREQ=WEEKLY;COUNT=4", cancelled=(local("2026-09-14T18:00:00"),))
    edit = Edit(start=local("2026-09-07T19:30:00"))
    old, new, moved, lost = split(four, four.start, edit, [local("2026-09-21T18:00:00")])
    assert (old, lost) == (None, ())
    assert moved == ((local("2026-09-21T18:00:00"), local("2026-09-21T19:30:00")),)
    assert locals_of(all_slots(new)) == ["2026-09-07T19:30:00", "2026-09-21T19:30:00", "2026-09-28T19:30:00"]


@pytest.mark.parametrize(
    ("pivot", "kept", "left"), [("2026-09-07T18:00:00", 0, 4), ("2026-09-28T18:00:00", 3, 1)], ids=["first", "last"]
)
def test_a_split_at_the_first_and_the_last_slot(pivot: str, kept: int, left: int) -> None:
    four = series("2026-09-07T18:00:00", ZONE, "FREQ=WEEKLY;COUNT=4")
    old, new, _, _ = split(four, local(pivot), Edit())
    assert (0 if old is None else len(all_slots(old)), len(all_slots(new))) == (kept, left)


def test_an_override_behind_the_pivot_moves_along_and_one_before_it_stays() -> None:
    weekly = series("2026-09-07T18:00:00", ZONE, "FREQ=WEEKLY")
    overridden = [local("2026-09-14T18:00:00"), local("2026-10-05T18:00:00")]
    result = split(weekly, local("2026-09-28T18:00:00"), Edit(start=local("2026-09-28T07:00:00")), overridden)
    assert result.moved == ((local("2026-10-05T18:00:00"), local("2026-10-05T07:00:00")),)
    assert result.lost == ()


def test_a_split_between_two_slots_of_one_instant_keeps_each_once() -> None:
    daily = series("2011-12-28T10:00:00", "Pacific/Apia", "FREQ=DAILY;UNTIL=20120102")
    old, new, _, _ = split(daily, local("2011-12-31T10:00:00"), Edit())
    assert old is not None
    assert locals_of(all_slots(old)) + locals_of(all_slots(new)) == locals_of(all_slots(daily))


def test_another_zone_keeps_the_wall_clock() -> None:
    weekly = series("2026-09-07T18:00:00", ZONE, "FREQ=WEEKLY;COUNT=3")
    _, new, _, _ = split(weekly, local("2026-09-14T18:00:00"), Edit(time_zone="America/New_York"))
    assert utc(all_slots(new)) == ["2026-09-14T22:00:00Z", "2026-09-21T22:00:00Z"]


def test_a_slot_that_the_series_lacks_is_no_pivot() -> None:
    with pytest.raises(RuleError) as refused:
        split(series("2026-09-07T18:00:00", ZONE, "FREQ=WEEKLY"), local("2026-09-08T18:00:00"), Edit())
    assert refused.value.part == "slot"


def test_the_end_before_a_far_pivot_is_found_whatever_lies_before() -> None:
    daily = series("1970-01-01T18:00:00", ZONE, "FREQ=DAILY")
    old, _, _, _ = split(daily, local("2500-01-01T18:00:00"), Edit())
    assert old is not None
    assert old.rule.until_time == instant("2499-12-31T17:00:00Z")
    assert next(slots(old, datetime(2499, 12, 31).date())).local == datetime(2499, 12, 31, 18)


def test_what_lies_beside_the_rule_keeps_a_time_of_day_of_its_own() -> None:
    weekly = series("2026-09-07T18:00:00", ZONE, "FREQ=WEEKLY;COUNT=3",
                    added=(local("2026-09-16T09:00:00"), local("2026-09-17T18:00:00")))  # fmt: skip
    moved = split(weekly, local("2026-09-14T18:00:00"), Edit(start=local("2026-09-14T19:00:00"))).new
    assert locals_of(all_slots(moved)) == [
        "2026-09-14T19:00:00",
        "2026-09-16T09:00:00",
        "2026-09-17T19:00:00",
        "2026-09-21T19:00:00",
    ]


@pytest.mark.parametrize(
    ("rule", "pivot", "first", "expected"),
    [
        ("FREQ=MONTHLY", "2026-02-28", "2026-01-31", ["2026-02-28", "2026-03-31", "2026-04-30"]),
        ("FREQ=MONTHLY;BYMONTHDAY=30,31", "2026-02-28", "2026-01-30", ["2026-02-28", "2026-03-30", "2026-03-31"]),
        ("FREQ=YEARLY", "2029-02-28", "2028-02-29", ["2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29"]),
    ],
)
def test_a_split_at_a_clamped_slot_keeps_the_day_of_the_rule(
    rule: str, pivot: str, first: str, expected: list[str]
) -> None:
    new = split(series(first, ZONE, rule), local(pivot), Edit()).new
    assert [text[:10] for text in locals_of(all_slots(new, len(expected)))] == expected


@pytest.mark.parametrize(
    ("until", "edit", "expected"),
    [
        ("20260921T160000Z", Edit(start=local("2026-09-07T19:30:00")), ["2026-09-07T19:30:00", "2026-09-21T19:30:00"]),
        ("20260921T160000Z", Edit(start=local("2026-09-08T18:00:00")), ["2026-09-08T18:00:00", "2026-09-22T18:00:00"]),
        ("20260921T160000Z", Edit(time_zone="America/New_York"), ["2026-09-07T18:00:00", "2026-09-21T18:00:00"]),
        ("20260928T155959Z", Edit(start=local("2026-09-07T17:00:00")), ["2026-09-07T17:00:00", "2026-09-21T17:00:00"]),
        ("20260921", Edit(start=local("2026-09-08T18:00:00")), ["2026-09-08T18:00:00", "2026-09-22T18:00:00"]),
    ],
)
def test_the_end_of_a_rule_moves_along_so_that_no_slot_is_lost_or_gained(
    until: str, edit: Edit, expected: list[str]
) -> None:
    three = series("2026-09-07T18:00:00", ZONE, f"FREQ=WEEKLY;UNTIL={until}")
    found = locals_of(all_slots(split(three, three.start, edit).new))
    assert (len(found), [found[0], found[-1]]) == (3, expected)
