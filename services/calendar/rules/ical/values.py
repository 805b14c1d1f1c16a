"""Values of properties: times, lengths and texts."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from mesh.recurrence.zones import to_instant, to_wall_within
from services.calendar.model import Length
from services.calendar.rules.ical.lines import ParametersError, Property
from services.calendar.rules.ical.report import Refused

LONGEST_DAYS = 366
"""Of an occurrence, as CreateEvent has it."""
_TIME = re.compile(r"([0-9]{8})(?:T([0-9]{6})([.,][0-9]{1,9})?(Z?))?", re.ASCII | re.IGNORECASE)
_DIGITS = ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14))
_YEARS = range(2, 9999)
"""So that an instant exists in every zone."""
_LENGTH = re.compile(
    r"(?P<sign>[+-]?)P(?=[0-9T])(?:(?P<weeks>[0-9]{1,9})W)?(?:(?P<days>[0-9]{1,9})D)?"
    r"(?:T(?=[0-9])(?:(?P<hours>[0-9]{1,9})H)?(?:(?P<minutes>[0-9]{1,9})M)?(?:(?P<seconds>[0-9]{1,9})S)?)?",
    re.ASCII | re.IGNORECASE,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_BLANK = re.compile(
    "[\\t-\\r \u0085\u00a0\u00ad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]*+"
)
"""What CreateEvent takes for white space."""


class When(NamedTuple):
    """A date, or a local time with its zone. zone None: it floats."""

    local: datetime
    is_date: bool
    zone: str | None

    def instant(self, floating: str) -> int:
        """The instant, or that of a date's beginning. floating: the zone of what floats."""
        return to_instant(self.local, self.zone or floating)[0]

    def wall(self, zone: str | None, floating: str) -> datetime:
        """What a clock of a zone shows then; None: one of the zone `floating`."""
        if self.is_date or self.zone in (zone, zone or floating):
            return self.local
        return to_wall_within(self.instant(floating), zone or floating)


class Span(NamedTuple):
    """A duration with its sign: days on the wall clock, then seconds."""

    is_negative: bool
    length: Length


class UnlikeError(ValueError):
    """No IANA zone has the rules that a file gives one of its own; `offset` is that at the time which was asked for."""

    def __init__(self, tzid: str, offset: timedelta) -> None:
        """offset: east of Greenwich."""
        self.offset = offset
        super().__init__(f"names a time zone of the file that no IANA zone is like: {tzid[:60]!r}")


FindZone = Callable[[str, datetime], str]
"""The IANA zone of a TZID at a local time; raises ValueError, which says what is wrong."""
Changed = Callable[[str, str, int], None]
"""Is told what of a property was kept with another value: its part, what was done, and its line."""


def read_when(found: Property, text: str, find_zone: FindZone, changed: Changed) -> When:
    """The time of a property's value, or of one of its values. Raises Refused."""
    parameters = parameters_of(found)
    parts = _TIME.fullmatch(text.strip())
    if parts is None:
        raise Refused(found.name, f"is no date or time: {text.strip()[:40]!r}", found.line)
    day, time, fraction, utc = parts.groups()
    is_date = time is None
    if time is not None and parameters.get("VALUE", "").upper() == "DATE":
        if time != "000000":
            changed(found.name, "says that it is a date, and has a time: the time was kept", found.line)
        else:
            is_date = True
    if fraction and fraction.strip(".,0"):
        changed(found.name, "has a part of a second, which was left out", found.line)
    second = "59" if time is not None and time[4:] == "60" else (time or "000000")[4:]  # RFC 5545 3.3.12
    try:
        local = numbers_to_time(day + (time or "000000")[:4] + second)
    except ValueError:
        raise Refused(found.name, f"is no date or time that exists: {text.strip()[:40]!r}", found.line) from None
    if local.year not in _YEARS:
        raise Refused(found.name, "is in a year that the calendar does not have", found.line)
    if is_date:
        return When(local, True, None)
    try:
        return When(local, False, _zone(found, utc, local, parameters, find_zone, changed))
    except UnlikeError as problem:
        changed("TZID", f"{problem}; the time was kept in UTC", found.line)
        return When(local - problem.offset, False, "UTC")


def numbers_to_time(text: str) -> datetime:
    """The local time of fourteen digits. Raises ValueError."""
    year, month, day, hour, minute, second = (int(text[i:j]) for i, j in _DIGITS)
    return datetime(year, month, day, hour, minute, second)


def _zone(
    found: Property, utc: str, local: datetime, parameters: dict[str, str], find_zone: FindZone, changed: Changed
) -> str | None:
    tzid = parameters.get("TZID")
    if utc:
        if tzid and tzid.upper().strip("/") not in ("UTC", "ETC/UTC", "GMT", "Z"):
            changed("TZID", "stands beside a time in UTC and was not kept", found.line)
        return "UTC"
    if not tzid:
        return None
    try:
        return find_zone(tzid, local)
    except UnlikeError:
        raise
    except ValueError as problem:
        raise Refused("TZID", str(problem), found.line) from None


def parameters_of(found: Property) -> dict[str, str]:
    """The parameters of a property. Raises Refused."""
    try:
        return dict(found.parameters())
    except ParametersError as problem:
        raise Refused(found.name, str(problem), found.line) from None


def read_span(found: Property) -> Span:
    """A duration of RFC 5545. Raises Refused."""
    parts = _LENGTH.fullmatch(found.value.strip())
    if parts is None:
        raise Refused(found.name, f"is no duration: {found.value.strip()[:40]!r}", found.line)
    weeks, days, hours, minutes, seconds = (
        int(parts[name] or 0) for name in ("weeks", "days", "hours", "minutes", "seconds")
    )
    return Span(parts["sign"] == "-", Length(weeks * 7 + days, hours * 3600 + minutes * 60 + seconds))


def check_length(length: Length, found: Property) -> None:
    """Raises Refused for a length that no occurrence may have."""
    if length.days * 86_400 + length.seconds > LONGEST_DAYS * 86_400:
        raise Refused(found.name, f"is more than {LONGEST_DAYS} days after the start", found.line)


def read_text(found: Property | None, most: int, changed: Changed) -> str:
    """The text of a property without escapes, empty without one; cut to so many characters."""
    if found is None:
        return ""
    if found.head and "QUOTED-PRINTABLE" in found.head.upper():
        changed(found.name, "is written as quoted-printable, which was left as it is", found.line)
    text = _ESCAPED.sub(_unescaped, found.value)
    if found.is_damaged:
        changed(found.name, "is not UTF-8: what cannot be read was replaced", found.line)
    clean = _FORBIDDEN.sub("", text.replace("\r\n", "\n"))
    if len(clean) != len(text.replace("\r\n", "\n")):
        changed(found.name, "has control characters, which were left out", found.line)
    if len(clean) > most:
        changed(found.name, f"has more than {most} characters: it was cut", found.line)
    return clean[:most]


def is_blank(text: str) -> bool:
    """Whether a text shows nothing."""
    return _BLANK.fullmatch(text) is not None


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found[1] in "nN" else found[1] if found[1] in "\\;," else found[0]


def days_between(begin: datetime, end: datetime) -> int:
    """Whole days from one date to another."""
    return (end.date() - begin.date()) // timedelta(days=1)
