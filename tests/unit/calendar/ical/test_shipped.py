"""The files that the installed packages of others ship for their own tests."""

import warnings
from collections import Counter
from importlib.metadata import files
from pathlib import Path

import pytest

from services.calendar.rules.ical.reading import UnreadableError
from tests.support.exported import a_file_of, starts_by_ours, starts_by_theirs
from tests.support.imported import imported

ZONE = "Europe/Berlin"
SHIPPED = sorted(
    (
        Path(str(each.locate()))
        for package in ("icalendar", "recurring-ical-events")
        for each in files(package) or ()
        if each.suffix == ".ics"
    ),
    key=str,
)
DIFFERENT = {
    "issue_117_until_before_dtstart.ics": "the start of an event stays, also where UNTIL is before it",
    "issue_201_mixed_datetime_and_date.ics": "a date with a time as its end is a date",
    "issue_201_test_matrix.ics": "a date with a time as its end is a date",
    "one_day_event_repeat_every_day.ics": "all-day events are in the zone of the user at the end of the window too",
}
"""Files of which the other program has other occurrences, and why ours are right."""


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_file_is_imported_right_or_refused_with_uid_property_and_line(path: Path) -> None:
    content = path.read_bytes()
    try:
        found = imported(content, ZONE)
    except UnreadableError:
        assert not content.lstrip().upper().startswith(b"BEGIN:VCALENDAR")
        return
    lost = [issue for issue in found.summary.issues if issue.kind == "not_imported"]
    assert len(lost) == found.summary.not_imported_count
    for issue in found.summary.issues:
        assert 1 <= issue.line <= content.count(b"\n") + content.count(b"\r") + 1
        assert issue.component
    refused = [issue for issue in lost if issue.component == "VEVENT" and issue.property not in ("", "RECURRENCE-ID")]
    if path.name in DIFFERENT or refused:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs = starts_by_theirs(content, ZONE)
        except Exception:  # noqa: BLE001 (whatever the other program says of a file that it cannot read)
            return
    assert Counter(starts_by_ours(found)) == Counter(theirs)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_what_was_imported_is_exported_so_that_both_programs_read_the_same(path: Path) -> None:
    try:
        found = imported(path.read_bytes(), ZONE)
    except UnreadableError:
        return
    text = a_file_of(found.events, ZONE)
    again = imported(text, ZONE)
    assert again.summary.issue_count == 0, again.summary.issues[:3]
    assert starts_by_ours(again) == starts_by_ours(found)
    assert all(len(line.encode()) <= 75 for line in text.split("\r\n"))
    if path.name not in DIFFERENT:
        assert starts_by_theirs(text, ZONE) == starts_by_ours(found)


def test_the_packages_ship_files() -> None:
    assert len(SHIPPED) > 200
