"""Slots: what the wall clock says, where clocks change, at the ends of months, and in windows."""

import time
from contextlib import suppress
from datetime import date
from itertools import islice

import pytest

from mesh.recurrence.rule import WEEKDAYS, RuleError
from mesh.recurrence.series import Moved, check_series, find, in_window, last_slot, parse_slot, slot_text, slots
from mesh.recurrence.text import parse
from mesh.runtime.clock import DAY
from tests.unit.mesh.recurrence.build import all_slots, dates_of, instant, local, locals_of, series, utc, wall

G, C = Moved.GAP, Moved.CLAMP


@pytest.mark.parametrize(
    ("start", "zone", "rule", "expected"),
    [
        (
            "2026-03-07T02:30:00",
            "America/New_York",
            "FREQ=DAILY;COUNT=3",
            [("2026-03-07T07:30:00Z", "02:30-05:00"), ("2026-03-08T07:30:00Z", "03:30-04:00", G),
             ("2026-03-09T06:30:00Z", "02:30-04:00")],
        ),
        (
            "2026-09-20T02:15:00",
            "Australia/Lord_Howe",
            "FREQ=WEEKLY;COUNT=4",
            [("2026-09-19T15:45:00Z", "02:15+10:30"), ("2026-09-26T15:45:00Z", "02:15+10:30"),
             ("2026-10-03T15:45:00Z", "02:45+11:00", G), ("2026-10-10T15:15:00Z", "02:15+11:00")],
        ),
        (
            "2026-10-25T01:30:00",
            "America/New_York",
            "FREQ=WEEKLY;BYDAY=SU;COUNT=3",
            [("2026-10-25T05:30:00Z", "01:30-04:00"), ("2026-11-01T05:30:00Z", "01:30-04:00"),
             ("2026-11-08T06:30:00Z", "01:30-05:00")],
        ),
        (
            "2026-03-29T01:45:00",
            "Australia/Lord_Howe",
            "FREQ=WEEKLY;COUNT=3",
            [("2026-03-28T14:45:00Z", "01:45+11:00"), ("2026-04-04T14:45:00Z", "01:45+11:00"),
             ("2026-04-11T15:15:00Z", "01:45+10:30")],
        ),
        (
            "2026-10-12T19:00:00",
            "Europe/Madrid",
            "FREQ=WEEKLY;BYDAY=MO;COUNT=4",
            [("2026-10-12T17:00:00Z", "19:00+02:00"), ("2026-10-19T17:00:00Z", "19:00+02:00"),
             ("2026-10-26T18:00:00Z", "19:00+01:00"), ("2026-11-02T18:00:00Z", "19:00+01:00")],
        ),
        (
            "2026-02-13T10:00:00",
            "Africa/Casablanca",
            "FREQ=WEEKLY;BYDAY=FR;COUNT=7",
            [("2026-02-13T09:00:00Z", "10:00+01:00"), ("2026-02-20T10:00:00Z", "10:00+00:00"),
             ("2026-02-27T10:00:00Z", "10:00+00:00"), ("2026-03-06T10:00:00Z", "10:00+00:00"),
             ("2026-03-13T10:00:00Z", "10:00+00:00"), ("2026-03-20T10:00:00Z", "10:00+00:00"),
             ("2026-03-27T09:00:00Z", "10:00+01:00")],
        ),
        (  # 30 December 2011 did not exist: its slot shares the instant of the next.
            "2011-12-29T10:00:00",
            "Pacific/Apia",
            "FREQ=DAILY;COUNT=4",
            [("2011-12-29T20:00:00Z", "10:00-10:00"), ("2011-12-30T20:00:00Z", "10:00+14:00", G),
             ("2011-12-30T20:00:00Z", "10:00+14:00"), ("2011-12-31T20:00:00Z", "10:00+14:00")],
        ),
        (  # The rules changed: no summer time from 2016 to 2018, and another offset.
            "2016-06-26T12:00:00",
            "Europe/Istanbul",
            "FREQ=MONTHLY;INTERVAL=6;COUNT=3",
            [("2016-06-26T09:00:00Z", "12:00+03:00"), ("2016-12-26T09:00:00Z", "12:00+03:00"),
             ("2017-06-26T09:00:00Z", "12:00+03:00")],
        ),
        (
            "2026-04-05T02:30:00",
            "Australia/Sydney",
            "FREQ=DAILY;COUNT=2",
            [("2026-04-04T15:30:00Z", "02:30+11:00"), ("2026-04-05T16:30:00Z", "02:30+10:00")],
        ),
        (  # Clocks go forward at midnight.
            "2026-09-05T00:30:00",
            "America/Santiago",
            "FREQ=DAILY;COUNT=3",
            [("2026-09-05T04:30:00Z", "00:30-04:00"), ("2026-09-06T04:30:00Z", "01:30-03:00", G),
             ("2026-09-07T03:30:00Z", "00:30-03:00")],
        ),
        (  # Never a change, and an offset of three quarters.
            "2026-06-01T23:45:00",
            "Asia/Kathmandu",
            "FREQ=YEARLY;COUNT=2",
            [("2026-06-01T18:00:00Z", "23:45+05:45"), ("2027-06-01T18:00:00Z", "23:45+05:45")],
        ),
        (
            "2026-06-01T23:00:00",
            "America/Los_Angeles",
            "FREQ=WEEKLY;BYDAY=MO;COUNT=3",
            [("2026-06-02T06:00:00Z", "23:00-07:00"), ("2026-06-09T06:00:00Z", "23:00-07:00"),
             ("2026-06-16T06:00:00Z", "23:00-07:00")],
        ),
    ],
)  # fmt: skip
def test_a_slot_keeps_its_wall_clock(start: str, zone: str, rule: str, expected: list[tuple[object, ...]]) -> None:
    found = all_slots(series(start, zone, rule))
    assert [(at, wall(slot, zone), *slot.moved) for slot, at in zip(found, utc(found), strict=True)] == expected


