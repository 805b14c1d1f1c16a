"""Where the semantics are the same, the dates of a rule are those that python-dateutil finds."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import islice, takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.recurrence.dates import Dates
from mesh.recurrence.rule import Day, Frequency, Rule, RuleError
from mesh.recurrence.series import Series, in_window, rule_slots, slots
from tests.support.recurrence_rules import LAST_YEAR, by_dateutil, early_end_of_time, rules

STARTS = st.dates(date(1990, 1, 1), date(2104, 12, 31))
AT = datetime(2026, 1, 1, 9, 30).time()
YEARS = timedelta(days=366 * 12)


@pytest.fixture(autouse=True, scope="module")
def _an_early_end_of_time() -> Iterator[None]:
    """For rules without any date."""
    with early_end_of_time():
        yield


@settings(max_examples=400, deadline=None)
@given(rules(), STARTS)
def test_the_dates_of_a_rule_are_those_of_dateutil(rule: Rule, day: date) -> None:
    start = datetime.combine(day, AT)
    expected = list(takewhile(lambda slot: slot < start + YEARS, by_dateutil(rule, start, until=start + YEARS)))
    series = Series(start, "UTC", rule)
    assert [slot.local for slot in takewhile(lambda slot: slot.local < start + YEARS, slots(series))] == expected


@settings(max_examples=200, deadline=None)
@given(rules(), STARTS, st.integers(0, 4000))
def test_a_window_shows_what_the_whole_shows_there(rule: Rule, day: date, later: int) -> None:
    series = Series(datetime.combine(day, AT), "Europe/Berlin", rule)
    since = day + timedelta(days=later)
    until = since + timedelta(days=400)
    whole = [
        slot for slot in takewhile(lambda slot: slot.local.date() < until, slots(series)) if slot.local.date() >= since
    ]
    assert list(takewhile(lambda slot: slot.local.date() < until, slots(series, since))) == whole
    if whole:
        end = whole[-1].instant
        assert list(in_window(series, whole[0].instant, end)) == whole[:-1]


@settings(max_examples=50, deadline=None)
@given(rules(), STARTS, st.integers(1, 60))
def test_count_ends_a_rule_as_dateutil_says(rule: Rule, day: date, count: int) -> None:
    start, counted = datetime.combine(day, AT), rule._replace(times=count)
    try:
        last = Dates(counted, day).end_of_count()
    except RuleError:
        return  # it has too few dates
    found = [slot.local for slot in rule_slots(Series(start, "UTC", counted), day)]
    assert not found or found[-1].date() == last
    expected = islice(by_dateutil(rule, start, until=datetime(LAST_YEAR, 1, 1)), count)
    assert [slot for slot in found if slot.year < LAST_YEAR] == list(expected)


@settings(max_examples=100, deadline=None)
@given(rules(), STARTS, st.integers(0, 3000))
def test_until_a_date_is_inclusive(rule: Rule, day: date, days: int) -> None:
    start, last = datetime.combine(day, AT), day + timedelta(days=days)
    ended = Series(start, "UTC", rule._replace(until_date=last))
    assert [slot.local for slot in slots(ended)] == list(by_dateutil(rule, start, until=datetime.combine(last, AT)))


@pytest.mark.parametrize("week_start", range(7))
def test_positions_in_a_week_count_from_its_first_day(week_start: int) -> None:
    rule = Rule(Frequency.WEEKLY, by_day=(Day(0), Day(2), Day(4)), by_set_pos=(2,), week_start=week_start)
    monday = datetime(2026, 6, 1, 9)
    start = monday + timedelta(days=week_start)  # of a whole week
    expected = list(islice(by_dateutil(rule, start, count=6), 6))
    assert [slot.local for slot in islice(slots(Series(start, "UTC", rule)), 6)] == expected


@settings(max_examples=200, deadline=None)
@given(rules(), STARTS, st.integers(0, 4000))
def test_a_date_is_found_alone_when_it_is_found_in_the_list(rule: Rule, day: date, later: int) -> None:
    dates, since = Dates(rule, day), day + timedelta(days=later)
    listed = {
        each.ordinal for each in takewhile(lambda each: each.ordinal < since.toordinal() + 60, dates.since(since))
    }
    alone = [date.fromordinal(since.toordinal() + index) for index in range(60)]
    assert {each.toordinal() for each in alone if dates.on(each) is not None} == listed
