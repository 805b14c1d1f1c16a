"""The VEVENTs of one UID as events: the series, its occurrences that differ, and what had to be split off."""

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from mesh.recurrence.document import to_document
from mesh.recurrence.rule import Frequency, Rule, RuleError
from mesh.recurrence.series import (
    Series,
    check_series,
    find,
    first_slot,
    in_window,
    last_slot,
    slot_text,
    slots,
)
from mesh.recurrence.zones import to_instant
from services.calendar.model import MOST_ROWS, Length, Status
from services.calendar.rules.ical.alarms import read_alarms
from services.calendar.rules.ical.content import ReadEvent, ReadRow, Weight
from services.calendar.rules.ical.lines import Component, Property
from services.calendar.rules.ical.parts import UNTITLED, File, Order, Reader, order_of
from services.calendar.rules.ical.report import Refused
from services.calendar.rules.ical.values import When, parameters_of

MOST_TITLE, MOST_DESCRIPTION, MOST_LOCATION = 255, 10_000, 255
MOST_ADDED = 1_000
ONCE = Rule(Frequency.DAILY, times=1)


class Draft(NamedTuple):
    """A component that was read, before its exceptions."""

    component: Component
    reader: Reader
    order: Order
    title: str
    description: str
    location: str
    start: When
    length: Length
    reminders: list[dict[str, Any]]
    is_cancelled: bool


class Event:
    """A series with what its exceptions made of it."""

    def __init__(self, draft: Draft, series: Series, *, recurs: bool) -> None:
        """recurs: whether it has a rule."""
        self.draft, self.series, self.recurs = draft, series, recurs
        self.rows: dict[datetime, ReadRow] = {}
        self.key = ""
        """What is put behind the UID."""

    def add(self, local: datetime, row: ReadRow, line: int) -> None:
        """Adds the row of a slot. Raises Refused."""
        if local not in self.rows and len(self.rows) == MOST_ROWS:
            raise Refused("RECURRENCE-ID", f"more than {MOST_ROWS} occurrences differ from the event", line)
        self.rows[local] = row

    def text(self, local: datetime) -> str:
        """A local time as a slot."""
        return slot_text(local, all_day=self.series.all_day)

    def find(self, when: When, user_zone: str) -> list[datetime]:
        """The slots that a RECURRENCE-ID or an EXDATE means; of a date all of that local day."""
        series, zone = self.series, self.draft.start.zone
        if series.all_day:
            local = datetime.combine(when.local.date(), series.start.time())
            return [local] if find(series, local) else []
        if when.is_date:
            return _of_day(series, when.local)
        local = when.local if when.zone is None else when.wall(zone, user_zone)
        if find(series, local):
            return [local]
        instant = when.instant(user_zone)
        return [slot.local for slot in in_window(series, instant, instant + 1)]


def read_draft(component: Component, file: File, uid: str) -> Draft:
    """Reads what each VEVENT has, override or not. Raises Refused."""
    reader = Reader(file, component, uid)
    start = reader.start()
    length = reader.length(start)

    def left(alarm: Component, refused: Refused, weight: Weight) -> None:
        file.report.not_kept(alarm, uid, refused, weight)

    draft = Draft(
        component,
        reader,
        order_of(component, file),
        reader.text("SUMMARY", MOST_TITLE),
        reader.text("DESCRIPTION", MOST_DESCRIPTION),
        reader.text("LOCATION", MOST_LOCATION),
        start,
        length,
        read_alarms(component, length, start.zone or file.user_zone, reader.zone, left),
        _is_cancelled(reader),
    )
    reader.report_unknown()
    return draft


def _is_cancelled(reader: Reader) -> bool:
    found = reader.one("STATUS")
    status = "" if found is None else found.value.strip().upper()
    if found is not None and status not in ("", "CONFIRMED", "CANCELLED"):
        refused = Refused("STATUS", "is not kept: the event is planned", found.line)
        reader.file.report.not_kept(reader.component, reader.uid, refused, Weight.IGNORED)
    return status == "CANCELLED"


