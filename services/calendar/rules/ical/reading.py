"""Reads a file of iCalendar. Pure, and bounded by the size of the file; what takes long runs beside the event loop."""

import hashlib
from collections.abc import Iterator
from datetime import datetime

from mesh.recurrence.series import slot_text
from services.calendar.model import Status
from services.calendar.rules.ical import lines
from services.calendar.rules.ical.content import MOST_COMPONENTS, ReadEvent, ReadTask, Summary, Weight
from services.calendar.rules.ical.events import (
    Draft,
    Event,
    alone,
    finished,
    override,
    overrides_in_order,
    read_draft,
    read_master,
    recurrence_id,
)
from services.calendar.rules.ical.following import Following, Part
from services.calendar.rules.ical.lines import Component, Property
from services.calendar.rules.ical.parts import File, order_of
from services.calendar.rules.ical.report import Refused, Report
from services.calendar.rules.ical.tasks import read_task
from services.calendar.rules.ical.values import When, read_text
from services.calendar.rules.ical.zones import Zones

LONGEST_UID = 500
"""Characters, as todo has it for tasks."""
_QUIET = frozenset({"PRODID", "VERSION", "CALSCALE", "METHOD"})
_FOREIGN = frozenset({"REPLY", "COUNTER", "DECLINECOUNTER", "REFRESH"})
"""Methods of messages about an event of another one (RFC 5546)."""


class UnreadableError(ValueError):
    """The content is no file of iCalendar; `line` is the first that is not."""

    def __init__(self, line: int) -> None:
        """line: from 1."""
        self.line = line
        super().__init__(f"line {line}")


class TooLargeError(ValueError):
    """The file has more of something than it may have."""

    def __init__(self, limit: int, what: str) -> None:
        """what: such as `components`."""
        self.limit, self.what = limit, what
        super().__init__(f"more than {limit} {what}")


def read(content: bytes, user_zone: str) -> Iterator[ReadEvent | ReadTask | Summary]:
    """The events of a file, then its tasks, then what could not be kept.

    user_zone: of the user, for what floats. Raises UnreadableError and TooLargeError.
    """
    content = lines.in_utf8(content)
    first, text = next(lines.content_lines(content), (1, b""))
    if text.strip().upper().replace(b" ", b"") != b"BEGIN:VCALENDAR":
        raise UnreadableError(first)
    report = Report()

    def broken(component: Component, line: int, description: str) -> None:
        report.not_kept(component, _uid(component), Refused("", description, line))

    try:
        calendars = list(lines.calendars(content, broken))
    except lines.TooManyLinesError:
        raise TooLargeError(lines.MOST_LINES, "lines") from None
    components = list(_numbered(calendars))
    if len(components) > MOST_COMPONENTS:
        raise TooLargeError(MOST_COMPONENTS, "components")
    file = File(Zones((each for each in components if each.name == "VTIMEZONE"), user_zone), user_zone, report)
    events: dict[str, list[Component]] = {}
    tasks: dict[str, list[Component]] = {}
    for calendar in calendars:
        for component in _whole(calendar, report):
            groups = events if component.name == "VEVENT" else tasks
            groups.setdefault(_identity(component, report), []).append(component)
    for uid, group in events.items():
        yield from _read_group(uid, group, file)
    for uid, group in tasks.items():
        yield from _read_task(uid, group, file)
    yield report.summary()


def _numbered(calendars: list[Component]) -> Iterator[Component]:
    """What stands in the calendars, each told in which: the names of zones are those of one calendar."""
    for index, calendar in enumerate(calendars):
        for component in calendar.components:
            component.calendar = index
            yield component


def _whole(calendar: Component, report: Report) -> Iterator[Component]:
    """The VEVENTs and VTODOs of a calendar that can be read; reports the others."""
    if calendar.name != "VCALENDAR":
        report.not_imported(calendar, _uid(calendar), Refused("", "stands outside of a calendar", calendar.line))
        return
    told = set[str]()
    for found in calendar.properties:
        if found.name not in _QUIET and found.name not in told:
            told.add(found.name)
            report.not_kept(calendar, "", Refused(found.name, "of a calendar is not kept", found.line), Weight.IGNORED)
    foreign, method = _foreign(calendar), calendar.first("METHOD")
    for component in calendar.components:
        if component.name == "VTIMEZONE":
            continue
        refused = foreign
        if component.name not in ("VEVENT", "VTODO"):
            refused = Refused("", f"{component.name} is not supported", component.line)
        elif not component.is_whole:
            refused = Refused("", f"breaks off in line {component.broken_at}", component.broken_at)
        if refused is not None:
            report.not_imported(component, _uid(component), refused)
            continue
        if method is not None and method.value.strip().upper() == "CANCEL":
            component.properties = [each for each in component.properties if each.name != "STATUS"]
            component.properties.append(Property("STATUS", "", "CANCELLED", method.line, False))
        yield component


def _foreign(calendar: Component) -> Refused | None:
    """Why nothing of a calendar can be imported."""
    scale, method = calendar.first("CALSCALE"), calendar.first("METHOD")
    if scale is not None and scale.value.strip().upper() not in ("GREGORIAN", ""):
        return Refused("CALSCALE", "is not GREGORIAN", scale.line)
    if method is not None and method.value.strip().upper() in _FOREIGN:
        return Refused("METHOD", "is that of a message about an event, not of events", method.line)
    return None


def _uid(component: Component) -> str:
    found = component.first("UID")
    return "" if found is None else read_text(found, LONGEST_UID + 1, _no_change).strip()