@pytest.mark.parametrize("start", ["2026-03-27T02:30:00", "2026-10-23T02:30:00"])
def test_half_past_two_in_berlin_occurs_once_a_date_over_both_changes(start: str) -> None:
    found = all_slots(series(start, "Europe/Berlin", "FREQ=DAILY;COUNT=5"))
    first = date.fromisoformat(start[:10]).toordinal()
    assert dates_of(found) == [date.fromordinal(first + day).isoformat() for day in range(5)]
    assert [slot.moved for slot in found] == [(), (), (G,) if "03" in start[5:7] else (), (), ()]


@pytest.mark.parametrize(
    ("start", "rule", "month_end", "expected"),
    [
        ("2027-01-31", "FREQ=MONTHLY;COUNT=6", "clamp",
         ["2027-01-31", "2027-02-28*", "2027-03-31", "2027-04-30*", "2027-05-31", "2027-06-30*"]),
        ("2028-01-31", "FREQ=MONTHLY;COUNT=3", "clamp", ["2028-01-31", "2028-02-29*", "2028-03-31"]),
        ("2026-11-30", "FREQ=MONTHLY;INTERVAL=3;COUNT=5", "clamp",
         ["2026-11-30", "2027-02-28*", "2027-05-30", "2027-08-30", "2027-11-30"]),
        ("2027-02-28", "FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=5", "clamp",
         ["2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31", "2027-06-30"]),
        ("2028-02-29", "FREQ=MONTHLY;INTERVAL=12;COUNT=5", "clamp",
         ["2028-02-29", "2029-02-28*", "2030-02-28*", "2031-02-28*", "2032-02-29"]),
        ("2028-02-29", "FREQ=YEARLY;COUNT=5", "clamp",
         ["2028-02-29", "2029-02-28*", "2030-02-28*", "2031-02-28*", "2032-02-29"]),
        ("2096-02-29", "FREQ=YEARLY;COUNT=5", "clamp",
         ["2096-02-29", "2097-02-28*", "2098-02-28*", "2099-02-28*", "2100-02-28*"]),
        ("2096-02-29", "FREQ=YEARLY;COUNT=3", "skip", ["2096-02-29", "2104-02-29", "2108-02-29"]),
        ("2100-01-30", "FREQ=MONTHLY;COUNT=3", "clamp", ["2100-01-30", "2100-02-28*", "2100-03-30"]),
        ("2027-01-31", "FREQ=MONTHLY;COUNT=4", "skip", ["2027-01-31", "2027-03-31", "2027-05-31", "2027-07-31"]),
        ("2027-01-30", "FREQ=MONTHLY;BYMONTHDAY=30,31;COUNT=6", "clamp",
         ["2027-01-30", "2027-01-31", "2027-02-28*", "2027-03-30", "2027-03-31", "2027-04-30"]),
        ("2026-03-30", "FREQ=MONTHLY;BYDAY=5MO;COUNT=4", "clamp",
         ["2026-03-30", "2026-06-29", "2026-08-31", "2026-11-30"]),
        ("2026-08-04", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "clamp",
         ["2026-08-04", "2026-08-16", "2026-08-18", "2026-08-30"]),
        ("2026-08-04", "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "clamp",
         ["2026-08-04", "2026-08-09", "2026-08-18", "2026-08-23"]),
        ("2027-02-28", "FREQ=YEARLY;BYMONTH=2;BYDAY=-1SU;COUNT=3", "clamp", ["2027-02-28", "2028-02-27", "2029-02-25"]),
        ("2027-12-31", "FREQ=YEARLY;BYDAY=53FR;COUNT=2", "clamp", ["2027-12-31", "2032-12-31"]),
        ("2026-08-13", "FREQ=MONTHLY;BYMONTHDAY=13;BYDAY=FR;COUNT=2", "clamp", ["2026-11-13", "2027-08-13"]),
        ("2026-06-01", "FREQ=MONTHLY;BYDAY=MO,2MO;COUNT=3", "clamp", ["2026-06-01", "2026-06-08", "2026-06-15"]),
    ],
)  # fmt: skip
def test_the_dates_of_a_rule(start: str, rule: str, month_end: str, expected: list[str]) -> None:
    found = all_slots(series(start, "Europe/Paris", rule, month_end))
    assert [f"{day}{'*' * (C in slot.moved)}" for slot, day in zip(found, dates_of(found), strict=True)] == expected


