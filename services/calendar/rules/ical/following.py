"""RANGE=THISANDFUTURE: what a series is from one of its slots on, as the scope FOLLOWING makes it."""

from datetime import datetime, timedelta
from typing import NamedTuple

from mesh.recurrence.rule import Day, Frequency, Rule, RuleError
from mesh.recurrence.scopes import Edit, split
from mesh.recurrence.series import Series, find
from services.calendar.model import Status
from services.calendar.rules.ical.content import ReadRow
from services.calendar.rules.ical.events import Draft, Event
from services.calendar.rules.ical.report import Refused
from services.calendar.rules.ical.values import When

MOST_PARTS = 100


class Part(NamedTuple):
    """What a series is from one of its slots on, until the next part begins."""

    pivot: datetime
    """In the series of the file."""
    shift: timedelta
    """How much later each of its slots is than in the series of the file."""
    event: Event


class Following:
    """A series of a file, and the events that it is split into."""

    def __init__(self, event: Event) -> None:
        """event: the series as the file has it."""
        self._origin = Event(event.draft, event.series, recurs=event.recurs)
        self._parts = [Part(datetime.min, timedelta(), event)]

    def events(self) -> list[Event]:
        """The events, the first one first."""
        return [part.event for part in self._parts if part.event.recurs or part.event is self._parts[0].event]

    def find(self, when: When) -> tuple[Part | None, datetime]:
        """The part with the slot of a RECURRENCE-ID, and that slot in the series of the file; None when none has."""
        locals_ = self._origin.find(when, self._origin.draft.reader.file.user_zone)
        if not locals_:
            return None, when.local
        return next(part for part in reversed(self._parts) if part.pivot <= locals_[0]), locals_[0]

    def begin(self, draft: Draft, part: Part, local: datetime, line: int) -> None:
        """Begins a part at a slot of the series of the file. Raises Refused."""
        event, pivot = part.event, local + part.shift
        if draft.start.is_date != event.series.all_day or draft.is_cancelled:
            raise Refused("RANGE", "makes all that follow into something else, which is not supported", line)
        if not event.recurs or len(self._parts) == MOST_PARTS:
            raise Refused("RANGE", "is for an event that does not recur, or is given too often", line)
        wall = draft.start.wall(event.draft.start.zone, draft.reader.file.user_zone)
        try:
            new, old = _split(event.series, pivot, wall, line)
        except RuleError as error:
            raise Refused("RANGE", f"cannot be kept: {error.description}", line) from None
        start = draft.start._replace(local=wall, zone=event.draft.start.zone)
        begun = Event(draft._replace(title=draft.title or event.draft.title, start=start), new, recurs=True)
        begun.key = f"#{self._origin.text(local)}"
        begun.rows = _moved(event, pivot, begun, line)
        event.rows = {slot: row for slot, row in event.rows.items() if slot < pivot}
        if old is None:  # nothing is left before it
            begun.key = event.key
            self._parts.remove(part)
        else:
            event.series = old
        self._parts.append(Part(local if old is not None else part.pivot, wall - local, begun))


def _split(series: Series, pivot: datetime, wall: datetime, line: int) -> tuple[Series, Series | None]:
    """The series from a slot on, which begins at `wall` then, and what is left before it."""
    shift = wall - pivot
    later = tuple(local + shift for local in series.added if local > pivot)
    if find(series._replace(added=()), pivot) is None:
        raise Refused("RANGE", "is for an added occurrence, which is not supported", line)
    rule = _shifted(series.rule, (wall.date() - pivot.date()) // timedelta(days=1), line)
    made = split(series._replace(added=()), pivot, Edit(start=wall, rule=rule))
    earlier = tuple(local for local in series.added if local < pivot)
    old = None if made.old is None else made.old._replace(added=earlier)
    return made.new._replace(added=later), old


def _moved(event: Event, pivot: datetime, new: Event, line: int) -> dict[datetime, ReadRow]:
    """The rows from a slot on, each with its slot in the new part."""
    shift, moved = new.series.start - pivot, dict[datetime, ReadRow]()
    for slot, row in event.rows.items():
        if slot < pivot:
            continue
        if find(new.series, slot + shift) is not None:
            moved[slot + shift] = row._replace(slot=new.text(slot + shift))
        elif row.status != Status.CANCELLED:
            raise Refused("RANGE", f"loses the occurrence of {slot}", line)
    return moved


def _shifted(rule: Rule, days: int, line: int) -> Rule:
    """The rule whose dates are so many days later."""
    if not days or not (rule.by_day or rule.by_month_day or rule.by_month or rule.by_set_pos):
        return rule
    simple = rule.frequency is Frequency.WEEKLY and not (rule.by_month or rule.by_set_pos)
    if not simple or (rule.interval > 1 and len(rule.by_day) > 1):
        raise Refused("RANGE", "moves a rule to other days, which no rule is equal to", line)
    return rule._replace(by_day=tuple(sorted(Day((day.weekday + days) % 7) for day in rule.by_day)))
