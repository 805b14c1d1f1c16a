"""The VTIMEZONE of an IANA zone: its changes since 1970, the present rules as RRULE.

`icalendar` makes one too, but begins summer times an hour late, and ends in 2038.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple
from zoneinfo import ZoneInfo

_FIRST, _LAST = 1970, 2037
"""Years of which changes are looked for; a rule goes on."""
_STEP = timedelta(days=14)
"""No offset of a zone is shorter, since 1970."""
_RULE_YEARS = 8
"""A rule is one that held for so long at the end."""


class Change(NamedTuple):
    """A zone has another offset from a local time on."""

    local: datetime
    """On the clock before the change."""
    before: timedelta
    after: timedelta
    name: str
    is_daylight: bool

    def rule(self) -> tuple[object, ...]:
        """What is the same of the changes of every year by one rule of the form `the n-th Sunday of March`."""
        last = (
            date(self.local.year + self.local.month // 12, self.local.month % 12 + 1, 1) - self.local.date()
        ).days <= 7
        week = -1 if last else (self.local.day - 1) // 7 + 1
        return self.local.month, week, self.local.weekday(), self.local.time(), self.before, self.after, self.name


@lru_cache(maxsize=1024)
def vtimezone_lines(zone: str) -> tuple[str, ...]:
    """The lines of the VTIMEZONE of a zone, not folded."""
    changes = list(_changes(ZoneInfo(zone)))
    first = _at(ZoneInfo(zone), datetime(_FIRST, 1, 1, tzinfo=UTC))
    lines = ["BEGIN:VTIMEZONE", f"TZID:{zone}"]
    begin = Change(datetime(_FIRST, 1, 1), first[0], first[0], first[1], first[2])
    lines += _observance(begin, [])
    tail = _by_rule(changes)
    listed = sorted(changes[: len(changes) - len(tail)], key=lambda each: (each[1:], each.local))
    for _, group in groupby(listed, key=lambda each: each[1:]):
        same = list(group)
        lines += _observance(same[0], [f"RDATE:{_text(each.local)}" for each in same[1:]])
    seen = set[tuple[object, ...]]()
    for change in tail:
        if change.rule() not in seen:
            seen.add(change.rule())
            month, week, *_ = change.rule()
            day = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")[change.local.weekday()]
            lines += _observance(change, [f"RRULE:FREQ=YEARLY;BYMONTH={month};BYDAY={week}{day}"])
    return (*lines, "END:VTIMEZONE")


def _by_rule(changes: list[Change]) -> list[Change]:
    """The last changes, which two rules of every year produce; none when that is not so."""
    last = [each for each in changes if each.local.year > _LAST - _RULE_YEARS]
    rules = {each.rule() for each in last}
    if len(rules) != 2 or len(last) != 2 * _RULE_YEARS:
        return []
    begin = len(changes)
    while begin and changes[begin - 1].rule() in rules:
        begin -= 1
    return changes[begin:]


def _changes(info: ZoneInfo) -> Iterator[Change]:
    at, end = datetime(_FIRST, 1, 1, tzinfo=UTC), datetime(_LAST + 1, 1, 1, tzinfo=UTC)
    known = _at(info, at)
    while at < end:
        following = at + _STEP
        found = _at(info, following)
        if found != known:
            low, high = at, following
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                low, high = (middle, high) if _at(info, middle) == known else (low, middle)
            high = high.replace(microsecond=0)
            after = _at(info, high)
            yield Change((high + known[0]).replace(tzinfo=None), known[0], *after)
            known, at = after, high
            continue
        at = following


def _at(info: ZoneInfo, instant: datetime) -> tuple[timedelta, str, bool]:
    local = instant.astimezone(info)
    return local.utcoffset() or timedelta(), local.tzname() or "", bool(local.dst())


def _observance(change: Change, dates: list[str]) -> list[str]:
    kind = "DAYLIGHT" if change.is_daylight else "STANDARD"
    return [
        f"BEGIN:{kind}",
        f"DTSTART:{_text(change.local)}",
        f"TZOFFSETFROM:{_offset(change.before)}",
        f"TZOFFSETTO:{_offset(change.after)}",
        f"TZNAME:{change.name}",
        *dates,
        f"END:{kind}",
    ]


def _text(local: datetime) -> str:
    return f"{local:%Y%m%dT%H%M%S}"


def _offset(offset: timedelta) -> str:
    seconds = int(offset.total_seconds())
    hours, rest = divmod(abs(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02}{minutes:02}" + (f"{rest:02}" if rest else "")
