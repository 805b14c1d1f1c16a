"""Slots of many events in the order of their starts, from any place on."""

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import islice

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.recurrence.zones import to_instant
from mesh.runtime.clock import DAY, SECOND
from services.calendar.model import CalendarEvent, Pattern, Place, Window
from services.calendar.rules import listing, series
from services.calendar.rules.listing import Candidate
from tests.support.calendar_model import ZONE, an_event

IDS = [f"01890000-0000-7000-8000-0000000000{number:02x}" for number in range(8)]
ZONES = [ZONE, "America/New_York", "Pacific/Apia", "Asia/Kathmandu", None]
"""Apia left out 30 December 2011."""
RULES = [
    None,
    "FREQ=DAILY",
    "FREQ=DAILY;INTERVAL=3",
    "FREQ=DAILY;COUNT=5",
    "FREQ=DAILY;BYDAY=MO,SA",
    "FREQ=WEEKLY;BYDAY=TU,FR;UNTIL=20120115T120000Z",
    "FREQ=WEEKLY;INTERVAL=2;COUNT=4",
    "FREQ=MONTHLY;BYMONTHDAY=31",
    "FREQ=MONTHLY;BYDAY=-1FR;COUNT=3",
    "FREQ=YEARLY",
]
FIRST = datetime.fromisoformat("2011-12-01T00:00:00")
times = st.integers(0, 60 * 24 - 1).map(lambda minutes: FIRST + timedelta(minutes=45 * minutes))


def pattern(event: CalendarEvent) -> Pattern:
    """What the store reads of an event."""
    return Pattern(
        event.id,
        event.start_slot,
        series.last_of_rule(event, ZONE),
        event.time_zone,
        event.length_days,
        event.length_seconds,
        None if event.rule is None else orjson.dumps(event.rule).decode(),
        event.added or None,
        event.version,
    )


def listed(events: Iterable[CalendarEvent], window: Window) -> Iterable[Candidate]:
    """The candidates of all events by place."""
    return listing.merged(filter(None, (listing.stream(pattern(event), window) for event in events)))


def instant(text: str) -> int:
    """The instant of a UTC time."""
    return to_instant(datetime.fromisoformat(text), "UTC")[0]


def slots(events: Iterable[CalendarEvent], window: Window) -> list[str]:
    """The local times of what is listed."""
    return [each.place.slot for each in listed(events, window)]


@st.composite
def calendars(draw: st.DrawFn) -> list[CalendarEvent]:
    """Events of one user around the date that Apia left out."""

    def event(id_: str) -> CalendarEvent:
        start, zone = draw(times), draw(st.sampled_from(ZONES))
        rule = draw(st.sampled_from(RULES))
        added = [each.isoformat() for each in draw(st.lists(times, max_size=3))]
        length = {"length_days": draw(st.integers(0, 3)), "length_seconds": draw(st.integers(0, 3 * 86_400))}
        if draw(st.booleans()):
            added = [text[:10] for text in added]
            length = {"length_days": draw(st.integers(1, 40)), "length_seconds": 0}
            return an_event(start.date().isoformat(), rule, id=id_, added=added, **length)
        return an_event(start.isoformat(), rule, id=id_, time_zone=zone, added=added, **length)

    return [event(id_) for id_ in draw(st.lists(st.sampled_from(IDS), unique=True, max_size=5))]


def expected(events: Sequence[CalendarEvent], begin: int, end: int, zone: str) -> list[tuple[int, str, str]]:
    """The places of what takes place in a window, of all events, sorted."""
    found = ((each, event) for event in events for each in series.between(event, {}, begin, end, zone))
    return sorted((each.start, event.id, each.slot) for each, event in found)


@given(calendars(), st.integers(0, 80), st.integers(1, 30), st.sampled_from([ZONE, "Pacific/Apia"]), st.integers(1, 9))
def test_pages_hold_each_occurrence_of_a_window_once_and_in_order(
    events: list[CalendarEvent], begin_hours: int, days: int, zone: str, size: int
) -> None:
    begin = instant("2011-12-01T00:00:00") + begin_hours * 12 * 3600 * SECOND
    window, pages, after = Window(begin, begin + days * DAY, zone), list[Place](), None
    while page := [each.place for each in islice(listed(events, window._replace(after=after)), size)]:
        pages += page
        after = page[-1]
    assert pages == expected(events, window.begin, window.end, zone)