def read_master(draft: Draft) -> Event:
    """The series of a VEVENT without RECURRENCE-ID, with what RDATE and EXDATE say. Raises Refused."""
    reader, start = draft.reader, draft.start
    zone = start.zone or reader.file.user_zone
    rule = reader.rule(start)
    if reader.is_in_utc and (rule is not None or draft.component.first("RDATE")):
        raise Refused("TZID", "names a time zone of the file that no IANA zone is like", draft.component.line)
    series = Series(start.local, zone, ONCE if rule is None else rule, start.is_date)
    if rule is not None:
        series, rule = _placed(series, rule, draft)
    event = Event(draft, series, recurs=rule is not None)
    _add_dates(event)
    _exclude(event)
    return event


def _placed(series: Series, rule: Rule, draft: Draft) -> tuple[Series, Rule | None]:
    """The series with its start beside the rule when that does not produce it."""
    line = (draft.component.first("RRULE") or Property("", "", "", draft.component.line, False)).line
    try:
        first_slot(series)
    except RuleError as error:
        if error.part == "count":
            raise Refused("COUNT", error.description, line) from None
        draft.reader.changed("RRULE", "has no occurrence but the start: it was not kept", line)
        return series._replace(rule=ONCE), None
    try:
        check_series(series)
    except RuleError:
        series = series._replace(added=(series.start,))
    return series, rule


def _add_dates(event: Event) -> None:
    reader, start = event.draft.reader, event.draft.start
    added = dict.fromkeys(event.series.added)
    for when, found, period in reader.whens("RDATE"):
        if when.is_date and not start.is_date:
            reader.changed("RDATE", "is a date, unlike the start: the time of the start was kept", found.line)
            local = datetime.combine(when.local.date(), start.local.time())
        elif start.is_date:
            local = datetime.combine(when.local.date(), start.local.time())
        else:
            if when.zone is None and start.zone is not None:
                reader.changed("RDATE", "has no time zone, unlike the start: that of the start was taken", found.line)
            local = when.local if when.zone is None else when.wall(start.zone, reader.file.user_zone)
            instant = when.instant(event.series.time_zone)
            if to_instant(local, event.series.time_zone)[0] != instant:
                reader.changed("RDATE", "is in an hour that is repeated: the first one was kept", found.line)
        if local not in added and find(event.series, local) is None:
            added[local] = None
            if len(added) > MOST_ADDED:
                raise Refused("RDATE", f"more than {MOST_ADDED} dates", found.line)
        if period:
            length = _period(reader, when, found, period)
            event.add(
                local,
                ReadRow(event.text(local), Status.PLANNED, length_days=length.days, length_seconds=length.seconds),
                found.line,
            )
    event.series = event.series._replace(added=tuple(sorted(added)))


def _period(reader: Reader, begin: When, found: Property, period: str) -> Length:
    """The length of a PERIOD, whose second half is a time or a duration."""
    name = "DURATION" if period[:1] in "+-Pp" else "DTEND"
    half = Component("VEVENT", found.line)
    half.calendar = reader.component.calendar
    half.properties.append(Property(name, found.head, period, found.line, False))
    return Reader(reader.file, half, reader.uid).length(begin)


def _exclude(event: Event) -> None:
    reader = event.draft.reader
    for when, found, _ in reader.whens("EXDATE"):
        locals_ = event.find(when, reader.file.user_zone)
        if not locals_:
            refused = Refused("EXDATE", f"excludes a time at which there is no occurrence: {when.local}", found.line)
            reader.file.report.not_kept(reader.component, reader.uid, refused, Weight.IGNORED)
        for local in locals_:
            event.add(local, ReadRow(event.text(local), Status.CANCELLED), found.line)


def _of_day(series: Series, day: datetime) -> list[datetime]:
    found = []
    for slot in slots(series, day.date()):
        if slot.local.date() != day.date():
            break
        found.append(slot.local)
    return found


def recurrence_id(draft: Draft) -> tuple[When, Property, bool]:
    """RECURRENCE-ID, and whether it is for all that follow. Raises Refused."""
    found = draft.reader.one("RECURRENCE-ID")
    if found is None:
        raise Refused("RECURRENCE-ID", "is missing", draft.component.line)
    range_ = parameters_of(found).get("RANGE", "").upper()
    if range_ not in ("", "THISANDFUTURE"):
        raise Refused("RANGE", "is not supported", found.line)
    return draft.reader.when(found), found, bool(range_)


