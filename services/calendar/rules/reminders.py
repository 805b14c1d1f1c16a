"""When the reminders of an event fire: once for each planned occurrence, so long before it, or once at an instant."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeAlias

from mesh.recurrence.offsets import Offset, before, parse_offset
from mesh.recurrence.zones import midnight, to_instant, to_wall_within
from mesh.runtime.clock import DAY, SECOND
from services.calendar.model import CalendarEvent, DueReminder, Occurrence, OccurrenceRow, Status
from services.calendar.rules.series import planned_after

Key: TypeAlias = tuple[int, str]
"""Instant and slot of a firing, by which those of one reminder are in order: two occurrences may share an instant."""
_SHIFT = 2 * DAY
"""More than the clocks of a zone move, so that a local day is an instant give or take this."""


class _Wanted(NamedTuple):
    """A relative reminder whose first firing at a key or after it is looked for."""

    name: str
    offset: Offset
    since: Key

    @property
    def first(self) -> int:
        """No occurrence that begins before this instant is reminded of at `since` or after it."""
        return self.since[0] + self.ahead - _SHIFT

    @property
    def ahead(self) -> int:
        """About how long before the start."""
        return self.offset.days * DAY + self.offset.seconds * SECOND


def name_of(reminder: Mapping[str, Any]) -> str:
    """The name of a reminder of an event, as `DueReminder.reminder` has it."""
    return f"{reminder.get('offset') or '@{}'.format(reminder['remind_time'])}/{reminder['channel']}"


def named(name: str) -> tuple[str, str]:
    """The offset of a reminder by its name, which is empty when it is for an instant; and its channel."""
    when, _, channel = name.rpartition("/")
    return "" if when.startswith("@") else when, channel


def recomputed(
    event: CalendarEvent, rows: Mapping[str, OccurrenceRow], zone: str, now: int, stored: Iterable[DueReminder]
) -> list[DueReminder]:
    """The next firings of all reminders of an event that was changed just now.

    What is due and has not fired yet still fires when the change left its occurrence as it was; what lies in the past
    otherwise never does. rows: all of the event. zone: of its user. stored: its firings before the change, or of a new
    event those of the one that it was split off from.
    """
    since = {name_of(reminder): (now, "") for reminder in event.reminders}
    for due in stored:
        if due.reminder in since and due.remind_at <= now:
            since[due.reminder] = (due.remind_at, due.slot or "")
    return following(event, rows, zone, since)


def after(due: DueReminder) -> Key:
    """The first key after that of a firing."""
    return due.remind_at, f"{due.slot or ''}\0"


def following(
    event: CalendarEvent, rows: Mapping[str, OccurrenceRow], zone: str, since: Mapping[str, Key]
) -> list[DueReminder]:
    """Of reminders of an event, by name, the first firings at a key or after it; those without any are left out.

    The cost does not depend on how many occurrences lie before. rows: all of the event. zone: of its user.
    """
    if event.deleted_at is not None or event.subscription_id is not None or event.status == Status.CANCELLED:
        return []
    found, wanted = dict[str, Key](), list[_Wanted]()
    for reminder in event.reminders:
        name, at = name_of(reminder), reminder.get("remind_time")
        if name not in since:
            continue
        if at is None:
            wanted.append(_Wanted(name, parse_offset(reminder["offset"]), since[name]))
        elif event.status == Status.PLANNED and (at, "") >= since[name]:
            found[name] = (at, "")
    found |= _of_occurrences(event, rows, zone, wanted)
    return [DueReminder(event.id, name, event.user_id, at, slot or None) for name, (at, slot) in found.items()]


def instant_of(occurrence: Occurrence, offset: Offset, zone: str) -> int | None:
    """When a reminder of an occurrence fires; None when that is no date. zone: of its user, used when it floats.

    An all-day occurrence counts from its local midnight, also where the clocks leave that out.
    """
    zone = occurrence.event.time_zone or zone
    try:
        if not occurrence.event.is_all_day:
            return before(occurrence.start, offset, zone)
        local = midnight(to_wall_within(occurrence.start, zone)) - timedelta(days=offset.days)
        return to_instant(local, zone)[0] - offset.seconds * SECOND
    except OverflowError:
        return None


def _of_occurrences(
    event: CalendarEvent, rows: Mapping[str, OccurrenceRow], zone: str, wanted: Sequence[_Wanted]
) -> dict[str, Key]:
    found = dict[str, Key]()
    if not wanted:
        return found
    for occurrence in planned_after(event, rows, min(each.first for each in wanted), zone):
        open_ = [each for each in wanted if not _is_settled(each, found.get(each.name), occurrence.start)]
        if not open_:
            break
        for each in open_:
            if occurrence.start >= each.first and (at := instant_of(occurrence, each.offset, zone)) is not None:
                key = (at, occurrence.slot)
                if key >= each.since:
                    found[each.name] = min(key, found.get(each.name, key))
    return found


def _is_settled(wanted: _Wanted, found: Key | None, start: int) -> bool:
    """Whether no occurrence that begins at an instant or later is reminded of before the one that was found."""
    return found is not None and start > found[0] + wanted.ahead + _SHIFT