@given(calendars())
def test_a_candidate_knows_why_it_is_not_where_its_rule_says(events: list[CalendarEvent]) -> None:
    window = Window(instant("2011-12-01T00:00:00"), instant("2012-03-01T00:00:00"), ZONE)
    reasons = {
        (event.id, each.slot): tuple(each.moved)
        for event in events
        for each in series.between(event, {}, window.begin, window.end, ZONE)
    }
    for candidate in listed(events, window):
        moved = reasons[candidate.place.event_id, candidate.place.slot]
        assert ("clamp" in moved, "gap" in moved) == (candidate.clamped, candidate.gap)


def test_what_begins_at_the_same_instant_is_in_the_order_of_event_ids() -> None:
    events = [an_event("2026-03-02T09:00:00", "FREQ=DAILY", id=id_) for id_ in (IDS[2], IDS[0], IDS[1])]
    found = listed(events, Window(instant("2026-03-03T00:00:00"), instant("2026-03-05T00:00:00"), ZONE))
    assert [each.place.event_id for each in found] == [IDS[0], IDS[1], IDS[2]] * 2


def test_an_occurrence_that_goes_on_in_the_window_is_listed_and_one_that_ends_at_its_begin_is_not() -> None:
    over, goes_on = (
        an_event("2026-03-02T09:00:00", id=id_, minutes=minutes) for id_, minutes in zip(IDS, (60, 61), strict=False)
    )
    window = Window(instant("2026-03-02T09:00:00"), instant("2026-03-03T00:00:00"), ZONE)
    assert [each.place.event_id for each in listed([over, goes_on], window)] == [IDS[1]]


def test_what_lasts_no_time_is_listed_at_the_begin_of_a_window_and_not_at_its_end() -> None:
    event = an_event("2026-03-02T09:00:00", "FREQ=DAILY", minutes=0)
    assert slots([event], Window(instant("2026-03-03T08:00:00"), instant("2026-03-04T08:00:00"), ZONE)) == [
        "2026-03-03T09:00:00"
    ]


def test_a_slot_in_the_gap_that_begins_after_the_window_does_is_listed() -> None:
    # 02:30 does not exist on that day, and is 03:30; the window begins at 03:10.
    event = an_event("2026-03-28T02:30:00", "FREQ=DAILY", minutes=10)
    window = Window(instant("2026-03-29T01:10:00"), instant("2026-03-29T03:00:00"), ZONE)
    assert [(each.place.slot, each.gap) for each in listed([event], window)] == [("2026-03-29T02:30:00", True)]


def test_a_rule_without_any_slot_has_none() -> None:
    event = an_event("2026-03-02T09:00:00", "FREQ=DAILY;UNTIL=20260101T000000Z", added=["2026-03-02T09:00:00"])
    assert pattern(event).last_slot == ""
    assert slots([event], Window(instant("2026-01-01T00:00:00"), instant("2027-01-01T00:00:00"), ZONE)) == [
        "2026-03-02T09:00:00"
    ]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_the_end_of_the_calendar_is_listed_in_every_zone(zone: str) -> None:
    event = an_event("2026-03-02T09:00:00", "FREQ=DAILY", time_zone=zone)
    last = instant("9999-12-31T23:59:59")
    assert slots([event], Window(last - 3 * DAY, last, ZONE))[-1] == "9999-12-30T09:00:00"


def test_the_stored_last_slot_ends_a_rule_whose_count_is_then_not_looked_for() -> None:
    event = an_event("2026-03-02T09:00:00", "FREQ=MONTHLY;COUNT=1000")
    stored = pattern(event)._replace(last_slot="2026-04-02T09:00:00")
    found = listing.stream(stored, Window(instant("2026-01-01T00:00:00"), instant("2027-01-01T00:00:00"), ZONE))
    assert found is not None
    assert len(list(found.rest)) == 1


def test_the_last_week_of_ten_years_takes_no_more_steps_than_the_first() -> None:
    """Steps are bytecode lines: the same on every machine."""
    event = pattern(an_event("2026-01-05T09:00:00", "FREQ=DAILY"))

    def steps(begin: str) -> int:
        window = Window(instant(begin), instant(begin) + 7 * DAY, ZONE)
        _listed(event, window)  # rules, zones and their transitions are read once
        taken = 0

        def count(*_: object) -> object:
            nonlocal taken
            taken += 1
            return count

        sys.settrace(count)
        try:
            assert _listed(event, window) == 7
        finally:
            sys.settrace(None)
        return taken

    assert steps("2035-12-24T00:00:00") <= 1.2 * steps("2026-01-12T00:00:00")


def _listed(event: Pattern, window: Window) -> int:
    found = listing.stream(event, window)
    return len(list(listing.merged([] if found is None else [found])))