def _identity(component: Component, report: Report) -> str:
    """The UID; of a component without one such that the same component has the same."""
    uid = _uid(component)
    if uid:
        return uid
    found = "\n".join(f"{each.name}{each.head}:{each.value}" for each in component.properties)
    uid = f"{hashlib.sha256(found.encode()).hexdigest()[:32]}@without-uid"
    report.not_kept(component, uid, Refused("UID", "is missing: one was made of the content", component.line))
    return uid


def _read_group(uid: str, group: list[Component], file: File) -> Iterator[ReadEvent]:
    """The events of one UID."""
    if len(uid) > LONGEST_UID:
        for component in group:
            file.report.not_imported(
                component, uid, Refused("UID", f"has over {LONGEST_UID} characters", component.line)
            )
        return
    masters = [each for each in group if each.first("RECURRENCE-ID") is None]
    overrides = _newest_overrides(uid, [each for each in group if each.first("RECURRENCE-ID") is not None], file)
    if not masters:
        for draft, when, _, _ in overrides:
            yield finished(alone(draft, _slot_of(when)), uid, draft.order, when)
        return
    newest = max(masters, key=lambda each: order_of(each, file))
    for component in masters:
        if component is not newest:
            refused = Refused("", "is an older version of an event of the file", component.line)
            file.report.not_imported(component, uid, refused)
    try:
        events = _with_overrides(read_master(read_draft(newest, file, uid)), overrides)
    except Refused as reason:
        file.report.not_imported(newest, uid, reason)
        for draft, *_ in overrides:
            lost = Refused("RECURRENCE-ID", "its event was not imported", draft.component.line)
            file.report.not_imported(draft.component, uid, lost)
        return
    order = max((events[0].draft.order, *(draft.order for draft, *_ in overrides)))
    for event in events:
        yield finished(event, uid, order)


def _newest_overrides(uid: str, components: list[Component], file: File) -> list[tuple[Draft, When, Property, bool]]:
    """The overrides that can be read; of several for one slot the newest."""
    found: dict[tuple[object, ...], tuple[Draft, When, Property, bool]] = {}
    for component in components:
        try:
            draft = read_draft(_with_start(component), file, uid)
            item = (draft, *recurrence_id(draft))
        except Refused as refused:
            file.report.not_imported(component, uid, refused)
            continue
        key = (item[1].instant(file.user_zone), item[1].is_date, item[3])
        old = found.get(key)
        if old is not None:
            lost = min(old, item, key=lambda each: each[0].order)
            older = Refused("", "is an older version of an occurrence of the file", lost[0].component.line)
            file.report.not_imported(lost[0].component, uid, older)
            item = max(old, item, key=lambda each: each[0].order)
        found[key] = item
    return overrides_in_order(found.values())


def _with_start(component: Component) -> Component:
    """An override without DTSTART begins at its slot."""
    slot = component.first("RECURRENCE-ID")
    if slot is not None and component.first("DTSTART") is None:
        component.properties.append(slot._replace(name="DTSTART"))
    return component


def _with_overrides(event: Event, overrides: list[tuple[Draft, When, Property, bool]]) -> list[Event]:
    """The event and what its overrides split off."""
    series, file, apart = Following(event), event.draft.reader.file, list[Event]()
    for draft, when, found, is_range in overrides:
        try:
            part, local = series.find(when)
            _check_current(event, part, local, draft, found)
            if part is None:
                apart.append(_beside(draft, when, found, is_range))
            elif is_range:
                series.begin(draft, part, local, found.line)
            else:
                alone_ = override(part.event, draft, local + part.shift, found.line)
                if alone_ is not None:
                    apart.append(alone_)
        except Refused as refused:
            file.report.not_imported(draft.component, draft.reader.uid, refused)
    return [*series.events(), *apart]


def _check_current(event: Event, part: Part | None, local: datetime, draft: Draft, found: Property) -> None:
    """Raises Refused for an occurrence that EXDATE excludes, or that a newer version of its event does not have."""
    row = None if part is None else part.event.rows.get(local + part.shift)
    if row is not None and row.status == Status.CANCELLED:
        raise Refused("RECURRENCE-ID", "is for an occurrence that EXDATE excludes", found.line)
    if part is None and draft.order.sequence < event.draft.order.sequence:
        raise Refused("RECURRENCE-ID", "is for an occurrence that the event, which is newer, does not have", found.line)


def _beside(draft: Draft, when: When, found: Property, is_range: bool) -> Event:
    """An occurrence at a time at which its event has none, as an event of its own. Raises Refused."""
    problem = f"is for a time at which there is no occurrence: {when.local}"
    if is_range or draft.is_cancelled:
        raise Refused("RECURRENCE-ID", problem, found.line)
    draft.reader.changed("RECURRENCE-ID", f"{problem}; it was made an event of its own", found.line)
    return alone(draft, _slot_of(when))


def _read_task(uid: str, group: list[Component], file: File) -> Iterator[ReadTask]:
    newest = max(group, key=lambda each: order_of(each, file))
    for component in group:
        try:
            if component is not newest:
                raise Refused("", "is an older version of a task of the file", component.line)
            if len(uid) > LONGEST_UID:
                raise Refused("UID", f"has over {LONGEST_UID} characters", component.line)
            yield read_task(component, file, uid)
        except Refused as refused:
            file.report.not_imported(component, uid, refused)


def _slot_of(when: When) -> str:
    return slot_text(when.local, all_day=when.is_date)


def _no_change(_part: str, _description: str, _line: int) -> None:
    pass
