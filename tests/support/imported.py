"""Files of iCalendar as the calendar would keep them, without its database."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mesh.recurrence.zones import to_instant
from mesh.runtime.clock import to_datetime
from services.calendar.model import Occurrence, Status
from services.calendar.rules.ical.content import ReadEvent, ReadTask, Summary
from services.calendar.rules.ical.merging import Merged, new_event
from services.calendar.rules.ical.reading import read
from services.calendar.rules.series import between
from tests.support.calendar_model import CREATED, USER

CASES = Path(__file__).with_name("calendar_files")
FIRST = to_instant(to_datetime(0).replace(year=1900, tzinfo=None), "UTC")[0]
LAST = to_instant(to_datetime(0).replace(year=2100, tzinfo=None), "UTC")[0]


class Imported(NamedTuple):
    """What a file was read into."""

    events: list[Merged]
    tasks: list[ReadTask]
    summary: Summary
    zone: str

    def occurrences(self, begin: int = FIRST, end: int = LAST) -> Iterator[Occurrence]:
        """Those that take place, of all events, by start."""
        found = [each for event, rows in self.events for each in between(event, rows, begin, end, self.zone)]
        yield from sorted(
            (each for each in found if each.status != Status.CANCELLED), key=lambda each: (each.start, each.title)
        )

    def issues(self) -> list[tuple[str, str, str]]:
        """Kind, UID and property of each issue."""
        return [(issue.kind, issue.uid.partition("@")[0], issue.property) for issue in self.summary.issues]


def imported(content: bytes | str, zone: str = "Europe/Berlin") -> Imported:
    """Reads a file for a user in a zone."""
    found = list(read(content if isinstance(content, bytes) else content.encode(), zone))
    events = [each for each in found if isinstance(each, ReadEvent)]
    summary = found[-1]
    assert isinstance(summary, Summary)
    made = [
        new_event(
            each,
            event_id=f"01890000-0000-7000-8000-{index:012x}",
            series_id=f"01890000-0000-7000-8000-{index:012x}",
            user_id=USER,
            zone=zone,
            now=CREATED,
        )
        for index, each in enumerate(events)
    ]
    return Imported(made, [each for each in found if isinstance(each, ReadTask)], summary, zone)


def a_file(*components: str, zones: str = "") -> str:
    """A calendar of components, each the text within BEGIN and END of a VEVENT."""
    body = "".join(f"BEGIN:VEVENT\n{each.strip()}\nEND:VEVENT\n" for each in components)
    return f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//Tests//EN\n{zones}{body}END:VCALENDAR\n"


def a_case(name: str) -> tuple[dict[str, Any], bytes]:
    """A case of reports about other programs, and its file."""
    cases = json.loads((CASES / "cases.json").read_text())
    case: dict[str, Any] = next(case for case in cases if case["id"] == name)
    return case, (CASES / case["given"]["file"]).read_bytes()


def utc(instant: int) -> str:
    """An instant as the cases write it."""
    return f"{to_datetime(instant):%Y-%m-%dT%H:%M:%SZ}"