@pytest.mark.parametrize(
    ("start", "zone", "rule", "last", "count"),
    [
        ("2026-08-01T12:30:00", "Asia/Jerusalem", "FREQ=WEEKLY;UNTIL=20260815T093000Z", "2026-08-15T12:30:00", 3),
        ("2026-10-23T02:30:00", "Europe/Berlin", "FREQ=DAILY;UNTIL=20261025T003000Z", "2026-10-25T02:30:00", 3),
        ("2026-10-18T01:30:00", "America/New_York", "FREQ=WEEKLY;UNTIL=20261101T052959Z", "2026-10-25T01:30:00", 2),
        ("2026-10-18T01:30:00", "America/New_York", "FREQ=WEEKLY;UNTIL=20261101", "2026-11-01T01:30:00", 3),
        ("2026-10-18", "America/New_York", "FREQ=WEEKLY;UNTIL=20261101", "2026-11-01T00:00:00", 3),
    ],
)
def test_an_end_is_inclusive(start: str, zone: str, rule: str, last: str, count: int) -> None:
    found = all_slots(series(start, zone, rule))
    assert (locals_of(found)[-1], len(found)) == (last, count)


def test_a_count_of_ten_with_two_cancelled_slots_gives_eight() -> None:
    weekly = series("2026-09-07T18:00:00", "Europe/Zurich", "FREQ=WEEKLY;COUNT=10")
    cancelled = (local("2026-09-14T18:00:00"), local("2026-10-26T18:00:00"))
    found = all_slots(weekly._replace(cancelled=cancelled))
    assert len(found) == 8
    assert not set(cancelled) & {slot.local for slot in found}


