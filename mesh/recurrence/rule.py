"""A rule: which dates recur. The parts of RFC 5545 that Focusmesh has, and what is valid of them."""

from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from typing import NamedTuple

MOST_SLOTS = 1_000
"""Largest COUNT."""
MOST_INTERVAL = 1_000
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_MOST_DAYS, _MOST_POSITIONS = 60, 20
_WEEKS_OF_A_MONTH, _WEEKS_OF_A_YEAR = 5, 53


class RuleError(ValueError):
    """A rule that is not valid, or that Focusmesh does not have; `part` names what is to blame."""

    def __init__(self, part: str, description: str) -> None:
        """part: such as `by_month_day`, or `BYMONTHDAY` of a rule that is read from text."""
        self.part, self.description = part, description
        super().__init__(f"{part}: {description}")


class Frequency(StrEnum):
    """Unit of the interval."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"


class MonthEnd(StrEnum):
    """What becomes of a day that a month does not have."""

    CLAMP = "clamp"
    SKIP = "skip"


class RepeatFrom(StrEnum):
    """What the next slot follows when one is completed."""

    DUE_NEXT_FUTURE = "from_due_next_future"
    DUE_EVERY_MISSED = "from_due_every_missed"
    COMPLETION = "from_completion"


class Day(NamedTuple):
    """A day of the week, 0 is Monday; with an ordinal the n-th of a month or year, -1 is the last; 0 is every one."""

    weekday: int
    ordinal: int = 0


class Rule(NamedTuple):
    """Which dates recur; at most one of `times`, `until_time` (microseconds since the epoch) and `until_date`.

    Tuples are sorted and without duplicates, so that equal rules are equal: `checked` makes them so.
    """

    frequency: Frequency
    interval: int = 1
    times: int | None = None
    """COUNT: slots, cancelled ones too."""
    until_time: int | None = None
    until_date: date | None = None
    by_day: tuple[Day, ...] = ()
    by_month_day: tuple[int, ...] = ()
    by_month: tuple[int, ...] = ()
    by_set_pos: tuple[int, ...] = ()
    week_start: int = 0
    month_end: MonthEnd = MonthEnd.CLAMP

    @property
    def has_parts(self) -> bool:
        """Whether anything but the frequency chooses the dates."""
        return bool(self.by_day or self.by_month_day or self.by_month or self.by_set_pos)

    @property
    def clamps(self) -> bool:
        """Whether a day that a month does not have becomes its last day: when days of the month alone choose."""
        return self.month_end is MonthEnd.CLAMP and not (self.by_day or self.by_set_pos)

    def endless(self) -> "Rule":
        """The same rule without an end."""
        return self._replace(times=None, until_time=None, until_date=None)


def checked(rule: Rule) -> Rule:
    """The rule, its tuples in order. Raises RuleError, which names the first part that is not valid."""
    rule = rule._replace(
        by_day=tuple(sorted(set(rule.by_day))),
        by_month_day=tuple(sorted(set(rule.by_month_day))),
        by_month=tuple(sorted(set(rule.by_month))),
        by_set_pos=tuple(sorted(set(rule.by_set_pos))),
    )
    for part, description in _violations(rule):
        raise RuleError(part, description)
    return rule


def _violations(rule: Rule) -> Iterator[tuple[str, str]]:
    if not 1 <= rule.interval <= MOST_INTERVAL:
        yield "interval", f"must be 1 to {MOST_INTERVAL}"
    if rule.times is not None and not 1 <= rule.times <= MOST_SLOTS:
        yield "count", f"must be 1 to {MOST_SLOTS}"
    if sum(end is not None for end in (rule.times, rule.until_time, rule.until_date)) > 1:
        yield "until_time" if rule.until_time is not None else "until_date", "a rule has one end only"
    if not 0 <= rule.week_start <= 6:
        yield "week_start", "must be a day of the week"
    if not all(1 <= month <= 12 for month in rule.by_month):
        yield "by_month", "months are 1 to 12"
    yield from _wrong_days(rule)
    if not all(1 <= abs(position) <= 366 for position in rule.by_set_pos):
        yield "by_set_pos", "positions are 1 to 366, or -366 to -1"
    if len(rule.by_set_pos) > _MOST_POSITIONS:
        yield "by_set_pos", f"at most {_MOST_POSITIONS} positions"
    if rule.by_set_pos and not (rule.by_day or rule.by_month_day or rule.by_month):
        yield "by_set_pos", "needs another part that chooses dates"


def _wrong_days(rule: Rule) -> Iterator[tuple[str, str]]:
    if not all(1 <= abs(day) <= 31 for day in rule.by_month_day):
        yield "by_month_day", "days are 1 to 31, or -31 to -1"
    if rule.by_month_day and rule.frequency is Frequency.WEEKLY:
        yield "by_month_day", "a weekly rule has no days of the month"
    if not all(0 <= day.weekday <= 6 for day in rule.by_day):
        yield "by_day", "must be days of the week"
    if len(rule.by_day) > _MOST_DAYS:
        yield "by_day", f"at most {_MOST_DAYS} days"
    if rule.frequency in (Frequency.DAILY, Frequency.WEEKLY) and any(day.ordinal for day in rule.by_day):
        yield "by_day", "only a monthly or yearly rule has the n-th day of the week"
    in_year = rule.frequency is Frequency.YEARLY and not rule.by_month
    most = _WEEKS_OF_A_YEAR if in_year else _WEEKS_OF_A_MONTH
    if any(abs(day.ordinal) > most for day in rule.by_day):
        yield "by_day", f"the n-th day of a {'year' if in_year else 'month'} is 1 to {most}, or -{most} to -1"
