"""Events as files of iCalendar, and what another program makes of such files."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import icalendar
import recurring_ical_events

from mesh.recurrence.zones import to_instant
from services.calendar.rules.changes import created
from services.calendar.rules.ical.merging import Merged
from services.calendar.rules.ical.writing import END, components, head
from tests.support.imported import Imported

BEGIN, LAST = datetime(2000, 1, 1), datetime(2031, 1, 1)  # noqa: DTZ001 (wall clocks of UTC)


def a_file_of(events: Iterable[Merged], zone: str) -> str:
    """The file that these events are exported as for a user in a zone."""
    settled = [(created(event, rows, zone).event, rows) for event, rows in events]
    zones = sorted({event.time_zone for event, _ in settled if event.time_zone})
    texts = (text for event, rows in settled for _, text in components(event, rows, zone))
    return "".join((*head(zones), *texts, END))


def starts_by_ours(found: Imported) -> list[int]:
    """The instants at which occurrences begin."""
    begin, end = to_instant(BEGIN, "UTC")[0], to_instant(LAST, "UTC")[0]
    return sorted(each.start for each in found.occurrences(begin, end) if each.start >= begin)


def starts_by_theirs(content: str | bytes, zone: str) -> list[int]:
    """The same by `recurring_ical_events`, which raises whatever it meets in bad files. zone: for what floats."""
    calendar: Any = icalendar.Calendar.from_ical(content)
    found = recurring_ical_events.of(calendar, components=["VEVENT"]).between(
        BEGIN.replace(tzinfo=UTC), LAST.replace(tzinfo=UTC)
    )
    begin, end = to_instant(BEGIN, "UTC")[0], to_instant(LAST, "UTC")[0]
    starts = (_instant(each["DTSTART"].dt, zone) for each in found if str(each.get("STATUS", "")) != "CANCELLED")
    return sorted(start for start in starts if begin <= start < end)


def _instant(value: Any, zone: str) -> int:
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)  # noqa: DTZ001
    return to_instant(value, zone)[0] if value.tzinfo is None else int(value.timestamp()) * 1_000_000
