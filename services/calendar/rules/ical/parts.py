"""The parts of a VEVENT, each by itself: when it begins, how long it lasts, how it recurs, what it is called."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from mesh.recurrence.rule import MonthEnd, Rule, RuleError
from mesh.recurrence.text import parse
from mesh.recurrence.zones import to_wall_within
from mesh.runtime.clock import SECOND
from services.calendar.model import Length
from services.calendar.rules.ical.content import Weight
from services.calendar.rules.ical.lines import Component, Property
from services.calendar.rules.ical.report import Refused, Report
from services.calendar.rules.ical.values import (
    UnlikeError,
    When,
    check_length,
    days_between,
    is_blank,
    read_span,
    read_text,
    read_when,
)
from services.calendar.rules.ical.zones import Zones

UNTITLED = "Untitled"
_NO_END = re.compile(r"UNTIL=9999[0-9]{4}(?:T[0-9]{6}Z?)?", re.ASCII | re.IGNORECASE)
"""How some programs say it; no occurrence is in that year."""
_BEFORE_ALL = re.compile(r"UNTIL=0001[0-9]{4}(?:T[0-9]{6}Z?)?", re.ASCII | re.IGNORECASE)
_LEAP_SECOND = re.compile(r"(UNTIL=[0-9]{8}T[0-9]{4})60(Z?)", re.ASCII | re.IGNORECASE)
_MOST_VALUES = 5_000
"""Of EXDATE, or of RDATE."""
_KEPT = frozenset(
    [
        *("UID", "DTSTAMP", "CREATED", "LAST-MODIFIED", "SEQUENCE", "SUMMARY", "DESCRIPTION", "LOCATION", "STATUS"),
        *("DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID"),
    ]
)
_DEFAULTS = {"TRANSP": "OPAQUE", "CLASS": "PUBLIC", "PRIORITY": "0"}
"""What says nothing with this value."""


class File:
    """What is known of a file while its components are read."""

    def __init__(self, zones: Zones, user_zone: str, report: Report) -> None:
        """user_zone: where what floats is."""
        self.zones, self.user_zone, self.report = zones, user_zone, report


class Reader:
    """Reads the parts of one component and reports what of them is not kept."""

    def __init__(self, file: File, component: Component, uid: str) -> None:
        """uid: of the component."""
        self.file, self.component, self.uid = file, component, uid
        self.is_in_utc = False
        """Times are in UTC because no IANA zone is like that of the file: they cannot recur."""

    def changed(self, part: str, description: str, line: int) -> None:
        """Reports what was kept with another value."""
        self.file.report.not_kept(self.component, self.uid, Refused(part, description, line))

    def one(self, name: str) -> Property | None:
        """The only property of a name; reports further ones."""
        found = self.component.all(name)
        for other in found[1:]:
            self.changed(name, "is given again: the first one was kept", other.line)
        return found[0] if found else None

    def when(self, found: Property, text: str | None = None) -> When:
        """The time of a property, or of one of its values. Raises Refused."""
        return read_when(found, found.value if text is None else text, self.zone, self.changed)

    def zone(self, tzid: str, local: datetime) -> str:
        """The zone of a TZID at a local time. Raises ValueError."""
        try:
            return self.file.zones.find(tzid, local, self.component.calendar)
        except UnlikeError:
            self.is_in_utc = True
            raise

    def whens(self, name: str) -> Iterator[tuple[When, Property, str]]:
        """The times of all properties of a name, with what stands behind a solidus. Raises Refused."""
        count = 0
        for found in self.component.all(name):
            count += found.value.count(",") + 1
            if count > _MOST_VALUES:
                raise Refused(name, f"has more than {_MOST_VALUES} values", found.line)
            for text in found.value.split(","):
                begin, _, period = text.partition("/")
                if begin.strip():
                    yield self.when(found, begin), found, period.strip()

    def start(self) -> When:
        """DTSTART. Raises Refused."""
        found = self.one("DTSTART")
        if found is None:
            raise Refused("DTSTART", "is missing", self.component.line)
        return self.when(found)

    def length(self, start: When) -> Length:
        """How long it lasts, by DTEND or DURATION. Raises Refused."""
        end, duration = self.one("DTEND"), self.one("DURATION")
        if end is not None:
            if duration is not None:
                self.changed("DURATION", "stands beside DTEND and was not kept", duration.line)
            return self._until(start, self.when(end), end)
        if duration is None:
            return Length(1, 0) if start.is_date else Length(0, 0)
        span = read_span(duration)
        if span.is_negative and any(span.length):
            raise Refused("DURATION", "is negative: the end would be before the start", duration.line)
        check_length(span.length, duration)
        if start.is_date and (span.length.seconds or not span.length.days):
            days = max(1, span.length.days + -(-span.length.seconds // 86_400))
            self.changed("DURATION", f"is not of whole days: {days} were kept", duration.line)
            return Length(days, 0)
        return span.length

    def _until(self, start: When, end: When, found: Property) -> Length:
        if start.is_date:
            return self._days_until(start, end, found)
        if end.is_date:
            self.changed("DTEND", "is a date: its beginning was kept", found.line)
            end = When(end.local, False, start.zone)
        elif end.zone is None and start.zone is not None:
            self.changed("DTEND", "has no time zone, unlike the start: that of the start was taken", found.line)
            end = end._replace(zone=start.zone)
        seconds = (end.instant(self.file.user_zone) - start.instant(self.file.user_zone)) // SECOND
        wall = (end.local - start.local) // timedelta(seconds=1)
        if start.zone is None and end.zone is None:  # the wall clock is all that is known
            seconds = wall
        elif seconds < 0 <= wall and start.zone == end.zone:
            self.changed(
                "DTEND", "is before the start, which a clock never shows: the length on it was kept", found.line
            )
            seconds = wall
        if seconds < 0:
            raise Refused("DTEND", "is before the start", found.line)
        check_length(Length(0, seconds), found)
        return Length(0, seconds)

    def _days_until(self, start: When, end: When, found: Property) -> Length:
        days = days_between(start.local, end.local)
        if not end.is_date:
            days += end.local.time() != start.local.time()
            self.changed("DTEND", "has a time, unlike the start: whole days were kept", found.line)
        if days < 0:
            raise Refused("DTEND", "is before the start", found.line)
        check_length(Length(days, 0), found)
        if days == 0:
            self.changed("DTEND", "is the start, for which no length is left: one day was kept", found.line)
        return Length(max(days, 1), 0)

    def rule(self, start: When) -> Rule | None:
        """RRULE. Raises Refused, which names the part that Focusmesh does not have."""
        exclusion = self.component.first("EXRULE")
        if exclusion is not None:
            raise Refused("EXRULE", "is not supported: occurrences would be there that it takes away", exclusion.line)
        found = self.component.all("RRULE")
        if len({each.value.strip().upper().strip(";") for each in found}) > 1:
            raise Refused("RRULE", "is given twice: an event has one rule", found[1].line)
        if not found:
            return None
        if not found[0].value.strip(" ;"):
            self.changed("RRULE", "is empty", found[0].line)
            return None
        try:
            rule = parse(self._rule_text(found[0]), month_end=MonthEnd.SKIP, time_zone=start.zone or "UTC")
        except RuleError as error:
            raise Refused(error.part, error.description, found[0].line) from None
        if rule.until_time is not None and start.zone is None:
            rule = self._until_date(rule, rule.until_time, start, found[0])
        return rule

    def _rule_text(self, found: Property) -> str:
        """RRULE with an UNTIL that the calendar can have."""
        parts = list[str]()
        for part in found.value.strip().strip(";").split(";"):
            if _NO_END.fullmatch(part):
                self.changed("UNTIL", "is in the year 9999: the rule has no end", found.line)
            elif _BEFORE_ALL.fullmatch(part):
                parts.append("UNTIL=00020101")
            else:
                parts.append(_LEAP_SECOND.sub(r"\g<1>59\2", part))
        return ";".join(parts)

    def _until_date(self, rule: Rule, until: int, start: When, found: Property) -> Rule:
        """Where times float, UNTIL is a date: the last that has a slot."""
        is_utc = "Z" in found.value.upper().partition("UNTIL=")[2].partition(";")[0]
        if start.is_date:
            self.changed("UNTIL", "has a time, unlike the start: its date was kept", found.line)
            return rule._replace(until_time=None, until_date=to_wall_within(until, "UTC").date())
        wall = to_wall_within(until, self.file.user_zone if is_utc else "UTC")
        if is_utc:
            self.changed("UNTIL", f"is in UTC, unlike the start: it was taken in {self.file.user_zone}", found.line)
        day = wall.date() - timedelta(days=wall.time() < start.local.time())
        return rule._replace(until_time=None, until_date=day)

    def text(self, name: str, most: int) -> str:
        """The text of a property; empty when it shows nothing."""
        text = read_text(self.one(name), most, self.changed)
        return "" if is_blank(text) else text

    def sequence(self) -> int:
        """SEQUENCE; 0 when it is none."""
        found = self.component.first("SEQUENCE")
        text = "" if found is None else found.value.strip()
        return min(int(text), 2**31 - 1) if text.isascii() and text.isdigit() and len(text) < 20 else 0

    def stamped_at(self) -> int | None:
        """DTSTAMP in microseconds since the epoch; None when it is none."""
        found = self.component.first("DTSTAMP")
        try:
            return None if found is None else read_when(found, found.value, _utc, _no_change).instant("UTC")
        except Refused:
            return None

    def report_unknown(self, known: frozenset[str] = _KEPT) -> None:
        """Reports the properties that are not kept, each once."""
        told = set[str]()
        for found in self.component.properties:
            if found.name in known or found.name in told or found.value.strip().upper() == _DEFAULTS.get(found.name):
                continue
            told.add(found.name)
            refused = Refused(found.name, "is not kept", found.line)
            self.file.report.not_kept(self.component, self.uid, refused, Weight.IGNORED)
        for inner in self.component.components:
            if inner.name not in ("VALARM", "STANDARD", "DAYLIGHT"):
                refused = Refused(inner.name, "is not kept", inner.line)
                self.file.report.not_kept(self.component, self.uid, refused, Weight.IGNORED)


class Order(NamedTuple):
    """Which of two versions is newer (RFC 5546 2.1.4)."""

    sequence: int
    stamped_at: int


def order_of(component: Component, file: File) -> Order:
    """The order of a component."""
    reader = Reader(file, component, "")
    return Order(reader.sequence(), reader.stamped_at() or 0)


def _utc(_name: str, _local: object) -> str:
    return "UTC"


def _no_change(_part: str, _description: str, _line: int) -> None:
    pass
