"""Of which occurrences an import has to tell alone: reminders of them may wait where their event does not say it."""

from itertools import islice

from mesh.recurrence.offsets import parse_offset
from mesh.recurrence.series import Series, find, parse_slot
from mesh.runtime.clock import DAY, SECOND, to_datetime
from services.calendar.model import CalendarEvent, Change, Occurrence, OccurrenceRow, Status
from services.calendar.rules.reminders import instant_of
from services.calendar.rules.series import placed, series_of

_MOST = 50
"""Occurrences of one event, the first ones: two milliseconds of the event loop, and as many messages."""


def reminded_of(change: Change, zone: str, now: int) -> list[Occurrence]:
    """The occurrences that a change cancels or moves after a reminder of them was due. zone: of the user."""
    before, event = change.before, change.event
    if before is None or event is before:
        return []
    offsets = [parse_offset(each["offset"]) for each in before.reminders if each.get("offset")]
    if not offsets:
        return []
    ahead = max(offset.days * DAY + offset.seconds * SECOND for offset in offsets)
    since = _day(now - (before.length_days + 3) * DAY - before.length_seconds * SECOND)
    until = _day(now + ahead + 2 * DAY)
    near = (
        slot
        for slot, row in sorted(change.rows.items())
        if _differs(row, own := change.rows_before.get(slot)) and since <= _start(slot, own) < until
    )
    told: list[Occurrence] = []
    series_before, series = series_of(before, zone), series_of(event, zone)  # once: it costs as much as all the rest
    for slot in islice(near, _MOST):
        was = _occurrence(before, series_before, slot, change.rows_before.get(slot))
        made = _occurrence(event, series, slot, change.rows[slot])
        if was is None or made is None:
            continue
        instants = (instant_of(was, offset, zone) for offset in offsets)
        if any(at is not None and at <= now for at in instants):
            told.append(made)
    return told


def _occurrence(event: CalendarEvent, series: Series, slot: str, row: OccurrenceRow | None) -> Occurrence | None:
    local, all_day = parse_slot(slot)
    found = find(series, local) if all_day == series.all_day else None
    return None if found is None else placed(event, found, slot, row, series.time_zone)


def _differs(row: OccurrenceRow, was: OccurrenceRow | None) -> bool:
    """Whether it is cancelled or moved, and was not before."""
    if was is None:
        return row.status == Status.CANCELLED or row.start_slot is not None
    return (row.status == Status.CANCELLED and was.status != row.status) or row.start_slot != was.start_slot


def _start(slot: str, row: OccurrenceRow | None) -> str:
    return slot if row is None else row.start_slot or slot


def _day(instant: int) -> str:
    """A text that sorts among slots where the UTC date of an instant does."""
    return to_datetime(instant).date().isoformat()
