"""What follows from a change of an event or of its occurrences."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial

from mesh.recurrence.document import from_document
from mesh.recurrence.series import after, parse_slot, slots
from mesh.recurrence.zones import to_instant, to_wall_within
from mesh.rpc.etag import check_etag, next_version
from services.calendar.errors import EventDeleted, EventReadOnly, TooManyChanges
from services.calendar.model import MOST_ROWS, CalendarEvent, Change, OccurrenceRow, Status
from services.calendar.rules.reminders import recomputed
from services.calendar.rules.series import ends, is_apart, last_of_rule, series_of

_NOTHING = (None,) * 5


def check_changeable(event: CalendarEvent, etag: str | None) -> None:
    """Raises VersionConflict, EventDeleted or EventReadOnly. etag: that a request is based on, if any."""
    check_etag(etag, event.version)
    if event.deleted_at is not None:
        raise EventDeleted(event_id=event.id)
    if event.subscription_id is not None:
        raise EventReadOnly(event_id=event.id)


def created(event: CalendarEvent, rows: Mapping[str, OccurrenceRow], zone: str) -> Change:
    """A new event. zone: of its user. Raises TooManyChanges."""
    return _change(event, rows, {}, zone, event.created_at, event.created_at)


def split_off(
    before: CalendarEvent, event: CalendarEvent, rows: Mapping[str, OccurrenceRow], zone: str, now: int
) -> Change:
    """A new event with occurrences that another one had. The rest as `changed`."""
    return _change(event, rows, {}, zone, now, _since(before, now))


def changed(
    before: CalendarEvent,
    event: CalendarEvent,
    rows_before: Mapping[str, OccurrenceRow],
    rows: Mapping[str, OccurrenceRow],
    zone: str,
    now: int,
) -> Change:
    """The next version of an event, which was locked before it was read, also when only its occurrences changed.

    rows: all that it has now, by slot; those that say nothing any more are removed. zone: of its user. When nothing
    differs it is the event that it was. Raises TooManyChanges. What has ended and is not published yet will be; what is
    moved into the past does not end again.
    """
    change = _change(next_version(event, now), rows, rows_before, zone, now, _since(before, now))
    if event == before and change.rows == rows_before:
        return Change(before, rows_before, rows_before, before)
    return change._replace(before=before)


def relocated(event: CalendarEvent, rows: Mapping[str, OccurrenceRow], zone_before: str, zone: str, now: int) -> Change:
    """A floating event whose user is in another zone now: its instants differ, and it is the version that it was.

    What had not ended on the clock on the wall is yet to be published, also where that clock jumped over its end.
    """
    since = _since(event, now)
    since = min(since, to_instant(to_wall_within(since, zone_before), zone)[0])
    return _change(event, rows, rows, zone, now, since)._replace(before=event)


def _since(before: CalendarEvent, now: int) -> int:
    """After which instant what ends is yet to be published."""
    return now if before.next_end_at is None else min(before.next_end_at - 1, now)


def _change(
    event: CalendarEvent,
    rows: Mapping[str, OccurrenceRow],
    rows_before: Mapping[str, OccurrenceRow],
    zone: str,
    now: int,
    since: int,
) -> Change:
    kept = {slot: timed(row, event.time_zone or zone) for slot, row in rows.items() if not says_nothing(row)}
    if len(kept) > max(MOST_ROWS, len(rows_before)):
        raise TooManyChanges(limit=MOST_ROWS)
    settled = _settled(event, kept, zone, since)
    return Change(settled, kept, rows_before, remind=partial(recomputed, settled, kept, zone, now))


def timed(row: OccurrenceRow, zone: str) -> OccurrenceRow:
    """The row with the instant at which it puts its occurrence. zone: of the event, or of its user."""
    local = datetime.fromisoformat(row.start_slot or row.slot)
    start = to_instant(local, zone)[0] if is_apart(row) else None
    return row if row.start_time == start else row._replace(start_time=start)


def says_nothing(row: OccurrenceRow) -> bool:
    """Whether an occurrence is what its event says, and was never started."""
    return row.status == Status.PLANNED and not row.starts and row.session_id is None and not is_override(row)


def is_override(row: OccurrenceRow) -> bool:
    """Whether something of an occurrence differs from its event: time, length, title, description or location."""
    own = (row.title, row.description, row.location, row.start_slot, row.length_days)
    return own != _NOTHING


def _settled(event: CalendarEvent, rows: Mapping[str, OccurrenceRow], zone: str, since: int) -> CalendarEvent:
    """The event with the columns that follow from others and from the rows."""
    rule = None if event.rule is None else from_document(event.rule)
    next_end, last_end = ends(event, rows, since, zone)
    is_told = event.deleted_at is None and event.subscription_id is None
    return event._replace(
        scheduled_start=to_instant(parse_slot(event.start_slot)[0], event.time_zone or zone)[0],
        duration_minutes=event.length_days * 1440 + -(-event.length_seconds // 60),
        repeat_type="none" if rule is None else rule.frequency.value,
        repeat_until=None if rule is None else rule.until_time,
        status=_status(event, rows, zone).value,
        ends_at=last_end,
        last_slot=last_of_rule(event, zone),
        next_end_at=next_end if is_told else None,
    )


def _status(event: CalendarEvent, rows: Mapping[str, OccurrenceRow], zone: str) -> Status:
    """Completed when the last occurrence is that takes place; cancelled when none does."""
    if all(row.status == Status.PLANNED for row in rows.values()):
        return Status.PLANNED
    series, local = series_of(event, zone), datetime.fromisoformat
    cancelled = {local(row.slot) for row in rows.values() if row.status == Status.CANCELLED}
    completed = max((local(row.slot) for row in rows.values() if row.status == Status.COMPLETED), default=None)
    following = slots(series) if completed is None else after(series, completed)
    if any(slot.local not in cancelled for slot in following):  # ends at the first one: there are not so many rows
        return Status.PLANNED
    return Status.CANCELLED if completed is None else Status.COMPLETED