def override(event: Event, draft: Draft, local: datetime, line: int) -> Event | None:
    """Puts an occurrence of its own into a series; returns an event when it cannot be a row. Raises Refused."""
    text, master = event.text(local), event.draft
    if draft.is_cancelled:
        event.add(local, ReadRow(text, Status.CANCELLED), line)
        return None
    user_zone = draft.reader.file.user_zone
    start, zone = draft.start, event.series.time_zone
    wall = start.wall(master.start.zone, user_zone)
    _report_of_override(event, draft)
    if start.is_date != event.series.all_day or (
        not start.is_date and to_instant(wall, zone)[0] != start.instant(user_zone)
    ):
        event.add(local, ReadRow(text, Status.CANCELLED), line)
        return alone(draft, text, master.title)
    moved, same = wall != local, draft.length == master.length or _says_no_times(draft.component)
    row = ReadRow(
        text,
        Status.PLANNED,
        title=draft.title if draft.title and draft.title != master.title else None,
        description=None if draft.description == master.description else draft.description,
        location=None if draft.location == master.location else draft.location,
        start_slot=event.text(wall) if moved else None,
        length_days=None if same else draft.length.days,
        length_seconds=None if same else draft.length.seconds,
    )
    if row == ReadRow(text, Status.PLANNED):
        event.rows.pop(local, None)
    else:
        event.add(local, row, line)
    return None


def alone(draft: Draft, slot: str, title: str = "") -> Event:
    """An occurrence as an event of its own."""
    zone = draft.start.zone or draft.reader.file.user_zone
    series = Series(draft.start.local, zone, ONCE, draft.start.is_date)
    event = Event(draft._replace(title=draft.title or title), series, recurs=False)
    event.key = f"#{slot}"
    return event


def _says_no_times(component: Component) -> bool:
    """Whether an override begins at its slot because it does not say when, nor how long."""
    found = {each.name: each.line for each in component.properties}
    return found.get("DTSTART") == found.get("RECURRENCE-ID") and not {"DTEND", "DURATION"} & set(found)


def _report_of_override(event: Event, draft: Draft) -> None:
    for name in ("RRULE", "RDATE", "EXDATE", "EXRULE"):
        found = draft.component.first(name)
        if found is not None:
            draft.reader.changed(name, "of one occurrence was not kept", found.line)
    mine = [reminder for reminder in draft.reminders if reminder not in event.draft.reminders]
    if mine or len(draft.reminders) != len(event.draft.reminders):
        draft.reader.changed(
            "VALARM", "of one occurrence is not kept: it has the reminders of its event", draft.component.line
        )


def finished(event: Event, uid: str, order: Order, replaces: When | None = None) -> ReadEvent:
    """The event as it is handed on. order: the greatest of the UID."""
    draft, series = event.draft, event.series
    rows, is_cancelled = event.rows, draft.is_cancelled
    if is_cancelled:
        bounded = not event.recurs or last_slot(series) is not None
        locals_ = [slot.local for slot in islice(slots(series), MOST_ROWS + 1)] if bounded else []
        if len(locals_) > MOST_ROWS:
            locals_ = []
        rows = {local: ReadRow(event.text(local), Status.CANCELLED) for local in locals_}
    return ReadEvent(
        uid + event.key,
        uid,
        order.sequence,
        order.stamped_at or None,
        draft.title or UNTITLED,
        draft.description or None,
        draft.location or None,
        event.text(series.start),
        draft.start.zone,
        draft.length.days,
        draft.length.seconds,
        to_document(series.rule) if event.recurs else None,
        [event.text(local) for local in series.added],
        draft.reminders,
        [rows[local] for local in sorted(rows)],
        is_cancelled,
        None if replaces is None else [replaces.local.isoformat(), replaces.is_date, replaces.zone],
        draft.component.line,
    )


def overrides_in_order(
    drafts: Iterable[tuple[Draft, When, Property, bool]],
) -> list[tuple[Draft, When, Property, bool]]:
    """By the slot that they are for, those for all that follow first."""
    return sorted(drafts, key=lambda item: (item[1].local, not item[3]))