def test_an_added_slot_stands_in_its_place_and_once() -> None:
    weekly = series("2026-09-07T18:00:00", "Europe/Zurich", "FREQ=WEEKLY;COUNT=3")
    added = (local("2026-09-09T08:00:00"), local("2026-09-14T18:00:00"))
    assert locals_of(all_slots(weekly._replace(added=added))) == [
        "2026-09-07T18:00:00", "2026-09-09T08:00:00", "2026-09-14T18:00:00", "2026-09-21T18:00:00",
    ]  # fmt: skip


def test_a_renamed_zone_gives_the_same_instants_under_both_names() -> None:
    old, new = (
        all_slots(series("2026-10-24T09:00:00", name, "FREQ=DAILY;COUNT=2")) for name in ("Europe/Kiev", "Europe/Kyiv")
    )
    assert old == new
    assert utc(old) == ["2026-10-24T06:00:00Z", "2026-10-25T07:00:00Z"]


def test_a_start_that_the_rule_does_not_produce_is_refused_with_the_next_that_would_do() -> None:
    with pytest.raises(RuleError, match=r"start.* 2026-08-10T09:00:00$"):
        check_series(series("2026-08-04T09:00:00", "Europe/Oslo", "FREQ=WEEKLY;BYDAY=MO"))


@pytest.mark.parametrize("rule", ["FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=WEEKLY;BYDAY=MO;BYSETPOS=2"])
def test_a_rule_without_any_date_is_refused(rule: str) -> None:
    with pytest.raises(RuleError, match="no date"):
        check_series(series("2026-08-03T09:00:00", "Europe/Oslo", rule, "skip"))


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        ("FREQ=MONTHLY;BYDAY=0TH", "BYDAY"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY"),
        ("FREQ=MONTHLY;BYMONTHDAY=-32", "BYMONTHDAY"),
        ("FREQ=MONTHLY;BYDAY=6MO", "BYDAY"),
        ("FREQ=WEEKLY;BYDAY=1MO", "BYDAY"),
        ("FREQ=DAILY;BYDAY=XX", "BYDAY"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY"),
        ("FREQ=HOURLY", "FREQ"),
        ("INTERVAL=2", "FREQ"),
        ("FREQ=DAILY;BYHOUR=9", "BYHOUR"),
        ("FREQ=DAILY;RSCALE=HEBREW", "RSCALE"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL"),
        ("FREQ=DAILY;INTERVAL=1001", "INTERVAL"),
        ("FREQ=DAILY;COUNT=0", "COUNT"),
        ("FREQ=DAILY;COUNT=1001", "COUNT"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20260101", "UNTIL"),
        ("FREQ=DAILY;UNTIL=20260230", "UNTIL"),
        ("FREQ=DAILY;UNTIL=20260201T000000", "UNTIL"),
        ("FREQ=DAILY;BYMONTH=13", "BYMONTH"),
        ("FREQ=DAILY;BYSETPOS=1", "BYSETPOS"),
        ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=367", "BYSETPOS"),
        ("FREQ=DAILY;WKST=1MO", "WKST"),
        ("FREQ=DAILY;FREQ=DAILY", "FREQ"),
        ("FREQ=DAILY;COUNT", "COUNT"),
        ("FREQ=DAILY;COUNT=٣", "COUNT"),
        ("", "RRULE"),
    ],
)  # fmt: skip
def test_what_is_not_supported_or_not_valid_is_refused_by_name(rule: str, part: str) -> None:
    with pytest.raises(RuleError) as refused:
        parse(rule)
    assert refused.value.part == part


def test_a_window_is_half_open_and_costs_the_same_after_many_slots() -> None:
    daily = series("1970-01-01T08:00:00", "Europe/Berlin", "FREQ=DAILY")
    begin = instant("2026-06-15T06:00:00Z")
    assert utc(in_window(daily, begin, begin + 2 * DAY)) == ["2026-06-15T06:00:00Z", "2026-06-16T06:00:00Z"]
    near, far = (
        min(_cpu_of_a_window(daily, instant(at)) for _ in range(5))
        for at in ("1970-02-01T00:00:00Z", "2890-02-01T00:00:00Z")
    )
    assert far < 5 * near  # 336,000 slots lie before


def _cpu_of_a_window(of: object, begin: int) -> float:
    begun = time.process_time()
    assert len(list(in_window(of, begin, begin + 100 * DAY))) == 100  # type: ignore[arg-type]
    return time.process_time() - begun


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO",
        "FREQ=DAILY;INTERVAL=7;BYDAY=TU",
        "FREQ=DAILY;INTERVAL=997;BYMONTH=2;BYMONTHDAY=29",
        "FREQ=WEEKLY;INTERVAL=52;BYMONTH=2",
        "FREQ=MONTHLY;BYMONTHDAY=31;BYDAY=1MO",
        "FREQ=MONTHLY;INTERVAL=12;BYMONTH=2",
        "FREQ=YEARLY;BYDAY=53SU;BYSETPOS=-366",
        "FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=366",
        "FREQ=YEARLY;INTERVAL=1000",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
    ],
)
def test_the_next_slot_of_a_rare_rule_is_found_in_less_than_fifty_milliseconds(rule: str) -> None:
    begun = time.process_time()
    found = list(islice(slots(series("2026-01-05T09:00:00", "Europe/Berlin", rule, "skip"), date(2026, 1, 6)), 1))
    assert time.process_time() - begun < 0.05, found


