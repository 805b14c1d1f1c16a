"""Writes events as iCalendar. Texts end with CR LF; one after the other they are a file: head, components, `END`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from itertools import islice

from icalendar.parser import Contentline

from mesh.recurrence.document import from_document
from mesh.recurrence.rule import Rule, RuleError
from mesh.recurrence.series import parse_slot, slots
from mesh.recurrence.text import render
from mesh.recurrence.zones import to_instant, to_wall_within
from mesh.runtime.clock import SECOND, to_datetime
from services.calendar.model import CalendarEvent, Length, OccurrenceRow, Status
from services.calendar.rules.changes import is_override
from services.calendar.rules.ical.alarms import CHANNEL
from services.calendar.rules.ical.vtimezone import vtimezone_lines
from services.calendar.rules.series import LAST_INSTANT, series_of

END = "END:VCALENDAR\r\n"
_MOST_LISTED = 1_000
"""Occurrences of a rule that RFC 5545 cannot say, such as days 29 and 31 that both move to the end of a month."""
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SECONDS = re.compile(r"H(?=[0-9]+S)")
"""RFC 5545 has no seconds behind hours without minutes."""
_MOST_SEQUENCE = 2**31 - 1


def head(zones: Iterable[str], name: str = "") -> Iterator[str]:
    """The beginning of a file, with the zones that it uses. name: what programs call the calendar."""
    yield _text(
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Focusmesh//Focusmesh//EN",
        "CALSCALE:GREGORIAN",
        *([f"NAME:{_escaped(name)}", f"X-WR-CALNAME:{_escaped(name)}"] if name else []),
    )
    for zone in zones:
        if zone != "UTC":
            yield _text(*vtimezone_lines(zone))


def components(
    event: CalendarEvent, rows: Mapping[str, OccurrenceRow], user_zone: str, after: str = ""
) -> Iterator[tuple[str, str]]:
    """The event, then its occurrences that differ, each with its slot, by slot; the event's own is empty.

    after: the slot that was written last; empty begins with the event. rows: all of the event.
    """
    if not after:
        yield "", _text(*_event(event, rows, user_zone))
    for slot in sorted(slot for slot in rows if slot > after):
        row = rows[slot]
        if Status.CANCELLED not in (row.status, event.status) and is_override(row):
            yield slot, _text(*_occurrence(event, row))


def task(uid: str, title: str, due_at: int | None, completed_at: int | None, created_at: int, updated_at: int) -> str:
    """A task as a VTODO. completed_at: None while it is not complete."""
    lines = ["BEGIN:VTODO", f"UID:{_escaped(uid)}", f"SUMMARY:{_escaped(title)}", *_stamps(created_at, updated_at)]
    if due_at is not None:
        lines.append(f"DUE:{_utc(due_at)}")
    state = "NEEDS-ACTION" if completed_at is None else "COMPLETED"
    lines += [f"STATUS:{state}", *([] if completed_at is None else [f"COMPLETED:{_utc(completed_at)}"])]
    return _text(*lines, "END:VTODO")


def uid_of(event: CalendarEvent) -> str:
    """The UID by which an event is exported."""
    return event.uid or event.id


def _event(event: CalendarEvent, rows: Mapping[str, OccurrenceRow], user_zone: str) -> Iterator[str]:
    start, all_day = parse_slot(event.start_slot)
    yield from _begin(event)
    yield from _texts(event.title, event.description, event.location)
    yield from _span(event, start, event.length, all_day=all_day)
    added = [parse_slot(slot)[0] for slot in event.added if slot != event.start_slot]
    if event.rule is not None:
        rule = _writable(from_document(event.rule), event, user_zone)
        try:
            text = render(rule, start.date())
        except RuleError:
            listed = islice(slots(series_of(event, user_zone)), _MOST_LISTED)
            added = [slot.local for slot in listed if slot.local != start]
        else:
            floats = event.time_zone is None and not all_day
            yield "RRULE:" + (re.sub(r"(UNTIL=[0-9]{8})(?!T)", r"\1T235959", text) if floats else text)
    if added:
        yield _times("RDATE", event, added, all_day=all_day)
    gone = sorted(slot for slot, row in rows.items() if row.status == Status.CANCELLED)
    if event.status == Status.CANCELLED:
        yield "STATUS:CANCELLED"
    elif gone:
        yield _times("EXDATE", event, [parse_slot(slot)[0] for slot in gone], all_day=all_day)
    yield from _alarms(event, event.title)
    yield "END:VEVENT"


def _occurrence(event: CalendarEvent, row: OccurrenceRow) -> Iterator[str]:
    slot, all_day = parse_slot(row.slot)
    start = slot if row.start_slot is None else parse_slot(row.start_slot)[0]
    length = event.length if row.length_days is None else Length(row.length_days, row.length_seconds or 0)
    yield from _begin(event)
    yield _times("RECURRENCE-ID", event, [slot], all_day=all_day)
    title = event.title if row.title is None else row.title
    yield from _texts(
        title,
        event.description if row.description is None else row.description,
        event.location if row.location is None else row.location,
    )
    yield from _span(event, start, length, all_day=all_day)
    yield from _alarms(event, title)
    yield "END:VEVENT"


def _begin(event: CalendarEvent) -> Iterator[str]:
    yield "BEGIN:VEVENT"
    yield f"UID:{_escaped(uid_of(event))}"
    yield from _stamps(event.created_at, event.updated_at)
    yield f"SEQUENCE:{min(event.sequence + event.version - 1, _MOST_SEQUENCE)}"


def _stamps(created_at: int, updated_at: int) -> list[str]:
    return [f"DTSTAMP:{_utc(updated_at)}", f"CREATED:{_utc(created_at)}", f"LAST-MODIFIED:{_utc(updated_at)}"]


def _texts(title: str, description: str | None, location: str | None) -> Iterator[str]:
    yield f"SUMMARY:{_escaped(title)}"
    for name, text in (("DESCRIPTION", description), ("LOCATION", location)):
        if text:
            yield f"{name}:{_escaped(text)}"


def _span(event: CalendarEvent, start: datetime, length: Length, *, all_day: bool) -> Iterator[str]:
    """DTSTART and the length: as DURATION, since DTEND cannot name the second one of a repeated hour."""
    yield _times("DTSTART", event, [start], all_day=all_day)
    if all_day:
        if start.toordinal() + length.days > date.max.toordinal():
            yield f"DURATION:{_duration(length)}"
        else:
            yield _times("DTEND", event, [start + timedelta(days=length.days)], all_day=True)
    elif any(length):
        yield f"DURATION:{_duration(length)}"


def _times(name: str, event: CalendarEvent, locals_: Iterable[datetime], *, all_day: bool) -> str:
    if all_day:
        return f"{name};VALUE=DATE:" + ",".join(f"{_year(local)}{local:%m%d}" for local in locals_)
    times = [f"{_year(local)}{local:%m%dT%H%M%S}" for local in locals_]
    if event.time_zone == "UTC":
        return f"{name}:" + ",".join(f"{text}Z" for text in times)
    return f"{name}{'' if event.time_zone is None else f';TZID={event.time_zone}'}:" + ",".join(times)


def _year(local: datetime) -> str:
    return f"{local.year:04}"  # strftime does not pad years before 1000


def _writable(rule: Rule, event: CalendarEvent, user_zone: str) -> Rule:
    """The rule with an UNTIL of the form that its start has (RFC 5545 3.3.10)."""
    start, all_day = parse_slot(event.start_slot)
    if rule.until_date is not None and event.time_zone is not None:
        last = datetime.combine(rule.until_date, time(23, 59, 59))
        return rule._replace(until_date=None, until_time=min(to_instant(last, event.time_zone)[0], LAST_INSTANT))
    if rule.until_time is not None and event.time_zone is None:
        wall = to_wall_within(rule.until_time, user_zone)
        day = wall.date() - timedelta(days=wall.time() < (time() if all_day else start.time()))
        return rule._replace(until_time=None, until_date=day)
    return rule


def _alarms(event: CalendarEvent, title: str) -> Iterator[str]:
    for reminder in event.reminders:
        yield "BEGIN:VALARM"
        yield "ACTION:DISPLAY"
        yield f"DESCRIPTION:{_escaped(title)}"
        if reminder.get("offset"):
            yield f"TRIGGER:{_SECONDS.sub('H0M', reminder['offset'])}"
        else:
            yield f"TRIGGER;VALUE=DATE-TIME:{_utc(reminder['remind_time'])}"
        if reminder["channel"] != "in_app":
            yield f"{CHANNEL}:{reminder['channel']}"
        yield "END:VALARM"


def _duration(length: Length) -> str:
    hours, rest = divmod(length.seconds, 3600)
    minutes, rest = divmod(rest, 60)
    passing = "".join(f"{number}{unit}" for number, unit in ((hours, "H"), (minutes, "M"), (rest, "S")) if number)
    text = "P" + (f"{length.days}D" if length.days else "") + (f"T{passing}" if passing else "")
    return _SECONDS.sub("H0M", text)


def _utc(instant: int) -> str:
    return f"{to_datetime(instant // SECOND * SECOND):%Y%m%dT%H%M%SZ}"


def _escaped(text: str) -> str:
    clean = _FORBIDDEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return clean.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")


def _text(*lines: str) -> str:
    return "".join(Contentline(line).to_ical().decode() + "\r\n" for line in lines)
