"""The occurrences of an event: the slots of its series, with what rows change of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from heapq import merge

from mesh.recurrence.document import from_document
from mesh.recurrence.rule import Frequency, Rule
from mesh.recurrence.series import Series, Slot, date_before, find, last_slot, parse_slot, rule_slots, slot_text
from mesh.recurrence.zones import to_instant
from mesh.runtime.clock import DAY, SECOND
from services.calendar.model import CalendarEvent, Length, Occurrence, OccurrenceRow, Status

ONCE = Rule(Frequency.DAILY, times=1)
"""A single event is a series with one slot."""
LAST_INSTANT = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * SECOND
"""The last instant of a Timestamp."""


def series_of(event: CalendarEvent, zone: str) -> Series:
    """The series of an event; rows say which of its slots are cancelled. zone: of its user, used when it floats."""
    start, all_day = parse_slot(event.start_slot)
    rule = ONCE if event.rule is None else from_document(event.rule)
    added = tuple(map(datetime.fromisoformat, event.added))
    return Series(start, event.time_zone or zone, rule, all_day, added)


def length_end(local: datetime, length: Length, zone: str) -> int:
    """The instant at which what begins at a local time ends; at most the last one of the year 9999.

    Days are counted on the wall clock, seconds pass: one day may be 23 hours, 24 hours never are.
    """
    try:
        local += timedelta(days=length.days)
    except OverflowError:
        return LAST_INSTANT
    return min(to_instant(local, zone)[0] + length.seconds * SECOND, LAST_INSTANT)


def occurrence(event: CalendarEvent, slot: str, row: OccurrenceRow | None, zone: str) -> Occurrence | None:
    """The occurrence of a slot, also a cancelled one; None when the event has no such slot."""
    series = series_of(event, zone)
    try:
        local, all_day = parse_slot(slot)
    except ValueError:
        return None
    found = find(series, local) if all_day == series.all_day else None
    return None if found is None else placed(event, found, slot, row, series.time_zone)


def between(
    event: CalendarEvent,
    rows: Mapping[str, OccurrenceRow],
    begin: int,
    end: int,
    zone: str,
    beside: Iterable[Occurrence] | None = None,
) -> Iterator[Occurrence]:
    """The occurrences that take place at some time of [begin, end), also cancelled ones, by start and slot.

    Lazy: the cost is that of what is taken, and does not depend on how much lies before `begin`. rows: of the event by
    slot, at least those whose slot or start is near the window. beside: what `apart` gives of all these rows, where
    that was taken in slices.
    """
    found = _apart(event, rows, zone) if beside is None else sorted(beside, key=_start)
    return _between(event, rows, found, begin, end, zone)


def _between(
    event: CalendarEvent,
    rows: Mapping[str, OccurrenceRow],
    apart: Sequence[Occurrence],
    begin: int,
    end: int,
    zone: str,
) -> Iterator[Occurrence]:
    longest = (event.length_days + 1) * DAY + event.length_seconds * SECOND
    for found in _by_start(event, rows, apart, begin - longest, zone):
        if found.start >= end:
            return
        if found.end > begin or found.start >= begin:
            yield found


def planned_after(
    event: CalendarEvent, rows: Mapping[str, OccurrenceRow], instant: int, zone: str
) -> Iterator[Occurrence]:
    """The planned occurrences that start after an instant, by start and slot; endless when the rule is.

    rows: all of the event.
    """
    found = _by_start(event, rows, _apart(event, rows, zone), instant, zone)
    return (each for each in found if each.start > instant and each.status == Status.PLANNED)


def next_ended(event: CalendarEvent, rows: Mapping[str, OccurrenceRow], instant: int, zone: str) -> Occurrence | None:
    """The occurrence that ends next after an instant, of those that are not cancelled; None when none does.

    rows: all of the event.
    """
    return _next_ended(event, rows, _apart(event, rows, zone), instant, zone)


def _next_ended(
    event: CalendarEvent, rows: Mapping[str, OccurrenceRow], apart: Sequence[Occurrence], instant: int, zone: str
) -> Occurrence | None:
    first: Occurrence | None = None
    for found in _between(event, rows, apart, instant, LAST_INSTANT + 1, zone):
        if first is not None and found.start >= first.end:
            break
        if found.status != Status.CANCELLED and found.end > instant and (first is None or found.end < first.end):
            first = found
    return first


def ends(
    event: CalendarEvent, rows: Mapping[str, OccurrenceRow], instant: int, zone: str
) -> tuple[int | None, int | None]:
    """When the next occurrence ends after an instant, as `next_ended`, and when the last does, cancelled ones too.

    None: none does, or there is no last one. rows: all of the event, each of a slot that it has, with its instant.
    """
    series = series_of(event, zone)
    beside = {text: rows[text] for text in event.added if text in rows}
    moved = (_moved(event, row, series.time_zone) for row in rows.values() if is_apart(row) and row.slot not in beside)
    apart = sorted([*_apart(event, beside, zone), *moved], key=_start)
    following = _next_ended(event, rows, apart, instant, zone)
    next_end = None if following is None else following.end
    if event.rule is not None and series.rule == series.rule.endless():
        return next_end, None
    last = last_slot(series)
    regular = () if last is None else (placed(event, last, "", None, series.time_zone).end,)
    return next_end, max((*regular, *(each.end for each in apart)), default=event.scheduled_start)


def _moved(event: CalendarEvent, row: OccurrenceRow, zone: str) -> Occurrence:
    """The occurrence of a row that has a time or a length of its own, as `placed` would give it: ten times cheaper."""
    start, days, seconds = row.start_time or 0, row.length_days, row.length_seconds or 0
    if days is None:
        days, seconds = event.length
    end = start + seconds * SECOND
    if days:
        end = length_end(datetime.fromisoformat(row.start_slot or row.slot), Length(days, seconds), zone)
    return Occurrence(event, row.slot, start, max(start, min(end, LAST_INSTANT)), row)


def last_of_rule(event: CalendarEvent, zone: str) -> str | None:
    """The last slot of the rule of an event, as `CalendarEvent.last_slot` has it."""
    series = series_of(event, zone)
    if event.rule is None or series.rule == series.rule.endless():
        return None
    last = last_slot(series)
    return "" if last is None else slot_text(last.local, all_day=series.all_day)


def _by_start(
    event: CalendarEvent, rows: Mapping[str, OccurrenceRow], apart: Sequence[Occurrence], since: int, zone: str
) -> Iterator[Occurrence]:
    """Those that are apart, whenever they are, and those of the rule since an instant."""
    return merge(_of_rule(event, rows, {each.slot for each in apart}, since, zone), apart, key=_start)


def apart(event: CalendarEvent, rows: Mapping[str, OccurrenceRow], zone: str) -> Iterator[Occurrence]:
    """All occurrences that rows put somewhere or that lie beside the rule, in any order."""
    series = series_of(event, zone)
    beside, of_rule = set(series.added), series._replace(added=())
    for text in {row.slot for row in rows.values() if is_apart(row)}.union(event.added):
        local = datetime.fromisoformat(text)
        # With that one alone, because `find` looks through them all.
        slot = find(of_rule._replace(added=(local,)) if local in beside else of_rule, local)
        if slot is not None:
            yield placed(event, slot, text, rows.get(text), series.time_zone)


def _apart(event: CalendarEvent, rows: Mapping[str, OccurrenceRow], zone: str) -> list[Occurrence]:
    return sorted(apart(event, rows, zone), key=_start)


def _of_rule(
    event: CalendarEvent, rows: Mapping[str, OccurrenceRow], but: set[str], since: int, zone: str
) -> Iterator[Occurrence]:
    """In the order of their starts: a rule has one time of day, and no zone takes back more than a day."""
    series = series_of(event, zone)
    for slot in rule_slots(series, date_before(since, series.time_zone)):
        text = slot_text(slot.local, all_day=series.all_day)
        if slot.instant >= since and text not in but:
            yield placed(event, slot, text, rows.get(text), series.time_zone)


def is_apart(row: OccurrenceRow) -> bool:
    """Whether an occurrence has a time or a length of its own: then its row alone says when it takes place."""
    return row.start_slot is not None or row.length_days is not None


def placed(event: CalendarEvent, slot: Slot, text: str, row: OccurrenceRow | None, zone: str) -> Occurrence:
    """The occurrence of a slot that the event has. text: of the slot. zone: of the event, or of its user."""
    local, start, moved, length = slot.local, slot.instant, slot.moved, event.length
    if row is not None and row.start_slot is not None:
        local, moved = datetime.fromisoformat(row.start_slot), ()
        start = to_instant(local, zone)[0]
    if row is not None and row.length_days is not None:
        length = Length(row.length_days, row.length_seconds or 0)
    end = length_end(local, length, zone) if length.days else min(start + length.seconds * SECOND, LAST_INSTANT)
    return Occurrence(event, text, start, max(start, end), row, moved)


def _start(occurrence: Occurrence) -> tuple[int, str]:
    return occurrence.start, occurrence.slot
