"""Events of every kind, exported and imported again, and what another program makes of the file.

CALENDAR_EVENTS=2000 draws as many.
"""

import dataclasses
import os
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.recurrence.document import to_document
from mesh.recurrence.rule import Day, Frequency, MonthEnd, Rule, RuleError, checked
from mesh.recurrence.series import Series, check_series, slot_text, slots
from mesh.recurrence.zones import to_instant
from services.calendar.model import CalendarEvent, OccurrenceRow
from services.calendar.rules.ical.merging import Merged
from tests.support.calendar_model import a_row, an_event
from tests.support.exported import BEGIN, LAST, a_file_of, starts_by_ours, starts_by_theirs
from tests.support.imported import Imported, imported

EVENTS = int(os.environ.get("CALENDAR_EVENTS", "60"))
ZONE = "Europe/Zurich"
ZONES = ("Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC", "America/Santiago")
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('\\;,:"\n'), max_size=100)
RULES = st.builds(
    Rule,
    frequency=st.sampled_from(Frequency),
    interval=st.integers(1, 4),
    times=st.none() | st.integers(1, 20),
    by_day=st.lists(st.builds(Day, st.integers(0, 6)), max_size=3).map(tuple),
    by_month=st.lists(st.integers(1, 12), max_size=2).map(tuple),
    week_start=st.integers(0, 6),
    month_end=st.sampled_from(MonthEnd),
)


@dataclasses.dataclass
class Drawn:
    """An event with rows."""

    event: CalendarEvent
    rows: dict[str, OccurrenceRow]


@st.composite
def events(draw: st.DrawFn) -> Drawn:
    """An event whose rule produces its start, with some of its occurrences cancelled or moved."""
    all_day = draw(st.booleans())
    zone = None if all_day else draw(st.sampled_from((None, *ZONES)))
    start = draw(st.datetimes(datetime(2028, 6, 1), datetime(2029, 12, 31))).replace(microsecond=0)
    start = start.replace(hour=0, minute=0, second=0) if all_day else start
    rule = draw(st.none() | RULES)
    series = Series(start, zone or ZONE, rule or Rule(Frequency.DAILY, times=1), all_day)
    try:
        rule = None if rule is None else checked(rule)
        check_series(series)
    except RuleError:
        rule, series = None, series._replace(rule=Rule(Frequency.DAILY, times=1))
    text = slot_text(start, all_day=all_day)
    fields: dict[str, Any] = {
        "time_zone": zone,
        "title": draw(TEXTS.filter(str.strip)),
        "description": draw(st.none() | TEXTS.filter(str.strip)),
        "length_days": draw(st.integers(int(all_day), 3)),
        "length_seconds": 0 if all_day else draw(st.sampled_from((0, 60, 3_600, 5_401, 86_400))),
        "reminders": [{"offset": draw(st.sampled_from(("-P1D", "PT0S", "-PT90M"))), "channel": "email"}],
    }
    event = an_event(text, **fields)._replace(rule=None if rule is None else to_document(rule))
    rows = {}
    for slot in islice(slots(series), 6):
        name, kind = (
            slot_text(slot.local, all_day=all_day),
            draw(st.sampled_from(("", "", "cancelled", "moved", "named"))),
        )
        if kind == "cancelled":
            rows[name] = a_row(name, status="cancelled")
        elif kind == "moved":
            shift = timedelta(days=draw(st.integers(-3, 3)), minutes=0 if all_day else draw(st.integers(-90, 90)))
            rows[name] = a_row(name)._replace(start_slot=slot_text(slot.local + shift, all_day=all_day))
        elif kind == "named":
            rows[name] = a_row(name, title="Another")
    return Drawn(event, rows)


def _imported(drawn: Drawn) -> Imported:
    return Imported([Merged(drawn.event, drawn.rows)], [], imported("BEGIN:VCALENDAR").summary, ZONE)


@given(events())
@settings(deadline=None, max_examples=EVENTS)
def test_an_exported_event_is_imported_with_the_same_occurrences(drawn: Drawn) -> None:
    before = _imported(drawn)
    after = imported(a_file_of(before.events, ZONE), ZONE)
    assert after.summary.issue_count == 0, after.summary.issues
    begin, end = to_instant(BEGIN, "UTC")[0], to_instant(LAST, "UTC")[0]
    shown = [
        [(each.start, each.end, each.title) for each in found.occurrences(begin, end)] for found in (before, after)
    ]
    assert shown[0] == shown[1]
    if shown[0]:
        ((event, _),) = after.events
        assert (event.title, event.description or "") == (drawn.event.title, drawn.event.description or "")
        assert event.reminders == drawn.event.reminders


@given(events())
@settings(deadline=None, max_examples=EVENTS // 2)
def test_another_program_finds_the_same_occurrences_in_our_file(drawn: Drawn) -> None:
    before = _imported(drawn)
    assert starts_by_theirs(a_file_of(before.events, ZONE), ZONE) == starts_by_ours(before)
