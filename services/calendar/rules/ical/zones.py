"""The IANA zone of a TZID: by its name, or by the rules that the file gives it."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from mesh.recurrence.rule import RuleError
from mesh.recurrence.series import Series, rule_slots
from mesh.recurrence.text import parse
from mesh.recurrence.zones import TIME_ZONES
from services.calendar.rules.ical.lines import Component
from services.calendar.rules.ical.values import UnlikeError, numbers_to_time

_IANA = {name.casefold(): name for name in sorted(TIME_ZONES)}
_WINDOWS = {name.casefold(): zone for name, zone in WINDOWS_TO_OLSON.items() if zone in TIME_ZONES}
_PREFERRED = tuple(
    dict.fromkeys((*WINDOWS_TO_OLSON.values(), *sorted(TIME_ZONES, key=lambda name: ("/" not in name, name))))
)
"""Of zones with the same rules the first is taken: those that stand for a region before others."""
_FIXED = re.compile(r"\(?(?:UTC|GMT)\s?(?:([+-])([0-9]{1,2})(?:[:.]?00)?)?\)?", re.ASCII | re.IGNORECASE)
_NUMBERED = re.compile(r"(.*\S)\s+[0-9]{1,3}", re.DOTALL)
_OFFSET = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})(?::?([0-9]{2}))?", re.ASCII)
_ONSET = re.compile(r"([0-9]{8})T([0-9]{6})Z?", re.ASCII)
_TIME_PARTS = re.compile(r"(?<![^;])BY(?:HOUR|MINUTE|SECOND)=[0-9]{1,2}(?:;|\Z)", re.ASCII | re.IGNORECASE)
"""Of an observance: they repeat the time of its DTSTART."""
_ANY = -1
"""Instead of a calendar of the file, for one that does not say what its zones are."""
_LONGEST_NAME = 255
_MOST_OBSERVANCES, _MOST_ONSETS = 200, 2_000
_MOST_MATCHED = 200
"""Zones by the years in which they are used; each costs some 10 ms."""
_YEARS = (8, 1)
"""From that of a time on, in which two zones must be the same; later a region may have changed its rules."""
_TOLERANCE = 60
"""Seconds around a change: some files say 23:59:59."""
_PERIOD_DAYS = 150
"""No summer time is shorter, but for Ramadan, which two onsets show."""


class Zones:
    """The zones of one file."""

    def __init__(self, components: Iterable[Component], user_zone: str) -> None:
        """components: the VTIMEZONEs of the file. user_zone: preferred among zones with the same rules."""
        self._own: dict[tuple[str, int], Component] = {}
        for component in components:
            tzid = component.first("TZID")
            if tzid is not None:
                self._own.setdefault((_key(tzid.value), component.calendar), component)
                self._own.setdefault((_key(tzid.value), _ANY), component)
        self._user_zone = user_zone
        self._rules: dict[Component, _Observed | None] = {}
        self._found: dict[tuple[Component, int], str | None] = {}

    def find(self, tzid: str, local: datetime, calendar: int) -> str:
        """The zone of a name at a local time in a calendar of the file.

        Raises ValueError; UnlikeError when only the file has such a zone.
        """
        key = _key(tzid)
        own = self._own.get((key, calendar)) or self._own.get((key, _ANY))
        named = None if own is not None and key not in _IANA and _FIXED.fullmatch(key) else by_name(key)
        if named is None and own is not None:
            place = own.first("X-LIC-LOCATION")  # how libical names the zone of IANA
            named = None if place is None else by_name(place.value)
            return named or self._by_rules(own, tzid, key, local)
        named = named or _by_numbered_name(key)
        if named is None:
            raise ValueError(f"names a time zone that is unknown: {tzid[:60]!r}")
        return named

    def _by_rules(self, own: Component, tzid: str, key: str, local: datetime) -> str:
        if own not in self._rules:
            self._rules[own] = _observed(own)
        rules = self._rules[own]
        if rules is None:
            named = by_name(key) or _by_numbered_name(key)
            if named is None:
                raise ValueError(f"names a time zone whose rules cannot be read: {tzid[:60]!r}")
            return named
        if (own, local.year) not in self._found:
            if len(self._found) == _MOST_MATCHED:
                raise ValueError(f"is one of more than {_MOST_MATCHED} time zones of the file")
            self._found[own, local.year] = self._like(key, rules, local.year)
        found = self._found[own, local.year]
        if found is None:
            raise UnlikeError(tzid, rules.offset_at(local))
        return found

    def _like(self, key: str, rules: "_Observed", year: int) -> str | None:
        for years in _YEARS:
            samples = [(instant, rules.offset(instant)) for instant in rules.samples(year, years)]
            found = next((zone for zone in self._candidates(key) if _is_like(zone, samples)), None)
            if found is not None:
                return found
        return None

    def _candidates(self, key: str) -> Iterator[str]:
        yield from (zone for zone in (by_name(key), _by_numbered_name(key), self._user_zone) if zone is not None)
        yield from (zone for zone in _PREFERRED if zone.rpartition("/")[2].replace("_", " ").casefold() in key)
        yield from _PREFERRED


def by_name(tzid: str) -> str | None:
    """The zone of a name: IANA's, also behind a prefix, that of Windows, or an offset such as UTC+1."""
    key = _key(tzid)
    if key in _IANA:
        return _IANA[key]
    parts = key.split("/")[-4:]
    behind = ("/".join(parts[index:]) for index in range(len(parts)))
    named = next((_IANA[name] for name in behind if name in _IANA), None) if "/" in key else None
    if named is not None:
        return named
    if key in _WINDOWS:
        return _WINDOWS[key]
    fixed = _FIXED.fullmatch(key)
    if fixed is None:
        return "UTC" if key in ("z", "tzone://microsoft/utc", "coordinated universal time") else None
    hours = int(fixed[2] or 0)
    name = f"Etc/GMT{'-' if fixed[1] == '+' else '+'}{hours}" if hours else "UTC"  # POSIX counts west of Greenwich
    return name if name in TIME_ZONES else None


