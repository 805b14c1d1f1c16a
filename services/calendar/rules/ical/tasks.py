"""VTODO as tasks."""

from services.calendar.rules.ical.content import ReadTask
from services.calendar.rules.ical.lines import Component
from services.calendar.rules.ical.parts import UNTITLED, File, Reader
from services.calendar.rules.ical.report import Refused
from services.calendar.rules.ical.values import When, read_span

_KEPT = frozenset(
    [
        *("UID", "DTSTAMP", "CREATED", "LAST-MODIFIED", "SEQUENCE", "SUMMARY", "DESCRIPTION", "DUE", "DTSTART"),
        *("DURATION", "STATUS", "COMPLETED", "PERCENT-COMPLETE", "RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID"),
    ]
)


def read_task(component: Component, file: File, uid: str) -> ReadTask:
    """The task of a VTODO. Raises Refused."""
    reader = Reader(file, component, uid)
    for name in ("RRULE", "RDATE", "EXRULE", "RECURRENCE-ID"):
        found = component.first(name)
        if found is not None:
            raise Refused(name, "of a task is not supported", found.line)
    status, completed = reader.one("STATUS"), reader.one("COMPLETED")
    state = "" if status is None else status.value.strip().upper()
    if status is not None and state == "CANCELLED":
        raise Refused("STATUS", "is CANCELLED: there is nothing to do", status.line)
    percent = component.first("PERCENT-COMPLETE")
    is_complete = (
        state == "COMPLETED"
        or completed is not None
        or (not state and percent is not None and percent.value.strip() == "100")
    )
    if not is_complete and percent is not None and percent.value.strip() not in ("", "0"):
        reader.changed("PERCENT-COMPLETE", "is not kept", percent.line)
    if state == "IN-PROCESS" and status is not None:
        reader.changed("STATUS", "is not kept: the task is pending", status.line)
    due = _due(reader)
    task = ReadTask(
        uid,
        reader.text("SUMMARY", 255) or UNTITLED,
        reader.text("DESCRIPTION", 10_000) or None,
        due,
        is_complete,
        None if completed is None else _instant(reader, reader.when(completed), "COMPLETED", completed.line),
        component.line,
    )
    for alarm in component.components:
        if alarm.name == "VALARM":
            file.report.not_kept(alarm, uid, Refused("VALARM", "of a task is not kept", alarm.line))
    reader.report_unknown(_KEPT)
    return task


def _due(reader: Reader) -> int | None:
    due, start, duration = reader.one("DUE"), reader.one("DTSTART"), reader.one("DURATION")
    if due is not None:
        if start is not None:
            reader.changed("DTSTART", "of a task is not kept", start.line)
        when = reader.when(due)
        if when.is_date:
            reader.changed("DUE", "is a date: its beginning was kept", due.line)
        return _instant(reader, when, "DUE", due.line)
    if start is None:
        return None
    if duration is None:
        reader.changed("DTSTART", "of a task is not kept", start.line)
        return None
    span = read_span(duration)
    if span.is_negative:
        raise Refused("DURATION", "is negative", duration.line)
    begin = reader.when(start)
    reader.changed("DTSTART", "of a task is not kept: it is due after its DURATION", start.line)
    length = reader.length(begin)
    return _instant(reader, begin, "DTSTART", start.line) + length.days * 86_400_000_000 + length.seconds * 1_000_000


def _instant(reader: Reader, when: When, name: str, line: int) -> int:
    instant = when.instant(reader.file.user_zone)
    if instant < 0:
        raise Refused(name, "is before 1970", line)
    return instant