EVERY_PART = (
    f"FREQ=YEARLY;COUNT=1000;BYSETPOS=1;BYMONTHDAY={','.join(str(day) for day in range(-31, 32) if day)}"
    f";BYDAY={','.join(f'{week}{day}' for week in (1, 9, 20, 30, 40, 53, -1, -2) for day in WEEKDAYS)}"
)


@pytest.mark.parametrize(
    "rule",
    [EVERY_PART, "FREQ=MONTHLY;BYMONTHDAY=31;BYDAY=5MO;COUNT=1000", "FREQ=DAILY;BYMONTHDAY=31;COUNT=1000",
     "FREQ=YEARLY;BYMONTHDAY=29;BYMONTH=2;COUNT=1000", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29;COUNT=1000"],
)  # fmt: skip
def test_the_end_of_a_count_is_found_or_refused_in_less_than_fifty_milliseconds(rule: str) -> None:
    begun = time.process_time()
    with suppress(RuleError):
        check_series(series("2028-02-29T09:00:00", "Europe/Berlin", rule, "skip"))
    assert time.process_time() - begun < 0.05


@pytest.mark.parametrize("text", ["2026-03-29T02:30:00", "2026-03-29"])
def test_the_text_of_a_slot_is_read_as_it_was_written(text: str) -> None:
    at, all_day = parse_slot(text)
    assert slot_text(at, all_day=all_day) == text


@pytest.mark.parametrize(
    "text", ["2026-02-30", "2026-03-29T02:30:00Z", "2026-03-29 02:30:00", "2026-03-29T02:30", "", "20260329T023000Z"]
)
def test_another_text_is_no_slot(text: str) -> None:
    with pytest.raises(ValueError, match=r"^"):
        parse_slot(text)


def test_a_slot_is_found_by_its_local_time_only() -> None:
    weekly = series("2026-09-07T18:00:00", "Europe/Zurich", "FREQ=WEEKLY;COUNT=3")
    assert find(weekly, local("2026-09-14T18:00:00")) is not None
    assert find(weekly, local("2026-09-14T19:00:00")) is None
    assert find(weekly, local("2026-09-28T18:00:00")) is None


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Tokyo"])
def test_a_rule_may_end_with_the_last_instant_of_a_timestamp(zone: str) -> None:
    last = last_slot(series("2026-06-01T08:00:00", zone, "FREQ=YEARLY;UNTIL=99991231T235959Z"))
    assert last is not None
    assert last.local.year > 9_000