def _by_numbered_name(key: str) -> str | None:
    numbered = _NUMBERED.fullmatch(key)
    return None if numbered is None else by_name(numbered[1])


def _key(tzid: str) -> str:
    return tzid[:_LONGEST_NAME].strip().strip('"').strip().casefold()


class _Onset(NamedTuple):
    instant: int
    """Seconds since the epoch."""
    before: int
    """Seconds east of Greenwich."""
    after: int


class _Observance(NamedTuple):
    start: datetime
    before: int
    after: int
    series: Series | None
    dates: tuple[datetime, ...]

    def onsets(self, years: range) -> Iterator[_Onset]:
        """In the years, and those that are given one by one."""
        for local in (self.start, *self.dates):
            yield self._onset(local)
        if self.series is not None:
            for slot in rule_slots(self.series, datetime(max(years.start, self.start.year), 1, 1).date()):
                if slot.local.year >= years.stop:
                    return
                yield self._onset(slot.local)

    def _onset(self, local: datetime) -> _Onset:
        return _Onset(int(local.replace(tzinfo=UTC).timestamp()) - self.before, self.before, self.after)


class _Observed:
    """What a VTIMEZONE says."""

    def __init__(self, observances: list[_Observance]) -> None:
        self._observances = observances
        self._onsets: list[_Onset] = []
        self._since: list[int] = []

    def samples(self, year: int, years_long: int) -> list[int]:
        """Instants at which a zone must have the same offset, those first that tell most zones apart.

        Where the file lists its onsets one by one, it is what they cover; the last of them says nothing of later years.
        """
        years = range(max(year - 1, 1), min(year + years_long, 9999))
        self._onsets = sorted({onset for each in self._observances for onset in each.onsets(years)})
        self._since = [onset.instant for onset in self._onsets]
        if any(each.series is not None for each in self._observances) or len(self._onsets) == 1:
            begin, end = _seconds(year, 1), _seconds(years.stop, 1)
        else:
            end = self._since[-1] + _PERIOD_DAYS * 86_400
            begin = max(self._since[0], end - 3 * 366 * 86_400)
        onsets = [instant for instant in self._since if begin <= instant < end]
        regular = range(begin, end, 14 * 86_400)
        return [*regular[:26:13], *(each for at in onsets for each in (at - _TOLERANCE, at + _TOLERANCE)), *regular]

    def offset(self, instant: int) -> int:
        """Seconds east of Greenwich; `samples` was called before."""
        index = bisect_right(self._since, instant) - 1
        return self._onsets[index].after if index >= 0 else self._onsets[0].before

    def offset_at(self, local: datetime) -> timedelta:
        """The offset at a local time; `samples` was called before."""
        wall = int(local.replace(tzinfo=UTC).timestamp())
        around = {self.offset(wall - 86_400), self.offset(wall + 86_400)}
        fitting = [offset for offset in around if self.offset(wall - offset) == offset]
        return timedelta(seconds=max(fitting, default=self.offset(wall - 86_400)))  # the first of a repeated hour


def _observed(component: Component) -> _Observed | None:
    parts = [each for each in component.components if each.name in ("STANDARD", "DAYLIGHT")][:_MOST_OBSERVANCES]
    try:
        observances = [_observance(each) for each in parts]
    except (RuleError, ValueError, LookupError):
        return None
    return _Observed(observances) if observances else None


def _observance(component: Component) -> _Observance:
    values = {name: component.first(name) for name in ("DTSTART", "TZOFFSETFROM", "TZOFFSETTO", "RRULE")}
    texts = {name: found.value.strip() for name, found in values.items() if found is not None}
    start, series = _local(texts["DTSTART"]), None
    if "RRULE" in texts:
        rule = parse(_TIME_PARTS.sub("", texts["RRULE"].strip(";")).strip(";"), time_zone="UTC")
        if rule.frequency not in ("yearly", "monthly"):
            raise ValueError("zones change some times a year")
        if rule.until_time is not None:  # an instant, where these series are on the wall clock
            rule = rule._replace(until_time=rule.until_time + 86_400_000_000)
        series = Series(start, "UTC", rule)
    dates = [text for found in component.all("RDATE") for text in found.value.split(",")]
    return _Observance(
        start,
        _offset(texts["TZOFFSETFROM"]),
        _offset(texts["TZOFFSETTO"]),
        series,
        tuple(_local(text) for text in dates[-_MOST_ONSETS:]),
    )


def _local(text: str) -> datetime:
    found = _ONSET.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    return numbers_to_time(found[1] + found[2])


def _offset(text: str) -> int:
    found = _OFFSET.fullmatch(text)
    if found is None:
        raise ValueError(text)
    seconds = int(found[2]) * 3600 + int(found[3]) * 60 + int(found[4] or 0)
    return -seconds if found[1] == "-" else seconds


def _is_like(zone: str, samples: Iterable[tuple[int, int]]) -> bool:
    info = ZoneInfo(zone)
    for instant, offset in samples:
        found = datetime.fromtimestamp(instant, info).utcoffset()
        if found is None or found != timedelta(seconds=offset):
            return False
    return True


def _seconds(year: int, month: int) -> int:
    return int(datetime(min(year, 9999), month, 1, tzinfo=UTC).timestamp())
