"""The dates of a rule, from any date on: the cost does not depend on how many lie before it.

A rule's dates are computed period by period: day, week, month or year. Months with the same length and first weekday
have the same dates, and so have years, so each of these patterns is made once for a rule.
"""

from calendar import monthrange
from collections.abc import Iterable, Iterator
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from mesh.recurrence.rule import Day, Frequency, Rule, RuleError

_LAST = date(9999, 12, 30).toordinal()
"""A day before the last, so that its instant is in the year 9999 in every zone."""
_EMPTY_PERIODS = 5_000
"""Periods without a date, after which a rule is taken to have no more; the calendar repeats after 4,800 months."""
_PERIODS_OF_A_COUNT = 10_000
"""Periods that are looked through for the end of a COUNT, in some 15 ms."""


class RuleDate(NamedTuple):
    """A date of a rule, as a proleptic Gregorian ordinal; clamped: it stands for a day that its month does not have."""

    ordinal: int
    clamped: bool = False


class Dates:
    """The dates of a rule whose start is on a date; those before the start do not exist."""

    def __init__(self, rule: Rule, anchor: date) -> None:
        """anchor: date of the start; parts that the rule leaves open are taken from it."""
        self._rule = rule
        self._anchor = anchor.toordinal()
        self._first = self._period(anchor)
        self._patterns: dict[tuple[int, ...], tuple[RuleDate, ...]] = {}
        parts = rule
        if not (rule.by_day or rule.by_month_day):
            if rule.frequency is Frequency.WEEKLY:
                parts = rule._replace(by_day=(Day(anchor.weekday()),))
            elif rule.frequency in (Frequency.MONTHLY, Frequency.YEARLY):
                parts = rule._replace(by_month_day=(anchor.day,))
                if rule.frequency is Frequency.YEARLY and not rule.by_month:
                    parts = parts._replace(by_month=(anchor.month,))
        self._parts = parts
        self._in_week = sorted((day.weekday - rule.week_start) % 7 for day in parts.by_day)
        self._counts_back = any(day < 0 for day in parts.by_month_day)
        self._days = {Frequency.DAILY: 1, Frequency.WEEKLY: 7}.get(rule.frequency)
        """Of a period, unless it is longer than a week."""
        self._begin = anchor
        """No date of the rule is before it."""
        self._last: int | None = None

    def since(self, day: date) -> Iterator[RuleDate]:
        """The dates from `day` on, in order, without regard to UNTIL; after a long time without any it ends."""
        until = _LAST if self._rule.times is None else self._end_of_count()
        if self._rule.frequency is Frequency.DAILY and not self._rule.has_parts:  # often: no day needs to be looked at
            interval, missed = self._rule.interval, max(0, day.toordinal() - self._anchor)
            first = self._anchor + -(-missed // interval) * interval
            yield from map(RuleDate, range(first, until + 1, interval))
            return
        for found in self._periods(max(day, self._begin)):
            for each in found:
                if each.ordinal > until:
                    return
                yield each

    def on(self, day: date) -> RuleDate | None:
        """That date, when the rule has it; without regard to UNTIL."""
        ordinal, period = day.toordinal(), self._period(day)
        if ordinal < self._anchor or (period - self._first) % self._rule.interval:
            return None
        if self._rule.times is not None and ordinal > self._end_of_count():
            return None
        return next((each for each in self._of_period(period) or () if each.ordinal == ordinal), None)

    def end_of_count(self) -> date | None:
        """The last date of a rule with COUNT, of another None. Raises RuleError when that is too far to find."""
        return None if self._rule.times is None else date.fromordinal(self._end_of_count())

    def _end_of_count(self) -> int:
        if self._last is None:
            left, last = self._rule.times or 0, self._anchor - 1
            for periods, found in enumerate(self._periods(date.fromordinal(self._anchor))):
                if found:
                    if last < self._anchor:
                        self._begin = date.fromordinal(found[0].ordinal)
                    last = found[min(left, len(found)) - 1].ordinal
                    left -= len(found)
                if left <= 0:
                    break
                if periods > _PERIODS_OF_A_COUNT:
                    raise RuleError("count", "the rule has too few dates for it; use an end in time")
            self._last = last
        return self._last

    def _periods(self, day: date) -> Iterator[list[RuleDate]]:
        """The dates of each period from the one of `day` on; ends after many that have none."""
        least, interval = max(day.toordinal(), self._anchor), self._rule.interval
        period = self._first + max(0, self._period(day) - self._first) // interval * interval
        empty = 0
        while empty < _EMPTY_PERIODS:
            dates = self._of_period(period)
            if dates is None:
                return
            found = [each for each in dates if each.ordinal >= least]
            yield found
            empty = 0 if found else empty + 1
            period += interval
            if not found and self._rule.by_month:
                period = self._leap(period)

    def _period(self, day: date) -> int:
        match self._rule.frequency:
            case Frequency.DAILY:
                return day.toordinal()
            case Frequency.WEEKLY:
                return (day.toordinal() - 1 - self._rule.week_start) // 7  # ordinal 1 is a Monday
            case Frequency.MONTHLY:
                return day.year * 12 + day.month - 1
            case Frequency.YEARLY:
                return day.year

    def _leap(self, period: int) -> int:
        """The first period from `period` on that a month of the rule touches."""
        days = self._days
        if days is None:
            return period
        begin = period * days if days == 1 else period * 7 + 1 + self._rule.week_start
        if begin + days - 1 > _LAST:
            return period
        end = date.fromordinal(begin + days - 1)
        if end.month in self._rule.by_month or date.fromordinal(begin).month in self._rule.by_month:
            return period
        month = min(self._rule.by_month, key=lambda month: (month - end.month) % 12)
        year = end.year + (month < end.month)
        if year > date.max.year:
            return _LAST + 1
        target = self._period(date(year, month, 1))
        return period + max(0, -(-(target - period) // self._rule.interval)) * self._rule.interval

    def _of_period(self, period: int) -> Iterable[RuleDate] | None:
        """All dates of a period in order; None when it lies beyond the calendar."""
        match self._rule.frequency:
            case Frequency.DAILY:
                return self._of_day(period) if period <= _LAST else None
            case Frequency.WEEKLY:
                return self._of_week(period * 7 + 1 + self._rule.week_start)
            case Frequency.MONTHLY:
                return self._of_month(*divmod(period, 12)) if period // 12 <= date.max.year else None
            case Frequency.YEARLY:
                return self._of_year(period) if period <= date.max.year else None

    def _of_day(self, ordinal: int) -> tuple[RuleDate, ...]:
        parts, day = self._parts, date.fromordinal(ordinal)
        if parts.by_month and day.month not in parts.by_month:
            return ()
        # The cheapest question first: a rare rule asks it of some thousand days.
        if parts.by_month_day and day.day not in parts.by_month_day:
            if not self._counts_back:
                return ()
            if day.day - monthrange(day.year, day.month)[1] - 1 not in parts.by_month_day:
                return ()
        if parts.by_day and Day(day.weekday()) not in parts.by_day:
            return ()
        return _positions((RuleDate(ordinal),), parts.by_set_pos)

    def _of_week(self, begin: int) -> tuple[RuleDate, ...] | None:
        if begin > _LAST:
            return None
        months = self._parts.by_month
        found = tuple(
            RuleDate(ordinal)
            for ordinal in [begin + days for days in self._in_week]
            if ordinal <= _LAST and (not months or date.fromordinal(ordinal).month in months)
        )
        return _positions(found, self._parts.by_set_pos)

    def _of_month(self, year: int, index: int) -> list[RuleDate] | tuple[()]:
        parts, month = self._parts, index + 1
        if parts.by_month and month not in parts.by_month:
            return ()
        first, length = monthrange(year, month)
        pattern = self._patterns.get((first, length))
        if pattern is None:
            pattern = self._patterns[first, length] = _positions(_month(parts, first, length), parts.by_set_pos)
        return _shifted(pattern, date(year, month, 1).toordinal() - 1)

    def _of_year(self, year: int) -> list[RuleDate]:
        first, leap = date(year, 1, 1), monthrange(year, 2)[1]
        key = (first.weekday(), leap)
        pattern = self._patterns.get(key)
        if pattern is None:
            pattern = self._patterns[key] = _positions(_year(self._parts, year), self._parts.by_set_pos)
        return _shifted(pattern, first.toordinal() - 1)


@lru_cache(maxsize=1024)
def dates_of(rule: Rule, anchor: date) -> Dates:
    """The dates of a rule from its start's date on; cached, with its patterns and the end of its COUNT."""
    return Dates(rule, anchor)


def _shifted(pattern: Iterable[RuleDate], before: int) -> list[RuleDate]:
    return [RuleDate(before + day, clamped) for day, clamped in pattern if before + day <= _LAST]


def _positions(found: tuple[RuleDate, ...], positions: tuple[int, ...]) -> tuple[RuleDate, ...]:
    """BYSETPOS: those of the dates of a period that are at these positions."""
    if not positions:
        return found
    chosen = {position - 1 if position > 0 else len(found) + position for position in positions}
    return tuple(each for index, each in enumerate(found) if index in chosen)


def _year(parts: Rule, year: int) -> tuple[RuleDate, ...]:
    """The days of a year by number, 1 is 1 January."""
    first = date(year, 1, 1)
    begin = first.toordinal() - 1
    of_year = _weekdays(parts.by_day, first.weekday(), date(year, 12, 31).toordinal() - begin)
    if not (parts.by_month_day or parts.by_month):
        return tuple(RuleDate(day) for day in of_year)
    found = (
        RuleDate(date(year, month, 1).toordinal() - 1 - begin + day, clamped)
        for month in parts.by_month or range(1, 13)
        for day, clamped in _month(parts, *monthrange(year, month), ordinals=bool(parts.by_month))
    )
    if parts.by_month or not parts.by_day:
        return tuple(found)
    fitting = set(of_year)  # without BYMONTH the n-th weekdays are those of the year
    return tuple(each for each in found if each.ordinal in fitting)


def _month(parts: Rule, first: int, length: int, *, ordinals: bool = True) -> tuple[RuleDate, ...]:
    """The days of a month. first: weekday of its first day. ordinals: whether BYDAY counts within the month."""
    by_weekday = _weekdays(parts.by_day, first, length) if parts.by_day and ordinals else None
    if not parts.by_month_day:
        return tuple(RuleDate(day) for day in by_weekday or ())
    found: dict[int, bool] = {}
    for day in parts.by_month_day:
        number = day if day > 0 else length + 1 + day
        if 1 <= number <= length:
            found[number] = False
        elif day > 0 and parts.clamps:
            found.setdefault(length, True)
    return tuple(RuleDate(day, found[day]) for day in sorted(found) if by_weekday is None or day in by_weekday)


def _weekdays(days: Iterable[Day], first: int, length: int) -> list[int]:
    """Days of a month or year, by number, that BYDAY names; first: weekday of its first day."""
    found: set[int] = set()
    for day in days:
        every = range(1 + (day.weekday - first) % 7, length + 1, 7)
        if day.ordinal == 0:
            found.update(every)
        elif abs(day.ordinal) <= len(every):
            found.add(every[day.ordinal - 1 if day.ordinal > 0 else day.ordinal])
    return sorted(found)
