"""What was read of a file as events of a calendar: new ones, and the next versions of those that were there."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from mesh.recurrence.series import Series, find, in_window, parse_slot, slot_text
from mesh.recurrence.zones import to_instant
from services.calendar.model import CalendarEvent, OccurrenceRow, Status
from services.calendar.rules.changes import timed
from services.calendar.rules.ical.content import ReadEvent, ReadRow
from services.calendar.rules.ical.values import When
from services.calendar.rules.series import series_of

Rows = Mapping[str, OccurrenceRow]
_OF_FILE = (
    *("title", "description", "location", "start_slot", "time_zone", "length_days", "length_seconds"),
    *("rule", "added", "reminders", "uid"),
)
"""Columns of an event that a file says."""


class Merged(NamedTuple):
    """An event with all of its rows; not settled yet."""

    event: CalendarEvent
    rows: dict[str, OccurrenceRow]


def new_event(read: ReadEvent, *, event_id: str, series_id: str, user_id: str, zone: str, now: int) -> Merged:
    """An event that was not there. zone: of the user."""
    event = CalendarEvent(
        id=event_id,
        user_id=user_id,
        title=read.title,
        description=read.description,
        scheduled_start=0,
        duration_minutes=0,
        repeat_type="none",
        repeat_until=None,
        status=Status.PLANNED.value,
        created_at=now,
        updated_at=now,
        location=read.location,
        start_slot=read.start_slot,
        time_zone=read.time_zone,
        length_days=read.length_days,
        length_seconds=read.length_seconds,
        rule=read.rule,
        added=list(read.added),
        reminders=list(read.reminders),
        todo_task_id=None,
        series_id=series_id,
        subscription_id=None,
        uid=read.uid,
        sequence=read.sequence,
        stamped_at=read.stamped_at,
        ends_at=None,
        last_slot=None,
        next_end_at=None,
        deleted_at=None,
        purge_at=None,
        version=1,
    )
    return Merged(event, {row.slot: _row(row, event, zone) for row in read.rows})


def is_older(read: ReadEvent, event: CalendarEvent) -> bool:
    """Whether the calendar has this version already, or a newer one (RFC 5546 2.1.4).

    An event that was made here has neither number: what an export of it says counts.
    """
    if event.uid is None:
        return False
    if read.sequence != event.sequence:
        return read.sequence < event.sequence
    if read.stamped_at is None or event.stamped_at is None:
        return False
    return read.stamped_at <= event.stamped_at


def merged(read: ReadEvent, event: CalendarEvent, rows: Rows, zone: str) -> Merged | None:
    """The event as the file has it; None when that is how it is. Sessions and completions of its slots stay."""
    fields = {name: getattr(read, name) for name in _OF_FILE}
    if event.uid is None:
        fields["uid"] = None  # it is exported by its id
    new = event._replace(**fields, sequence=max(read.sequence, event.sequence), stamped_at=read.stamped_at)
    made = {row.slot: _row(row, new, zone) for row in read.rows}
    series = series_of(new, zone)
    for slot, row in rows.items():
        local, all_day = parse_slot(slot)
        linked = row.session_id is not None or row.starts or row.status == Status.COMPLETED
        if linked and all_day == series.all_day and find(series, local) is not None:
            made[slot] = _linked(made.get(slot) or _row(ReadRow(slot, Status.PLANNED), new, zone), row)
    same = all(_same(getattr(event, name), getattr(new, name)) for name in _OF_FILE)
    return None if same and made == dict(rows) else Merged(new, made)


def with_occurrence(read: ReadEvent, event: CalendarEvent, rows: Rows, zone: str) -> Merged | None:
    """The event with an occurrence that a file has without it; None when it has no such slot, or is of another kind."""
    local = _slot_of(read, event, zone)
    series = series_of(event, zone)
    start, all_day = parse_slot(read.start_slot)
    if local is None or all_day != series.all_day:
        return None
    slot = slot_text(local, all_day=all_day)
    instant = to_instant(start, read.time_zone or zone)[0]
    wall = When(start, all_day, read.time_zone).wall(event.time_zone, zone)
    if not all_day and to_instant(wall, series.time_zone)[0] != instant:
        return None
    same_length = (read.length_days, read.length_seconds) == event.length
    made = _row(
        ReadRow(
            slot,
            Status.CANCELLED if read.is_cancelled else Status.PLANNED,
            None if read.title == event.title else read.title,
            None if read.description == event.description else read.description or "",
            None if read.location == event.location else read.location or "",
            None if wall == local else slot_text(wall, all_day=all_day),
            None if same_length else read.length_days,
            None if same_length else read.length_seconds,
        ),
        event,
        zone,
    )
    before = rows.get(slot)
    if before is not None and (before.starts or before.status == Status.COMPLETED):
        made = _linked(made, before)
    return Merged(event, {**rows, slot: made})


def _slot_of(read: ReadEvent, event: CalendarEvent, zone: str) -> datetime | None:
    """The slot that a RECURRENCE-ID means; of a date the first of that local day."""
    series: Series = series_of(event, zone)
    text, is_date, when_zone = read.replaces or ("", False, None)
    when = When(datetime.fromisoformat(text), is_date, when_zone)
    if series.all_day or is_date:
        local = datetime.combine(when.local.date(), series.start.time())
    else:
        local = when.local if when.zone is None else when.wall(event.time_zone, zone)
    if find(series, local) is not None:
        return local
    instant = when.instant(zone)
    return next((slot.local for slot in in_window(series, instant, instant + 1)), None)


def _row(row: ReadRow, event: CalendarEvent, zone: str) -> OccurrenceRow:
    made = OccurrenceRow(
        event_id=event.id,
        slot=row.slot,
        user_id=event.user_id,
        status=str(row.status),
        title=row.title,
        description=row.description,
        location=row.location,
        start_slot=row.start_slot,
        start_time=None,
        length_days=row.length_days,
        length_seconds=row.length_seconds,
        session_id=None,
        starts=0,
        completed_at=None,
        is_completed_by_session=False,
    )
    return timed(made, event.time_zone or zone)


def _linked(row: OccurrenceRow, before: OccurrenceRow) -> OccurrenceRow:
    """A row with the session and completion that it had."""
    status = before.status if row.status == Status.PLANNED and before.status == Status.COMPLETED else row.status
    is_completed = status == Status.COMPLETED
    return row._replace(
        status=status,
        session_id=before.session_id,
        starts=before.starts,
        completed_at=before.completed_at if is_completed else None,
        is_completed_by_session=before.is_completed_by_session and is_completed,
    )


def _same(one: object, other: object) -> bool:
    """Equal, whether a list or a tuple."""
    return (list(one) if isinstance(one, tuple) else one) == (list(other) if isinstance(other, tuple) else other)
