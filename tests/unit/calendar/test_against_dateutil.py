"""Where the semantics are the same, an event takes place in a window when python-dateutil and zoneinfo say so."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rruleset
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.recurrence.document import to_document
from mesh.recurrence.rule import Rule
from mesh.recurrence.series import slot_text
from mesh.runtime.clock import SECOND
from services.calendar.rules.series import between
from tests.support.calendar_model import a_row, an_event, rows_of
from tests.support.recurrence_rules import by_dateutil, early_end_of_time, rules

ZONES = ("UTC", "Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca")
MIDNIGHTS = st.dates(date(1995, 1, 1), date(2090, 12, 31))


@pytest.fixture(autouse=True, scope="module")
def _an_early_end_of_time() -> Iterator[None]:
    """For rules without any date."""
    with early_end_of_time():
        yield


class Drawn(NamedTuple):
    """A random event, with what a file would say of it, and a window."""

    rule: Rule
    start: datetime
    all_day: bool
    added: list[datetime]
    cancelled: list[int]
    """Which of those in the window."""
    begin: datetime
    end: datetime


@st.composite
def drawn(draw: st.DrawFn) -> Drawn:
    """Events whose window is at most 500 days after their start, and at most half a year long."""
    rule, day = draw(rules()), draw(MIDNIGHTS)
    if draw(st.booleans()):
        rule = rule._replace(until_date=day + timedelta(days=draw(st.integers(0, 700))))
    all_day = draw(st.booleans())
    start = datetime.combine(day, time() if all_day else time(draw(st.integers(0, 23)), draw(st.integers(0, 59))))
    near = st.integers(0, 500).map(lambda days: start + timedelta(days=days))
    begin = datetime.combine(day + timedelta(days=draw(st.integers(-30, 500))), time())
    return Drawn(
        rule,
        start,
        all_day,
        draw(st.lists(near, max_size=3)),
        draw(st.lists(st.integers(0, 200), max_size=4)),
        begin,
        begin + timedelta(days=draw(st.integers(1, 180))),
    )


def instant(local: datetime, zone: str) -> int:
    """By zoneinfo: of a gap the offset before it, of a repeated hour the first."""
    return int(local.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC).timestamp()) * SECOND


def by_others(event: Drawn, zone: str) -> list[tuple[int, str]]:
    """Instants and slots of what begins in the window, also of what is cancelled."""
    whole = rruleset()
    until = event.end + timedelta(days=3)
    if event.rule.until_date is not None:
        until = min(until, datetime.combine(event.rule.until_date, time.max))
    whole.rrule(by_dateutil(event.rule._replace(until_date=None), event.start, until=until))
    for local in event.added:
        whole.rdate(local)
    begin, end = instant(event.begin, zone), instant(event.end, zone)
    found = {(instant(local, zone), slot_text(local, all_day=event.all_day)) for local in whole}
    return sorted((at, slot) for at, slot in found if begin <= at < end)


@pytest.mark.parametrize("zone", ZONES)
@settings(max_examples=340, deadline=None)  # 2,040 in all
@given(event=drawn())
def test_the_occurrences_of_an_event_in_a_window_are_those_of_dateutil(zone: str, event: Drawn) -> None:
    made = an_event(
        slot_text(event.start, all_day=event.all_day),
        rule=None,
        minutes=0 if not event.all_day else 1440,
        time_zone=None if event.all_day else zone,
    )._replace(rule=to_document(event.rule), added=[slot_text(local, all_day=event.all_day) for local in event.added])
    begin, end = instant(event.begin, zone), instant(event.end, zone)
    expected = by_others(event, zone)
    gone = {expected[index % len(expected)][1] for index in event.cancelled} if expected else set()
    rows = rows_of(*(a_row(slot, status="cancelled") for slot in gone))

    found = [each for each in between(made, rows, begin, end, zone) if each.start >= begin]

    assert [(each.start, each.slot) for each in found] == expected
    assert {each.slot for each in found if each.status == "cancelled"} == gone
