"""Rules of repeating time, drawn by Hypothesis, and the same rules as python-dateutil has them."""

import datetime as module
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import SimpleNamespace

import pytest
from dateutil import rrule
from hypothesis import strategies as st

from mesh.recurrence.rule import Day, Frequency, MonthEnd, Rule, checked

LAST_YEAR = 2125
"""The last one in which dateutil looks for dates."""
_FREQUENCIES = {
    Frequency.DAILY: rrule.DAILY,
    Frequency.WEEKLY: rrule.WEEKLY,
    Frequency.MONTHLY: rrule.MONTHLY,
    Frequency.YEARLY: rrule.YEARLY,
}


def choices(values: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[int, ...]]:
    """None, or a few."""
    return st.one_of(st.just(()), st.lists(values, min_size=1, max_size=4, unique=True).map(tuple))


def signed(most: int) -> st.SearchStrategy[int]:
    """1 to most, or -most to -1."""
    return st.integers(-most, most).filter(bool)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """Plain rules, valid in themselves."""
    frequency = draw(st.sampled_from(Frequency))
    # `MO,2MO` is every Monday (RFC 5545); dateutil takes it for the second.
    plain = frequency in (Frequency.DAILY, Frequency.WEEKLY) or draw(st.booleans())
    ordinals = st.just(0) if plain else st.sampled_from([1, 2, 5, -1, -2])
    days = st.lists(st.builds(Day, st.integers(0, 6), ordinals), max_size=4, unique=True)
    rule = Rule(
        frequency,
        interval=draw(st.one_of(st.just(1), st.integers(1, 14))),
        by_day=tuple(draw(days)),
        by_month_day=() if frequency is Frequency.WEEKLY else draw(choices(signed(31))),
        by_month=draw(choices(st.integers(1, 12))),
        week_start=draw(st.integers(0, 6)),
        month_end=MonthEnd.SKIP,
    )
    # dateutil counts positions of the first, partial week from the start on.
    if rule.has_parts and frequency is not Frequency.WEEKLY:
        rule = rule._replace(by_set_pos=draw(choices(st.one_of(signed(5), signed(366)))))
    return checked(rule)


def by_dateutil(rule: Rule, start: datetime, **end: object) -> rrule.rrule:
    """The same rule."""
    return rrule.rrule(
        _FREQUENCIES[rule.frequency],
        dtstart=start,
        interval=rule.interval,
        wkst=rule.week_start,
        byweekday=[rrule.weekday(day.weekday, day.ordinal or None) for day in rule.by_day] or None,
        bymonthday=rule.by_month_day or None,
        bymonth=rule.by_month or None,
        bysetpos=rule.by_set_pos or None,
        **end,
    )


@contextmanager
def early_end_of_time() -> Iterator[None]:
    """dateutil looks for the dates of a rule that has none until the year 9999, for minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rrule, "datetime", SimpleNamespace(**{**vars(module), "MAXYEAR": LAST_YEAR}))
        yield
