"""A file that was imported, exported and imported again: the calendar stays as it is."""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

import pytest

from services.calendar.model import CalendarEvent, OccurrenceRow
from services.calendar.rules.ical.content import ReadEvent
from services.calendar.rules.ical.plan import Known, Outcome, Plan
from services.calendar.rules.ical.reading import read
from services.calendar.rules.ical.writing import END, components, head
from tests.support.calendar_model import USER
from tests.support.imported import a_file

ZONE = "Europe/Berlin"
NOW = 1_795_000_000_000_000
DAILY = """UID:a@example.org
DTSTAMP:20260101T000000Z
SUMMARY:Run
DTSTART;TZID=Europe/Berlin:20260601T080000
DURATION:PT1H
RRULE:FREQ=DAILY;COUNT=4"""
OTHER = "UID:a@example.org\nDTSTAMP:20260101T000000Z\nSUMMARY:Other\n"


class Calendar:
    """The events of a user, without a database."""

    def __init__(self) -> None:
        self.events: dict[str, CalendarEvent] = {}
        self.rows: dict[str, dict[str, OccurrenceRow]] = {}
        self._now, self._made = NOW, 0

    def imports(self, content: str) -> Counter[str]:
        """Imports a file; each a second after the one before."""
        self._now += 1_000_000
        found = (each for each in read(content.encode(), ZONE) if isinstance(each, ReadEvent))
        groups = [list(group) for _, group in groupby(found, key=lambda each: each.of_uid)]
        known = Known(self.events.values(), self.rows)
        in_file = {each.uid for group in groups for each in group}
        plan = Plan(known, user_id=USER, zone=ZONE, now=self._now, in_file=in_file)
        steps = [step for group in groups for step in plan.steps(group, self._ids())]
        for step in steps:
            if step.change is not None:
                event = step.change.event
                self.events[event.id], self.rows[event.id] = event, dict(step.change.rows)
            if step.change is not None and step.outcome is Outcome.REMOVED:
                del self.events[step.change.event.id]
        return Counter(step.outcome.value for step in steps)

    def exported(self, *uids: str) -> str:
        """The file of the events with these UIDs, or of all."""
        chosen = [event for event in self.events.values() if not uids or event.uid in uids]
        zones = sorted({event.time_zone for event in chosen if event.time_zone})
        texts = (text for event in chosen for _, text in components(event, self.rows[event.id], ZONE))
        return "".join((*head(zones), *texts, END))

    def _ids(self) -> Iterator[str]:
        while True:
            self._made += 1
            yield f"01890000-0000-7000-8000-{self._made:012x}"


FILES = {
    "a day instead of an hour": (DAILY, OTHER + "RECURRENCE-ID:20260602T060000Z\nDTSTART;VALUE=DATE:20260602"),
    "beside the series": (DAILY, OTHER + "RECURRENCE-ID:20260707T060000Z\nDTSTART:20260707T060000Z"),
    "all that follow": (DAILY, OTHER + "RECURRENCE-ID;RANGE=THISANDFUTURE:20260602T060000Z\nDTSTART:20260602T080000Z"),
    "without its series": (OTHER + "RECURRENCE-ID:20260602T060000Z\nDTSTART:20260602T070000Z",),
    "longer": (DAILY, OTHER + "RECURRENCE-ID:20260602T060000Z\nDTSTART:20260602T060000Z\nDURATION:PT2H"),
    "a period": (DAILY + "\nRDATE;VALUE=PERIOD:20260610T060000Z/PT3H",),
    "excluded": (DAILY + "\nEXDATE:20260601T060000Z,20260603T060000Z",),
    "cancelled": (DAILY + "\nSTATUS:CANCELLED",),
    "the start beside the rule": (DAILY.replace("FREQ=DAILY", "FREQ=WEEKLY;BYDAY=WE"),),
    "at the end of time": ("UID:b\nDTSTART;VALUE=DATE:99981231\nDURATION:P366D",),
    "without an end": (DAILY.replace("COUNT=4", "UNTIL=99991231T235959Z"),),
    "at the greatest sequence": (DAILY + "\nSEQUENCE:99999999999",),
}


@pytest.mark.parametrize("events", FILES.values(), ids=FILES)
def test_what_was_exported_changes_nothing_when_it_is_imported_again(events: tuple[str, ...]) -> None:
    calendar = Calendar()
    calendar.imports(a_file(*events))
    count = len(calendar.events)
    assert calendar.imports(a_file(*events)) == {"unchanged": count}
    for _ in range(2):
        assert calendar.imports(calendar.exported()) == {"unchanged": count}


def test_an_export_of_one_event_does_not_remove_what_was_split_off_from_it() -> None:
    calendar = Calendar()
    calendar.imports(a_file(*FILES["all that follow"]))
    assert calendar.imports(calendar.exported("a@example.org")) == {"unchanged": 1}
    assert len(calendar.events) == 2


def test_what_was_split_off_goes_with_a_newer_file_that_has_it_no_more() -> None:
    calendar = Calendar()
    calendar.imports(a_file(*FILES["all that follow"]))
    assert calendar.imports(a_file(DAILY + "\nSEQUENCE:1")) == {"updated": 1, "removed": 1}
    assert len(calendar.events) == 1
